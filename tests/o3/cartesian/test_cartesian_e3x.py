"""Directions, full tensors and rotations against e3x, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from etn.o3 import cartesian, random_rotation


@pytest.fixture(scope="module")
def so3():
    jax = pytest.importorskip("jax")
    e3x = pytest.importorskip("e3x")
    jax.config.update("jax_enable_x64", True)
    return e3x.so3


@pytest.mark.parametrize("l", range(6))
def test_tensors_of_directions(so3, l):
    """Theirs are harmonics of Racah's norm and the tensor they lead to: factors of sqrt(s_l)."""
    r = np.random.default_rng(l).normal(size=(20, 3))
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    scale = float(cartesian.norm_constant(l))
    theirs = np.asarray(so3.spherical_harmonics(r, l, cartesian_order=False))[:, l**2 :]
    assert np.abs(theirs - np.sqrt(scale) * cartesian.harmonics(l, r)).max() < 1e-12
    full = np.asarray(so3.irreps_to_tensor(theirs, degree=l, cartesian_order=False))
    expected = scale * cartesian.harmonics(l, r, form="full")
    assert np.abs(full.reshape(expected.shape) - expected).max() < 1e-12


def test_rotations(so3):
    matrix = random_rotation(np.random.default_rng(0))
    theirs = np.asarray(so3.wigner_d(matrix, 5, cartesian_order=False))
    for l in range(6):
        block = theirs[l**2 : (l + 1) ** 2, l**2 : (l + 1) ** 2]
        ours = cartesian.packed_d(l, matrix)
        assert np.abs(block - ours).max() < 1e-12
