"""Coefficients of the products of packed irreducible Cartesian tensors, even and odd.

Notes
-----
The product of constant 1 has integer coefficients between the components of symmetric tensors:
with the placements of :func:`etn.o3.cartesian.exact.product` every denominator cancels.  Packing
the two factors and projecting the result keeps them integers, up to one square root of a rational
number for each of the three indices.  The trace terms need no care: the projection removes them.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb, prod, sqrt
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from etn.errors import IrrepsError
from etn.o3.cartesian.basis import (
    Integers,
    Packing,
    check_packing,
    exact_dtype,
    largest_sum,
    packing_maps,
    square_roots,
)
from etn.o3.cartesian.constants import bridge_squared, free_indices, unity_constant
from etn.o3.cartesian.exact import monomials, multiplicity
from etn.o3.coupling import clebsch_gordan
from etn.o3.directions import check_name

Normalization: TypeAlias = Literal["unity", "component", "norm", "cg"]


class SparseCoefficients(NamedTuple):
    """Non-zero coefficients of a product.

    Attributes
    ----------
    places : ndarray of int64, shape (n, 3)
        Indices (result, first factor, second factor), sorted.
    values : ndarray of float64, shape (n,)
    """

    places: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def _place(exponents: Integers) -> Integers:
    """Return the places in ``monomials(l)`` of exponents along the last axis."""
    l = exponents.sum(axis=-1)
    b, c = exponents[..., 1], exponents[..., 2]
    return c * (l + 1) - c * (c - 1) // 2 + b


@cache
def _binomials(n: int) -> Integers:
    return np.array([[comb(i, j) for j in range(n + 1)] for i in range(n + 1)], dtype=np.int64)


def _check_exact(l1: int, l2: int, l3: int) -> None:
    """Raise an :class:`IrrepsError` where a product outgrows 64-bit integers or the memory."""
    n1, n2, k, odd = free_indices(l1, l2, l3)
    largest = comb(n1 + n2, n1) * 3**k * (6 * (l3 + 1)) ** odd
    numbers = prod((l + 1) * (l + 2) // 2 for l in (l1, l2, l3))
    if exact_dtype(largest) is object or numbers > 2**28:
        raise IrrepsError(
            f"({l1}, {l2}, {l3}): the product of exact Cartesian tensors takes {numbers:.1e} "
            f"integers up to {largest:.1e}, expected at most {2**28:.1e} and {2**63:.1e}; the "
            'orthonormal packing (packing="orthonormal") has no such limit'
        )


def _symmetric_coefficients(l1: int, l2: int, l3: int) -> Integers:
    """Return the product of constant 1 between components, without trace terms.

    Entry [g, a, b] is the coefficient of A_a B_b in component g of the sum over placements: shape
    (N3, N1, N2) with N = (l+1)(l+2)/2.
    """
    n1, n2, k, odd = free_indices(l1, l2, l3)
    _check_exact(l1, l2, l3)
    left, right, joined = (np.array(monomials(n), dtype=np.int64) for n in (n1, n2, k))
    left, right, joined = left[:, None, None], right[None, :, None], joined[None, None, :]
    # In how many placements the letters of component g come from these free indices, times the
    # number of orders of the contracted letters.
    free = left + right
    weights = _binomials(n1 + n2)[free, left].prod(axis=-1)
    weights = weights * np.array([multiplicity(e) for e in monomials(k)], dtype=np.int64)
    unit = np.eye(3, dtype=np.int64)
    zero = np.zeros(3, dtype=np.int64)
    # (sign, extra index of the result, of the first factor, of the second)
    terms = [(1, zero, zero, zero)]
    if odd:
        cycles = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
        terms = [(1, unit[i], unit[j], unit[m]) for i, j, m in cycles]
        terms += [(-1, unit[i], unit[m], unit[j]) for i, j, m in cycles]
    shape = tuple((l + 1) * (l + 2) // 2 for l in (l3, l1, l2))
    out = np.zeros(shape, dtype=np.int64)
    for sign, extra3, extra1, extra2 in terms:
        # The index from the Levi-Civita symbol can stand at any place with its letter.
        letters = (free * extra3).sum(axis=-1) + 1 if odd else 1
        third, first = _place(free + extra3), _place(left + joined + extra1)
        second = _place(right + joined + extra2)
        np.add.at(out, (third, first, second), sign * weights * letters)
    return out


@cache
def exact_coefficients(
    l1: int, l2: int, l3: int, packing: Packing = "orthonormal"
) -> tuple[Integers, tuple[tuple[Fraction, ...], ...]]:
    """Return the coefficients of the product of constant 1 (C = 1, D = 1) exactly.

    Parameters
    ----------
    l1, l2, l3
        Degrees, |l1-l2| <= l3 <= l1+l2.
    packing
        Basis of the three tensors.

    Returns
    -------
    integers : ndarray of int, shape (2*l3+1, 2*l1+1, 2*l2+1)
    squares : tuple of three tuples of Fraction
        Entry [c, a, b] is ``integers[c, a, b] * sqrt(squares[0][c] * squares[1][a] *
        squares[2][b])``.

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule, or an unknown packing.

    Examples
    --------
    >>> integers, squares = exact_coefficients(1, 1, 1, "monomial")
    >>> integers[2].tolist()  # z of the cross product
    [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]
    """
    full = _symmetric_coefficients(l1, l2, l3)
    first, second, third = (packing_maps(l, packing) for l in (l1, l2, l3))
    bound = int(abs(full).max(initial=0)) * largest_sum(third.project, 1)
    bound *= largest_sum(first.lift, 0) * largest_sum(second.lift, 0)
    dtype = exact_dtype(bound)
    half = np.tensordot(third.project.astype(dtype), full.astype(dtype), 1)
    half = np.tensordot(half, second.lift.astype(dtype), 1)
    integers = np.tensordot(half, first.lift.astype(dtype), (1, 0)).swapaxes(1, 2)
    integers.setflags(write=False)
    return integers, (third.project_squares, first.lift_squares, second.lift_squares)


def _normalization_squared(l1: int, l2: int, l3: int, normalization: str) -> Fraction:
    """Return the square of the constant K of a normalization."""
    if normalization == "unity":
        return unity_constant(l1, l2, l3) ** 2
    if normalization in ("component", "cg"):
        return (2 * l3 + 1) / bridge_squared(l1, l2, l3)
    return (2 * l1 + 1) * (2 * l2 + 1) / bridge_squared(l1, l2, l3)


@cache
def _dense(
    l1: int, l2: int, l3: int, normalization: str, packing: Packing
) -> npt.NDArray[np.float64]:
    square = _normalization_squared(l1, l2, l3, normalization)
    if packing == "orthonormal":
        factor = sqrt(square * bridge_squared(l1, l2, l3) / (2 * l3 + 1))
        values = factor * np.ascontiguousarray(np.moveaxis(clebsch_gordan(l1, l2, l3), 2, 0))
        values.setflags(write=False)
        return values
    integers, squares = exact_coefficients(l1, l2, l3, packing)
    c, a, b = (square_roots(s) for s in squares)
    scale = sqrt(square) * c[:, None, None] * a[:, None] * b
    values = integers.astype(np.float64) * scale
    values.setflags(write=False)
    return values


@cache
def _sparse(l1: int, l2: int, l3: int, normalization: str, packing: Packing) -> SparseCoefficients:
    dense = _dense(l1, l2, l3, normalization, packing)
    places = np.argwhere(dense)
    values = dense[tuple(places.T)]
    for array in (places, values):
        array.setflags(write=False)
    return SparseCoefficients(places, values)


def coefficients(
    l1: int,
    l2: int,
    l3: int,
    normalization: Normalization = "unity",
    packing: Packing = "orthonormal",
) -> npt.NDArray[np.float64]:
    r"""Return the coefficients of the product of packed irreducible Cartesian tensors.

    .. math:: \bigl((A \otimes B)_{l_3}\bigr)_c = \sum_{ab} G_{cab} A_a B_b

    Even paths (l1+l2+l3 even) contract k pairs of indices, odd ones in addition join one index of
    each factor by the Levi-Civita symbol; the result is symmetrized and its traces are removed
    (:func:`etn.o3.cartesian.exact.product`).  In the orthonormal packing every normalization is a
    positive multiple of :func:`etn.o3.wigner_3j`.

    Parameters
    ----------
    l1, l2, l3
        Degrees, |l1-l2| <= l3 <= l1+l2.
    normalization
        What fixes the constant of the path, the same in both packings:

        - "unity": the product of the tensors of one direction is the tensor of that direction.  On
          odd paths, where that product vanishes, the same holds to first order for two directions
          r and s: the product is T^l3(r x s, r, ..., r).  See
          :func:`~etn.o3.cartesian.constants.unity_constant`.
        - "cg": isometric, as :func:`etn.o3.clebsch_gordan`: the product of tensors with
          independent components of variance 1 has components of variance 1.
        - "component": another name of "cg", as in e3nn.
        - "norm": independent factors of mean square norm 1 have a product of mean square norm 1.
    packing
        "orthonormal" or "monomial", of both factors and of the result.

    Returns
    -------
    ndarray of float64, shape (2*l3+1, 2*l1+1, 2*l2+1)
        Cached and read-only, rounded from the exact coefficients.

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule, or an unknown name.

    Notes
    -----
    Source: Zaverkin et al., arXiv:2405.14253, Eqs. 2 and 3.  The orthonormal packing has the limits
    of :func:`etn.o3.clebsch_gordan`.  The monomial packing is meant for degrees up to about 12
    (16 s for 20, 20, 20), and is refused where its integers outgrow 64 bits or 2 GiB.

    Examples
    --------
    >>> coefficients(1, 1, 2, packing="monomial")[0].diagonal()  # xx of (3/2)(rr - I/3)
    array([ 1. , -0.5, -0.5])
    """
    check_name(normalization, Normalization, "normalization")
    free_indices(l1, l2, l3)
    return _dense(int(l1), int(l2), int(l3), normalization, check_packing(packing))


def sparse_coefficients(
    l1: int,
    l2: int,
    l3: int,
    normalization: Normalization = "unity",
    packing: Packing = "orthonormal",
) -> SparseCoefficients:
    """Return the non-zero ones of :func:`coefficients`, with their places.

    Parameters
    ----------
    l1, l2, l3, normalization, packing
        As in :func:`coefficients`.

    Returns
    -------
    SparseCoefficients
        Named tuple (places, values); cached and read-only.

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule, or an unknown name.

    Examples
    --------
    >>> sparse_coefficients(1, 1, 1, packing="monomial").places.tolist()
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    """
    check_name(normalization, Normalization, "normalization")
    free_indices(l1, l2, l3)
    return _sparse(int(l1), int(l2), int(l3), normalization, check_packing(packing))
