"""Stresses: components against ASE, units against CODATA, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.constants
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from etn.data.stress import (
    GPA,
    STRESS_UNITS,
    VASP_ORDER,
    VOIGT,
    full_stress,
    known_unit,
    show,
    voigt,
    voigt_stress,
)
from etn.errors import SettingsError

STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])


class TestVoigtStress:
    def test_agrees_with_ase(self, rng):
        tensor = rng.normal(size=(3, 3))
        tensor += tensor.T
        np.testing.assert_array_equal(voigt_stress(tensor), full_3x3_to_voigt_6_stress(tensor))
        np.testing.assert_array_equal(voigt_stress(tensor.ravel()), voigt_stress(tensor))

    def test_voigt_stays(self):
        np.testing.assert_array_equal(voigt_stress(list(STRESS)), STRESS)

    def test_six_numbers_of_vasp(self):
        named = dict(zip(("xx", "yy", "zz", "yz", "xz", "xy"), STRESS, strict=True))
        written = [named[name] for name in ("xx", "yy", "zz", "xy", "yz", "xz")]
        np.testing.assert_array_equal(voigt_stress(written, VASP_ORDER), STRESS)
        # Nine numbers say themselves where they stand.
        tensor = voigt_6_to_full_3x3_stress(STRESS)
        np.testing.assert_array_equal(voigt_stress(tensor, VASP_ORDER), STRESS)

    def test_the_full_tensor_is_that_of_ase(self):
        np.testing.assert_array_equal(full_stress(STRESS), voigt_6_to_full_3x3_stress(STRESS))

    def test_rounding_is_averaged(self):
        tensor = np.array([[1, 0.5, 0], [0.5002, 1, 0], [0, 0, 1]])
        assert voigt_stress(tensor)[5] == pytest.approx(0.5001)

    def test_asymmetric(self):
        tensor = np.array([[1, 0.5, 0], [0.1, 1, 0], [0, 0, 1]])
        with pytest.raises(ValueError, match=r"must be symmetric.*differ by 0\.4; check the"):
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

    def test_units_of_a_stress(self):
        pascal = scipy.constants.e * 1e30
        bohr = scipy.constants.physical_constants["Bohr radius"][0]
        hartree = scipy.constants.physical_constants["Hartree energy"][0]
        expected = {
            "eV/Å³": 1.0,
            "GPa": pascal / 1e9,
            "kbar": pascal / 1e8,
            "bar": pascal / 1e5,
            "Pa": pascal,
            "Hartree/Bohr³": pascal / (hartree / bohr**3),
            "Ry/Bohr³": pascal / (hartree / 2 / bohr**3),
        }
        assert pytest.approx(expected, rel=1e-7) == STRESS_UNITS

    @pytest.mark.parametrize(
        ("text", "unit"),
        [
            ("eV/A3", "eV/Å³"), ("ev/ang^3", "eV/Å³"), ("eV / Angstrom**3", "eV/Å³"),
            ("eV/\u212b\u00b3", "eV/Å³"), ("KBAR", "kbar"), ("GPa ", "GPa"), ("bar", "bar"),
            ("Ha/Bohr^3", "Hartree/Bohr³"), ("Ry/bohr3", "Ry/Bohr³"),
        ],
    )  # fmt: skip
    def test_units_are_known_however_they_are_typed(self, text, unit):
        assert known_unit(text) == unit

    @pytest.mark.parametrize("text", ["psi", "", "eV", "eV/Å", None, 160.2])
    def test_an_unknown_unit_is_refused(self, text):
        with pytest.raises(SettingsError, match=r"stress_unit: expected one of eV/Å³, .*, got"):
            known_unit(text)

    def test_the_voigt_order_is_that_of_ase(self, rng):
        tensors = rng.normal(size=(4, 3, 3))
        tensors = tensors + tensors.swapaxes(1, 2)
        expected = [full_3x3_to_voigt_6_stress(tensor) for tensor in tensors]
        np.testing.assert_allclose(voigt(tensors), expected, rtol=1e-15)
        assert [(a, b) for a, b in VOIGT] == [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def test_what_came_is_cut_to_fit_a_message():
    assert show("high") == "'high'"
    assert len(show(list(range(100)))) == 60
    assert show(list(range(100))).endswith("...")
