"""Error bars from the data of a fit: posterior, active set and scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.potential import (
    Dataset,
    Frame,
    PolynomialPotential,
    Weights,
    fit,
    with_uncertainty,
)
from etn.sweep import Schedule

RIDGE = 1e-2  # of the fixtures


def test_posterior_is_that_of_linear_regression(
    alloy_model, structures, last_core_rows, random_labels
):
    """Covariance, from dense rows and NumPy alone."""
    rng = np.random.default_rng(4)
    data = Dataset([random_labels(frame, rng) for frame in structures(rng, 12)])
    J = last_core_rows(alloy_model, data)
    core = alloy_model.uncertainty.chain[-1]
    y = np.concatenate([[f.energy, *f.forces.ravel()] for f in data])
    w = np.concatenate(
        [[Weights().energy / np.sqrt(f.n_atoms)] + [1] * 3 * f.n_atoms for f in data]
    )
    J, y = J * w[:, None], y * w
    G, R = J.T @ J, RIDGE * np.diag(core.metric())
    dof = np.trace(np.linalg.solve(G + R, G))
    sigma2 = np.sum((y - J @ core.to_vector()) ** 2) / (len(y) - dof)
    expected = sigma2 * np.linalg.inv(G + R)
    spread = alloy_model.uncertainty.spread
    np.testing.assert_allclose(spread @ spread.T, expected, atol=1e-7 * abs(expected).max())


def test_more_data_narrow_the_posterior(crystal_model, crystals):
    test = Dataset.read("etn:Mo/test", index="::6")
    phi = np.array([p.sum(0) for p in crystal_model.uncertainty.features(test)])
    few, many = (
        np.linalg.norm(
            phi @ with_uncertainty(crystal_model, data, ridge=RIDGE).uncertainty.spread, axis=1
        )
        for data in (crystals[::3], crystals)
    )
    assert np.all(many < few)


def test_grades_of_the_training_atoms_are_at_most_one(crystal_model, crystals):
    grades = np.concatenate(crystal_model.uncertainty.gamma(crystals))
    assert len(grades) == crystals.n_atoms
    assert 0.99 <= grades.max() <= 1.01
    # The atoms of the active set have the grade 1 themselves.
    assert np.sum(np.abs(grades - 1) < 1e-6) >= len(crystal_model.uncertainty.spread) // 2


def test_error_bars_rank_and_measure_errors_of_held_out_data(crystal_model):
    from scipy.stats import spearmanr

    test = Dataset.read("etn:Mo/test")
    bars = crystal_model.uncertainty.forces(test)
    errors = [p.forces - f.forces for f, p in zip(test, crystal_model.predict(test), strict=True)]
    bars, errors = (np.linalg.norm(np.concatenate(x), axis=1) for x in (bars, errors))
    assert spearmanr(bars, errors).statistic > 0.5
    assert 0.5 < np.sqrt(np.mean((errors / bars) ** 2)) < 2
    found = crystal_model.predict(test)
    errors = np.array([p.energy - f.energy for f, p in zip(test, found, strict=True)])
    # The scales are those of the training errors, and the energies are fitted closely.
    assert 0.5 < np.sqrt(np.mean((errors / crystal_model.uncertainty.energy(test)) ** 2)) < 2.5


def test_what_is_refused(crystal_model, crystals):
    bare = PolynomialPotential(crystal_model.basis, max_bond=2)
    with pytest.raises(SettingsError, match="expected a fitted potential"):
        with_uncertainty(bare, crystals)
    with pytest.raises(SettingsError, match="ridge: expected zero or more, got -1"):
        with_uncertainty(crystal_model, crystals, ridge=-1)
    assert not fit(
        PolynomialPotential(crystal_model.basis, body_order=3, max_bond=1),
        crystals[:2],
        schedule=Schedule(max_sweeps=1),
        uncertainty=False,
    ).model.has_uncertainty


def test_labels_may_be_missing(crystal_model, crystals):
    stripped = Dataset([replace(f, energy=None) for f in crystals[:4]])
    u = with_uncertainty(crystal_model, stripped, weights={"energy": 0}, ridge=RIDGE).uncertainty
    assert u.scales["energy"] == 1
    assert u.scales["forces"] > 0
    stripped = Dataset([replace(f, forces=None) for f in crystals[:4]])
    u = with_uncertainty(crystal_model, stripped, weights={"forces": 0}, ridge=RIDGE).uncertainty
    assert u.scales["forces"] == 1
    assert u.scales["energy"] > 0


def test_without_ridge_what_the_data_do_not_determine_is_wide(crystal_model, crystals):
    crystal = Frame([42], np.zeros((1, 3)), 3.15 * (1 - 2 * np.eye(3)) / -2, [True] * 3)
    few = Dataset([replace(crystal, energy=-10.9, forces=np.zeros((1, 3)))])
    for ridge in (0.0, RIDGE):
        u = with_uncertainty(crystal_model, few, ridge=ridge).uncertainty
        assert np.all(np.isfinite(u.spread))
        assert u.gamma([crystal])[0] == pytest.approx(1, abs=0.02)
        assert np.isfinite(u.gamma(crystals[:1])[0]).all()
        assert u.gamma(crystals[:1])[0].max() > 100
        assert u.energy(crystals[:1])[0] > 10 * u.energy([crystal])[0]


def test_the_spread_is_that_of_the_atoms_and_forces_of_the_data(crystal_model, crystals):
    found = crystal_model.predict(crystals)
    energies = np.concatenate([p.energies for p in found]) - crystal_model.baseline.e0["Mo"]
    forces = np.concatenate([p.forces for p in found])
    spread = crystal_model.uncertainty.coverage.spread
    assert spread["energy"] == pytest.approx(np.sqrt(np.mean(energies**2)), rel=1e-9)
    assert spread["forces"] == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-9)
    assert 0.1 < spread["energy"] < 10


def test_perfect_crystals_have_no_forces_and_yet_bars(crystal_model):
    crystal = Frame([42], np.zeros((1, 3)), 3.15 * (1 - 2 * np.eye(3)) / -2, [True] * 3)
    few = Dataset([replace(crystal, energy=-10.9, forces=np.zeros((1, 3)))])
    u = with_uncertainty(crystal_model, few, ridge=RIDGE).uncertainty
    assert u.coverage.spread["forces"] == 1
    dimer = Frame([42, 42], [[0, 0, 0], [0, 0, 2.2]], np.zeros((3, 3)), [False] * 3)
    assert u.forces([dimer])[0].min() >= 1


def test_scales_make_the_mean_squared_ratio_of_error_to_bar_one(crystal_model, crystals):
    u, found = crystal_model.uncertainty, crystal_model.predict(crystals)
    errors = np.array([p.energy - f.energy for f, p in zip(crystals, found, strict=True)])
    assert np.mean((errors / u.energy(crystals)) ** 2) == pytest.approx(1, rel=1e-6)
    # The scale of the forces is measured on about two thousand atoms, which all of these are.
    bars = np.linalg.norm(np.concatenate(u.forces(crystals)), axis=1)
    errors = [p.forces - f.forces for f, p in zip(crystals, found, strict=True)]
    errors = np.linalg.norm(np.concatenate(errors), axis=1)
    seen = bars > 1e-8 * bars.max()
    assert np.mean((errors[seen] / bars[seen]) ** 2) == pytest.approx(1, rel=1e-6)
