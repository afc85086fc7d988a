"""Work of stresses against energies: a closed form, known factors, and what is left in peace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg as sl

from etn.data import Dataset, Frame
from etn.data.checks import check_data
from etn.data.stress_signs import strain_work, stress_warnings
from etn.o3 import random_rotation
from etn.surface import options, speaking

GPA = 160.21766208
CUBE = 6.0 * np.eye(3)
SITES = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])


def strained(strain, moduli, rng=None) -> Frame:
    """A crystal whose energy is a quadratic form of the Hencky strain, in a turned cell."""
    deformation = sl.expm(strain)
    entries = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]
    turn = np.eye(3)
    if rng is not None:
        axis = 0.02 * rng.normal(size=(3, 3))
        turn = sl.expm(axis - axis.T)
    cell = CUBE @ deformation @ turn
    # Volume times Cauchy stress is conjugate to the Hencky strain where the two commute.
    tau = np.zeros((3, 3))
    work = moduli @ entries
    for value, (a, b) in zip(work, ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)), strict=True):
        tau[a, b] = tau[b, a] = value
    sigma = turn.T @ tau @ turn / np.linalg.det(cell)
    return Frame(
        [42] * 4,
        SITES @ cell,
        cell,
        [True] * 3,
        energy=-40.0 + 0.5 * float(entries @ work),
        stress=sigma[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    )


@pytest.fixture(scope="module")
def moduli():
    isotropic = np.zeros((6, 6))
    isotropic[:3, :3] = 120.0
    isotropic += np.diag([200.0] * 3 + [100.0] * 3)
    return isotropic


@pytest.fixture(scope="module")
def crystal(moduli):
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(8):
        strain = 0.01 * rng.normal(size=(3, 3))
        frames.append(strained((strain + strain.T) / 2, moduli, rng))
    return frames


@pytest.fixture(scope="module")
def elastic():
    train = Dataset.read("etn:Mo/train")
    return train[[frame.config_type == "Elastic" for frame in train]]


def test_the_work_is_the_difference_of_energies(crystal):
    work = strain_work(crystal)
    assert len(work.energy) == 28
    np.testing.assert_allclose(work.stress, work.energy, rtol=0, atol=0.02 * work.energy.std())


def test_the_error_is_of_third_order(moduli):
    """Along one axis, where the energy is quadratic in the path, the trapezoid rule is exact."""
    axis = np.diag([1.0, 0.0, 0.0])
    errors = []
    for length in (0.04, 0.02):
        work = strain_work([strained(0 * axis, moduli), strained(length * axis, moduli)])
        errors.append(abs(work.stress[0] / work.energy[0] - 1))
    # 2 (e^h - 1) / (e^h + 1) = h (1 - h^2 / 12 + ...)
    np.testing.assert_allclose(errors, [0.04**2 / 12, 0.02**2 / 12], rtol=1e-2)


@pytest.mark.parametrize(
    ("factor", "name", "remedy"),
    [
        (-1.0, "minus the stress in eV/Å³", {"stress_convention": "compression"}),
        (GPA, "the stress in GPa", {"stress_unit": "GPa"}),
        (-GPA, "minus the stress in GPa", {"stress_unit": "GPa",
                                           "stress_convention": "compression"}),
        (10 * GPA, "the stress in kbar", {"stress_unit": "kbar"}),
        (-10 * GPA, "minus the stress in kbar", {"stress_unit": "kbar",
                                                 "stress_convention": "compression"}),
        (1e4 * GPA, "the stress in bar", {"stress_unit": "bar"}),
        (1 / 183.631, "the stress in Hartree/Bohr³", {"stress_unit": "Hartree/Bohr³"}),
        (1 / GPA, "the stress in eV/Å³ over 160.2", {}),
        (7.0, "the stress in another unit", {}),
    ],
)  # fmt: skip
def test_other_units_and_signs_are_named_with_what_mends_them(elastic, factor, name, remedy):
    written = [replace(f, stress=factor * f.stress).to_atoms() for f in elastic]
    found = Dataset.from_atoms(written)
    (text,) = stress_warnings(found, found.label_keys)
    assert f"so what was read is probably {name}" in text
    if not remedy:
        assert "tension positive: convert it, or leave it out (stress=None)" in text
        return
    assert f"read it with {options(**remedy)}, or leave it out (stress=None)" in text
    mended = Dataset.from_atoms(written, **remedy)
    assert stress_warnings(mended, mended.label_keys) == []
    np.testing.assert_allclose(mended[0].stress, elastic[0].stress, rtol=1e-3)


def test_remedies_are_those_of_the_command_to_who_types(elastic):
    with speaking("command"):
        (text,) = stress_warnings([replace(f, stress=-GPA * f.stress) for f in elastic])
    assert "read it with --stress-unit GPa --stress-convention compression, or leave" in text
    assert "(--stress-key none)" in text


@pytest.mark.parametrize(
    ("told", "remedy"),
    [
        ({"stress_unit": "GPa"}, {"stress_unit": "kbar", "stress_convention": "compression"}),
        ({"stress_unit": "GPa", "stress_convention": "compression"}, {"stress_unit": "kbar"}),
        ({"stress_unit": "kbar"}, {"stress_convention": "compression"}),
    ],
)
def test_what_was_told_wrong_is_named(elastic, told, remedy):
    written = [replace(f, stress=-10 * GPA * f.stress).to_atoms() for f in elastic]
    found = Dataset.from_atoms(written, **told)
    (text,) = stress_warnings(found, found.label_keys)
    assert "probably minus the stress in kbar" in text
    assert f"read it with {options(**remedy)}, or" in text


def vasp_order(stress):
    """xx, yy, zz, xy, yz, zx from xx, yy, zz, yz, xz, xy."""
    return stress[[0, 1, 2, 5, 3, 4]]


def sheared(moduli, write, factor=-10 * GPA, **keys):
    """Frames of a sheared crystal, and what is read of them as they are written."""
    rng = np.random.default_rng(7)
    frames, images = [], []
    for _ in range(8):
        shear = 0.01 * np.triu(rng.normal(size=(3, 3)), 1)
        frames.append(strained(shear + shear.T, moduli))
        images.append(replace(frames[-1], stress=None).to_atoms())
        images[-1].info["stress"] = write(factor * frames[-1].stress)
    return frames, Dataset.from_atoms(images, **keys)


def test_six_numbers_in_the_order_of_vasp_are_recognised(moduli):
    keys = {"stress_unit": "kbar", "stress_convention": "compression"}
    _, found = sheared(moduli, vasp_order, **keys)
    (text,) = stress_warnings(found, found.label_keys)
    assert "its six numbers in the order xx yy zz xy yz zx of VASP" in text
    assert 'read it with stress_convention="vasp", or leave' in text
    frames, mended = sheared(moduli, vasp_order, **keys | {"stress_convention": "vasp"})
    assert stress_warnings(mended, mended.label_keys) == []
    np.testing.assert_allclose(mended[3].stress, frames[3].stress, rtol=1e-12)


def test_the_order_of_the_six_numbers_is_not_doubted_without_cause(moduli):
    keys = {"stress_unit": "kbar", "stress_convention": "compression"}
    _, right = sheared(moduli, lambda stress: stress, **keys)
    assert stress_warnings(right, right.label_keys) == []
    # With the sign of a tension there is no such convention.
    _, found = sheared(moduli, vasp_order, 1.0)
    (text,) = stress_warnings(found, found.label_keys)
    assert "of VASP; expected eV/Å³, tension positive: convert it" in text


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_virial_is_named(elastic, sign):
    written = [replace(f, stress=sign * f.volume * f.stress).to_atoms() for f in elastic]
    found = Dataset.from_atoms(written)
    (text,) = stress_warnings(found, found.label_keys)
    assert f"{'' if sign > 0 else 'minus '}the virial V·stress in eV" in text
    right, wrong = ("tension", "compression")[:: int(sign)]
    given = 'virial="stress", stress=None'
    given += ', stress_convention="tension"' if sign > 0 else ""
    assert f"read it with {given}, or leave" in text
    keys = {"virial": "stress", "stress": None}
    mended = Dataset.from_atoms(written, **keys, stress_convention=right)
    assert stress_warnings(mended, mended.label_keys) == []
    np.testing.assert_allclose(mended[0].stress, elastic[0].stress, rtol=1e-12)
    found = Dataset.from_atoms(written, **keys, stress_convention=wrong)
    (text,) = stress_warnings(found, found.label_keys)
    assert "a virial of the other sign; expected -V·stress in eV" in text
    assert f'read it with stress_convention="{right}", or leave it out (virial=None)' in text


def test_stresses_that_agree_are_left_in_peace(elastic):
    assert stress_warnings(elastic) == []
    # Ten percent are a matter of convergence.
    assert stress_warnings([replace(f, stress=1.1 * f.stress) for f in elastic]) == []


def test_labels_without_sense_or_company_are_left_in_peace(elastic):
    rng = np.random.default_rng(1)
    noise = [replace(f, stress=rng.normal(size=6)) for f in elastic]
    assert stress_warnings(noise) == []
    assert stress_warnings([replace(f, stress=np.zeros(6)) for f in elastic]) == []
    assert stress_warnings([replace(f, stress=-f.stress) for f in elastic[:3]]) == []
    assert stress_warnings([replace(f, stress=None) for f in elastic]) == []
    assert stress_warnings([]) == []


def test_only_strained_copies_are_compared(crystal):
    rng = np.random.default_rng(0)
    moved = replace(crystal[1], positions=crystal[1].positions + rng.normal(scale=0.3, size=(4, 3)))
    assert len(strain_work([crystal[0], moved]).energy) == 0
    shifted = replace(crystal[1], positions=crystal[1].positions + np.array([1.0, 2.0, -9.0]))
    assert len(strain_work([crystal[0], shifted]).energy) == 1
    other = replace(crystal[1], numbers=np.array([42, 42, 42, 74]))
    assert len(strain_work([crystal[0], other]).energy) == 0


def test_forces_do_the_work_of_displacements(crystal):
    """A linear potential in the first atom's place, where the cell stays as it is."""
    force = np.zeros((4, 3))
    force[1, 0], force[2, 0] = 2.0, -2.0
    one = replace(crystal[0], forces=force)
    step = np.zeros((4, 3))
    step[1, 0] = 0.03
    other = replace(one, positions=one.positions + step, energy=one.energy - 2.0 * 0.03)
    np.testing.assert_allclose(strain_work([one, other]).energy, 0.0, atol=1e-12)


def test_rotations_do_no_work(crystal):
    """Turned together, a pair has the work it had."""
    turn = random_rotation(np.random.default_rng(2))

    def turned(frame: Frame) -> Frame:
        xx, yy, zz, yz, xz, xy = frame.stress
        sigma = turn @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ turn.T
        voigt = sigma[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        positions, cell = frame.positions @ turn.T, frame.cell @ turn.T
        return replace(frame, positions=positions, cell=cell, stress=voigt)

    here, there = strain_work(crystal), strain_work([turned(frame) for frame in crystal])
    np.testing.assert_allclose(there.stress, here.stress, atol=1e-12)


def test_checks_of_data_include_the_stress(elastic):
    turned = Dataset(replace(frame, stress=-frame.stress) for frame in elastic)
    found = [text for text in check_data({"train": turned}) if "strained copies" in text]
    assert len(found) == 1
