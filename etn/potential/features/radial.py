"""Radial functions of an atomic pair."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import chebyshev

from etn.backend import FloatArray as Array
from etn.errors import SettingsError


@dataclass(frozen=True)
class Radial:
    """Orthonormal radial functions, smooth to the second derivative at ``r_max``.

        g_n(r) = (1 - r / r_max)^3 p_n(x),      x = 2 (r - r_min) / (r_max - r_min) - 1

    with polynomials p_n of degree n, n = 0..n_max-1, orthonormal as
    int g_n g_m r^2 dr = delta over r_min..r_max.  g and its first two derivatives vanish at
    ``r_max`` and g is zero beyond it.

    Parameters
    ----------
    n_max : int
        Number of functions.
    r_min, r_max : float
        Range of orthonormality, Å.

    Examples
    --------
    >>> Radial(4, r_min=2.0, r_max=5.0).compute(np.array([2.0, 3.5, 5.0]))[0].shape
    (3, 4)
    """

    n_max: int
    r_min: float
    r_max: float
    coefficients: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.n_max <= 200:
            raise SettingsError(f"n_max: expected 1..200, got {self.n_max}")
        if not 0 <= self.r_min < self.r_max <= 100:
            got = f"r_min {self.r_min} and r_max {self.r_max} Å"
            raise SettingsError(f"expected 0 <= r_min < r_max <= 100, got {got}")
        # Gauss-Legendre is exact for the polynomial integrands g_n g_m r^2.
        nodes, weights = np.polynomial.legendre.leggauss(self.n_max + 8)
        half = (self.r_max - self.r_min) / 2
        r = self.r_min + half * (nodes + 1)
        raw = chebyshev.chebvander(nodes, self.n_max - 1) * self._envelope(r)[:, None]
        gram = raw.T @ (raw * (half * weights * r**2)[:, None])
        # Gram-Schmidt in the order of rising degree.
        inverse = np.linalg.inv(np.linalg.cholesky(gram)).T
        object.__setattr__(self, "coefficients", inverse)

    def _envelope(self, r: Array) -> Array:
        return np.where(r < self.r_max, 1 - r / self.r_max, 0.0) ** 3

    def compute(self, r: Array) -> tuple[Array, Array]:
        """Functions and their derivatives.

        Parameters
        ----------
        r : (pairs,), Å

        Returns
        -------
        values, derivatives : (pairs, n_max)
        """
        scale = 2 / (self.r_max - self.r_min)
        x = scale * (r - self.r_min) - 1
        poly = chebyshev.chebvander(x, self.n_max - 1) @ self.coefficients
        slope = np.zeros((self.n_max, self.n_max))
        if self.n_max > 1:
            slope[:-1] = chebyshev.chebder(self.coefficients, axis=0)
        dpoly = scale * (chebyshev.chebvander(x, self.n_max - 1) @ slope)
        inside = np.where(r < self.r_max, 1 - r / self.r_max, 0.0)[:, None]
        values = inside**3 * poly
        derivatives = inside**3 * dpoly - 3 / self.r_max * inside**2 * poly
        return values, derivatives
