from __future__ import annotations

import math

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from etn.errors import IrrepsError
from etn.o3 import clebsch_gordan
from etn.o3.solid import MAX_DEGREE, check_degree, gradient, solid_harmonics

Array = npt.NDArray[np.float64]


def directions(n: int, rng: np.random.Generator) -> Array:
    """Random directions, the axes, and some close to the poles and to the equator."""
    near = [[1e-3, 2e-3, 1.0], [1e-9, 0.0, -1.0], [1.0, 1e-3, 1e-9], [1e-200, 1e-200, 1.0]]
    r = np.concatenate([rng.normal(size=(n, 3)), np.eye(3), -np.eye(3), near])
    return r / np.linalg.norm(r, axis=1, keepdims=True)


def exact_harmonics(l: int, orders: list[int], r: Array) -> Array:
    """Y_lm with 60 digits, by Ferrers' functions without normalisation (DLMF 14.10.3)."""
    with mpmath.workdps(60):
        x, y, z = (mpmath.mpf(float(v)) for v in r)
        length = mpmath.sqrt(x * x + y * y + z * z)
        u, phi = z / length, mpmath.atan2(y, x)
        s = mpmath.sqrt(x * x + y * y) / length
        values = []
        for m in map(abs, orders):
            before, now = mpmath.mpf(0), mpmath.fac2(2 * m - 1) * s**m if m else mpmath.mpf(1)
            for k in range(m + 1, l + 1):
                before, now = now, ((2 * k - 1) * u * now - (k + m - 1) * before) / (k - m)
            ratio = mpmath.factorial(l - m) / mpmath.factorial(l + m)
            values.append(now * mpmath.sqrt((2 * l + 1) / (4 * mpmath.pi) * ratio))
        turned = [
            value
            * (
                1
                if m == 0
                else mpmath.sqrt(2) * (mpmath.cos if m > 0 else mpmath.sin)(abs(m) * phi)
            )
            for m, value in zip(orders, values, strict=True)
        ]
        return np.array([float(v) for v in turned])


@pytest.mark.parametrize("l", [5, 30, 87, 88, 150, 400, 1000])
def test_values_equal_those_with_sixty_digits(l: int, rng: np.random.Generator) -> None:
    orders = sorted({0, 1, -1, l // 10, -(l // 3), l // 2, 1 - l, l, -l})
    for r in directions(2, rng):
        (found,) = solid_harmonics(l, r, first=l)
        expected = exact_harmonics(l, orders, r)
        error = np.abs(found[[l + m for m in orders]] - expected).max()
        # Close to a pole a rounding of z is worth l^2 times as much.
        assert error < 4e-16 * l * (l if np.hypot(*r[:2]) < 0.01 else 1)


@pytest.mark.parametrize("l", [1, 2, 10, 88, 150, 1000])
def test_sum_rules_of_values_and_gradients(l: int, rng: np.random.Generator) -> None:
    # Unsoeld's theorem, and its second derivative.
    r = directions(20, rng)
    lower, values = solid_harmonics(l, r, first=l - 1)
    weight = (2 * l + 1) / (4 * math.pi)
    error = 1e-14 * l + 4e-17 * l**2
    np.testing.assert_allclose((values**2).sum(1), weight, rtol=error)
    tangential = gradient(l, lower) - l * r[:, :, None] * values[:, None]
    np.testing.assert_allclose((tangential**2).sum((1, 2)), l * (l + 1) * weight, rtol=error)
    np.testing.assert_allclose(np.einsum("na,nam->nm", r, tangential), 0, atol=1e-14 * l**2)


@pytest.mark.parametrize("l", [1, 2, 3, 6])
def test_gradient_is_the_coupling_with_a_vector(l: int) -> None:
    table = gradient(l, np.eye(2 * l - 1))[:, [1, 2, 0]] / math.sqrt(l * (2 * l + 1))
    np.testing.assert_allclose(table, clebsch_gordan(l - 1, 1, l), atol=4e-16)


@pytest.mark.parametrize("l", [1, 2, 7])
def test_they_are_homogeneous_and_gradients_are_differences(
    l: int, rng: np.random.Generator
) -> None:
    r, h = rng.normal(size=(5, 3)), 1e-3
    lower, values = solid_harmonics(l, r, first=l - 1)
    np.testing.assert_allclose(solid_harmonics(l, 3 * r)[l], 3**l * values, rtol=1e-12)
    for axis, step in enumerate(h * np.eye(3)):
        d = [
            solid_harmonics(l, r + k * step)[l] - solid_harmonics(l, r - k * step)[l]
            for k in (1, 2, 3)
        ]
        expected = (45 * d[0] - 9 * d[1] + d[2]) / (60 * h)
        np.testing.assert_allclose(
            gradient(l, lower)[:, axis], expected, atol=1e-9 * abs(values).max()
        )


def test_they_reach_the_largest_degree_of_single_precision(rng: np.random.Generator) -> None:
    l = MAX_DEGREE["float32"]
    r = directions(20, rng).astype(np.float32)
    (values,) = solid_harmonics(l, r, first=l)
    assert values.dtype == np.float32
    np.testing.assert_allclose((values**2).sum(1), (2 * l + 1) / (4 * np.pi), rtol=2e-3)


def test_degrees_beyond_the_limit_are_refused() -> None:
    double, single = np.zeros(3), np.zeros(3, np.float32)
    assert check_degree(np.int64(1000), double, "l_max") == 1000
    with pytest.raises(IrrepsError, match="l_max: expected at most 1000 in float64, got 1001"):
        check_degree(1001, double, "l_max")
    with pytest.raises(IrrepsError, match="at most 150 in float32, got 151; float64 reaches 1000"):
        check_degree(151, single, "l_max")
