"""The nuclear repulsion against an independent evaluation and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import covalent_radii
from scipy import constants

from etn.potential.features.zbl import covalent_distances, fall, zbl

PAIRS = [(1, 1), (14, 14), (29, 42), (74, 74), (41, 8)]


def published(r, z1, z2):
    """Ziegler, Biersack and Littmark (1985), in SI units: constants of scipy, a0 in metres."""
    a = 0.88534 * 0.529177210903e-10 / (z1**0.23 + z2**0.23)
    x = r * 1e-10 / a
    phi = (
        0.18175 * np.exp(-3.19980 * x)
        + 0.50986 * np.exp(-0.94229 * x)
        + 0.28022 * np.exp(-0.40290 * x)
        + 0.02817 * np.exp(-0.20162 * x)
    )
    joule = z1 * z2 * constants.e**2 / (4 * np.pi * constants.epsilon_0 * r * 1e-10) * phi
    return joule / constants.e


@pytest.mark.parametrize(("z1", "z2"), PAIRS)
def test_inside_it_is_the_published_potential(z1, z2):
    r = np.array([0.05, 0.2, 0.7, 0.99])
    energy, _ = zbl(r, np.full(4, z1), np.full(4, z2), np.ones(4), np.full(4, 2.0))
    # The screening length is rounded to 0.4685 Å in common use.
    np.testing.assert_allclose(energy, published(r, z1, z2), rtol=2e-4)


def test_hydrogen_at_the_screening_length():
    # V = k / a phi(1) with a = 0.4685 / 2 Å; the sum of the four terms is phi(1) = 0.41638.
    a = 0.46850 / 2
    phi = sum(
        c * np.exp(-d)
        for c, d in zip(
            (0.18175, 0.50986, 0.28022, 0.02817), (3.19980, 0.94229, 0.40290, 0.20162), strict=True
        )
    )
    energy, _ = zbl(np.array([a]), np.array([1]), np.array([1]), np.ones(1), np.array([3.0]))
    assert energy[0] == pytest.approx(14.3996454784 / a * phi, rel=1e-12)


@pytest.mark.parametrize(("z1", "z2"), PAIRS)
def test_derivative_is_the_finite_difference(z1, z2):
    r = np.linspace(0.3, 2.1, 60)
    one, two, off = np.full(60, z1), np.full(60, z2), np.full(60, 2.0)
    h = 1e-4
    on = 0.6 * off
    at = [zbl(r + t * h, one, two, on, off)[0] for t in (-2, -1, 1, 2)]
    finite = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
    _, slope = zbl(r, one, two, on, off)
    # The switch has a jump in its third derivative at both ends.
    np.testing.assert_allclose(slope, finite, rtol=1e-7, atol=1e-8 * np.abs(finite).max())


def test_it_is_smooth_where_it_ends():
    h = np.array([1e-2, 1e-3])
    one = np.array([42, 42])
    energy, slope = zbl(2.0 - h, one, one, np.ones(2), np.full(2, 2.0))
    assert energy[0] / energy[1] == pytest.approx(1e3, rel=0.1)
    assert slope[0] / slope[1] == pytest.approx(1e2, rel=0.1)
    for array in zbl(np.array([2.0, 2.5]), one, one, np.ones(2), np.full(2, 2.0)):
        np.testing.assert_array_equal(array, 0)


def test_the_order_of_the_elements_does_not_matter():
    r, off = np.array([0.8]), np.array([2.0])
    one, two = np.array([29]), np.array([74])
    np.testing.assert_array_equal(zbl(r, one, two, off / 2, off), zbl(r, two, one, off / 2, off))


def test_covalent_distances_are_sums_of_radii():
    distances = covalent_distances(["Cu", "Mo"])
    np.testing.assert_allclose(distances, distances.T)
    assert distances[0, 1] == pytest.approx(covalent_radii[29] + covalent_radii[42])


def test_a_fall_is_smooth_to_the_second_derivative_at_both_ends():
    t = np.array([-0.5, 0.0, 0.5, 1.0, 1.5])
    values, slopes = fall(t)
    np.testing.assert_allclose(values, [1, 1, 0.5, 0, 0])
    np.testing.assert_allclose(slopes, [0, 0, -1.875, 0, 0])
    h = 1e-4
    curvature = (fall(t + h)[1] - fall(t - h)[1]) / (2 * h)
    np.testing.assert_allclose(curvature, np.zeros(5), atol=1e-6 + 60 * h)
