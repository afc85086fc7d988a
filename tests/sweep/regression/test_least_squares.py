"""The local problem against numpy.linalg.lstsq on the stacked, weighted design."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network import Chain, left_environment, right_environment
from etn.network.design import CoreDesign
from etn.sweep import Batch, LeastSquares
from etn.sweep.regression import normal_equations
from etn.testing import random_batch

LEG = "2x0e+2x1o+1x2e"


def stacked(chain, batches, ridge):
    """Weighted rows of all batches over the rows sqrt(ridge * metric), and their targets."""
    core = chain[chain.center]
    design = CoreDesign(core)
    rows, targets = [], []
    for samples, y, w in batches:
        left = left_environment(chain.cores[: chain.center], samples, jacobian=True)
        right = right_environment(chain.cores[chain.center + 1 :], samples, jacobian=True)
        rows.append(design.rows(samples, left, right) * w[:, None])
        targets.append(w * y)
    rows.append(np.diag(np.sqrt(ridge * core.metric()[design.order])))
    targets.append(np.zeros(core.n_parameters))
    return design, np.concatenate(rows), np.concatenate(targets)


def problem(chain, ridge, *, n_batches=3, n_tangents=60, **options):
    batches = [random_batch(chain, seed=k, n_tangents=n_tangents) for k in range(n_batches)]
    return batches, LeastSquares(lambda: batches, ridge=ridge, **options)


@pytest.mark.parametrize(
    ("center", "ridge"), [(0, 0.0), (3, 0.0), *((c, r) for c in range(4) for r in (1e-3, 1.0))]
)
def test_solution_is_that_of_lstsq(center, ridge):
    chain = Chain.random([LEG] * 4, start="2x0e", max_bond=2, seed=1).canonicalize(center)
    batches, least_squares = problem(chain, ridge)
    solution = least_squares.solve(chain)
    design, rows, targets = stacked(chain, batches, ridge)
    expected, _, rank, _ = np.linalg.lstsq(rows, targets, rcond=None)
    assert rank == rows.shape[1]
    assert solution.solver == "cholesky"
    got = design.from_core(solution.core)
    # Normal equations: the error grows with the condition number of the Gram matrix.
    tolerance = (1e-12 + 1e-14 * solution.condition) * np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)
    loss = np.sum((rows @ expected - targets) ** 2)
    assert solution.loss == pytest.approx(loss, rel=1e-11)
    assert least_squares.loss(chain.replace(center, solution.core)) == pytest.approx(
        loss, rel=1e-11
    )


@pytest.mark.parametrize(("n_sites", "center", "start"), [(4, 1, 2), (4, 2, 2), (3, 1, 1)])
def test_parameters_that_the_data_do_not_fix_stay_small(n_sites, center, start):
    # All sites read the same leg, so data see only the symmetric part of the tensor.
    chain = Chain.random([LEG] * n_sites, start=f"{start}x0e", max_bond=2, seed=1)
    chain = chain.canonicalize(center)
    batches, least_squares = problem(chain, 0.0)
    design, rows, targets = stacked(chain, batches, 0.0)
    assert np.linalg.matrix_rank(rows) < rows.shape[1]
    norms = np.linalg.norm(rows, axis=0)
    expected = np.linalg.lstsq(rows / norms, targets, rcond=1e-12)[0] / norms
    solution = least_squares.solve(chain)
    assert solution.solver == "qr"
    got = design.from_core(solution.core)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    assert solution.loss == pytest.approx(np.sum((rows @ expected - targets) ** 2), rel=1e-9)


def test_loss_of_any_chain_is_that_of_the_stacked_rows():
    chain = Chain.random([LEG] * 3, max_bond=2, seed=1).canonicalize(1)
    batches, least_squares = problem(chain, 0.3)
    design, rows, targets = stacked(chain, batches, 0.3)
    expected = np.sum((rows @ design.from_core(chain[1]) - targets) ** 2)
    assert least_squares.loss(chain) == pytest.approx(expected, rel=1e-12)


def test_loss_does_not_depend_on_the_gauge():
    chain = Chain.random([LEG] * 4, start="2x0e", max_bond=2, seed=1)
    _, least_squares = problem(chain, 0.3)
    losses = [least_squares.loss(chain.canonicalize(center)) for center in range(4)]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


def test_rank_deficient_rows_fall_back_to_qr():
    # Fewer rows than parameters and no ridge: the Gram matrix is singular.
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=3, seed=1).canonicalize(1)
    batches, least_squares = problem(chain, 0.0, n_batches=1, n_tangents=10)
    design, rows, targets = stacked(chain, batches, 0.0)
    assert np.linalg.matrix_rank(rows) < rows.shape[1]
    solution = least_squares.solve(chain)
    assert solution.solver == "qr"
    got = design.from_core(solution.core)
    assert np.all(np.isfinite(got))
    # The rows can be met exactly; the solution is the one of least norm in scaled columns.
    assert np.abs(rows @ got - targets).max() < 1e-10
    norms = np.linalg.norm(rows, axis=0)
    norms[norms == 0] = 1.0
    expected = np.linalg.lstsq(rows / norms, targets, rcond=1e-12)[0] / norms
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_unreached_parameters_are_zero():
    # The samples know only the first element, so the other one's parameters meet no data.
    chain = Chain.random([LEG] * 2, start="2x0e", max_bond=2, seed=1).canonicalize(0)
    batch = random_batch(chain, seed=1, n_sums=24, n_tangents=80)
    start = next(iter(batch.samples.start.values()))
    start[0], start[1] = 1.0, 0.0
    solution = LeastSquares(lambda: [batch], ridge=0.0).solve(chain)
    for _, block in solution.core:
        assert np.abs(block[1]).max() <= 1e-12 * np.abs(block[0]).max()


def test_ill_conditioned_problem_is_solved_by_qr_and_says_so():
    chain = Chain.random([LEG] * 3, max_bond=2, seed=1).canonicalize(2)
    batches, least_squares = problem(chain, 0.0, max_condition=1.0)
    solution = least_squares.solve(chain)
    assert solution.solver == "qr"
    design, rows, targets = stacked(chain, batches, 0.0)
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
    got = design.from_core(solution.core)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_weight_zero_removes_a_row():
    chain = Chain.random([LEG] * 2, max_bond=2, seed=1).canonicalize(0)
    batch = random_batch(chain, seed=1, n_tangents=60)
    batch.weights[10:20] = 0.0
    garbage = Batch(batch.samples, np.where(batch.weights == 0, 1e6, batch.targets), batch.weights)
    one = LeastSquares(lambda: [batch], ridge=1e-3).solve(chain)
    two = LeastSquares(lambda: [garbage], ridge=1e-3).solve(chain)
    np.testing.assert_array_equal(one.core.to_vector(), two.core.to_vector())


def test_a_chain_without_center_is_refused():
    chain = Chain.random([LEG] * 2, max_bond=2, seed=1)
    _, least_squares = problem(chain, 0.0, n_batches=1)
    with pytest.raises(CoreError, match="canonicalize"):
        least_squares.solve(chain)
    with pytest.raises(CoreError, match="canonicalize"):
        least_squares.loss(chain)


def test_little_memory_changes_the_way_and_not_the_solution():
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(1)
    square = 8.0 * chain[1].n_parameters ** 2
    plenty = problem(chain, 1e-2)[1].solve(chain)
    for squares, solver in ((2, "cholesky"), (0.9, "cg")):
        options = {"max_grams": squares * square, "threads": 1, "iterative_tol": 1e-9}
        tight = problem(chain, 1e-2, **options)[1].solve(chain)
        assert tight.solver == solver
        assert tight.loss == pytest.approx(plenty.loss, rel=1e-4)
    singular = problem(chain, 0.0, max_grams=3 * square)[1].solve(chain)
    assert singular.solver == "cg"  # a QR takes more memory


@pytest.mark.parametrize(("n_sites", "center", "start"), [(4, 2, 2), (3, 1, 1)])
def test_many_unknowns_are_damped_instead_of_a_second_pass(monkeypatch, n_sites, center, start):
    chain = Chain.random([LEG] * n_sites, start=f"{start}x0e", max_bond=2, seed=1)
    chain = chain.canonicalize(center)
    _, least_squares = problem(chain, 0.0)
    best = least_squares.solve(chain)
    assert best.solver == "qr"
    monkeypatch.setattr(normal_equations, "MAX_QR", 0)
    solution = least_squares.solve(chain)
    assert solution.solver == "cholesky"
    assert solution.condition <= least_squares.max_condition
    assert solution.loss == pytest.approx(best.loss, rel=1e-6)
    there = least_squares.loss(chain.replace(center, solution.core))
    assert there == pytest.approx(solution.loss, rel=1e-6)
