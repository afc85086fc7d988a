"""Radial functions against quadrature by scipy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from etn.errors import SettingsError
from etn.potential.features.radial import Radial

CASES = [Radial(1, 1.0, 5.0), Radial(4, 0.0, 3.0), Radial(8, 2.1, 5.2), Radial(12, 1.0, 6.0)]


@pytest.mark.parametrize("radial", CASES, ids=repr)
def test_functions_are_orthonormal(radial):
    def product(r, n, m):
        g = radial.compute(np.array([r]))[0][0]
        return g[n] * g[m] * r**2

    n_max = radial.n_max
    for n in range(n_max):
        for m in sorted({0, n // 2, max(n - 1, 0), n}):
            value, _ = quad(
                product, radial.r_min, radial.r_max, args=(n, m), epsabs=1e-12, limit=200
            )
            assert value == pytest.approx(float(n == m), abs=1e-9)


@pytest.mark.parametrize("radial", CASES, ids=repr)
def test_derivatives_are_finite_differences(radial):
    r = np.linspace(max(radial.r_min, 0.3), radial.r_max - 0.01, 40)
    h = 1e-4
    at = [radial.compute(r + t * h)[0] for t in (-2, -1, 1, 2)]
    finite = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
    _, slope = radial.compute(r)
    np.testing.assert_allclose(slope, finite, atol=1e-9 * np.abs(finite).max())


@pytest.mark.parametrize("radial", CASES, ids=repr)
def test_two_derivatives_vanish_at_r_max(radial):
    h = np.array([1e-3, 1e-4])
    values, slopes = radial.compute(radial.r_max - h)
    # g ~ h^3, g' ~ h^2, so g'' ~ h.
    np.testing.assert_allclose(values[0] / values[1], 1e3, rtol=0.1)
    np.testing.assert_allclose(slopes[0] / slopes[1], 1e2, rtol=0.1)
    for array in radial.compute(np.array([radial.r_max, radial.r_max + 1e-9, 2 * radial.r_max])):
        np.testing.assert_array_equal(array, 0)


@pytest.mark.parametrize("radial", CASES, ids=repr)
def test_functions_are_polynomials_of_rising_degree_times_the_envelope(radial):
    r = np.linspace(radial.r_min, radial.r_max - 0.1, 30)
    p = radial.compute(r)[0] / (1 - r / radial.r_max)[:, None] ** 3
    for n in range(radial.n_max):
        fit = np.polynomial.Chebyshev.fit(r, p[:, n], n)
        np.testing.assert_allclose(fit(r), p[:, n], atol=1e-9 * np.abs(p[:, n]).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, 1.0, 5.0), "n_max: expected 1..200, got 0"),
        ((4, 5.0, 5.0), "r_min < r_max"),
        ((4, -1.0, 5.0), "r_min < r_max"),
        ((4, 1.0, np.inf), "r_min < r_max"),
        ((4, 1.0, np.nan), "r_min < r_max"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(SettingsError, match=message):
        Radial(*options)
