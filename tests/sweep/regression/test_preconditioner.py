"""Blocks of normal equations, inverted."""

from __future__ import annotations

import numpy as np
import pytest

from etn.sweep.regression.batches import Batches
from etn.sweep.regression.preconditioner import BlockPreconditioner


@pytest.mark.parametrize("block", [1, 7, 24])
def test_the_preconditioner_inverts_the_blocks_of_its_sample(block, rng):
    rows, penalty = rng.normal(size=(40, 24)), rng.uniform(0.1, 1.0, size=24)
    inverse = BlockPreconditioner(Batches([(rows, np.ones(40))]), penalty, block)
    number = np.arange(24) // block
    matrix = np.where(number[:, None] == number, rows.T @ rows + np.diag(penalty), 0.0)
    found = np.array([inverse(column) for column in matrix])
    np.testing.assert_allclose(found, np.eye(24), atol=1e-9)


def test_columns_without_rows_are_taken_for_usual_ones(rng):
    rows = rng.normal(size=(400, 5))
    rows[:, 2] = 0.0
    inverse = BlockPreconditioner(Batches([(rows, np.ones(400))]), np.zeros(5), 5)
    diagonal = np.sum(rows**2, axis=0)[[0, 1, 3, 4]]
    assert inverse(np.eye(5)[2])[2] == pytest.approx(1 / np.median(diagonal), rel=1e-9)


@pytest.mark.parametrize("block", [3, 6])
def test_dependent_columns_do_no_harm(block, rng):
    rows = rng.normal(size=(40, 3))
    inverse = BlockPreconditioner(Batches([(np.tile(rows, 2), np.ones(40))]), np.zeros(6), block)
    matrix = np.array([inverse(row) for row in np.eye(6)])
    size = np.abs(matrix).max()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6 * size)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9 * size
