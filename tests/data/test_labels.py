"""Labels in their places, forms and units."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress as full

from etn.data.dataset import Dataset
from etn.data.labels import (
    LabelKeys,
    find_label,
    looks_like,
    refuse_stale_results,
    unread_labels,
)
from etn.errors import DataError, SettingsError


class TestFindLabel:
    def test_each_place(self):
        atoms = Atoms("H2", info={"dft_energy": -31.7})
        atoms.arrays["dft_forces"] = np.ones((2, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-30.0)
        assert find_label(atoms, "dft_energy", "x:0") == -31.7
        assert find_label(atoms, "dft_forces", "x:0") is atoms.arrays["dft_forces"]
        assert find_label(atoms, "energy", "x:0") == -30.0
        assert find_label(atoms, "stress", "x:0") is None
        assert find_label(atoms, None, "x:0") is None

    def test_two_places_are_named(self):
        atoms = Atoms("H", info={"forces": 1.0})
        atoms.arrays["forces"] = np.ones((1, 3))
        message = r"^x:3: two labels for one key: 'forces' is in atoms.arrays and in atoms.info;"
        with pytest.raises(DataError, match=message):
            find_label(atoms, "forces", "x:3")


class TestStaleResults:
    def test_only_what_is_asked_for(self):
        atoms = Atoms("H")
        atoms.calc = SinglePointCalculator(atoms, energy=-13.6)
        refuse_stale_results(atoms, ["energy", "forces"], "x:0")
        atoms.positions += 1.0
        refuse_stale_results(atoms, ["forces"], "x:0")
        with pytest.raises(DataError, match=r"^x:0: the calculator's 'energy' belongs to another"):
            refuse_stale_results(atoms, ["forces", "energy"], "x:0")

    def test_what_cannot_be_compared_is_left_to_the_frame(self):
        atoms = Atoms("H")
        atoms.calc = SinglePointCalculator(atoms, energy=-13.6)
        atoms.positions[0, 0] = np.nan
        refuse_stale_results(atoms, ["energy"], "x:0")


def copper(**labels) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    if labels:
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def unread(atoms, **keys):
    return unread_labels(atoms, LabelKeys(**keys))


class TestUnreadLabels:
    def test_what_looks_like_a_label(self):
        atoms = copper()
        atoms.info |= {"DFT_energy": -1.0, "energy_weight": 2.0, "energy_note": "high", "step": 3}
        atoms.info |= {"virial": np.zeros((3, 3)), "stress_9": np.zeros(9), "stress_2": np.zeros(2)}
        atoms.arrays["my_forces"] = np.zeros((4, 3))
        atoms.arrays["force_norm"] = np.zeros(4)
        assert set(unread(atoms)) == {
            ("energy", "DFT_energy"),
            ("forces", "my_forces"),
            ("stress", "virial"),
            ("stress", "stress_9"),
        }

    def test_what_has_the_shape_of_one(self):
        atoms = copper()
        atoms.info |= {"E": -1.0, "n": 3, "converged": True, "Q": np.zeros((3, 3)), "e_int": 4}
        atoms.arrays["f"] = np.ones((4, 3))
        atoms.arrays["neighbours"] = np.ones((4, 3), dtype=int)
        assert set(unread(atoms)) == {("energy", "E"), ("forces", "f"), ("stress", "Q")}

    def test_three_atoms_have_forces_of_the_shape_of_a_stress(self):
        atoms = copper()[:3]
        atoms.arrays["f"] = np.ones((3, 3))
        atoms.info["my_stress"] = np.ones((3, 3))
        assert set(unread(atoms)) == {("forces", "f"), ("stress", "my_stress")}

    def test_labels_in_use_or_left_out_are_no_others(self):
        atoms = copper(energy=-1.0)
        atoms.info |= {"DFT_energy": -1.0, "virial": np.zeros((3, 3))}
        assert unread(atoms, energy="DFT_energy", stress=None) == (("energy", "energy"),)
        assert unread(atoms, energy=None, virial="virial") == ()

    def test_a_stress_without_periodicity(self):
        atoms = copper(stress=np.zeros(6))
        atoms.info["virial"] = np.zeros((3, 3))
        atoms.pbc = [True, True, False]
        # What would be read is named; what would not is no candidate either.
        assert unread(atoms) == (("stress", "stress"),)
        assert LabelKeys().read(atoms[:], "x:0")["stress"] is None


class TestStresses:
    """One stress, that of EMT, in all forms in which it may be written."""

    @pytest.fixture
    def strained(self):
        atoms = bulk("Cu", cubic=True)
        rng = np.random.default_rng(1)
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.calc = EMT()
        stress = atoms.get_stress()
        atoms.calc = None
        return atoms, stress

    @pytest.mark.parametrize(
        ("write", "keys"),
        [
            (lambda s, v: s, {}),
            (lambda s, v: full(s).ravel(), {}),
            (lambda s, v: -s, {"stress_convention": "compression"}),
            (lambda s, v: 160.2176634 * s, {"stress_unit": "GPa"}),
            (lambda s, v: -1602.176634 * s, {"stress_unit": "kbar",
                                             "stress_convention": "compression"}),
            (lambda s, v: -1602.176634 * s[[0, 1, 2, 5, 3, 4]], {"stress_unit": "kbar",
                                                                 "stress_convention": "vasp"}),
            (lambda s, v: -1602.176634 * full(s), {"stress_unit": "kbar",
                                                   "stress_convention": "vasp"}),
            (lambda s, v: -v * full(s), {"virial": "s", "stress": None}),
            (lambda s, v: -v * s, {"virial": "s", "stress": None}),
            (lambda s, v: v * full(s), {"virial": "s", "stress": None,
                                        "stress_convention": "tension"}),
            (lambda s, v: -v * s[[0, 1, 2, 5, 3, 4]], {"virial": "s", "stress": None,
                                                       "stress_convention": "vasp"}),
        ],
    )  # fmt: skip
    def test_each_form_gives_the_stress_of_ase(self, strained, write, keys):
        atoms, stress = strained
        copy = atoms.copy()
        copy.info["s"] = write(stress, atoms.get_volume())
        found = LabelKeys(**{"stress": "s"} | keys).read(copy, "x:0")["stress"]
        np.testing.assert_allclose(found, stress, rtol=1e-7)

    def test_results_of_a_calculator_have_the_order_of_ase(self, strained):
        atoms, stress = strained
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, stress=-stress)
        found = LabelKeys(stress_convention="vasp").read(copy, "x:0")["stress"]
        np.testing.assert_array_equal(found, stress)

    def test_a_stress_and_a_virial_that_agree(self, strained):
        atoms, stress = strained
        copy = atoms.copy()
        copy.info |= {"stress": stress.round(4), "virial": -atoms.get_volume() * full(stress)}
        found = LabelKeys(virial="virial").read(copy, "x:0")["stress"]
        np.testing.assert_allclose(found, stress, rtol=1e-12)

    @pytest.mark.parametrize("factor", [-1.0, 160.2])
    def test_a_stress_and_a_virial_that_contradict_each_other(self, strained, factor):
        atoms, stress = strained
        copy = atoms.copy()
        copy.info |= {"stress": factor * stress, "virial": -atoms.get_volume() * full(stress)}
        message = (
            r"^x:0: the stress under 'stress' and that of the virial under 'virial' contradict "
            r"each other: \(.*\) and \(.*\) eV/Å³; leave one out \(stress=None or virial=None\), or"
        )
        with pytest.raises(DataError, match=message):
            LabelKeys(virial="virial").read(copy, "x:0")

    def test_an_unknown_convention_is_refused(self):
        with pytest.raises(SettingsError, match="expected one of tension, compression, vasp, got"):
            LabelKeys(stress_convention="pressure")

    def test_what_is_read_is_described(self):
        keys = LabelKeys(virial="W", stress_unit="GPa", stress_convention="vasp")
        assert keys.describe("stress") == 'key "W" or "stress", GPa, vasp'
        assert LabelKeys(virial="W", stress=None).describe("stress") == 'key "W", -V·stress in eV'
        assert LabelKeys().describe("energy") == 'key "energy"'

    def test_the_opposite_convention(self):
        assert LabelKeys().opposite == "compression"
        assert LabelKeys(stress_convention="vasp").opposite == "tension"
        assert LabelKeys(virial="virial").opposite == "tension"
        assert LabelKeys(virial="virial", stress_convention="tension").opposite == "compression"


def test_names_that_sound_like_a_label():
    assert looks_like("forces", "DFT_Force")
    assert looks_like("stress", "virials")
    assert not looks_like("energy", "E0")


@pytest.mark.parametrize("key", ["stress", "virial", "my_stress"])
@pytest.mark.parametrize(
    ("numbers", "convention", "expected"),
    [
        ("1 2 3 4 5 6", "tension", [1, 2, 3, 4, 5, 6]),
        ("1 2 3 4 5 6", "compression", [-1, -2, -3, -4, -5, -6]),
        ("1 2 3 4 5 6", "vasp", [-1, -2, -3, -5, -6, -4]),
        ("1 6 5 6 2 4 5 4 3", "vasp", [-1, -2, -3, -4, -5, -6]),
    ],
)
def test_files_are_read_as_told(tmp_path, key, numbers, convention, expected):
    """Under the two keys that ASE knows and under another, in a cell of unit volume."""
    cell = 'Lattice="1 0 0 0 1 0 0 0 1" Properties=species:S:1:pos:R:3'
    (tmp_path / "one.xyz").write_text(f'1\n{cell} {key}="{numbers}"\nCu 0 0 0\n')
    where = {"virial": key, "stress": None} if key == "virial" else {"stress": key}
    found = Dataset.read(tmp_path / "one.xyz", **where, stress_convention=convention)
    np.testing.assert_array_equal(found[0].stress, expected)
