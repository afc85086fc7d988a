"""Error bars of networks: dense regression, what was never seen, potentials below, files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.nn import calibration
from etn.nn.calibration import with_uncertainty
from etn.nn.potential import NeuralPotential
from etn.potential import (
    Basis,
    Dataset,
    Frame,
    PolynomialPotential,
    Weights,
    load,
    select,
)

WEIGHTS = Weights(energy=2.0, forces=0.5, stress=0.3)


@pytest.fixture
def noisy(potential, frames, labelled):
    """Function: a potential of a network, and frames with noise on what it says as labels."""

    def make(name, rng, n=1, **changes):
        start = potential(name, rng, **changes)
        data = labelled([f for _ in range(n) for f in frames(rng, [41, 42])], start)
        return start, Dataset(
            replace(
                f,
                energy=f.energy + rng.normal(),
                forces=f.forces + rng.normal(size=f.forces.shape),
                stress=None if f.stress is None else f.stress + 0.01 * rng.normal(size=6),
            )
            for f in data
        )

    return make


@pytest.mark.parametrize("name", ["tensornet", "ictp", "tdn"])
def test_the_posterior_is_that_of_bayesian_regression(name, noisy, rng, by_last_weights):
    """From rows by differences of predictions, and NumPy alone."""
    start, data = noisy(name, rng)
    last = np.concatenate([w.detach().numpy().ravel() for w in start.network.last_weights])
    labels, weights = [], []
    for label, weight in (("energy", 2.0), ("forces", 0.5), ("stress", 0.3)):
        for frame in data:
            size = np.size(getattr(frame, label)) if getattr(frame, label) is not None else 0
            n = frame.n_atoms
            scale = {"energy": n**-0.5, "forces": 1.0, "stress": frame.volume / n}[label]
            weights += [weight * scale] * size
            labels += [] if size == 0 else list(np.ravel(getattr(frame, label)))

    def numbers(found):
        return [
            getattr(p, label)
            for label in ("energy", "forces", "stress")
            for p, frame in zip(found, data, strict=True)
            if getattr(frame, label) is not None
        ]

    J = np.array(weights)[:, None] * by_last_weights(start, data, numbers)
    predicted = np.concatenate([np.ravel(x) for x in numbers(start.predict(data))])
    residuals = weights * (np.array(labels) - predicted)
    # Without data the last weights are as wide as they are large.
    variance = residuals @ residuals / len(residuals)
    G, R = J.T @ J, variance / np.mean(last**2) * np.eye(len(last))
    used = np.trace(np.linalg.solve(G + R, G))
    expected = residuals @ residuals / (len(residuals) - used) * np.linalg.inv(G + R)
    spread = with_uncertainty(start, data, weights=WEIGHTS).uncertainty.spread
    np.testing.assert_allclose(spread @ spread.T, expected, atol=1e-7 * np.abs(expected).max())


def test_a_share_of_the_forces_stands_for_all(noisy, rng, monkeypatch):
    start, data = noisy("tensornet", rng)
    data = Dataset([frame for frame in data for _ in range(3)])
    whole = with_uncertainty(start, data).uncertainty
    monkeypatch.setattr(calibration, "FORCE_ATOMS", data.n_atoms // 3)
    third = with_uncertainty(start, data).uncertainty
    np.testing.assert_allclose(
        third.spread @ third.spread.T, whole.spread @ whole.spread.T, rtol=1e-6
    )
    assert third.scales == pytest.approx(whole.scales, rel=1e-6)


def test_scales_make_the_mean_squared_ratio_of_error_to_bar_one(noisy, rng):
    start, data = noisy("tdn", rng, n=3)
    train, valid = data[::2], data[1::2]
    known = with_uncertainty(start, train, valid=valid)
    found, u = known.predict(valid), known.uncertainty
    errors = np.array([p.energy - f.energy for f, p in zip(valid, found, strict=True)])
    assert np.mean((errors / replace(u, coverage=None).energy(valid)) ** 2) == pytest.approx(1)
    errors = np.concatenate([p.forces - f.forces for f, p in zip(valid, found, strict=True)])
    bars = np.concatenate(replace(u, coverage=None).forces(valid))
    ratios = np.linalg.norm(errors, axis=1) / np.linalg.norm(bars, axis=1)
    assert np.mean(ratios**2) == pytest.approx(1)


def test_without_forces_or_energies(noisy, rng):
    start, data = noisy("tensornet", rng)
    energies = Dataset(replace(f, forces=None, stress=None) for f in data)
    assert (
        with_uncertainty(start, energies, weights=Weights(forces=0.0)).uncertainty.scales["forces"]
        == 1.0
    )
    forces = Dataset(replace(f, energy=None, stress=None) for f in data)
    u = with_uncertainty(start, forces, weights=Weights(energy=0.0)).uncertainty
    assert u.scales["energy"] == 1.0
    assert np.all(np.isfinite(u.spread))


def cells(rng, n, noise):
    """Cubic cells of molybdenum with displaced atoms."""
    corners = 3.15 * np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    return [
        Frame([42, 42], corners + noise * rng.normal(size=(2, 3)), 3.15 * np.eye(3), [True] * 3)
        for _ in range(n)
    ]


@pytest.fixture
def crystal(potential, labelled, rng):
    """A network that has seen little more than the perfect crystal."""
    start = potential("tensornet", rng, elements=("Mo",), r_max=4.0, channels=12)
    return with_uncertainty(start, labelled(cells(rng, 30, 0.05), start))


def test_grades_and_bars_grow_away_from_the_data(crystal, rng):
    near, middle, far = (cells(rng, 10, noise) for noise in (0.05, 0.15, 0.4))
    u = crystal.uncertainty
    grades = [np.median([g.max() for g in u.gamma(frames)]) for frames in (near, middle, far)]
    assert grades[0] < 1.5 < 2 * grades[0] < grades[1] < grades[2]
    bars = [np.median(np.concatenate(u.energies(frames))) for frames in (near, middle, far)]
    assert bars[0] < bars[1] < bars[2]
    bars = [np.linalg.norm(np.concatenate(u.forces(frames))) for frames in (near, middle, far)]
    assert bars[0] < bars[1] < bars[2]


def test_select_takes_the_environments_that_were_never_seen(crystal, rng):
    pool = cells(rng, 40, 0.05)
    dense, thin = (replace(f, cell=x * f.cell, positions=x * f.positions)
                   for x, f in zip((0.85, 1.2), cells(rng, 2, 0.05), strict=True))  # fmt: skip
    dimer = Frame([42, 42], [[0, 0, 0], [0, 0, 2.4]], np.zeros((3, 3)), [False] * 3)
    for k, frame in zip((5, 17, 33), (dense, dimer, thin), strict=True):
        pool[k] = frame
    selection = select(crystal, pool, 3)
    assert sorted(selection.indices) == [5, 17, 33]
    # So they are by the features of the network alone.
    u = replace(crystal.uncertainty, coverage=None)
    grades = np.array([gamma.max() for gamma in u.gamma(pool)])
    assert 2 * np.delete(grades, [5, 17, 33]).max() < grades[[5, 17, 33]].min()


def test_files_and_calculators_keep_them(crystal, rng, tmp_path):
    crystal.save(tmp_path / "a.etn")
    loaded = load(tmp_path / "a.etn")
    frames = cells(rng, 2, 0.2)
    one, two = loaded.uncertainty, crystal.uncertainty
    assert repr(one) == "LastLayer(6 unknowns)"
    assert loaded.describe()["uncertainty"] == "error bars and grades, 6 unknowns"
    for name in ("gamma", "energies", "forces"):
        for a, b in zip(getattr(one, name)(frames), getattr(two, name)(frames), strict=True):
            np.testing.assert_array_equal(a, b)
    atoms = frames[0].to_atoms()
    gamma = loaded.calculator(gamma_warn=None).get_gamma(atoms)
    np.testing.assert_array_equal(gamma, two.gamma(frames[:1])[0])


def test_errors_are_those_of_the_sum_with_a_potential_below(noisy, rng, tmp_path):
    start, data = noisy("tensornet", rng, n=2)
    basis = Basis(("Nb", "Mo"), r_max=4.0, n_max=2, l_max=1, r_min=1.0)
    bare = PolynomialPotential(basis, max_bond=2, baseline=start.baseline)
    below = bare.with_chain(bare.initial_chain(seed=1))
    both = with_uncertainty(NeuralPotential(start.model, below=below), data)
    # The labels are those of the network and noise: what is below is an error here.
    alone = with_uncertainty(start, data)
    assert both.uncertainty.scales["energy"] != alone.uncertainty.scales["energy"]
    found, u = both.predict(data), both.uncertainty
    errors = np.array([p.energy - f.energy for f, p in zip(data, found, strict=True)])
    assert np.mean((errors / u.energy(data)) ** 2) == pytest.approx(1, rel=1e-6)
    both.save(tmp_path / "a.etn")
    again = load(tmp_path / "a.etn").uncertainty
    np.testing.assert_array_equal(again.energy(data), u.energy(data))


def test_networks_without_last_weights_are_refused(noisy, rng):
    start, data = noisy("tdn", rng, forces="direct")
    with pytest.raises(SettingsError, match="the network tdn states no last weights"):
        with_uncertainty(start, data)
