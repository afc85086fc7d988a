"""The floor of a fitted potential: nothing within its data, no well beyond them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.optimize import FIRE

from etn.data import Dataset, Frame
from etn.errors import ModelFileError, SettingsError
from etn.potential import (
    Baseline,
    Basis,
    MessagePassingPotential,
    Messages,
    PolynomialPotential,
    fit,
    fit_layers,
    load,
)
from etn.potential.features.floor import DEPTH, LEAST, TAIL, Floor
from etn.sweep import Schedule


def answers(model, data):
    """What the network adds to the E0 of every atom, by element; repulsion within the data is 0."""
    found = {symbol: [] for symbol in model.elements}
    for frame, p in zip(data, model.predict(data), strict=True):
        for symbol, energy in zip(frame.symbols, p.energies, strict=True):
            found[symbol].append(energy - model.baseline.e0[symbol])
    return found


@pytest.fixture(scope="module")
def alloy():
    data = Dataset.read("etn:NbMoTaW/train", index="::12")
    return Dataset([frame for frame in data if frame.n_atoms <= 16])


@pytest.fixture(scope="module")
def two_layers(alloy):
    basis = Basis.for_dataset(alloy, r_max=3.6, n_max=3, l_max=1)
    model = MessagePassingPotential(
        basis,
        Messages("2x0e+1x1o", n_max=2, l_max=1, body_order=3),
        max_bond=2,
        baseline=Baseline.fit(alloy),
    )
    return fit_layers(model, alloy, max_cycles=1, schedule=Schedule(max_sweeps=1)).model


def test_the_floor_is_that_of_the_training_data(crystals, crystal_model):
    (found,) = answers(crystal_model, crystals).values()
    low, usual = min(found), np.median([0.0, *found])
    np.testing.assert_allclose(crystal_model.floor.lowest, [low], rtol=1e-12)
    expected = max(-DEPTH * low, TAIL * (usual - low), LEAST)
    np.testing.assert_allclose(crystal_model.floor.margin, [expected], rtol=1e-12)


def test_no_atom_of_the_data_feels_it(crystals, crystal_model):
    bare = crystal_model.with_chain(crystal_model.chain)
    for one, two in zip(bare.predict(crystals), crystal_model.predict(crystals), strict=True):
        np.testing.assert_array_equal(one.energies, two.energies)
        np.testing.assert_array_equal(one.forces, two.forces)
        np.testing.assert_array_equal(one.stress, two.stress)


def test_an_atom_alone_stays_at_its_e0_whatever_the_data_hold():
    floor = Floor(np.array([-3.0, 0.0]), np.array([1.0, LEAST]))
    energies, slopes = floor.lift(np.zeros(2), np.arange(2))
    np.testing.assert_array_equal(energies, 0.0)
    np.testing.assert_array_equal(slopes, 1.0)
    # The element of which there are no atoms, and one whose atoms all have positive answers.
    data = Dataset([Frame([42, 42], [[0, 0, 0], [0, 0, 2.5]], np.zeros((3, 3)), [False] * 3)])

    class Constant:
        elements, baseline = ("Mo", "W"), Baseline({"Mo": 0.0, "W": 0.0})

        def predict(self, frames):
            from etn.data.metrics import Prediction

            return [Prediction(8.0, np.full(2, 4.0), np.zeros((2, 3)), None) for _ in frames]

    floor = Floor.of(Constant(), data)
    np.testing.assert_array_equal(floor.lowest, 0.0)
    np.testing.assert_array_equal(floor.margin, [max(LEAST, TAIL * 4.0), LEAST])


def test_it_is_smooth_to_the_second_derivative_and_never_falls(rng):
    floor, x = Floor(np.array([-5.0]), np.array([1.3])), np.linspace(-12.0, 0.0, 24001)
    values, slopes = floor.lift(x, np.zeros(len(x), int))
    np.testing.assert_array_equal(values[x > -6.3], x[x > -6.3])
    np.testing.assert_allclose(values[x < -7.7], -5.0 - 1.5 * 1.3, rtol=1e-12)
    assert (np.diff(values) >= -1e-14).all()
    h = x[1] - x[0]
    np.testing.assert_allclose(np.gradient(values, h)[1:-1], slopes[1:-1], atol=1e-6)
    # A jump of the second derivative would be a jump of 1 / 1.3 in the slope of the slope.
    bends = np.diff(slopes) / h
    assert np.abs(np.diff(bends)).max() < 0.02


@pytest.mark.parametrize("which", ["crystal", "layers"])
def test_forces_and_stress_are_derivatives_where_the_floor_bends(
    which, crystals, crystal_model, alloy, two_layers
):
    model, frame = (crystal_model, crystals[0]) if which == "crystal" else (two_layers, alloy[0])
    found = answers(model, [frame])
    lowest = np.array([np.median(found[s]) + 0.9 if found[s] else 0.0 for s in model.elements])
    floor = Floor(lowest, np.full(len(lowest), 0.6))
    model = (
        model.with_chain(model.chain, floor=floor)
        if which == "crystal"
        else model.with_layers(model.layers, floor=floor)
    )
    bent = [
        floor.lift(np.array(own), np.full(len(own), k))[1] for k, own in enumerate(found.values())
    ]
    assert any(((s > 0.1) & (s < 0.9)).any() for s in bent)
    (p,) = model.predict([frame])
    atom, h = 1, 1e-4
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            moved = frame.positions.copy()
            moved[atom, axis] += sign * h
            shifted = Frame(frame.numbers, moved, frame.cell, frame.pbc)
            ends.append(model.predict([shifted])[0].energy)
        assert p.forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * h), abs=2e-6)
    ends = []
    for sign in (1, -1):
        strain = np.eye(3) + sign * h * np.diag([1.0, 0, 0])
        moved = Frame(frame.numbers, frame.positions @ strain, frame.cell @ strain, frame.pbc)
        ends.append(model.predict([moved])[0].energy)
    expected = (ends[0] - ends[1]) / (2 * h) / frame.volume
    assert p.stress[0] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("which", ["crystal", "layers"])
def test_a_gas_of_atoms_does_not_fall_into_a_well(which, crystal_model, two_layers):
    model = crystal_model if which == "crystal" else two_layers
    rng, deepest = np.random.default_rng(7), (model.floor.lowest - 1.5 * model.floor.margin).min()
    for volume in (40.0, 15.0, 8.0):
        edge = (12 * volume) ** (1 / 3)
        symbols = rng.choice(model.elements, 12)
        atoms = Atoms(symbols, rng.random((12, 3)) * edge, cell=[edge] * 3, pbc=True)
        atoms.calc = model.calculator(gamma_warn=None)
        FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.3, steps=40)
        e0 = [model.baseline.e0[symbol] for symbol in symbols]
        assert (atoms.get_potential_energies() - e0).min() >= deepest - 1e-9


def test_it_is_kept_in_the_file_and_checked(tmp_path, crystal_model, two_layers):
    for model in (crystal_model, two_layers):
        model.save(tmp_path / "model.etn")
        again = load(tmp_path / "model.etn").floor
        np.testing.assert_array_equal(again.lowest, model.floor.lowest)
        np.testing.assert_array_equal(again.margin, model.floor.margin)
    with pytest.raises(ModelFileError, match=r"array floor\.margin"):
        Floor.from_arrays(("Mo",), {"floor.lowest": np.zeros(1)})
    assert Floor.from_arrays(("Mo",), {}) is None
    for lowest, margin in ((-1.0, 0.0), (-1.0, -2.0), (0.5, 1.0)):
        with pytest.raises(SettingsError, match="floor: expected lowest answers of zero or less"):
            Floor(np.array([lowest]), np.array([margin]))


def test_a_fit_of_error_bars_keeps_it(crystals, crystal_model):
    from etn.potential import with_uncertainty

    again = with_uncertainty(crystal_model, crystals)
    assert again.floor is crystal_model.floor


def test_the_fitted_floor_follows_the_robust_validation_choice(crystals):
    """The chain of the best sweep is the one whose floor is taken."""
    model = PolynomialPotential(
        Basis.for_dataset(crystals, r_max=4.0, n_max=3, l_max=1),
        max_bond=2,
        baseline=Baseline.fit(crystals),
    )
    found = fit(model, crystals, valid=0.2, schedule=Schedule(max_sweeps=1), uncertainty=False)
    rest = Dataset(crystals.split(0.2, 0)[0])
    low = min(min(values) for values in answers(found.model, rest).values())
    assert found.model.floor.lowest[0] == pytest.approx(low, rel=1e-12)
