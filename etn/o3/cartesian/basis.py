r"""The two packed bases of symmetric traceless tensors, with exact entries.

Notes
-----
Both bases store the 2l+1 independent numbers of a tensor with l indices.

"orthonormal"
    Coordinates in an orthonormal basis of the tensors, so that sums of squares are Frobenius
    norms.  They are the spherical coordinates: m = -l..l in the order and sign of e3nn.
"monomial"
    The components A_abc with c = 0 or 1 (see :func:`~etn.o3.cartesian.exact.monomials`): the
    entries of the full tensor themselves.

In both, every number is an integer times a square root of a rational number that depends on one
index only.  So all of the exact work is done with integers.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb, factorial, gcd, lcm, prod, sqrt
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from etn.errors import IrrepsError
from etn.o3.cartesian.exact import monomials, multiplicity
from etn.o3.irrep import as_int

Packing: TypeAlias = Literal["orthonormal", "monomial"]
Integers: TypeAlias = npt.NDArray[Any]
"""Array of Python integers (dtype object) or of int64."""


# Largest degree of a change of packing.
_MAX_DEGREE = 40


class PackingMaps(NamedTuple):
    """Maps between the components of symmetric tensors and packed numbers.

    Attributes
    ----------
    lift : ndarray of int, shape ((l+1)(l+2)/2, 2l+1)
        Column i times ``sqrt(lift_squares[i])`` holds the components A_abc of basis tensor i, in
        the order of :func:`~etn.o3.cartesian.exact.monomials`.
    lift_squares : tuple of Fraction
    project : ndarray of int, shape (2l+1, (l+1)(l+2)/2)
        Row i times ``sqrt(project_squares[i])`` gives packed number i of the traceless part of
        any symmetric tensor from its components A_abc.
    project_squares : tuple of Fraction
    """

    lift: Integers
    lift_squares: tuple[Fraction, ...]
    project: Integers
    project_squares: tuple[Fraction, ...]


def check_packing(packing: Any) -> Packing:
    """Return the name of a packing, or raise an :class:`IrrepsError` that lists them."""
    for known in get_args(Packing):
        if isinstance(packing, str) and packing == known:
            return known
    raise IrrepsError(f"packing: expected one of {', '.join(get_args(Packing))}, got {packing!r}")


def square_roots(squares: tuple[Fraction, ...]) -> npt.NDArray[np.float64]:
    """Return the square roots of some rational numbers as floats."""
    return np.array([sqrt(square) for square in squares])


def largest_sum(matrix: Integers, axis: int) -> int:
    """Return the largest sum of absolute values along an axis of an integer matrix."""
    return int(abs(matrix).sum(axis=axis).max(initial=0))


def exact_dtype(bound: int) -> type:
    """Return int64 if it holds integers up to `bound`, else object (Python integers)."""
    return np.int64 if bound < 2**63 else object


def _without_common_factors(rows: Integers) -> tuple[Integers, list[int]]:
    """Divide every row by the greatest common divisor of its entries."""
    divisors = [gcd(*row) or 1 for row in rows]
    return rows // np.array(divisors, dtype=object)[:, None], divisors


@cache
def harmonic_polynomials(l: int) -> tuple[Integers, tuple[Fraction, ...]]:
    r"""Return the real harmonic polynomials of degree l and the squares of their scales.

    .. math:: H_{lm}(r) \propto \Bigl\{ {\mathrm{Re} \atop \mathrm{Im}} \Bigr\} (x + i y)^{|m|}
        \sum_k c_k\, z^{l-|m|-2k} (x^2 + y^2)^k, \qquad
        \frac{c_{k+1}}{c_k} = -\frac{(n - 2k)(n - 2k - 1)}{4 (k+1)(k+1+|m|)}, \quad n = l - |m|

    with the real part for m >= 0, the imaginary part for m < 0, and c_0 > 0.

    Parameters
    ----------
    l
        Degree.

    Returns
    -------
    coefficients : ndarray of Python integers, shape (2l+1, (l+1)(l+2)/2)
        Of the monomials, without common factor in a row; rows m = -l..l.
    squares : tuple of Fraction
        Row m times ``sqrt(squares[m])`` is the polynomial of a tensor of unit Frobenius norm.

    Examples
    --------
    >>> rows, squares = harmonic_polynomials(2)
    >>> rows[2].tolist(), squares[2]  # 2 z^2 - x^2 - y^2
    ([-1, 0, -1, 0, 0, 2], Fraction(1, 6))
    """
    places = {exponents: i for i, exponents in enumerate(monomials(l))}
    rows = np.zeros((2 * l + 1, len(places)), dtype=object)
    for m in range(l + 1):
        n = l - m
        series = [Fraction(1)]
        for k in range(n // 2):
            series.append(-series[k] * (n - 2 * k) * (n - 2 * k - 1) / (4 * (k + 1) * (k + 1 + m)))
        common = lcm(*(c.denominator for c in series))
        for k, c in enumerate(series):
            for j in range(k + 1):
                for t in range(m + 1 if m else 1):
                    # Term t of (x + iy)^m is real or imaginary, with sign 1, 1, -1, -1, ...
                    row = l + m if t % 2 == 0 else l - m
                    value = int(c * common) * comb(k, j) * comb(m, t) * (-1) ** (t // 2)
                    place = (2 * j + m - t, 2 * (k - j) + t, n - 2 * k)
                    rows[row, places[place]] += value
    rows, _ = _without_common_factors(rows)
    counts = [multiplicity(exponents) for exponents in monomials(l)]
    pairs = [zip(row, counts, strict=True) for row in rows]
    norms = [sum((Fraction(v * v, count) for v, count in row), Fraction(0)) for row in pairs]
    return rows, tuple(1 / norm for norm in norms)


def _component_rows(l: int) -> Integers:
    """Return the components A_abc of the harmonic polynomials, times l!, one row each."""
    # A component is a coefficient over its multiplicity l!/(a! b! c!).
    counts = [prod(map(factorial, exponents)) for exponents in monomials(l)]
    return harmonic_polynomials(l)[0] * np.array(counts, dtype=object)


def _orthonormal_maps(l: int) -> PackingMaps:
    rows, squares = harmonic_polynomials(l)
    lift, divisors = _without_common_factors(_component_rows(l))
    scales = [Fraction(divisor, factorial(l)) ** 2 for divisor in divisors]
    lift_squares = tuple(a * b for a, b in zip(squares, scales, strict=True))
    return PackingMaps(lift.T, lift_squares, rows, squares)


def _monomial_maps(l: int) -> PackingMaps:
    dim = 2 * l + 1
    places = {exponents: i for i, exponents in enumerate(monomials(l))}
    lift = np.zeros((len(places), dim), dtype=object)
    for (a, b, c), row in places.items():
        # Each pair zz is -(xx + yy).
        pairs = c // 2
        for j in range(pairs + 1):
            column = places[(a + 2 * j, b + 2 * (pairs - j), c - 2 * pairs)]
            lift[row, column] += (-1) ** pairs * comb(pairs, j)
    # The traceless part, through the orthonormal basis: its roots meet in pairs.
    rows, squares = harmonic_polynomials(l)
    common = lcm(*(square.denominator for square in squares))
    weights = np.array([int(square * common) for square in squares], dtype=object)
    project = (_component_rows(l)[:, :dim] * weights[:, None]).T @ rows
    divisor = gcd(*project.flat)
    scale = Fraction(divisor, common * factorial(l)) ** 2
    return PackingMaps(lift, (Fraction(1),) * dim, project // divisor, (scale,) * dim)


@cache
def packing_maps(l: int, packing: Packing = "orthonormal") -> PackingMaps:
    """Return the exact maps between symmetric tensors of degree l and packed numbers.

    Parameters
    ----------
    l
        Degree.
    packing
        "orthonormal" or "monomial".

    Raises
    ------
    IrrepsError
        ``l < 0``, or an unknown packing.

    Examples
    --------
    >>> packing_maps(2, "monomial").lift[-1].tolist()  # zz = -xx - yy
    [-1, 0, -1, 0, 0]
    """
    l = as_int(l, "degree l", minimum=0)
    make = _orthonormal_maps if check_packing(packing) == "orthonormal" else _monomial_maps
    return make(l)


def change_of_packing(l: int, source: Packing, target: Packing) -> npt.NDArray[np.float64]:
    """Return the matrix from one packed basis to the other, rounded from the exact one.

    Parameters
    ----------
    l
        Degree, at most 40: monomials determine orthonormal components worse and worse, by a factor
        1.5 a degree, and at 40 ten digits are left.
    source, target
        "orthonormal" or "monomial".

    Returns
    -------
    ndarray of float64, shape (2l+1, 2l+1)
        Read-only; packed numbers in `source` are the columns that it acts on.

    Raises
    ------
    IrrepsError
        ``l < 0`` or l > 40, or an unknown packing.

    Examples
    --------
    >>> change_of_packing(1, "monomial", "orthonormal")  # (x, y, z) to (y, z, x)
    array([[0., 1., 0.],
           [0., 0., 1.],
           [1., 0., 0.]])
    """
    l = as_int(l, "degree l", minimum=0)
    if l > _MAX_DEGREE:
        raise IrrepsError(
            f"degree l: expected at most {_MAX_DEGREE} for a change of packing, got {l}; harmonics "
            'come in both, form="packed" and form="monomial"'
        )
    return _change_of_packing(l, check_packing(source), check_packing(target))


@cache
def _change_of_packing(l: int, source: Packing, target: Packing) -> npt.NDArray[np.float64]:
    lift, lift_squares = packing_maps(l, source)[:2]
    project, project_squares = packing_maps(l, target)[2:]
    integers = (project @ lift).astype(np.float64)
    matrix = square_roots(project_squares)[:, None] * integers * square_roots(lift_squares)
    matrix.setflags(write=False)
    return matrix
