"""The three solvers, against explicit designs, finite differences and SciPy."""

import math

import numpy as np
import pytest
from scipy.optimize import least_squares

from etn.errors import SettingsError
from etn.product.cp import CPTensor, khatri_rao
from etn.product.fusion import fused_cg
from etn.product.solve import (
    FactorProblem,
    alternate,
    descend,
    fit_coefficients,
    levenberg,
    random_start,
    rescale,
)
from etn.product.solve.levenberg_marquardt import Product, gauss_newton, gradient
from etn.product.solve.mttkrp import gram, largest_norm, mttkrp, residual
from etn.product.solve.path_coefficients import path_slopes
from etn.sweep import Schedule

TARGETS = {
    "two inputs": fused_cg(l_max=1),
    "three inputs": fused_cg(ins=["0e+1e", "1e", "0e+1e"], out="0e+1e"),
    "one input": fused_cg(l_max=1, inputs=1),
    "unequal legs": fused_cg(ins=["0e+1o", "2e"], out="1o+2e", parity="none"),
}


@pytest.fixture(params=TARGETS)
def cp(request):
    return random_start(TARGETS[request.param], cp_rank=5, seed=3)


def moved(cp, x):
    bounds = np.cumsum([0, *(f.size for f in cp.factors)])
    return [
        f + x[a:b].reshape(f.shape) for f, a, b in zip(cp.factors, bounds, bounds[1:], strict=False)
    ]


def jacobian(cp):
    """Central differences of the dense tensor."""
    n, step = sum(f.size for f in cp.factors), 1e-5
    columns = []
    for unit in np.eye(n):
        plus, minus = (residual(moved(cp, s * step * unit), 0 * cp.target.dense()) for s in (1, -1))
        columns.append((plus - minus).ravel() / (2 * step))
    return np.stack(columns, axis=1)


def test_mttkrp_and_gram_equal_the_explicit_design(cp):
    for site, factor in enumerate(cp.factors):
        design = khatri_rao([f for k, f in enumerate(cp.factors) if k != site])
        unfolded = np.moveaxis(cp.target.dense(), site, 0).reshape(len(factor), -1)
        assert np.allclose(mttkrp(cp.target.dense(), cp.factors, site), unfolded @ design)
        assert np.allclose(gram(cp.factors, without=[site]), design.T @ design)


def test_gradient_and_gauss_newton_matrix_equal_finite_differences(cp):
    J = jacobian(cp)
    error = residual(cp.factors, cp.target.dense())
    matrix = gauss_newton(cp.factors)
    assert np.allclose(gradient(cp.factors, error), J.T @ error.ravel(), atol=1e-8)
    assert np.allclose(matrix, J.T @ J, atol=1e-7)
    x = np.random.default_rng(0).standard_normal(len(matrix))
    assert np.allclose(Product.of(cp.factors)(x), matrix @ x, atol=1e-12)


def test_path_slopes_are_derivatives_of_projections(cp):
    J = jacobian(cp)
    columns = J.T.reshape(-1, *cp.target.shape)
    expected = np.stack([cp.target.project(column) for column in columns], axis=1)
    assert np.allclose(path_slopes(cp.target, cp.factors), expected, atol=1e-8)


def test_a_local_solve_equals_lstsq_on_the_explicit_design():
    cp = random_start(TARGETS["two inputs"], cp_rank=5, seed=3)
    for site in range(3):
        center = cp.canonicalize(site)
        design = khatri_rao([f for k, f in enumerate(center.factors) if k != site])
        unfolded = np.moveaxis(cp.target.dense(), site, 0).reshape(4, -1)
        expected = np.linalg.lstsq(design, unfolded.T)[0].T
        solution = FactorProblem(proximal=0.0).solve(center)
        assert np.allclose(solution.core, expected, atol=1e-9)
        assert solution.loss == pytest.approx(center.replace(site, expected).relative_error)


def test_the_proximal_term_is_that_of_the_explicit_least_squares_problem():
    cp = random_start(TARGETS["two inputs"], cp_rank=9, seed=3).canonicalize(0)
    design = khatri_rao(cp.factors[1:])
    weight = math.sqrt(0.5) * cp.relative_error
    rows = np.vstack([design, weight * np.eye(9)])
    right = np.hstack([cp.target.dense().reshape(4, -1), weight * cp.factors[0]])
    expected = np.linalg.lstsq(rows, right.T)[0].T
    assert np.allclose(FactorProblem(proximal=0.5).solve(cp).core, expected, atol=1e-9)


def test_a_problem_needs_a_center():
    with pytest.raises(SettingsError, match="canonicalize"):
        FactorProblem().solve(random_start(TARGETS["two inputs"], 2, seed=0))


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


def test_levenberg_is_at_least_as_good_as_scipy():
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


def test_descent_lowers_the_error_and_works_for_any_order(cp):
    assert descend(cp, n_steps=2000).relative_error < 0.7 * cp.relative_error


def test_coefficients_are_fitted_by_projection_within_bounds():
    cp = random_start(fused_cg(l_max=2), 10, seed=0)
    free = cp.target.project(cp.dense())
    fitted = fit_coefficients(cp, lowest=0.25).target.coefficients
    assert np.array_equal(fitted, np.clip(free, 0.25, 4.0))
    assert set(fitted) & {0.25}
    with pytest.raises(SettingsError, match="lowest"):
        fit_coefficients(cp, lowest=0.0)


def test_fitted_coefficients_keep_signs_and_zeros():
    target = fused_cg(l_max=1)
    target = target.with_coefficients([-1.0, 0.0, 2.0, 1.0, 1.0])
    fitted = fit_coefficients(random_start(target, 4, seed=0)).target.coefficients
    assert fitted[0] <= -0.5
    assert fitted[1] == 0.0
    assert 1.0 <= fitted[2] <= 4.0


def test_rescaling_takes_separable_scales_off_and_keeps_exactness():
    target = fused_cg(l_max=1)
    exact = levenberg(alternate(random_start(target, 9, seed=0)))
    scales = [(1.0, 3.0), (2.0, 0.25), (1.0, 5.0)]
    rows = [np.repeat(s, [1, 3])[:, None] for s in scales]
    skewed = target.with_coefficients(
        [scales[0][p.out] * scales[1][p.ins[0]] * scales[2][p.ins[1]] for p in target.paths]
    )
    cp = CPTensor(skewed, tuple(f * r for f, r in zip(exact.factors, rows, strict=True)))
    assert cp.relative_error < 1e-14
    found = rescale(cp)
    assert np.allclose(found.target.coefficients, 1.0, atol=1e-12)
    assert found.relative_error < 1e-13
    assert np.allclose(found.target.project(found.dense()), 1.0, atol=1e-12)
