"""The basis: its leg, its numbers from data, its bonds, and settings out of range."""

from __future__ import annotations

import numpy as np
import pytest

from etn.data.stress import voigt
from etn.errors import DataError, SettingsError
from etn.o3 import Irreps
from etn.potential import Basis, Dataset, Frame
from etn.potential.features.basis import bond_irreps
from etn.potential.features.pairs import Pairs

ELEMENTS = ("Cu", "Mo", "W")


def test_the_leg(frame_of, basis):
    assert basis.leg == Irreps("10x0e+9x1o+9x2e+9x3o")
    assert basis.start == Irreps("3x0e")
    values = basis.expand(Pairs.find([frame_of("small")], basis.elements, basis.r_max)).values
    np.testing.assert_array_equal(next(iter(values.values()))[0], 1.0)


def test_basis_of_a_data_set(frame_of):
    data = Dataset([frame_of("small"), frame_of("cluster")])
    basis = Basis.for_dataset(data, r_max=4.0, n_max=2, l_max=1)
    assert basis.elements == ELEMENTS
    pairs = [Pairs.find([f], ELEMENTS, 4.0).distance for f in data]
    shortest = min(d.min() for d in pairs)
    assert basis.r_min == pytest.approx(0.9 * shortest, abs=5e-4)
    density = sum(map(len, pairs)) / 8 / (4 / 3 * np.pi * 4.0**3)
    assert basis.scale == pytest.approx(density**-0.5, rel=1e-3)


def test_frames_of_lone_atoms_have_no_basis():
    lone = Frame([29], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3)
    with pytest.raises(DataError, match=r"no two atoms .* within r_max = 4.0"):
        Basis.for_dataset(Dataset([lone]), r_max=4.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elements": ()}, "elements: expected at least one"),
        ({"l_max": -1}, r"l_max: expected 0..12, got -1"),
        ({"l_max": 13}, r"l_max: expected 0..12, got 13"),
        ({"r_max": -1.0}, "r_max -1.0"),
        ({"n_max": 0}, r"n_max: expected 1\.\.200, got 0"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(SettingsError, match=message):
        Basis(**{"elements": ("Mo",), **options})


def test_voigt_takes_the_symmetric_part(rng):
    matrix = rng.normal(size=(5, 3, 3))
    xx, yy, zz, yz, xz, xy = np.moveaxis(voigt(matrix), -1, 0)
    np.testing.assert_allclose(np.stack([xx, yy, zz], -1), np.einsum("kii->ki", matrix))
    np.testing.assert_allclose(yz, (matrix[:, 1, 2] + matrix[:, 2, 1]) / 2)
    np.testing.assert_allclose(xz, (matrix[:, 0, 2] + matrix[:, 2, 0]) / 2)
    np.testing.assert_allclose(xy, (matrix[:, 0, 1] + matrix[:, 1, 0]) / 2)


def test_bond_irreps():
    basis = Basis(("Mo",), l_max=3)
    assert bond_irreps(2, basis) == Irreps("2x0e+2x1o+2x2e+2x3o")
    assert bond_irreps((4, 3, 0, 1, 9), basis) == Irreps("4x0e+3x1o+1x3o")
    assert bond_irreps("1x1o+2x0e", basis) == Irreps("2x0e+1x1o")
    for wrong in (0, [], (0, 2), (2, -1)):
        with pytest.raises(SettingsError, match="max_bond"):
            bond_irreps(wrong, basis)
