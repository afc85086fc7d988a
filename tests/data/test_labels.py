"""Labels in their places, forms and units."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.constants
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from etn.data.labels import (
    GPA,
    VOIGT,
    LabelKeys,
    OtherKeys,
    find_label,
    refuse_stale_results,
    show,
    voigt,
    voigt_stress,
)
from etn.errors import DataError

STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])


class TestVoigtStress:
    def test_agrees_with_ase(self, rng):
        tensor = rng.normal(size=(3, 3))
        tensor += tensor.T
        np.testing.assert_array_equal(voigt_stress(tensor), full_3x3_to_voigt_6_stress(tensor))
        np.testing.assert_array_equal(voigt_stress(tensor.ravel()), voigt_stress(tensor))

    def test_voigt_stays(self):
        np.testing.assert_array_equal(voigt_stress(list(STRESS)), STRESS)

    def test_rounding_is_averaged(self):
        tensor = np.array([[1, 0.5, 0], [0.5002, 1, 0], [0, 0, 1]])
        assert voigt_stress(tensor)[5] == pytest.approx(0.5001)

    def test_asymmetric(self):
        tensor = np.array([[1, 0.5, 0], [0.1, 1, 0], [0, 0, 1]])
        with pytest.raises(ValueError, match=r"must be symmetric.*differ by 0\.4 eV/Å³; check the"):
            voigt_stress(tensor)

    @pytest.mark.parametrize("shape", [(), (3,), (3, 2), (2, 3, 3)])
    def test_shape(self, shape):
        with pytest.raises(ValueError, match=r"shape \(3, 3\), \(9,\) or \(6,\) \(Voigt\), came"):
            voigt_stress(np.zeros(shape))

    def test_text(self):
        with pytest.raises(ValueError, match="must be numbers, came 'high'"):
            voigt_stress("high")


class TestUnits:
    def test_a_gigapascal(self):
        # 1 eV/Å³ = e / (1e-10 m)³ in Pa.
        assert pytest.approx(scipy.constants.e * 1e30 / 1e9, rel=1e-7) == GPA

    def test_the_voigt_order_is_that_of_ase(self, rng):
        tensors = rng.normal(size=(4, 3, 3))
        tensors = tensors + tensors.swapaxes(1, 2)
        expected = [full_3x3_to_voigt_6_stress(tensor) for tensor in tensors]
        np.testing.assert_allclose(voigt(tensors), expected, rtol=1e-15)
        assert [(a, b) for a, b in VOIGT] == [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


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


class TestOtherKeys:
    def test_what_looks_like_a_label(self):
        atoms = Atoms("H2", info={"DFT_energy": -1.0, "energy_weight": 2.0, "energy_note": "high"})
        atoms.info |= {"virial": np.zeros((3, 3)), "stress_9": np.zeros(9), "stress_2": np.zeros(2)}
        atoms.arrays["my_forces"] = np.zeros((2, 3))
        atoms.arrays["force_norm"] = np.zeros(2)
        others = OtherKeys(LabelKeys())
        others.count(atoms)
        others.count(atoms)
        assert others.keys().others == {
            "energy": {"DFT_energy": 2},
            "forces": {"my_forces": 2},
            "stress": {"virial": 2, "stress_9": 2},
        }

    def test_labels_in_use_or_left_out_are_no_others(self):
        atoms = Atoms("H", info={"DFT_energy": -1.0, "virial": np.zeros((3, 3))})
        others = OtherKeys(LabelKeys(energy="DFT_energy", stress=None))
        others.count(atoms)
        assert others.keys() == LabelKeys(energy="DFT_energy", stress=None)
        assert others.keys().used() == {"energy": "DFT_energy", "forces": "forces"}


def test_what_came_is_cut_to_fit_a_message():
    assert show("high") == "'high'"
    assert len(show(list(range(100)))) == 60
    assert show(list(range(100))).endswith("...")
