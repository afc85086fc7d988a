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
    ("factor", "name"),
    [
        (-1.0, "minus the stress in eV/Å³"),
        (GPA, "the stress in GPa"),
        (-GPA, "minus the stress in GPa"),
        (10 * GPA, "the stress in kbar"),
        (-10 * GPA, "minus the stress in kbar"),
        (1e4 * GPA, "the stress in bar"),
        (1 / 183.631, "the stress in Hartree/Bohr³"),
        (1 / GPA, "the stress in eV/Å³ over 160.2"),
        (7.0, "the stress in another unit"),
    ],
)
def test_other_units_and_signs_are_named(elastic, factor, name):
    (text,) = stress_warnings([replace(f, stress=factor * f.stress) for f in elastic])
    assert f"so they are probably {name}" in text
    assert "convert them" in text


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_virial_is_named(elastic, sign):
    (text,) = stress_warnings([replace(f, stress=sign * f.volume * f.stress) for f in elastic])
    assert f"{'' if sign > 0 else 'minus '}the virial V sigma in eV" in text


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
