"""Error bars and grades: closed forms, symmetries, files."""

from __future__ import annotations

from dataclasses import replace
from functools import partialmethod

import numpy as np
import pytest
from ase import Atoms

import etn
from etn.errors import SettingsError
from etn.o3.rotation import random_rotation
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    Frame,
    PolynomialPotential,
    Uncertainty,
    fit,
    response,
    select,
    with_uncertainty,
)
from etn.potential.features import batching
from etn.potential.features.pairs import Pairs
from etn.sweep import Schedule

RIDGE = 1e-2


def measures(potential, frames):
    u = potential.uncertainty
    forces = [np.linalg.norm(s, axis=1) for s in u.forces(frames)]
    return [
        np.stack(each) for each in zip(u.gamma(frames), u.energies(frames), forces, strict=True)
    ]


@pytest.mark.parametrize("kind", ["rotation", "reflection", "translation", "permutation"])
def test_symmetries(alloy_model, kind, structures):
    rng = np.random.default_rng(7)
    frames = structures(rng, 4)
    orders = [np.arange(8)] * 4
    if kind == "translation":
        moved = [replace(f, positions=f.positions + rng.normal(size=3)) for f in frames]
    elif kind == "permutation":
        orders = [rng.permutation(8) for _ in frames]
        moved = [
            replace(f, numbers=f.numbers[o], positions=f.positions[o])
            for f, o in zip(frames, orders, strict=True)
        ]
    else:
        R = random_rotation(rng, reflect=kind == "reflection")
        moved = [replace(f, positions=f.positions @ R.T, cell=f.cell @ R.T) for f in frames]
    # Of the force on an atom the trace of its covariance is an invariant, the squared norm of the
    # three deviations.
    for got, expected, order in zip(
        measures(alloy_model, moved), measures(alloy_model, frames), orders, strict=True
    ):
        np.testing.assert_allclose(got, expected[:, order], rtol=1e-7)
    u = alloy_model.uncertainty
    np.testing.assert_allclose(u.energy(moved), u.energy(frames), rtol=1e-8)


def test_parts_add_up(alloy_model, structures):
    """Grades of fragments stand side by side; a supercell has twice the deviation of a cell."""
    u = alloy_model.uncertainty
    one, two = structures(np.random.default_rng(8), 3)[::2]
    both = replace(
        one,
        numbers=np.concatenate([one.numbers, two.numbers]),
        positions=np.concatenate([one.positions, two.positions + 50]),
    )
    alone = [np.concatenate(values) for values in (u.gamma([one, two]), u.forces([one, two]))]
    np.testing.assert_allclose(u.gamma([both])[0], alone[0], rtol=1e-9)
    np.testing.assert_allclose(u.forces([both])[0], alone[1], rtol=1e-7)
    sums = [phi.sum(0) for phi in u.features([one, two])]
    expected = np.linalg.norm((sums[0] + sums[1]) @ u.spread) * u.scales["energy"]
    assert u.energy([both])[0] == pytest.approx(expected, rel=1e-9)
    assert u.energy([both])[0] <= u.energy([one, two]).sum() * (1 + 1e-9)
    cell = structures(np.random.default_rng(8), 2)[1]
    double = replace(
        cell,
        numbers=np.tile(cell.numbers, 2),
        positions=np.concatenate([cell.positions, cell.positions + cell.cell[0]]),
        cell=cell.cell * [[2], [1], [1]],
    )
    assert u.energy([double])[0] == pytest.approx(2 * u.energy([cell])[0], rel=1e-9)
    np.testing.assert_allclose(u.gamma([double])[0], np.tile(u.gamma([cell])[0], 2), rtol=1e-9)


def test_an_isolated_atom_is_certain(alloy_model):
    atom = Frame([74], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3)
    u = alloy_model.uncertainty
    assert u.energy([atom]) == u.gamma([atom])[0] == 0
    np.testing.assert_array_equal(u.forces([atom])[0], 0)


@pytest.fixture(scope="module")
def lone_tungsten(crystals):
    """Molybdenum crystals and one W without neighbours; its fit gives W no weights."""
    lone = Frame([74], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3, energy=-12.0)
    train = Dataset([*crystals[::2], replace(lone, forces=np.zeros((1, 3)))])
    basis = Basis.for_dataset(train, r_max=4.0, n_max=3, l_max=1)
    start = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=Baseline.fit(train))
    return fit(start, train, ridge=RIDGE, schedule=Schedule(max_sweeps=1)).model


def molecule(symbols, r):
    positions = np.arange(len(symbols))[:, None] * [0, 0, r]
    return Frame(Atoms(symbols).numbers, positions, np.zeros((3, 3)), [False] * 3)


def test_an_element_that_never_had_a_neighbour_is_far_and_uncertain(lone_tungsten):
    u = lone_tungsten.uncertainty
    crystal = Frame([74], np.zeros((1, 3)), 3.165 * (np.ones((3, 3)) / 2 - np.eye(3)), [True] * 3)
    frames = [crystal, molecule(["W", "W"], 1.0), molecule(["W", "W"], 2.5)]
    # The features of the last core say nothing at all.
    assert max(np.abs(phi).max() for phi in u.features(frames)) < 1e-6
    for frame, gamma, bars, forces in zip(
        frames, u.gamma(frames), u.energies(frames), u.forces(frames), strict=True
    ):
        assert gamma.min() > 1000
        np.testing.assert_allclose(bars, u.coverage.spread["energy"], rtol=1e-3)
        np.testing.assert_allclose(forces, u.coverage.spread["forces"], rtol=1e-3)
        # All atoms of a kind are wrong together.
        assert u.energy([frame])[0] == pytest.approx(bars.sum(), rel=1e-3)
    np.testing.assert_array_equal(u.gamma([molecule(["W"], 0)])[0], 0)
    assert u.energy([molecule(["W"], 0)])[0] == 0


def test_a_pair_of_elements_that_never_met_is_far(lone_tungsten, crystals):
    u = lone_tungsten.uncertainty
    alloy = replace(crystals[0], numbers=np.r_[74, crystals[0].numbers[1:]])
    gamma, pure = u.gamma([alloy])[0], u.gamma([crystals[0]])[0]
    pairs = Pairs.find([alloy], u.basis.elements, u.basis.r_max)
    near = np.unique(pairs.center[(pairs.neighbor == 0) & (pairs.distance < 3)])
    assert pure.max() < 1.05
    assert gamma[near].min() > 50
    assert np.all(u.energies([alloy])[0][near] >= u.coverage.spread["energy"])


def test_distances_below_the_data_are_graded_whatever_the_features(crystal_model):
    """As if the features of the last core were held constant there."""
    u = replace(crystal_model.uncertainty, inverse=0 * crystal_model.uncertainty.inverse)
    shortest = u.coverage.closest[0, 0]
    crystal = 3.15 * (1 - 2 * np.eye(3)) / -2
    pushed = [
        Frame([42, 42], [[0, 0, 0], [0, 0, x * shortest]], 2 * crystal, [True] * 3)
        for x in (0.94, 0.8, 0.5)
    ]
    nearest = [gamma.max() for gamma in u.gamma(pushed)]
    assert nearest[0] > 2
    assert nearest[1] > 14
    assert nearest[2] > 4000


def test_bars_of_what_was_seen_are_those_of_the_last_core(crystal_model, crystals):
    u = crystal_model.uncertainty
    bare = replace(u, coverage=None)
    np.testing.assert_array_equal(u.energy(crystals), bare.energy(crystals))
    for got, expected in zip(u.forces(crystals[:3]), bare.forces(crystals[:3]), strict=True):
        np.testing.assert_array_equal(got, expected)
    grades = zip(u.gamma(crystals), bare.gamma(crystals), strict=True)
    assert all(np.all(got >= expected) for got, expected in grades)


def test_files_without_a_coverage_keep_their_grades(crystal_model, crystals, tmp_path):
    u = crystal_model.uncertainty
    old = crystal_model.with_chain(crystal_model.chain, uncertainty=replace(u, coverage=None))
    old.save(tmp_path / "old.etn")
    loaded = etn.load(str(tmp_path / "old.etn"))
    assert loaded.uncertainty.coverage is None
    for phi, gamma in zip(
        u.features(crystals[:3]), loaded.uncertainty.gamma(crystals[:3]), strict=True
    ):
        np.testing.assert_allclose(gamma, np.abs(phi @ u.inverse).max(axis=1), rtol=1e-12)
    far = molecule(["Mo", "Mo"], 2.2)
    assert loaded.uncertainty.gamma([far])[0].max() < u.gamma([far])[0].max()
    assert len(select(loaded, crystals, 2).indices) == 2


def test_batches_do_not_matter(alloy_model, monkeypatch, structures):
    frames = structures(np.random.default_rng(9), 4)
    together = measures(alloy_model, frames)
    monkeypatch.setattr(response, "CHUNK", 3)
    monkeypatch.setattr(batching, "ATOMS_AT_ONCE", 5)
    monkeypatch.setattr(batching, "ATOMS_PER_BATCH", 3)
    few = batching.BatchLimits(directions=1.0)
    monkeypatch.setattr(Uncertainty, "forces", partialmethod(Uncertainty.forces, limits=few))
    for got, expected in zip(measures(alloy_model, frames), together, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8)
    u = alloy_model.uncertainty
    assert u.gamma([]) == u.forces([]) == u.energies([]) == []
    assert u.energy([]).shape == (0,)


def test_grades_rise_beyond_the_training_data(crystal_model):
    """Trained on strained crystals: what has moved atoms, vacancies or surfaces is far away."""
    everything = Dataset.read("etn:Mo/train")
    elastic = everything[[f.config_type == "Elastic" for f in everything]]
    known = with_uncertainty(crystal_model, elastic[::3], ridge=RIDGE).uncertainty
    test = Dataset.read("etn:Mo/test")
    grades = np.array([gamma.max() for gamma in known.gamma(test)])
    inside = np.array([frame.config_type == "Elastic" for frame in test])
    assert grades[inside].max() < 3
    assert grades[~inside].min() > 10


def test_saved_and_loaded_are_the_same(crystal_model, crystals, tmp_path):
    crystal_model.save(tmp_path / "model.etn")
    loaded = etn.load(str(tmp_path / "model.etn"))
    assert loaded.has_uncertainty
    for got, expected in zip(
        measures(loaded, crystals[:3]), measures(crystal_model, crystals[:3]), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert loaded.uncertainty.scales == crystal_model.uncertainty.scales
    np.testing.assert_array_equal(
        loaded.predict(crystals[:1])[0].forces, crystal_model.predict(crystals[:1])[0].forces
    )


def test_files_without_uncertainty_load_and_say_how_to_get_it(crystal_model, crystals, tmp_path):
    crystal_model.with_chain(crystal_model.chain).save(tmp_path / "old.etn")
    old = etn.load(str(tmp_path / "old.etn"))
    assert not old.has_uncertainty
    with pytest.raises(SettingsError, match=r"with_uncertainty\(model, train\)"):
        _ = old.uncertainty
    again = with_uncertainty(old, crystals, ridge=RIDGE).uncertainty
    np.testing.assert_allclose(
        again.spread, crystal_model.uncertainty.spread, rtol=1e-6, atol=1e-12
    )
