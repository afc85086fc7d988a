r"""Real solid harmonics of any degree and their gradients, by recurrences; NumPy or torch.

Notes
-----
A solid harmonic is a homogeneous polynomial, so its derivatives are finite everywhere, at the poles
too:

.. math:: |r|^l Y_{l, \pm m}(\hat r) = Q_l^m(z, |r|^2)\,
        \Bigl\{ {\mathrm{Re} \atop \mathrm{Im}} \Bigr\} (x + i y)^m, \qquad
    Q_l^m = a_{lm} \bigl(z\, Q_{l-1}^m - b_{lm}\, |r|^2\, Q_{l-2}^m\bigr), \qquad
    a_{lm}^2 = \frac{4 l^2 - 1}{l^2 - m^2}, \quad b_{lm}^2 = \frac{(l-1)^2 - m^2}{4 (l-1)^2 - 1},

and Q_m^m is a constant.  The Q are normalised from the start: no factorial, nothing that outgrows
the floats early.  At the pole they grow as 1.618^l, which bounds the degree; where (x + iy)^m
underflows, the harmonic is zero to all digits up to that degree.  The recurrence in l is the stable
direction: errors are of the order l times the rounding.

The gradient of degree l is made of degree l-1 alone, three terms for each harmonic.  Over its norm
it is the isometric coupling of l-1 and 1 to l.

Source: NIST DLMF, section 14.10 (recurrences); Varshalovich et al., Quantum Theory of Angular
Momentum (1988), section 5.8.3 (gradients).
"""

from __future__ import annotations

import math

from etn.backend import Array, arange_like, library
from etn.errors import IrrepsError
from etn.o3.irrep import as_int

MAX_DEGREE = {"float64": 1000, "float32": 150}
"""Largest degree in each precision: beyond, 1.618^l leaves the range of its numbers."""


def check_degree(l: int, r: Array, what: str) -> int:
    """Return the degree as a Python int, or raise an :class:`IrrepsError` that names the limit."""
    l = as_int(l, what, minimum=0)
    dtype = str(r.dtype).removeprefix("torch.")
    if l > MAX_DEGREE[dtype]:
        hint = "; float64 reaches 1000" if dtype == "float32" else ""
        raise IrrepsError(f"{what}: expected at most {MAX_DEGREE[dtype]} in {dtype}, got {l}{hint}")
    return l


def _powers(l: int, x: Array, y: Array) -> tuple[Array, Array]:
    """Return Re and Im of (x + iy)^m, m = 0..l, shape (..., l+1)."""
    xp = library(x)
    real, imaginary = [xp.ones_like(x)], [xp.zeros_like(x)]
    for _ in range(l):
        c, s = real[-1], imaginary[-1]
        real.append(x * c - y * s)
        imaginary.append(x * s + y * c)
    return xp.concatenate(real, -1), xp.concatenate(imaginary, -1)


def solid_harmonics(l_max: int, r: Array, first: int = 0) -> list[Array]:
    r"""Return the solid harmonics of some degrees, orthonormal on the unit sphere.

    Parameters
    ----------
    l_max
        Largest degree.
    r
        Vectors, shape (..., 3); NumPy or torch, float32 or float64.
    first
        Smallest degree that is returned, at least 0.

    Returns
    -------
    list of arrays
        :math:`|r|^l Y_{lm}` for l = first..l_max, shape (..., 2l+1) each, in the order m = -l..l.

    Examples
    --------
    >>> import numpy as np
    >>> (solid_harmonics(1, np.array([0.0, 2.0, 0.0]))[1] * np.sqrt(4 * np.pi / 3)).round(12)
    array([2., 0., 0.])
    """
    xp = library(r)
    x, y, z = r[..., :1], r[..., 1:2], r[..., 2:]
    square = (r * r).sum(-1)[..., None]
    real, imaginary = _powers(l_max, x, y)
    # q: Q_l^m for m = 0..l; before: those of degree l-1, with zeros for the m that it lacks.
    diagonal = 1 / math.sqrt(4 * math.pi)
    q, before = xp.full_like(x, diagonal), xp.zeros_like(x)
    m = arange_like(l_max + 1, r)
    found = []
    for l in range(l_max + 1):
        if l > 0:
            orders = m[:l] ** 2
            a = xp.sqrt((4 * l**2 - 1) / (l**2 - orders))
            b = xp.sqrt(abs((l - 1) ** 2 - orders) / (4 * (l - 1) ** 2 - 1)) if l > 1 else 0 * a
            # The harmonics with m > 0 take a factor sqrt(2), once and for all.
            diagonal *= math.sqrt((2 * l + 1) / (2 * l) * (2 if l == 1 else 1))
            rest = a * (z * q - b * square * before)
            before = xp.concatenate((q, xp.zeros_like(x)), -1)
            q = xp.concatenate((rest, xp.full_like(x, diagonal)), -1)
        if l >= first:
            sines = xp.flip((q * imaginary[..., : l + 1])[..., 1:], (-1,))
            found.append(xp.concatenate((sines, q * real[..., : l + 1]), -1))
    return found


def gradient(l: int, lower: Array) -> Array:
    r"""Return the gradients of the solid harmonics of degree l from those of degree l-1.

    .. math:: \partial_z R_{lm} = k \sqrt{l^2 - m^2}\, R_{l-1,m}, \qquad
        k = \sqrt{\tfrac{2l+1}{2l-1}}, \qquad
        \sum_{\alpha m'} A_{\alpha m, m'} A_{\alpha n, m'} = l\, (2l+1)\, \delta_{mn}

    for the matrix A of this map; over that norm it is the coupling (l-1) x 1 -> l.

    Parameters
    ----------
    l
        Degree of the result, at least 1.
    lower
        Harmonics of degree l-1, or any vectors of that irrep, shape (..., 2l-1).

    Returns
    -------
    array, shape (..., 3, 2l+1)
        The axis of length 3 is (x, y, z).

    Examples
    --------
    >>> import numpy as np
    >>> gradient(1, np.ones(1)).round(6) + 0.0  # of (y, z, x) sqrt(3)
    array([[0.      , 0.      , 1.732051],
           [1.732051, 0.      , 0.      ],
           [0.      , 1.732051, 0.      ]])
    """
    xp = library(lower)
    k = math.sqrt((2 * l + 1) / (2 * l - 1))
    m = arange_like(l + 1, lower)
    none = xp.zeros_like(lower[..., :1])
    # Cosines and sines by m = 0..l-1, then with those next to them: at m-1, m and m+1, m = 0..l.
    # At m = 0 cosines are sqrt(2) times the harmonic, and what stands at -1 is the conjugate of 1.
    start = math.sqrt(2) * lower[..., l - 1 : l]
    cosines = xp.concatenate((start, lower[..., l:], none, none), -1)
    sines = xp.concatenate((none, xp.flip(lower[..., : l - 1], (-1,)), none, none), -1)
    c_below = xp.concatenate((-cosines[..., 1:2], cosines[..., :l]), -1)
    s_below = xp.concatenate((sines[..., 1:2], sines[..., :l]), -1)
    p = k / 2 * xp.sqrt((l + m) * (l + m - 1))
    q = k / 2 * xp.sqrt(abs((l - m) * (l - m - 1)))
    d = k * xp.sqrt(l**2 - m**2)
    c_above, s_above = cosines[..., 1 : l + 2], sines[..., 1 : l + 2]
    dx = p * c_below - q * c_above, p * s_below - q * s_above
    dy = -q * s_above - p * s_below, q * c_above + p * c_below
    dz = d * cosines[..., : l + 1], d * sines[..., : l + 1]
    rows = []
    for by_cosine, by_sine in (dx, dy, dz):
        middle = by_cosine[..., :1] / math.sqrt(2)
        parts = xp.flip(by_sine[..., 1:], (-1,)), middle, by_cosine[..., 1:]
        rows.append(xp.concatenate(parts, -1))
    return xp.stack(rows, -2)
