"""What is said where a label is missing: every key that there is, and no advice that does harm."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn.data import Dataset
from etn.data.missing import check_some_label, key_hint, lacks, other_keys, unperiodic
from etn.errors import DataError
from etn.surface import speaking


def dataset(info=(), arrays=(), **keys) -> Dataset:
    atoms = bulk("Cu", cubic=True)
    atoms.info |= dict(info)
    for key in arrays:
        atoms.arrays[key] = np.ones((4, 3))
    return Dataset.from_atoms([atoms, atoms], name="cu", **keys)


def hint(found: Dataset, label: str) -> str:
    return key_hint(found, label, found.label_keys)


def test_one_key_is_proposed_in_the_language_of_the_surface():
    found = dataset({"REF_energy": -1.0}, ["force"])
    assert hint(found, "energy") == (
        "but there is REF_energy (2 frames): if it holds the total energy in eV, give "
        'energy="REF_energy"'
    )
    with speaking("settings"):
        assert hint(found, "energy").endswith('give energy_key="REF_energy"')
    with speaking("command"):
        assert hint(found, "energy").endswith("give --energy-key REF_energy")
        assert hint(found, "forces").endswith("the forces in eV/Å, give --forces-key force")


def test_of_several_keys_none_is_guessed():
    found = dataset({"free_energy": -1.0, "dft_energy": -1.0})
    assert hint(found, "energy") == (
        "but there are free_energy (2 frames), dft_energy (2 frames): if one of them holds the "
        'total energy in eV, give energy="NAME"'
    )


def test_keys_of_the_right_shape_are_listed_where_none_is_called_like_a_label():
    found = dataset({"E": -1.0, "T": 300.0}, ["f"])
    assert hint(found, "energy") == (
        "and no key is called like it; of its shape there are E (2 frames), T (2 frames): if one "
        'of them holds the total energy in eV, give energy="NAME"'
    )
    assert "there are f (2 frames)" in hint(found, "forces")
    assert hint(found, "stress") == "and no other key holds what could be the stress"


def test_energies_per_atom_are_not_proposed():
    assert hint(dataset({"energy_per_atom": -1.0}), "energy") == (
        "but there is energy_per_atom (2 frames): the total energy of a frame is expected, not "
        "that of an atom"
    )
    text = hint(dataset({"energy/atom": -1.0, "my_energy": -4.0}), "energy")
    assert text.endswith('if my_energy holds the total energy in eV, give energy="my_energy"')


def test_a_virial_is_not_proposed_as_a_stress():
    with speaking("command"):
        assert hint(dataset({"virials": np.eye(3)}), "stress") == (
            "but there is virials (2 frames): if it holds the virial -V·stress in eV, give "
            "--virial-key virials"
        )
        text = hint(dataset({"virial": np.eye(3), "my_stress": np.eye(3)}), "stress")
    assert text == (
        "but there are virial (2 frames), my_stress (2 frames): if my_stress holds the stress, "
        "give --stress-key my_stress; if virial holds the virial -V·stress in eV, give "
        "--virial-key virial"
    )


def test_long_lists_are_cut():
    text = hint(dataset({f"energy_{k}": 1.0 for k in range(40)}), "energy")
    assert "energy_11 (2 frames), and 28 more: if one of them" in text


def test_what_is_left_out_is_not_listed():
    found = dataset({"REF_energy": -1.0}, energy=None)
    assert other_keys(found, "energy", found.label_keys) == {}


def test_a_stress_is_lacking_in_crystals_alone():
    cluster = Dataset.from_atoms([Atoms("Cu2", [[0, 0, 0], [0, 0, 2]])])
    assert not lacks(cluster[0], "stress")
    assert lacks(cluster[0], "forces")
    assert lacks(dataset()[0], "stress")
    assert not unperiodic(cluster, cluster.label_keys)


def test_nothing_to_compare_with_is_refused_with_the_keys():
    check_some_label(dataset({"energy": -1.0}), then="or go")
    with pytest.raises(DataError) as error:
        check_some_label(dataset({"E": -1.0}, ["forces_ref"]), then="or go home")
    assert str(error.value) == (
        'cu: nothing to test on: no frame has an energy (key "energy"), and no key is called like '
        "it; of its shape there are E (2 frames): if one of them holds the total energy in eV, "
        'give energy="NAME"; no frame has forces (key "forces"), but there is forces_ref (2 '
        'frames): if it holds the forces in eV/Å, give forces="forces_ref"; or go home'
    )


def test_a_stress_without_periodicity_alone_is_nothing_to_compare_with():
    cluster = Atoms("Cu2", [[0, 0, 0], [0, 0, 2]], info={"stress": np.zeros(6)})
    found = Dataset.from_atoms([cluster], energy=None, forces=None)
    with pytest.raises(DataError, match="all labels are left out, or stresses without periodicity"):
        check_some_label(found, then="or go home")
