r"""6j and 9j symbols and changes of the coupling scheme, as floats or exactly.

Notes
-----
With every triad (a, b, c) goes the integer

.. math:: N_{abc} = \frac{(a+b+c+1)!}{(-a+b+c)!\,(a-b+c)!\,(a+b-c)!},

a multinomial coefficient times a+b+c+1, and Racah's triangle coefficient is its inverse square
root.  Gathering the factorials of his sum into binomials leaves a sum of integers; in the 9j
symbol, a sum of products of three 6j symbols, every N with the summation variable cancels.  So each
symbol is an integer times the square root of a ratio of such N: it is computed with integers and
rounded at the end, with an error of about one unit in the last place at any l.
"""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from functools import cache, lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from etn.errors import IrrepsError
from etn.o3.coupling import root_of_ratio
from etn.o3.irrep import as_int

if TYPE_CHECKING:
    from sympy import Expr, ImmutableMatrix

J: TypeAlias = "int | float | Fraction"
"""An integer or half-integer 0, 1/2, 1, ...: int, float, Fraction or a rational of sympy."""

# Largest angular momentum of a 6j and of a 9j symbol.
_LARGEST = 5000, 400

MatrixT = TypeVar("MatrixT")


class RecouplingMatrix(NamedTuple, Generic[MatrixT]):
    """A change of the coupling scheme of three irreps: ``matrix[i, j]`` joins l12[i] and l23[j]."""

    l12: tuple[int, ...]
    l23: tuple[int, ...]
    matrix: MatrixT


class _Surd(NamedTuple):
    """The number factor * sqrt(numerator / denominator), at most 1 in modulus."""

    factor: int
    numerator: int
    denominator: int

    def scaled(self, square: int) -> _Surd:
        """Return the number times sqrt(square)."""
        return self._replace(numerator=self.numerator * square)

    def to_float(self) -> float:
        root = root_of_ratio(self.factor**2 * self.numerator, self.denominator)
        return -root if self.factor < 0 else root

    def to_sympy(self) -> Expr:
        from sympy import Rational, sqrt

        return self.factor * sqrt(Rational(self.numerator, self.denominator))

    def value(self, exact: bool) -> float | Expr:
        return self.to_sympy() if exact else self.to_float()


_ZERO = _Surd(0, 1, 1)


def _doubled(name: str, *values: Any) -> tuple[int, ...]:
    """Return 2j for each j, or raise an :class:`IrrepsError`."""
    doubled = []
    for value in values:
        kind = type(value)
        twice = -1
        if not isinstance(value, bool | str):
            try:
                twice = 2 * operator.index(value)  # a short integer of NumPy would overflow
            except TypeError:
                # Floats of any precision as those of Python; fractions and rationals as they are.
                number: Any = float(value) if isinstance(value, float | np.floating) else value
                if isinstance(number, Real):
                    double: Any = 2 * number
                    twice = int(double) if double % 1 == 0 else -1
        if twice < 0:
            given = ", ".join(map(str, values))
            raise IrrepsError(
                f"{name}({given}): expected integers and half-integers 0, 1/2, 1, 3/2, ..., "
                f"got {value!r} ({kind.__name__})"
            )
        most = _LARGEST["4" in name or "9" in name]
        if twice > 2 * most:
            raise IrrepsError(
                f"{name}: expected angular momenta up to {most}, where the exact sums take about a "
                f"minute, got {value}"
            )
        doubled.append(twice)
    return tuple(doubled)


# The private functions on a, b, c, ... take doubled values, a = 2j: integers all.


@cache
def _triad(a: int, b: int, c: int) -> int:
    """Return N of the triad, or 0 where it is forbidden."""
    total, odd = divmod(a + b + c, 2)
    if odd or not abs(a - b) <= c <= a + b:
        return 0
    return (total + 1) * math.comb(total, a) * math.comb(a, total - b)


def _racah_sum(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """Return the integer S where {a b c; d e f} = S sqrt(N_abc / (N_aef N_dbf N_dec)).

    Racah's formula (Phys. Rev. 62, 438 (1942)) with the eight factorials under the sum gathered
    into four binomials.
    """
    comb = math.comb
    abc, aef, dbf, dec = (a + b + c) // 2, (a + e + f) // 2, (d + b + f) // 2, (d + e + c) // 2
    first = max(abc, aef, dbf, dec)
    last = min(abc - a + aef, abc - b + dbf, abc - c + dec)
    total = 0
    for t in range(first, last + 1):
        term = comb(abc - a, t - aef) * comb(abc - b, t - dbf) * comb(abc - c, t - dec)
        total = comb(t + 1, abc + 1) * term - total
    return -total if last % 2 else total


def _symbol_6j(a: int, b: int, c: int, d: int, e: int, f: int) -> _Surd:
    numerator = _triad(a, b, c)
    denominator = _triad(a, e, f) * _triad(d, b, f) * _triad(d, e, c)
    if not (numerator and denominator):
        return _ZERO
    return _Surd(_racah_sum(a, b, c, d, e, f), numerator, denominator)


def _symbol_9j(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int) -> _Surd:
    denominator = _triad(a, b, c) * _triad(d, e, f) * _triad(g, h, i)
    denominator *= _triad(a, d, g) * _triad(b, e, h) * _triad(c, f, i)
    if not denominator:
        return _ZERO
    # The sum over x of (-1)^2x (2x+1) {a d g; h i x} {b e h; d x f} {c f i; x a b}, each symbol
    # turned such that its first row is a triad with x, and the last row has none.
    total = 0
    for x in range(max(abs(a - i), abs(d - h), abs(b - f)), min(a + i, d + h, b + f) + 1, 2):
        term = _racah_sum(a, i, x, h, d, g) * _racah_sum(d, h, x, b, f, e)
        total += (x + 1) * term * _racah_sum(b, f, x, i, a, c)
    return _Surd(-total if (a + i) % 2 else total, 1, denominator)


@cache
def _wigner_6j(exact: bool, *doubled: int) -> float | Expr:
    return _symbol_6j(*doubled).value(exact)


@cache
def _wigner_9j(exact: bool, *doubled: int) -> float | Expr:
    return _symbol_9j(*doubled).value(exact)


@overload
def wigner_6j(
    j1: J, j2: J, j3: J, j4: J, j5: J, j6: J, *, exact: Literal[False] = False
) -> float: ...
@overload
def wigner_6j(j1: J, j2: J, j3: J, j4: J, j5: J, j6: J, *, exact: Literal[True]) -> Expr: ...
def wigner_6j(j1: J, j2: J, j3: J, j4: J, j5: J, j6: J, *, exact: bool = False) -> float | Expr:
    r"""Return Wigner's 6j symbol, which joins the two ways of coupling three angular momenta.

    .. math:: \begin{Bmatrix} j_1 & j_2 & j_3 \\ j_4 & j_5 & j_6 \end{Bmatrix}
        = \sqrt{\frac{N_{123}}{N_{156} N_{426} N_{453}}}\; \sum_t (-1)^t \binom{t+1}{j_{123}+1}
        \binom{j_{123} - 2 j_1}{t - j_{156}} \binom{j_{123} - 2 j_2}{t - j_{426}}
        \binom{j_{123} - 2 j_3}{t - j_{453}}

    with j_abc = j_a + j_b + j_c and N_abc = (j_abc + 1)! / prod_{i = a, b, c} (j_abc - 2 j_i)!.
    It is zero where one of the triads 123, 156, 426, 453 breaks the triangle rule or has a sum that
    is no integer.

    Parameters
    ----------
    j1, j2, j3
        Upper row, integers and half-integers.
    j4, j5, j6
        Lower row.
    exact
        Give the symbol exactly, as a rational number times a square root (loads sympy).

    Returns
    -------
    float or sympy.Expr
        The float has an error of about one unit in the last place at any j.

    Raises
    ------
    IrrepsError
        An argument is negative, not a multiple of 1/2, or larger than 5000.

    Notes
    -----
    Source: Racah, Phys. Rev. 62, 438 (1942); Wigner, Group Theory (1959), chapter 24.

    Examples
    --------
    >>> wigner_6j(1, 1, 2, 1, 1, 2)
    0.0333333333333333
    >>> wigner_6j(2, 2, 2, 1, 2, 3, exact=True)
    -sqrt(14)/35
    >>> wigner_6j(1, 1, 1, 0.5, 0.5, 0.5, exact=True)
    -1/3
    """
    doubled = _doubled("wigner_6j", j1, j2, j3, j4, j5, j6)
    return _wigner_6j(exact, *doubled)


@overload
def wigner_9j(
    j1: J, j2: J, j3: J, j4: J, j5: J, j6: J, j7: J, j8: J, j9: J, *, exact: Literal[False] = False
) -> float: ...
@overload
def wigner_9j(
    j1: J, j2: J, j3: J, j4: J, j5: J, j6: J, j7: J, j8: J, j9: J, *, exact: Literal[True]
) -> Expr: ...
def wigner_9j(
    j1: J, j2: J, j3: J, j4: J, j5: J, j6: J, j7: J, j8: J, j9: J, *, exact: bool = False
) -> float | Expr:
    r"""Return Wigner's 9j symbol, which joins two ways of coupling four angular momenta in pairs.

    .. math:: \begin{Bmatrix} j_1 & j_2 & j_3 \\ j_4 & j_5 & j_6 \\ j_7 & j_8 & j_9 \end{Bmatrix}
        = \sum_x (-1)^{2x} (2x+1)
        \begin{Bmatrix} j_1 & j_4 & j_7 \\ j_8 & j_9 & x \end{Bmatrix}
        \begin{Bmatrix} j_2 & j_5 & j_8 \\ j_4 & x & j_6 \end{Bmatrix}
        \begin{Bmatrix} j_3 & j_6 & j_9 \\ x & j_1 & j_2 \end{Bmatrix}

    It is zero where a row or a column breaks the triangle rule or has a sum that is no integer.

    Parameters
    ----------
    j1, j2, j3, j4, j5, j6, j7, j8, j9
        The symbol row by row, integers and half-integers.
    exact
        Give the symbol exactly, as a rational number times a square root (loads sympy).

    Returns
    -------
    float or sympy.Expr
        The float has an error of about one unit in the last place at any j.

    Raises
    ------
    IrrepsError
        An argument is negative, not a multiple of 1/2, or larger than 400.

    Notes
    -----
    Source: Wigner, Group Theory (1959), chapter 24; NIST DLMF, eq. (34.6.2).

    Examples
    --------
    >>> wigner_9j(1, 1, 2, 1, 1, 2, 2, 2, 0, exact=True)
    1/150
    >>> wigner_9j(0.5, 0.5, 1, 0.5, 0.5, 1, 1, 1, 2)
    0.1111111111111111
    """
    doubled = _doubled("wigner_9j", j1, j2, j3, j4, j5, j6, j7, j8, j9)
    return _wigner_9j(exact, *doubled)


def _change_3(a: int, b: int, ab: int, c: int, total: int, bc: int) -> _Surd:
    """Return <((a b) ab, c) total | (a, (b c) bc) total> for doubled values."""
    change = _symbol_6j(a, b, ab, c, total, bc).scaled((ab + 1) * (bc + 1))
    return change._replace(factor=-change.factor) if (a + b + c + total) // 2 % 2 else change


def _change_4(doubled: tuple[int, ...]) -> float:
    """Return <((a b) ab, (c d) cd) total | ((a c) ac, (b d) bd) total> for doubled values."""
    square = math.prod(doubled[n] + 1 for n in (2, 5, 6, 7))
    return _symbol_9j(*doubled).scaled(square).to_float()


# The cache stands in front of the check, which then runs once for each coefficient: these two are
# called in the inner loops of contractions.  It tells True from 1, which the check refuses.


@lru_cache(maxsize=None, typed=True)
def _recoupling(*degrees: J) -> float:
    return _change_3(*_doubled("recoupling", *degrees)).to_float()


@lru_cache(maxsize=None, typed=True)
def _recoupling_4(*degrees: J) -> float:
    return _change_4(_doubled("recoupling_4", *degrees))


def recoupling(l1: J, l2: J, l12: J, l3: J, l: J, l23: J) -> float:
    r"""Return the overlap of two ways of coupling three irreps to one, l1 with l2 or l2 with l3.

    .. math:: \langle ((l_1 l_2) l_{12}, l_3)\, l \,|\, (l_1, (l_2 l_3) l_{23})\, l \rangle
        = (-1)^{l_1+l_2+l_3+l} \sqrt{(2 l_{12}+1)(2 l_{23}+1)}
        \begin{Bmatrix} l_1 & l_2 & l_{12} \\ l_3 & l & l_{23} \end{Bmatrix}

    It is the same for the real tensors of :func:`etn.o3.clebsch_gordan` as for SU(2):

    .. math:: \sum_{m_{12}} C^{l_{12}}_{m_1 m_2 m_{12}} C^{l}_{m_{12} m_3 m}
        = \sum_{l_{23}} \langle \ldots | \ldots \rangle
        \sum_{m_{23}} C^{l_{23}}_{m_2 m_3 m_{23}} C^{l}_{m_1 m_{23} m}

    Parameters
    ----------
    l1, l2, l12, l3, l, l23
        Degrees, in the order of the 6j symbol.  Half-integers are allowed.  Parities play no part.

    Returns
    -------
    float
        Zero where one of the four couplings breaks the triangle rule.

    Raises
    ------
    IrrepsError
        An argument is negative, not a multiple of 1/2, or larger than 5000.

    Notes
    -----
    Why the real basis changes nothing: with the unitary U_l of :func:`etn.o3.complex_to_real`,
    phase i^l included, that takes complex components to the real ones, each real tensor is the
    SU(2) one times conj(U), conj(U) and U on its three legs.  In a tree of couplings the U and the
    conj(U) at l12, or at l23, multiply to the identity; those at l1, l2, l3 and l are alike in both
    trees and drop out.

    Source: Edmonds, Angular Momentum in Quantum Mechanics (1957), eq. (6.1.5).

    Examples
    --------
    >>> recoupling(1, 1, 0, 1, 1, 0)
    0.3333333333333333
    """
    try:
        return _recoupling(l1, l2, l12, l3, l, l23)
    except TypeError:  # no key for the cache
        return _change_3(*_doubled("recoupling", l1, l2, l12, l3, l, l23)).to_float()


def recoupling_4(l1: J, l2: J, l12: J, l3: J, l4: J, l34: J, l13: J, l24: J, l: J) -> float:
    r"""Return the overlap of two ways of coupling four irreps in pairs, 12 and 34 or 13 and 24.

    .. math:: \langle ((l_1 l_2) l_{12}, (l_3 l_4) l_{34})\, l \,|\,
        ((l_1 l_3) l_{13}, (l_2 l_4) l_{24})\, l \rangle
        = \sqrt{(2 l_{12}+1)(2 l_{34}+1)(2 l_{13}+1)(2 l_{24}+1)}
        \begin{Bmatrix} l_1 & l_2 & l_{12} \\ l_3 & l_4 & l_{34} \\ l_{13} & l_{24} & l
        \end{Bmatrix}

    It is the same for the real tensors of :func:`etn.o3.clebsch_gordan` as for SU(2), for the
    reason given at :func:`recoupling`.

    Parameters
    ----------
    l1, l2, l12, l3, l4, l34, l13, l24, l
        Degrees, the 9j symbol row by row.  Half-integers are allowed.  Parities play no part.

    Returns
    -------
    float
        Zero where one of the six couplings breaks the triangle rule.

    Raises
    ------
    IrrepsError
        An argument is negative, not a multiple of 1/2, or larger than 400.

    Notes
    -----
    Source: Edmonds, Angular Momentum in Quantum Mechanics (1957), section 6.4.

    Examples
    --------
    >>> recoupling_4(1, 1, 0, 1, 1, 0, 0, 0, 0)
    0.3333333333333333
    >>> recoupling_4(1, 1, 2, 1, 1, 2, 2, 2, 0)
    0.1666666666666667
    """
    degrees = l1, l2, l12, l3, l4, l34, l13, l24, l
    try:
        return _recoupling_4(*degrees)
    except TypeError:  # no key for the cache
        return _change_4(_doubled("recoupling_4", *degrees))


def _couplings(l1: int, l2: int, l3: int, l: int) -> tuple[int, ...]:
    """Return every degree that both (l1, l2) and (l3, l) couple to."""
    return tuple(range(max(abs(l1 - l2), abs(l3 - l)), min(l1 + l2, l3 + l) + 1))


@cache
def _recoupling_matrix(exact: bool, l1: int, l2: int, l3: int, l: int) -> RecouplingMatrix[Any]:
    rows, columns = _couplings(l1, l2, l3, l), _couplings(l2, l3, l1, l)
    shape = len(rows), len(columns)
    entries = [
        _change_3(2 * l1, 2 * l2, 2 * l12, 2 * l3, 2 * l, 2 * l23).value(exact)
        for l12 in rows
        for l23 in columns
    ]
    if exact:
        from sympy import ImmutableMatrix

        return RecouplingMatrix(rows, columns, ImmutableMatrix(*shape, entries))
    matrix = np.array(entries, dtype=np.float64).reshape(shape)
    matrix.setflags(write=False)
    return RecouplingMatrix(rows, columns, matrix)


@overload
def recoupling_matrix(
    l1: int, l2: int, l3: int, l: int, *, exact: Literal[False] = False
) -> RecouplingMatrix[npt.NDArray[np.float64]]: ...
@overload
def recoupling_matrix(
    l1: int, l2: int, l3: int, l: int, *, exact: Literal[True]
) -> RecouplingMatrix[ImmutableMatrix]: ...
def recoupling_matrix(
    l1: int, l2: int, l3: int, l: int, *, exact: bool = False
) -> RecouplingMatrix[npt.NDArray[np.float64]] | RecouplingMatrix[ImmutableMatrix]:
    r"""Return the orthogonal matrix of all :func:`recoupling` coefficients of l1, l2, l3 and l.

    .. math:: ((x \otimes y)_{l_{12}} \otimes z)_l
        = \sum_{l_{23}} F_{l_{12} l_{23}}\, (x \otimes (y \otimes z)_{l_{23}})_l

    Parameters
    ----------
    l1, l2, l3, l
        Degrees of the three factors and of the result.  With parities, those of l12 and l23 are the
        products of the parities of their factors.
    exact
        Give the entries exactly (loads sympy).

    Returns
    -------
    RecouplingMatrix
        The degrees `l12` of the rows, the degrees `l23` of the columns, both rising, and the square
        `matrix`: a cached, read-only float64 array, or a sympy.ImmutableMatrix.  All three are
        empty where the product of l1, l2 and l3 does not contain l.

    Raises
    ------
    IrrepsError
        A degree is negative, not an integer, or larger than 5000.

    Examples
    --------
    The nested products of three vectors, taken in the other order:

    >>> from etn.o3 import clebsch_gordan as C
    >>> def product(x, lx, y, ly, l):
    ...     return np.einsum("a,b,abc->c", x, y, C(lx, ly, l))
    >>> x, y, z = np.random.default_rng(0).normal(size=(3, 3))
    >>> l12, l23, F = recoupling_matrix(1, 1, 1, 1)
    >>> l12, l23
    ((0, 1, 2), (0, 1, 2))
    >>> left = [product(product(x, 1, y, 1, k), k, z, 1, 1) for k in l12]
    >>> right = [product(x, 1, product(y, 1, z, 1, k), k, 1) for k in l23]
    >>> np.allclose(left, F @ right)
    True
    >>> recoupling_matrix(1, 1, 1, 1, exact=True).matrix[0, :]
    Matrix([[1/3, -sqrt(3)/3, sqrt(5)/3]])
    """
    degrees = [as_int(degree, "recoupling_matrix: degree", minimum=0) for degree in (l1, l2, l3, l)]
    _doubled("recoupling_matrix", *degrees)
    return _recoupling_matrix(exact, *degrees)
