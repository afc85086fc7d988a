"""Baselines: where E0 comes from, and the repulsion of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from etn.data.atomic_energies import AtomicEnergies
from etn.errors import DataError, SettingsError
from etn.potential import Baseline, Dataset, Frame
from etn.potential.features.pairs import Pairs
from etn.potential.features.zbl import covalent_distances, zbl

NONE = np.zeros((3, 3))


def atom(z, energy, *, pbc=False):
    return Frame([z], [[0, 0, 0]], 20 * np.eye(3), [pbc] * 3, energy=energy)


def molecule(numbers, energy):
    positions = 2.0 * np.arange(len(numbers))[:, None] * [1, 0, 0]
    return Frame(numbers, positions, NONE, [False] * 3, energy=energy)


def alloy():
    e = {29: -3.0, 42: -10.0}
    kinds = ([29, 29], [42, 42, 29], [42] * 4, [29] * 3 + [42])
    return [molecule(z, sum(e[n] for n in z)) for z in kinds]


def test_isolated_atoms_give_e0():
    data = Dataset([*alloy(), atom(29, -1.5), atom(42, -4.5)])
    for how in ("auto", "isolated"):
        assert Baseline.fit(data, e0=how).e0 == {"Cu": -1.5, "Mo": -4.5}


def test_auto_estimates_elements_without_an_isolated_atom(caplog):
    data = Dataset([*alloy(), atom(29, -1.5)])
    mo = pytest.approx(-10.0 + 6.82)
    assert Baseline.fit(data, e0="auto").e0 == {"Cu": -1.5, "Mo": mo}
    assert "that of Mo (-3.18 eV) is an estimate" in caplog.text
    assert Baseline.fit(data, e0="cohesive").e0 == {"Cu": pytest.approx(-3.0 + 3.49), "Mo": mo}
    data = Dataset([*alloy(), atom(29, -3.0)])
    assert Baseline.fit(data, e0="lstsq").e0 == {
        "Cu": pytest.approx(-3.0),
        "Mo": pytest.approx(-10.0),
    }


def test_least_squares_is_that_of_numpy(rng):
    frames = [
        molecule(rng.choice([8, 29, 42], size=n), float(rng.normal() * n)) for n in range(2, 12)
    ]
    data = Dataset(frames)
    e0 = Baseline.fit(data, e0="lstsq").e0
    assert list(e0) == ["O", "Cu", "Mo"]
    counts = np.array([[np.sum(f.numbers == z) for z in (8, 29, 42)] for f in frames])
    per_atom = counts / counts.sum(1, keepdims=True)
    y = np.array([f.energy / f.n_atoms for f in frames])
    expected = np.linalg.solve(per_atom.T @ per_atom, per_atom.T @ y)
    np.testing.assert_allclose(list(e0.values()), expected, rtol=1e-9)


@pytest.mark.shared_data
def test_cohesive_energies_give_the_atomization_energy_of_a_molecule(shared_data):
    molecules = Dataset.read(shared_data / "3BPA/train_300K.xyz")
    calculated = Dataset.read(shared_data / "3BPA/isolated_atoms.xyz")
    symbols = molecules[0].symbols

    def atomization(e0):
        energies = Baseline.fit(molecules, e0=e0).e0
        return sum(energies[s] for s in symbols) - np.mean([f.energy for f in molecules])

    # One composition fixes no single atom, but their sum.
    assert atomization("cohesive") == pytest.approx(atomization(calculated), rel=0.05)
    assert atomization("lstsq") == pytest.approx(0.0, abs=1e-6)


def test_one_composition_gives_the_least_norm():
    e0 = Baseline.fit(Dataset([molecule([29, 42], -8.0)]), e0="lstsq").e0
    assert e0 == pytest.approx({"Cu": -4.0, "Mo": -4.0})


def test_given_values_and_data_sets():
    data = Dataset(alloy())
    given = Baseline.fit(data, e0={"Mo": 1, "Cu": 2.0, "W": 9.0})
    assert given.e0 == {"Cu": 2.0, "Mo": 1.0}
    atoms = Dataset([atom(29, -1.5), atom(42, -4.5)])
    assert Baseline.fit(data, e0=atoms, zbl=True) == Baseline({"Cu": -1.5, "Mo": -4.5}, zbl=True)


@pytest.mark.parametrize(
    ("e0", "error", "message"),
    [
        ({"Cu": 1.0}, DataError, "the given e0 has no isolated atom of Mo"),
        ("isolated", DataError, "the training set has no isolated atom of Cu, Mo"),
        (Dataset([atom(29, -1.5)]), DataError, "no isolated atom of Mo"),
        ("mean", SettingsError, "e0: expected .* got 'mean'"),
    ],
)
def test_what_is_missing_is_named(e0, error, message):
    with pytest.raises(error, match=message):
        Baseline.fit(Dataset(alloy()), e0=e0)


def test_an_atom_is_isolated_if_no_image_is_in_reach(caplog):
    data = Dataset([molecule([29, 29], -7.0), atom(29, -1.5, pbc=True)])
    assert Baseline.fit(data, e0="isolated").e0 == {"Cu": -1.5}
    assert not caplog.records
    with pytest.raises(DataError, match="no isolated atom of Cu"):
        Baseline.fit(data, e0="isolated", r_max=20.1)


def test_energies_of_free_atoms_below_the_data_are_logged_unless_they_were_found_before(caplog):
    data = Dataset([molecule([29, 29], -7.0)])
    found = AtomicEnergies.find(data, {"Cu": -99.0}, r_max=5.2)
    assert Baseline.fit(data, e0=found).e0 == {"Cu": -99.0}
    assert not caplog.records
    Baseline.fit(data, e0={"Cu": -99.0})
    (record,) = caplog.records
    assert record.getMessage() == found.warnings[0]


def test_no_energy_at_all():
    data = Dataset([Frame([29, 29], [[0, 0, 0], [2, 0, 0]], NONE, [False] * 3)])
    with pytest.raises(DataError, match="no frame has an energy"):
        Baseline.fit(data)


def test_pairs_share_the_repulsion():
    frame = Frame([29, 42], [[0, 0, 0], [0, 0, 1.1]], 8 * np.eye(3), [True] * 3)
    pairs = Pairs.find([frame], ("Cu", "Mo"), 4.0)
    baseline = Baseline({"Cu": -3.0, "Mo": -10.0}, zbl=True)
    energies, forces, strain = baseline.evaluate(pairs, ("Cu", "Mo"))
    r_off = covalent_distances(("Cu", "Mo"))[0, [1]]
    value, slope = zbl(np.array([1.1]), np.array([29]), np.array([42]), r_off / 2, r_off)
    np.testing.assert_allclose(energies, [-3 + value[0] / 2, -10 + value[0] / 2])
    np.testing.assert_allclose(forces, [[0, 0, slope[0]], [0, 0, -slope[0]]], atol=1e-12)
    expected = np.zeros((1, 3, 3))
    expected[0, 2, 2] = slope[0] * 1.1
    np.testing.assert_allclose(strain, expected, atol=1e-12)
