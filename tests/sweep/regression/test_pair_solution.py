"""How the solution of a pair becomes two cores: what is cut off, and what stays is fitted again."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain
from etn.sweep import LeastSquares
from etn.sweep.regression.bond_matrices import to_vector
from etn.tensor import Truncation, merge
from etn.testing import random_batch

WIDE = "2x0e+2x1o+1x2e"


def replaced(chain, site, split):
    return Chain([*chain.cores[:site], split.left, split.right, *chain.cores[site + 2 :]])


RULES = [
    Truncation(max_bond=2, rel_tol=0.1),
    Truncation(max_bond=2),
    Truncation(max_multiplets=3),
    Truncation(max_bond="1x0e+2x1o"),
    Truncation(rel_tol=0.1),
    Truncation(max_parameters=60),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("site", [0, 1, 2])
def test_the_split_beats_the_plain_one_and_keeps_the_rule(site, rule):
    chain = Chain.random([WIDE] * 4, start="2x0e", max_bond=2, seed=1).canonicalize(site)
    batches = [random_batch(chain, seed=k, n_tangents=60) for k in range(3)]
    problem = LeastSquares(lambda: batches, ridge=1e-3)
    solution = problem.solve_pair(chain, site)
    for center in ("left", "right"):
        split, settled = solution.split(rule, center=center)
        at = site + (center == "right")
        small = Chain(replaced(chain, site, split).cores, center=at)
        assert small.orthogonality_error() < 1e-12
        # The loss that is reported is that of the two cores.
        assert settled.loss == pytest.approx(problem.loss(small), rel=1e-8)
        excess = settled.loss - solution.loss
        assert split.discarded**2 == pytest.approx(excess, rel=1e-6, abs=1e-6)
        same = Truncation(max_bond=split.left.legs[2])
        plain = replaced(chain, site, solution.core.split(same, center=center)).canonicalize(at)
        assert settled.loss <= problem.loss(plain) * (1 + 1e-10)
        bond = split.left.legs[2]
        if rule.max_parameters is not None:
            assert split.left.n_parameters + split.right.n_parameters <= rule.max_parameters
        if rule.max_multiplets is not None:
            assert sum(bond.count(ir) for ir in bond.unique) <= rule.max_multiplets
        if rule.max_bond == 2:
            assert all(bond.count(ir) <= 2 for ir in bond.unique)
        if rule == Truncation(rel_tol=0.1):
            x = to_vector(solution.core.matrices)
            assert excess <= rule.rel_tol**2 * (x @ solution.build().hessian @ x) * (1 + 1e-9)


def test_without_truncation_nothing_is_lost():
    chain = Chain.random([WIDE] * 3, max_bond=2, seed=1).canonicalize(1)
    batches = [random_batch(chain, seed=k) for k in range(3)]
    problem = LeastSquares(lambda: batches, ridge=1e-2)
    solution = problem.solve_pair(chain, 1)
    split, settled = solution.split(Truncation(), center="right")
    assert settled.loss == pytest.approx(solution.loss, rel=1e-9)
    full = to_vector(merge(split.left, split.right).matrices)
    x = to_vector(solution.core.matrices)
    np.testing.assert_allclose(full, x, atol=1e-6 * np.abs(x).max())


def test_cores_that_have_room_are_never_left_for_worse(rng):
    """At fixed caps the objective does not rise, whatever the pair without caps looks like."""
    chain = Chain.random([WIDE] * 3, max_bond=1, seed=1).canonicalize(1)
    problem = LeastSquares(lambda: [random_batch(chain, seed=4)], ridge=1e-2)
    before = problem.loss(chain)
    _, settled = problem.solve_pair(chain, 1).split(Truncation(max_bond=1), center="left")
    assert settled.loss <= before * (1 + 1e-12)
