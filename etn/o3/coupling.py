r"""Clebsch-Gordan and 3j tensors in the real basis, as float64 or exactly.

Notes
-----
Between the complex states |l m> (Condon-Shortley phase) and the real components a = -l..l stands
the unitary U_l = i^l M_l of :func:`complex_to_real`,

.. math:: |l m\rangle = \sum_{a = \pm m} \overline{U}_{am}\, |l a\rangle
    = (-i)^l \sum_{a = \pm m} q_{ma} |l a\rangle, \qquad
    q_{00} = 1, \quad q_{m,|m|} = s_m / \sqrt 2, \quad
    q_{m,-|m|} = \pm i\, s_m / \sqrt 2 \;\;(m \gtrless 0),

where s_m = (-1)^m for m > 0 and 1 for m < 0.  Only a = ±m mix, and the flip (m1, m2, m3) ->
(-m1, -m2, -m3) conjugates the product of the three q and multiplies the SU(2) coefficient by
(-1)^(l1+l2-l3).  So exactly one flip pair feeds each real entry: every entry of the real tensor is
one signed square root of a rational number.  That number is computed with integers, which is why
the float tensor is correct to the last digit or two at any l, and why the exact tensor costs
nothing more.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from etn.errors import IrrepsError
from etn.o3.irrep import as_int

if TYPE_CHECKING:
    from sympy import ImmutableDenseNDimArray


# Largest tensor that is made, 2 GiB.
_MAX_ENTRIES = 2**28

# Largest degree of a change of basis, that of harmonics.
_MAX_COMPLEX = 1000


class _Root(NamedTuple):
    """Entry `place` of a tensor: sign * sqrt(numerator / denominator)."""

    place: tuple[int, int, int]
    sign: int
    numerator: int
    denominator: int


def _su2_squared(l1: int, m1: int, l2: int, m2: int, l3: int) -> tuple[int, int, int]:
    """Return <l1 m1 l2 m2 | l3 m1+m2> as (sign, numerator, denominator) of its square.

    Racah's formula (Phys. Rev. 62, 438 (1942)) with the six factorials under the sum gathered into
    three binomials, so that the sum is an integer.
    """
    f = math.factorial
    m3 = m1 + m2
    j1, j2, j3 = -l1 + l2 + l3, l1 - l2 + l3, l1 + l2 - l3
    total = sum(
        (-1) ** k * math.comb(j3, k) * math.comb(j2, l1 - m1 - k) * math.comb(j1, l2 + m2 - k)
        for k in range(max(0, l1 - m1 - j2, l2 + m2 - j1), min(j3, l1 - m1, l2 + m2) + 1)
    )
    numerator = total**2 * (2 * l3 + 1) * f(l1 + m1) * f(l1 - m1)
    numerator *= f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
    denominator = f(l1 + l2 + l3 + 1) * f(j1) * f(j2) * f(j3)
    return (total > 0) - (total < 0), numerator, denominator


def _quarter_turns(m: int, a: int) -> int:
    """Return k where q_ma = i^k |q_ma|, the phase of the change of basis, for |a| = |m|."""
    turns = 0 if m <= 0 or m % 2 == 0 else 2
    return turns + ((1 if m > 0 else 3) if a < 0 else 0)


def check_triangle(l1: int, l2: int, l3: int) -> tuple[int, int, int]:
    """Return the three degrees as Python ints, or raise an :class:`IrrepsError`."""
    where = f"({l1}, {l2}, {l3}): degree"
    l1, l2, l3 = (as_int(l, f"{where} l{n}", minimum=0) for n, l in enumerate((l1, l2, l3), 1))
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise IrrepsError(
            f"({l1}, {l2}, {l3}) breaks the triangle rule |l1-l2| <= l3 <= l1+l2: expected l3 "
            f"from {abs(l1 - l2)} to {l1 + l2}, got {l3}"
        )
    return l1, l2, l3


def _check_size(l1: int, l2: int, l3: int) -> tuple[int, int, int]:
    """Return the degrees, or raise an :class:`IrrepsError` if the tensor has too many entries."""
    degrees = check_triangle(l1, l2, l3)
    entries = math.prod(2 * l + 1 for l in degrees)
    if entries > _MAX_ENTRIES:
        raise IrrepsError(
            f"({l1}, {l2}, {l3}): a tensor of {entries:.1e} entries ({entries / 2**27:.1f} GiB), "
            f"expected at most {_MAX_ENTRIES / 2**27:.0f} GiB; three equal degrees reach 322"
        )
    return degrees


def _roots(l1: int, l2: int, l3: int) -> list[_Root]:
    """Return the non-zero entries of the isometric real tensor, each as a signed square root."""
    roots = []
    j3 = l1 + l2 - l3
    # One (m1, m2) of each flip pair.
    for m1, m2 in itertools.product(range(l1 + 1), range(-l2, l2 + 1)):
        m3 = m1 + m2
        if abs(m3) > l3 or (m1 == 0 and m2 < 0):
            continue
        sign, numerator, denominator = _su2_squared(l1, m1, l2, m2, l3)
        if sign == 0:
            continue
        # Each q has modulus 1/sqrt(2) unless m = 0, and the two halves of the pair add up.
        if m1 and m2 and m3:
            denominator *= 2
        for a, b, c in itertools.product({m1, -m1}, {m2, -m2}, {m3, -m3}):
            # The phase of the entry is i^turns, with (-i)^(l1+l2-l3) from the three degrees; the
            # other half of the pair cancels the imaginary part.
            turns = _quarter_turns(m1, a) + _quarter_turns(m2, b) - _quarter_turns(m3, c) - j3
            if turns % 2 == 0:
                place = (l1 + a, l2 + b, l3 + c)
                roots.append(_Root(place, sign * (1 - turns % 4), numerator, denominator))
    return roots


def root_of_ratio(numerator: int, denominator: int) -> float:
    """Return sqrt(numerator / denominator), for a ratio that may be smaller than any float.

    Examples
    --------
    >>> root_of_ratio(1, 10**400)
    1e-200
    """
    # A power of 4 taken out of the ratio keeps tiny numbers inside the range of floats.
    shift = max(0, (denominator.bit_length() - numerator.bit_length()) // 2)
    return math.ldexp(math.sqrt((numerator << 2 * shift) / denominator), -shift)


@cache
def _float_tensor(l1: int, l2: int, l3: int) -> npt.NDArray[np.float64]:
    tensor = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for place, sign, numerator, denominator in _roots(l1, l2, l3):
        tensor[place] = sign * root_of_ratio(numerator, denominator)
    tensor.setflags(write=False)
    return tensor


@cache
def _float_3j(l1: int, l2: int, l3: int) -> npt.NDArray[np.float64]:
    tensor = _float_tensor(l1, l2, l3) / math.sqrt(2 * l3 + 1)
    tensor.setflags(write=False)
    return tensor


@cache
def _exact_tensor(l1: int, l2: int, l3: int, scale: int) -> ImmutableDenseNDimArray:
    """Return the exact real tensor divided by sqrt(scale)."""
    from sympy import ImmutableDenseNDimArray, Rational, S, sqrt

    shape = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)
    entries = [S.Zero] * math.prod(shape)
    for (a, b, c), sign, numerator, denominator in _roots(l1, l2, l3):
        flat = (a * shape[1] + b) * shape[2] + c
        entries[flat] = sign * sqrt(Rational(numerator, denominator * scale))
    return ImmutableDenseNDimArray(entries, shape)


@overload
def clebsch_gordan(
    l1: int, l2: int, l3: int, *, exact: Literal[False] = False
) -> npt.NDArray[np.float64]: ...
@overload
def clebsch_gordan(
    l1: int, l2: int, l3: int, *, exact: Literal[True]
) -> ImmutableDenseNDimArray: ...
def clebsch_gordan(
    l1: int, l2: int, l3: int, *, exact: bool = False
) -> npt.NDArray[np.float64] | ImmutableDenseNDimArray:
    r"""Return the isometric Clebsch-Gordan tensor that couples l1 and l2 to l3, real basis.

    .. math:: \sum_{m_1 m_2} C_{m_1 m_2 m_3} C_{m_1 m_2 m_3'} = \delta_{m_3 m_3'}, \qquad
        C_{m_1 m_2 m_3} = \sqrt{2 l_3 + 1}\; W_{m_1 m_2 m_3}

    with W = :func:`wigner_3j`.  It is invariant: rotating all three legs by the matrices of
    :func:`etn.o3.wigner_d` leaves it as it is.

    Parameters
    ----------
    l1, l2, l3
        Degrees, |l1-l2| <= l3 <= l1+l2, of any size as long as the tensor has at most 2 GiB.
        Parities play no part.
    exact
        Give the entries exactly, as square roots of rational numbers (loads sympy).

    Returns
    -------
    ndarray of float64, or sympy.ImmutableDenseNDimArray
        Shape (2*l1+1, 2*l2+1, 2*l3+1), components m = -l..l.  The float array is cached and
        read-only; its entries have an error of a few units in the last place at any l.

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule, or the tensor is larger than 2 GiB.

    Notes
    -----
    With the unitary matrices U_l = ``complex_to_real(l, phase=True)`` it is

    .. math:: C_{abc} = \sum_{m_1 m_2 m_3} \overline{U}_{a m_1} \overline{U}_{b m_2} U_{c m_3}
        \langle l_1 m_1\, l_2 m_2 | l_3 m_3 \rangle

    with the complex coefficients of Condon and Shortley: real, and equal in sign to e3nn.
    Source: Racah, Phys. Rev. 62, 438 (1942).

    Examples
    --------
    >>> C = clebsch_gordan(1, 1, 2)
    >>> C.shape
    (3, 3, 5)
    >>> bool(abs(np.einsum("abc,abd->cd", C, C) - np.eye(5)).max() < 1e-15)
    True
    >>> clebsch_gordan(1, 1, 1, exact=True)[0, 1, 2]
    sqrt(2)/2
    """
    degrees = _check_size(l1, l2, l3)
    return _exact_tensor(*degrees, scale=1) if exact else _float_tensor(*degrees)


@overload
def wigner_3j(
    l1: int, l2: int, l3: int, *, exact: Literal[False] = False
) -> npt.NDArray[np.float64]: ...
@overload
def wigner_3j(l1: int, l2: int, l3: int, *, exact: Literal[True]) -> ImmutableDenseNDimArray: ...
def wigner_3j(
    l1: int, l2: int, l3: int, *, exact: bool = False
) -> npt.NDArray[np.float64] | ImmutableDenseNDimArray:
    r"""Return the invariant tensor of three irreps with unit Frobenius norm, real basis.

    .. math:: \sum_{m_1 m_2 m_3} W_{m_1 m_2 m_3}^2 = 1

    Equal to ``e3nn.o3.wigner_3j``, sign included; ``clebsch_gordan = sqrt(2 l3 + 1) * wigner_3j``.

    Parameters
    ----------
    l1, l2, l3
        Degrees, |l1-l2| <= l3 <= l1+l2; limits as in :func:`clebsch_gordan`.
    exact
        Give the entries exactly, as square roots of rational numbers (loads sympy).

    Returns
    -------
    ndarray of float64, or sympy.ImmutableDenseNDimArray
        Shape (2*l1+1, 2*l2+1, 2*l3+1).  The float array is cached and read-only.

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule, or the tensor is larger than 2 GiB.

    Examples
    --------
    >>> float((wigner_3j(2, 2, 2) ** 2).sum().round(12))
    1.0
    >>> wigner_3j(1, 1, 1, exact=True)[0, 1, 2]
    sqrt(6)/6
    """
    degrees = _check_size(l1, l2, l3)
    return _exact_tensor(*degrees, scale=2 * degrees[2] + 1) if exact else _float_3j(*degrees)


def complex_to_real(l: int, *, phase: bool = False) -> npt.NDArray[np.complex128]:
    r"""Return the unitary matrix from complex harmonics (Condon-Shortley) to the real ones of etn.

    .. math:: Y^{real}_{la} = \sum_m M_{am}\, Y_l^m, \qquad M_{00} = 1, \qquad
        M_{m,\pm m} = \frac{1}{\sqrt 2} \{(-1)^m, 1\}, \quad
        M_{-m,\pm m} = \frac{i}{\sqrt 2} \{-(-1)^m, 1\} \quad (m > 0)

    Parameters
    ----------
    l
        Degree, up to 1000 as the harmonics.
    phase
        Return U_l = i^l M_l, the matrix that makes real tensors of all Clebsch-Gordan tensors; M
        alone gives i times a real tensor where l1+l2+l3 is odd.

    Returns
    -------
    ndarray of complex128, shape (2l+1, 2l+1)
        Rows: real components -l..l; columns: m = -l..l.

    Raises
    ------
    IrrepsError
        The degree is negative, larger than 1000, or not an integer.

    Notes
    -----
    The complex harmonics are those of quantum mechanics, of SciPy (``sph_harm_y``) and sympy
    (``Ynm``).  Tensors go along: U conj(U) conj(U) on the legs of a complex coefficient <l1 m1 l2
    m2|l3 m3>, as given at :func:`clebsch_gordan`.  Source: Varshalovich et al., Quantum Theory of
    Angular Momentum (1988), section 5.1.5.

    Examples
    --------
    >>> from scipy.special import sph_harm_y
    >>> theta, phi = 0.4, 1.3
    >>> complex_harmonics = [sph_harm_y(1, m, theta, phi) for m in (-1, 0, 1)]
    >>> y = (complex_to_real(1) @ complex_harmonics).real * np.sqrt(4 * np.pi / 3)
    >>> direction = np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)
    >>> np.allclose(y, direction)  # (y, z, x)
    True
    """
    l = as_int(l, "degree l", minimum=0)
    if l > _MAX_COMPLEX:
        raise IrrepsError(f"degree l: expected at most {_MAX_COMPLEX}, got {l}")
    matrix = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    matrix[l, l] = 1
    m = np.arange(1, l + 1)
    signs = (-1.0) ** m
    matrix[l + m, l + m], matrix[l + m, l - m] = signs / math.sqrt(2), 1 / math.sqrt(2)
    matrix[l - m, l + m], matrix[l - m, l - m] = -1j * signs / math.sqrt(2), 1j / math.sqrt(2)
    return matrix * (1, 1j, -1, -1j)[l % 4] if phase else matrix
