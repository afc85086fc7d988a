"""E0: exact where the data have it, estimated where not, and checked by the data."""

from __future__ import annotations

import numpy as np
import pytest

from etn.data import Dataset, Frame
from etn.data.atomic_energies import AtomicEnergies, is_mode
from etn.data.cohesive import cohesive_energy
from etn.errors import DataError, SettingsError

FREE = {29: -1000.0, 79: -2000.0}
SYMBOL = {29: "Cu", 79: "Au"}


def bulk(numbers, *, binding=None, name=""):
    """A row of atoms bound by the cohesive energies, or so much each."""
    energy = sum(
        FREE[n] - (cohesive_energy(SYMBOL[n]) if binding is None else binding) for n in numbers
    )
    positions = 2.5 * np.arange(len(numbers))[:, None] * [1, 0, 0]
    return Frame(numbers, positions, np.zeros((3, 3)), [False] * 3, energy=energy, name=name)


def atom(z, *, shift=0.0, config_type="", pbc=True):
    energy = FREE[z] + shift
    return Frame(
        [z], [[0, 0, 0]], 20 * np.eye(3), [pbc] * 3, energy=energy, config_type=config_type
    )


ALLOY = [bulk(z) for z in ([29] * 2, [29, 79], [29, 79, 79], [79] * 4)]


@pytest.mark.parametrize("pbc", [True, False])
@pytest.mark.parametrize("e0", ["auto", "isolated"])
def test_isolated_atoms_are_exact_with_or_without_a_periodic_cell(e0, pbc):
    # Not estimates: with another binding these would be 1 eV off.
    data = Dataset([bulk(z, binding=2.5) for z in ([29] * 2, [29, 79], [79] * 3)])
    data = Dataset([*data, atom(29, pbc=pbc), atom(79, pbc=pbc)])
    found = AtomicEnergies.find(data, e0, r_max=5.0)
    assert found.values == {"Cu": -1000.0, "Au": -2000.0}
    assert found.warnings == ()


def test_the_radius_decides_what_is_isolated():
    data = Dataset([*ALLOY, atom(29), atom(79)])
    with pytest.raises(DataError, match=r"the training set has no isolated atom of Cu, Au"):
        AtomicEnergies.find(data, "isolated", r_max=20.5)


def test_what_has_no_isolated_atom_is_estimated_and_named():
    found = AtomicEnergies.find(Dataset([*ALLOY, atom(29, shift=0.25)]), r_max=5.0)
    assert found.values == {"Cu": -999.75, "Au": pytest.approx(-2000.0, abs=1e-5)}
    (note,) = found.warnings
    assert note.startswith("e0: isolated atoms give E0 of Cu; that of Au (-2000 eV) is an estimate")


def test_a_known_element_settles_what_one_composition_leaves_open():
    data = Dataset([bulk([29, 79]), bulk([29, 79, 29, 79])])
    assert AtomicEnergies.find(data, r_max=5.0).values["Au"] > -1600
    found = AtomicEnergies.find(Dataset([*data, atom(29)]), r_max=5.0)
    assert found.values == {"Cu": -1000.0, "Au": pytest.approx(-2000.0, abs=1e-5)}


def test_atoms_far_apart_fix_the_sum_of_an_estimate():
    apart = Frame([29, 79], [[0, 0, 0], [0, 0, 9]], np.zeros((3, 3)), [False] * 3, energy=-2998.0)
    data = Dataset([bulk([29, 79]), bulk([29] * 2), apart])
    found = AtomicEnergies.find(data, r_max=5.0)
    assert sum(found.values.values()) == pytest.approx(-2998.0)
    # 2 eV more than the estimates, shared alike.
    assert found.values["Cu"] == pytest.approx(-999.0, abs=1e-4)
    named = AtomicEnergies.find(data, {"Cu": -1000.0, "Au": -2000.0}, r_max=5.0).warnings
    assert "are up to 1 eV/atom from the sum of E0" in named[0]


def test_atoms_by_their_config_type():
    small = Frame([29], [[0, 0, 0]], 4 * np.eye(3), [True] * 3, energy=-1000.0, config_type="one")
    data = Dataset([*ALLOY, small])
    assert AtomicEnergies.find(data, "by-config one", r_max=3.0).values["Cu"] == -1000.0
    assert is_mode("by-config one")


@pytest.mark.parametrize(("shift", "side"), [(2041.8, "above"), (-40.0, "below"), (4.0, "above")])
@pytest.mark.parametrize("how", ["given", "isolated"])
def test_energies_that_no_structure_can_have_are_named(shift, side, how):
    frames = [bulk([29] * n, name=f"a:{n}") for n in (2, 3, 4)]
    e0 = {"Cu": FREE[29] - shift} if how == "given" else "auto"
    data = Dataset(frames if how == "given" else [*frames, atom(29, shift=-shift)])
    found = AtomicEnergies.find(data, e0, r_max=5.0)
    assert found.values["Cu"] == FREE[29] - shift
    (note,) = found.warnings
    off = abs(shift - cohesive_energy("Cu"))
    assert f"the frames of Cu lie {off:.4g} eV/atom (median) {side} the sum of E0" in note
    assert ("free atoms would be more stable" in note) is (side == "above")
    assert AtomicEnergies.find(data, "cohesive", r_max=5.0).values["Cu"] == pytest.approx(-1000.0)


def test_the_embedded_sets_have_plausible_estimates():
    for name in ("Mo", "NbMoTaW"):
        train = Dataset.read(f"etn:{name}/train", index="::5")
        assert AtomicEnergies.find(train, r_max=5.2).warnings == ()


@pytest.mark.shared_data
def test_isolated_atoms_of_a_file_are_compatible_with_its_molecules(shared_data):
    for name in ("3BPA", "acac"):
        train = Dataset.read(shared_data / name / "train_300K.xyz")
        atoms = Dataset.read(shared_data / name / "isolated_atoms.xyz")
        found = AtomicEnergies.find(train, atoms, r_max=5.0)
        assert found.warnings == ()
        assert found.values == {f.symbols[0]: f.energy for f in atoms}


def test_other_modes_are_refused():
    with pytest.raises(SettingsError, match=r"e0: expected .* got 'mean'"):
        AtomicEnergies.find(Dataset(ALLOY), "mean", r_max=5.0)
