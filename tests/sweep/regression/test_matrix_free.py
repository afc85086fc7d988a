"""Conjugate gradients on streamed rows against direct solutions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg

from etn.network import Chain
from etn.sweep import LeastSquares, Schedule, sweep
from etn.sweep.regression.batches import Batches
from etn.sweep.regression.matrix_free import solve_matrix_free
from etn.testing import random_batch

LEG = "2x0e+2x1o+1x2e"


def make(rng, n_rows=90, columns=24, condition=1e3):
    u, _ = np.linalg.qr(rng.normal(size=(n_rows, columns)))
    v, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    rows = (u * np.logspace(0, -np.log10(condition), columns)) @ v.T
    targets = rng.normal(size=n_rows)
    parts = np.array_split(np.arange(n_rows), 7)
    return rows, targets, Batches([lambda p=p: (rows[p], targets[p]) for p in parts])


@pytest.mark.parametrize("block", [1, 5, 24, 100])
def test_the_solution_is_that_of_lstsq(rng, block):
    rows, targets, batches = make(rng)
    penalty = rng.uniform(1e-6, 1e-4, size=24)
    found = solve_matrix_free(
        batches, penalty, rng.normal(size=24), block=block, tol=0.0, max_iterations=2000
    )
    stacked = np.concatenate([rows, np.diag(np.sqrt(penalty))])
    padded = np.concatenate([targets, np.zeros(24)])
    expected = np.linalg.lstsq(stacked, padded, rcond=None)[0]
    np.testing.assert_allclose(found.values, expected, atol=1e-7 * np.abs(expected).max())
    assert found.loss == pytest.approx(np.sum((stacked @ expected - padded) ** 2), rel=1e-9)
    if block >= 24:  # the preconditioner is the inverse
        assert found.iterations <= 3


def test_the_iterates_are_those_of_lsqr(rng):
    # LSQR is conjugate gradients in exact arithmetic; its damping is a constant penalty.
    rows, targets, batches = make(rng, condition=10)
    start, damp = np.zeros(24), 0.1
    scale = np.sqrt(np.sum(rows**2, axis=0) + damp**2)
    for n in (1, 4):
        found = solve_matrix_free(
            batches, np.full(24, damp**2), start, block=1, tol=0.0, max_iterations=n
        )
        stacked = np.concatenate([rows, damp * np.eye(24)]) / scale
        expected = scipy.sparse.linalg.lsqr(
            stacked, np.concatenate([targets, np.zeros(24)]), atol=0, btol=0, iter_lim=n
        )[0]
        np.testing.assert_allclose(found.values, expected / scale, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("iterations", [0, 1, 3, 10])
def test_the_objective_falls_and_is_the_one_reported(rng, iterations):
    rows, targets, batches = make(rng)
    start, penalty = rng.normal(size=24), np.full(24, 1e-3)

    def objective(a):
        return np.sum((rows @ a - targets) ** 2) + penalty @ a**2

    found = solve_matrix_free(batches, penalty, start, block=4, tol=0.0, max_iterations=iterations)
    assert found.iterations == iterations
    assert found.loss == pytest.approx(objective(found.values), rel=1e-10)
    assert found.loss <= objective(start) * (1 + 1e-12)
    half = rows.T @ (targets - rows @ start) - penalty * start
    assert found.gradient == pytest.approx(np.linalg.norm(half), rel=1e-10)


def test_it_ends_when_little_is_gained(rng):
    _, _, batches = make(rng, condition=1e6)
    counts = [
        solve_matrix_free(batches, np.zeros(24), np.zeros(24), block=1, tol=tol).iterations
        for tol in (1e-1, 1e-4, 0.0)
    ]
    assert 5 <= counts[0] < counts[1] < counts[2]


def test_columns_without_data_keep_their_values(rng):
    rows, targets, _ = make(rng)
    rows[:, 3:5] = 0.0
    rows[:, 7] = rows[:, 6]
    start = rng.normal(size=24)
    found = solve_matrix_free(
        Batches([(rows, targets)]), np.zeros(24), start, block=8, tol=0.0, max_iterations=500
    )
    np.testing.assert_array_equal(found.values[3:5], start[3:5])
    best = np.linalg.lstsq(rows, targets, rcond=None)[0]
    assert found.loss == pytest.approx(np.sum((rows @ best - targets) ** 2), rel=1e-8)


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
