"""Alternating least squares against explicit least squares problems."""

import math

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.product.cp import khatri_rao
from etn.product.fusion import fused_cg
from etn.product.solve import (
    FactorProblem,
    alternate,
    random_start,
)
from etn.product.solve.mttkrp import largest_norm
from etn.sweep import Schedule


def test_a_local_solve_equals_lstsq_on_the_explicit_design():
    cp = random_start(fused_cg(l_max=1), cp_rank=5, seed=3)
    for site in range(3):
        center = cp.canonicalize(site)
        design = khatri_rao([f for k, f in enumerate(center.factors) if k != site])
        unfolded = np.moveaxis(cp.target.dense(), site, 0).reshape(4, -1)
        expected = np.linalg.lstsq(design, unfolded.T)[0].T
        solution = FactorProblem(proximal=0.0).solve(center)
        assert np.allclose(solution.core, expected, atol=1e-9)
        assert solution.loss == pytest.approx(center.replace(site, expected).relative_error)


def test_the_proximal_term_is_that_of_the_explicit_least_squares_problem():
    cp = random_start(fused_cg(l_max=1), cp_rank=9, seed=3).canonicalize(0)
    design = khatri_rao(cp.factors[1:])
    weight = math.sqrt(0.5) * cp.relative_error
    rows = np.vstack([design, weight * np.eye(9)])
    right = np.hstack([cp.target.dense().reshape(4, -1), weight * cp.factors[0]])
    expected = np.linalg.lstsq(rows, right.T)[0].T
    assert np.allclose(FactorProblem(proximal=0.5).solve(cp).core, expected, atol=1e-9)


def test_a_problem_needs_a_center():
    with pytest.raises(SettingsError, match="canonicalize"):
        FactorProblem().solve(random_start(fused_cg(l_max=1), 2, seed=0))


def test_sweeps_never_raise_the_error_and_settle():
    losses = []
    start = random_start(fused_cg(l_max=2), 20, seed=0)
    found = alternate(start, on_step=lambda step: losses.append(step.loss))
    assert len(losses) > 20
    assert np.all(np.diff(losses) <= 1e-12)
    assert found.relative_error == pytest.approx(losses[-1], rel=1e-9)
    assert found.center is None


def test_sweeps_bound_the_terms():
    start = random_start(fused_cg(l_max=1), 7, seed=0)
    free = alternate(start, schedule=Schedule(max_sweeps=400, rel_tol=0.0))
    bound = alternate(
        start,
        schedule=Schedule(max_sweeps=400, rel_tol=0.0),
        problem=FactorProblem(max_factor=1.2),
    )
    assert largest_norm(free.factors) > 1.3
    assert largest_norm(bound.factors) <= 1.2 * (1 + 1e-12)
    assert free.relative_error < bound.relative_error < 0.2
