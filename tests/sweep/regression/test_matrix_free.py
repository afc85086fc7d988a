"""Conjugate gradients on streamed rows against direct solutions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg

from etn.network import Chain
from etn.sweep import Batch, LeastSquares, Schedule, sweep
from etn.sweep.regression import matrix_free
from etn.sweep.regression.batches import Batches
from etn.sweep.regression.matrix_free import solve_matrix_free
from etn.sweep.regression.preconditioner import BlockPreconditioner
from etn.testing import random_batch

LEG = "2x0e+2x1o+1x2e"


class Dense:
    """Rows and targets that are there."""

    def __init__(self, rows, targets):
        self.rows, self.targets = rows, targets

    def residual(self, a):
        left = self.targets - self.rows @ a
        return left @ self.rows, float(left @ left)

    def product(self, p):
        return (self.rows @ p) @ self.rows


def make(rng, n_rows=90, columns=24, condition=1e3):
    u, _ = np.linalg.qr(rng.normal(size=(n_rows, columns)))
    v, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    rows = (u * np.logspace(0, -np.log10(condition), columns)) @ v.T
    return Dense(rows, rng.normal(size=n_rows))


def sampled(rng, dense, n, penalty, block=24):
    some = rng.permutation(len(dense.rows))[:n]
    rows, targets = (part[some] * np.sqrt(len(dense.rows) / n) for part in vars(dense).values())
    parts = np.array_split(np.arange(n), 3)
    return BlockPreconditioner(Batches([(rows[p], targets[p]) for p in parts]), penalty, block)


@pytest.mark.parametrize(("n", "block"), [(3, 24), (30, 24), (60, 7), (90, 1), (90, 24)])
def test_the_solution_is_that_of_lstsq(n, block, rng):
    dense, penalty = make(rng), rng.uniform(1e-6, 1e-4, size=24)
    found = solve_matrix_free(
        dense, sampled(rng, dense, n, penalty, block), penalty, rng.normal(size=24),
        tol=0.0, max_iterations=2000,
    )  # fmt: skip
    stacked = np.concatenate([dense.rows, np.diag(np.sqrt(penalty))])
    padded = np.concatenate([dense.targets, np.zeros(24)])
    expected = np.linalg.lstsq(stacked, padded, rcond=None)[0]
    np.testing.assert_allclose(found.values, expected, atol=1e-7 * np.abs(expected).max())
    assert found.loss == pytest.approx(np.sum((stacked @ expected - padded) ** 2), rel=1e-9)
    if (n, block) == (90, 24):  # the preconditioner is the inverse
        assert found.iterations <= 3


def test_the_iterates_are_those_of_lsqr(rng):
    # LSQR is conjugate gradients in exact arithmetic; its damping is a constant penalty.
    dense, start, damp = make(rng, condition=10), np.zeros(24), 0.1
    for n in (1, 4):
        found = solve_matrix_free(
            dense, lambda residual: residual, np.full(24, damp**2), start,
            tol=0.0, max_iterations=n,
        )  # fmt: skip
        stacked = np.concatenate([dense.rows, damp * np.eye(24)])
        padded = np.concatenate([dense.targets, np.zeros(24)])
        expected = scipy.sparse.linalg.lsqr(stacked, padded, atol=0, btol=0, iter_lim=n)[0]
        np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("iterations", [0, 1, 3, 10])
def test_the_objective_falls_and_is_the_one_reported(iterations, rng):
    dense, start, penalty = make(rng), rng.normal(size=24), np.full(24, 1e-3)

    def objective(a):
        return np.sum((dense.rows @ a - dense.targets) ** 2) + penalty @ a**2

    found = solve_matrix_free(
        dense, sampled(rng, dense, 12, penalty), penalty, start, tol=0.0, max_iterations=iterations
    )
    assert found.iterations == iterations
    assert found.loss == pytest.approx(objective(found.values), rel=1e-10)
    assert found.loss <= objective(start) * (1 + 1e-12)
    half = dense.rows.T @ (dense.targets - dense.rows @ start) - penalty * start
    assert found.gradient == pytest.approx(np.linalg.norm(half), rel=1e-10)


def test_it_ends_when_little_is_gained(rng):
    dense, penalty = make(rng, condition=1e6), np.full(24, 1e-9)
    counts = [
        solve_matrix_free(
            dense, sampled(np.random.default_rng(1), dense, 10, penalty), penalty, np.zeros(24),
            tol=tol,
        ).iterations
        for tol in (1e-1, 1e-4, 0.0)
    ]  # fmt: skip
    assert 5 <= counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("n", [12, 60])
def test_columns_without_data_keep_their_values(n, rng):
    dense = make(rng)
    dense.rows[:, 3:5] = 0.0
    dense.rows[:, 7] = dense.rows[:, 6]
    start, penalty = rng.normal(size=24), np.zeros(24)
    found = solve_matrix_free(
        dense, sampled(rng, dense, n, penalty), penalty, start, tol=0.0, max_iterations=2000
    )
    np.testing.assert_array_equal(found.values[3:5], start[3:5])
    best = np.linalg.lstsq(dense.rows, dense.targets, rcond=None)[0]
    expected = np.sum((dense.rows @ best - dense.targets) ** 2)
    assert found.loss == pytest.approx(expected, rel=1e-8)


def test_a_sample_without_some_columns_still_serves(rng):
    dense, penalty = make(rng), np.zeros(24)
    some = dense.rows[:60].copy()
    some[:, 5:9] = 0.0
    preconditioner = BlockPreconditioner(Batches([(some, dense.targets[:60])]), penalty, 24)
    found = solve_matrix_free(
        dense, preconditioner, penalty, np.zeros(24),
        tol=0.0, max_iterations=2000,
    )  # fmt: skip
    best = np.linalg.lstsq(dense.rows, dense.targets, rcond=None)[0]
    np.testing.assert_allclose(found.values, best, atol=1e-6 * np.abs(best).max())


@pytest.mark.parametrize("least", [0, 10**6])
def test_products_are_chosen_where_they_take_less(least, monkeypatch):
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(1)
    monkeypatch.setattr(matrix_free, "LEAST", least)
    monkeypatch.setattr(matrix_free, "SAMPLED", 0.5)
    found = []
    for operations in (0.1, 1e9):
        monkeypatch.setattr(Batch, "operations", lambda self, chain, n=operations: n)
        direct, auto = problems(chain)
        found.append(auto.solve(chain).solver)
        assert auto.solve(chain).loss == pytest.approx(direct.solve(chain).loss, rel=1e-6)
    assert found == ["cholesky" if least else "cg", "cholesky"]


def test_products_are_used_or_not_as_it_is_said():
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(1)
    for products, solver in ((True, "cg"), (False, "cholesky")):
        assert problems(chain, products=products)[1].solve(chain).solver == solver


def problems(chain, **options):
    batches = [random_batch(chain, seed=k, n_tangents=60) for k in range(3)]
    direct = LeastSquares(lambda: batches, ridge=0.3)
    return direct, LeastSquares(lambda: batches, ridge=0.3, **options)


@pytest.mark.parametrize("center", range(3))
def test_a_core_without_memory_for_its_gram_matrix_is_solved_all_the_same(center):
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(center)
    columns = chain[center].n_parameters
    direct, free = problems(chain, max_grams=8.0 * columns * 6, iterative_tol=0.0)
    expected, found = direct.solve(chain), free.solve(chain)
    assert (expected.solver, found.solver) == ("cholesky", "cg")
    want = expected.core.to_vector()
    np.testing.assert_allclose(found.core.to_vector(), want, atol=1e-6 * np.abs(want).max())
    assert found.loss == pytest.approx(expected.loss, rel=1e-9)
    assert found.loss == pytest.approx(free.loss(chain.replace(center, found.core)), rel=1e-8)
    assert found.condition is None


def test_the_loss_never_rises_over_sweeps():
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1)
    _, free = problems(chain, max_grams=8.0 * 60, iterative_tol=1e-2)
    losses = [step.loss for step in sweep(chain, free, Schedule(max_sweeps=4, rel_tol=0))]
    assert len(losses) == 16
    assert np.all(np.diff(losses) <= 1e-10 * np.array(losses[:-1]))
