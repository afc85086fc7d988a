"""Frames without neighbours as equations for E0."""

from __future__ import annotations

import numpy as np
import pytest

from etn.data import Dataset, Frame
from etn.data.isolated import IsolatedAtoms
from etn.errors import DataError

E0 = {8: -2.0, 29: -1.5, 42: -4.5}


def atoms(*numbers, cell=30.0, pbc=True, config_type="", energy=None, name=""):
    """Atoms 7 Å apart in a periodic cell."""
    positions = 7.0 * np.arange(len(numbers))[:, None] * [1, 0, 0]
    energy = sum(E0[n] for n in numbers) if energy is None else energy
    return Frame(
        numbers, positions, cell * np.eye(3), [pbc] * 3,
        energy=energy, config_type=config_type, name=name,
    )  # fmt: skip


@pytest.mark.parametrize("pbc", [True, False])
def test_one_atom_without_images_in_reach_fixes_its_energy(pbc):
    data = Dataset([atoms(29, pbc=pbc), atoms(42, cell=4.0)])
    found = IsolatedAtoms.find(data, 5.0)
    assert found.solve(["Cu", "Mo"]) == {"Cu": -1.5}
    assert found.notes == []


def test_frames_of_several_atoms_fix_sums():
    found = IsolatedAtoms.find(Dataset([atoms(8, 29), atoms(8, 42, 42), atoms(29, 29)]), 5.0)
    # Cu is half of a pair, O the rest of the mixed one, Mo of the triple.
    assert found.solve(["O", "Cu", "Mo"]) == pytest.approx({"O": -2.0, "Cu": -1.5, "Mo": -4.5})
    pair = IsolatedAtoms.find(Dataset([atoms(8, 29)]), 5.0)
    assert pair.solve(["O", "Cu", "Mo"]) == {}
    moved = pair.correct({"O": -1.0, "Cu": 0.0, "Mo": -7.0})
    # The sum is exact, the change of least norm, and what is in no equation stays.
    assert moved == pytest.approx({"O": -2.25, "Cu": -1.25, "Mo": -7.0})


def test_single_atoms_come_before_sums():
    data = Dataset([atoms(29), atoms(8, 29, energy=-9.0), atoms(29, 29, energy=50.0)])
    found = IsolatedAtoms.find(data, 5.0).solve(["O", "Cu"])
    assert found == pytest.approx({"O": -7.5, "Cu": -1.5})


def test_of_two_energies_of_one_atom_the_lower_is_used_and_both_are_named():
    data = Dataset([atoms(29, name="a:0"), atoms(29, energy=-1.1, name="a:1")])
    found = IsolatedAtoms.find(data, 5.0)
    assert found.solve(["Cu"]) == {"Cu": -1.5}
    (note,) = found.notes
    assert "isolated atoms of Cu have energies from -1.5 eV (a:0) to -1.1 eV (a:1)" in note


def test_a_config_type_names_the_isolated_atoms_in_any_cell():
    data = Dataset([atoms(29, cell=4.0, config_type="free", name="a:0"), atoms(42, cell=3.0)])
    found = IsolatedAtoms.find(data, 5.0, "free")
    assert found.solve(["Cu", "Mo"]) == {"Cu": -1.5}
    assert "e0: a:0 gives E0, but feels its own images within r_max = 5 Å" in found.notes[0]


def test_a_called_isolated_atom_that_is_none_is_named():
    data = Dataset([atoms(29, cell=4.0, config_type="isolated_atom", name="a:0")])
    (note,) = IsolatedAtoms.find(data, 5.0).notes
    assert 'a:0 is one atom of config type "isolated_atom", but feels its own images' in note
    assert 'set e0 to "by-config isolated_atom"' in note


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", 'no neutral frame has the config_type "none", expected one of "free", "pair"'),
        ("pair", "expected one atom with an energy in each frame .* a:1 has 2 atoms"),
    ],
)
def test_a_wrong_config_type_is_refused(name, message):
    data = Dataset([atoms(29, config_type="free"), atoms(8, 29, config_type="pair", name="a:1")])
    with pytest.raises(DataError, match=message):
        IsolatedAtoms.find(data, 5.0, name)
