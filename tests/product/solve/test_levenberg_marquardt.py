"""Levenberg-Marquardt, against finite differences and SciPy."""

import math

import numpy as np
import pytest
from scipy.optimize import least_squares

from etn.product.fusion import fused_cg
from etn.product.solve import (
    alternate,
    fit_coefficients,
    levenberg,
    random_start,
)
from etn.product.solve.levenberg_marquardt import Product, gauss_newton, gradient
from etn.product.solve.mttkrp import largest_norm, residual
from etn.sweep import Schedule


def test_gradient_and_gauss_newton_matrix_equal_finite_differences(cp, jacobian):
    J = jacobian
    error = residual(cp.factors, cp.target.dense())
    matrix = gauss_newton(cp.factors)
    assert np.allclose(gradient(cp.factors, error), J.T @ error.ravel(), atol=1e-8)
    assert np.allclose(matrix, J.T @ J, atol=1e-7)
    x = np.random.default_rng(0).standard_normal(len(matrix))
    assert np.allclose(Product.of(cp.factors)(x), matrix @ x, atol=1e-12)


def test_levenberg_is_at_least_as_good_as_scipy(moved):
    target = fused_cg(l_max=1)
    for seed in range(3):
        start = alternate(
            random_start(target, 5, seed), schedule=Schedule(max_sweeps=20, rel_tol=0.0)
        )
        theirs = least_squares(
            lambda x, start=start: residual(moved(start, x), target.dense()).ravel(),
            np.zeros(sum(f.size for f in start.factors)),
            method="lm",
            max_nfev=20_000,
        )
        ours = levenberg(start, max_steps=1000, rel_tol=1e-12)
        assert ours.relative_error <= math.sqrt(2 * theirs.cost) / target.norm * (1 + 1e-6)
        assert ours.relative_error < start.relative_error


def test_levenberg_reaches_rounding_from_any_way_of_solving(monkeypatch):
    start = alternate(random_start(fused_cg(l_max=1), 9, seed=0))
    dense = levenberg(start)
    assert dense.relative_error < 3e-15
    monkeypatch.setattr("etn.product.solve.levenberg_marquardt.DENSE_LIMIT", 0)
    iterated = levenberg(random_start(fused_cg(l_max=1), 9, seed=0), max_steps=400)
    assert iterated.relative_error < 3e-15


def test_levenberg_stays_within_the_bound_of_factors():
    # Border rank: the best error at rank 7 is reached by no factors, and terms grow.
    start = random_start(fused_cg(l_max=1), 7, seed=0).balance()
    assert largest_norm(levenberg(start, max_steps=500).factors) > 3.0
    assert largest_norm(levenberg(start, max_steps=500, max_factor=2.0).factors) <= 2.0


@pytest.mark.parametrize("limit", [0, 5000])
def test_levenberg_with_free_coefficients(limit, monkeypatch):
    monkeypatch.setattr("etn.product.solve.levenberg_marquardt.DENSE_LIMIT", limit)
    start = alternate(
        random_start(fused_cg(l_max=1), 7, seed=0), schedule=Schedule(max_sweeps=30, rel_tol=1e-4)
    )
    found = levenberg(start, max_steps=600, lowest=0.5)
    assert found.relative_error < 1e-13
    assert found.target.coefficients.min() >= 0.5
    assert found.target.coefficients.max() <= 2.0
    # The error is that against the coefficients it chose, not against ones.
    assert np.allclose(found.target.project(found.dense()), found.target.coefficients, atol=1e-13)


def test_runs_that_follow_one_another_share_the_bounds_of_their_units():
    target = fused_cg(l_max=2)
    cp = random_start(target, 10, seed=0)
    for _ in range(4):
        cp = levenberg(cp, max_steps=10, lowest=0.5, units=target)
        cp = fit_coefficients(cp, lowest=0.5, units=target)
    # At this rank smaller coefficients fit better: some do end at the bound, none beyond it.
    assert cp.target.coefficients.min() == 0.5


def test_the_ridge_shrinks_factors():
    start = random_start(fused_cg(l_max=1), 8, seed=0)
    sizes = [
        sum(np.vdot(f, f) for f in levenberg(start, ridge=ridge, max_steps=100).factors)
        for ridge in (1e-6, 1e-2, 1e-1)
    ]
    assert sizes[0] > sizes[1] > sizes[2]
