"""Evidence: the dense normal density, MacKay's conditions, planted ridges, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from scipy.stats import multivariate_normal

from etn.errors import SettingsError
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.sweep import LeastSquares
from etn.sweep.regression.evidence import EvidenceCurve
from etn.testing import random_batch


def curve(phi, y, metric):
    # The lower triangle is not to be read.
    gram = np.triu(phi.T @ phi) + np.tril(np.full((phi.shape[1],) * 2, 1e3), -1)
    return EvidenceCurve(gram, phi.T @ y, float(y @ y), metric, len(y))


def planted(n_rows, n_columns, ridge, *, sigma=0.5, seed=0):
    rng = np.random.default_rng(seed)
    metric = rng.choice([1.0, 3.0, 5.0], size=n_columns)
    phi = rng.normal(size=(n_rows, n_columns)) * np.geomspace(1, 0.1, n_columns)
    a = rng.normal(size=n_columns) * sigma / np.sqrt(ridge * metric)
    return phi, phi @ a + sigma * rng.normal(size=n_rows), metric


def dense(phi, y, metric, ridge, sigma):
    covariance = sigma**2 * (np.eye(len(y)) + (phi / (ridge * metric)) @ phi.T)
    return multivariate_normal(np.zeros(len(y)), covariance).logpdf(y)


@pytest.mark.parametrize("n_rows", [4, 12, 40])
@pytest.mark.parametrize("ridge", [1e-4, 0.3, 20.0])
def test_density_of_the_targets(n_rows, ridge):
    phi, y, metric = planted(n_rows, 9, 1.0)
    found = curve(phi, y, metric).at(ridge)
    assert found.log_evidence == pytest.approx(dense(phi, y, metric, ridge, found.sigma), rel=1e-9)
    # No other noise makes the targets more likely.
    for factor in (0.99, 1.01):
        assert dense(phi, y, metric, ridge, factor * found.sigma) < found.log_evidence


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_maximum_of_the_density(seed):
    phi, y, metric = planted(30, 12, 2.0, seed=seed)
    found = curve(phi, y, metric).maximum()
    best = scipy.optimize.minimize(
        lambda x: -dense(phi, y, metric, *np.exp(x)),
        np.log([1.0, y.std()]),
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-10},
    )
    assert found.log_evidence == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose([found.ridge, found.sigma], np.exp(best.x), rtol=1e-3)


def test_conditions_of_mackay_at_the_maximum():
    phi, y, metric = planted(60, 20, 0.7)
    found = curve(phi, y, metric).maximum()
    penalized = phi.T @ phi + found.ridge * np.diag(metric)
    a = np.linalg.solve(penalized, phi.T @ y)
    n_effective = np.trace(np.linalg.solve(penalized, phi.T @ phi))
    assert found.n_effective == pytest.approx(n_effective, rel=1e-9)
    assert found.ridge * metric @ a**2 / found.sigma**2 == pytest.approx(n_effective, rel=1e-3)
    residual = y - phi @ a
    assert residual @ residual / found.sigma**2 == pytest.approx(60 - n_effective, rel=1e-3)


@pytest.mark.parametrize(("n_rows", "n_columns"), [(2000, 100), (200, 200)])
@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_a_planted_ridge_is_found(n_rows, n_columns, ridge):
    phi, y, metric = planted(n_rows, n_columns, ridge, seed=3)
    found = curve(phi, y, metric).maximum()
    assert ridge / 2 < found.ridge < 2 * ridge
    assert found.sigma == pytest.approx(0.5, rel=0.3)


def test_units_of_rows_and_columns():
    # Larger rows have a larger noise and ridge, larger columns a larger ridge alone.
    phi, y, metric = planted(80, 10, 1.0)
    one = curve(phi, y, metric).maximum()
    rows = curve(10 * phi, 10 * y, metric).maximum()
    columns = curve(10 * phi, y, metric).maximum()
    assert rows.ridge == pytest.approx(100 * one.ridge, rel=1e-3)
    assert columns.ridge == pytest.approx(100 * one.ridge, rel=1e-3)
    assert (rows.sigma, columns.sigma) == pytest.approx((10 * one.sigma, one.sigma), rel=1e-4)
    assert rows.n_effective == pytest.approx(one.n_effective, rel=1e-3)


def test_targets_of_noise_alone_and_without_noise():
    phi, y, metric = planted(200, 10, 1.0)
    noise = np.random.default_rng(5).normal(size=200)
    noise -= phi @ np.linalg.lstsq(phi, noise)[0]
    nothing = curve(phi, noise, metric).maximum()
    assert nothing.n_effective < 0.2
    exact = curve(phi, phi @ np.linalg.lstsq(phi, y)[0], metric).maximum()
    assert np.isfinite(exact.log_evidence)
    assert exact.n_effective > 9.9


def test_core_of_a_chain():
    chain = Chain.random(["1x0e+2x0e+2x1o"] * 3, max_bond=2, seed=0).canonicalize(1)
    batch = random_batch(chain, seed=1)
    problem = LeastSquares(lambda: [batch], ridge=1e-3)
    n_rows = len(batch.targets)
    design = CoreDesign(chain[1])
    ((phi, y),) = problem._rows(chain, design)
    expected = curve(phi, y, chain[1].metric()[design.order]).maximum()
    assert problem.evidence(chain, n_rows) == pytest.approx(expected, rel=1e-6)
    problem.max_grams = 8.0 * design.columns**2
    assert problem.evidence(chain, n_rows) is None


def test_nothing_to_go_by():
    one = np.ones(1)
    with pytest.raises(SettingsError, match="evidence: expected rows with targets that are not"):
        EvidenceCurve(np.eye(1), 0 * one, 0.0, one, 3)
    with pytest.raises(SettingsError, match="got 0 rows with squared targets 1; give the ridge"):
        EvidenceCurve(np.eye(1), one, 1.0, one, 0)
    with pytest.raises(SettingsError, match="expected a Gram matrix that is not zero"):
        EvidenceCurve(np.zeros((1, 1)), 0 * one, 1.0, one, 3)
