"""The posterior of least squares against dense algebra and samples."""

from __future__ import annotations

import numpy as np
import pytest

from etn.sweep.regression.normal_equations import NormalEquations
from etn.sweep.regression.posterior import posterior


def problem(n_rows=30, size=6):
    rng = np.random.default_rng(0)
    phi, y = rng.normal(size=(n_rows, size)), rng.normal(size=n_rows)
    normal = NormalEquations(size)
    normal.add(phi, y)
    return phi, y, normal, rng.uniform(0.5, 20.0, size=size)


def test_covariance_is_that_of_dense_algebra():
    phi, y, normal, penalty = problem()
    G, R = phi.T @ phi, np.diag(penalty)
    at = np.linalg.solve(G + R, phi.T @ y)
    used = np.trace(np.linalg.solve(G + R, G))
    sigma2 = np.sum((y - phi @ at) ** 2) / (30 - used)
    spread = posterior(normal, at, penalty, 30)
    np.testing.assert_allclose(spread @ spread.T, sigma2 * np.linalg.inv(G + R), rtol=1e-9)


def test_what_no_row_tells_is_as_wide_as_the_penalty_or_the_arithmetic_allows():
    normal = NormalEquations(2)
    normal.add(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1.0, -1.0]))
    spread = posterior(normal, np.zeros(2), np.array([0.0, 4.0]), 2)
    assert (spread @ spread.T)[1, 1] == pytest.approx(2.0 / (2 - 1) / 4.0)
    wide = posterior(normal, np.zeros(2), np.zeros(2), 2)
    assert 1e10 < (wide @ wide.T)[1, 1] < np.inf
