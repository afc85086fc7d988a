"""Starts of a search."""

import numpy as np
import pytest

from etn.product.fusion import fused_cg
from etn.product.solve import random_start
from etn.product.solve.portfolio import Options, attempts
from etn.sweep import Schedule


def test_starts_have_the_norm_of_the_target():
    cp = random_start(fused_cg(l_max=2), 6, seed=0)
    assert np.linalg.norm(cp.dense()) == pytest.approx(cp.target.norm)


def test_starts_are_drawn_and_balanced():
    target = fused_cg(l_max=2)
    first, again, other = (random_start(target, 6, seed=s) for s in (0, 0, 1))
    assert np.allclose(first.factors[0], again.factors[0], rtol=0, atol=1e-14)
    assert not np.allclose(first.factors[0], other.factors[0])
    norms = [np.linalg.norm(factor, axis=0) for factor in first.factors]
    assert norms[0] == pytest.approx(norms[1])
    assert norms[0] == pytest.approx(norms[2])


@pytest.mark.parametrize(("method", "starts"), [("als", 3), ("lm", 2), ("first_order", 1)])
def test_one_attempt_a_start(method, starts, monkeypatch):
    monkeypatch.setattr("etn.product.solve.portfolio.descend", lambda cp: cp)
    target = fused_cg(l_max=1)
    found = list(attempts(target, 4, options(method=method, starts=starts)))
    assert len(found) == starts
    assert all(cp.cp_rank == 4 for cp in found)


def test_the_best_of_the_automatic_search_is_polished_once_more():
    target = fused_cg(l_max=1)
    found = list(attempts(target, 6, options(method="auto", starts=2)))
    assert len(found) == 3
    best = min(cp.relative_error for cp in found[:2])
    assert found[2].relative_error <= best * (1 + 1e-9)


def options(**changes):
    given = {
        "target": fused_cg(l_max=1),
        "method": "auto",
        "group": None,
        "starts": None,
        "seed": 0,
        "max_factor": 8.0,
        "lowest": None,
        "schedule": Schedule(max_sweeps=5),
        "callbacks": (),
        "tol": 0.0,
    }
    return Options(**given | changes)
