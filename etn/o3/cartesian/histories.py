r"""Coupling paths of n vectors, and how permutations of the vectors mix them.

Notes
-----
Vectors are coupled from left to right: the first k of them have the degree h_k of a history
(h_1, ..., h_n), with h_1 = 1 and (h_k, 1, h_{k+1}) a triangle.  The tensors of rank n and degree l
are the histories that end in l, times the 2l+1 components.  By Schur's lemma a permutation of the
indices acts on the histories alone.  The swap of neighbours k, k+1 changes only the degree between
them, from h to h', and its matrix is a 6j symbol:

.. math:: \langle h' | s | h \rangle = (-1)^{h + h'} \sqrt{(2h+1)(2h'+1)}
    \begin{Bmatrix} 1 & j & h \\ 1 & J & h' \end{Bmatrix}

with j the degree before the two and J the degree after them (Edmonds, Angular Momentum in Quantum
Mechanics (1957), chapter 6).  So no tensor
of 3^n components is ever needed to find the invariant ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from etn.o3.cartesian.indices import IndexSymmetry
from etn.o3.irrep import as_int
from etn.o3.recoupling import wigner_6j

History: TypeAlias = tuple[int, ...]
"""Degrees (h_1, ..., h_n) of the first one, two, ... of n vectors."""

# Pivots of a projector that differ by less are the same number with different rounding.
_TIE = 1e-9


def parents(l: int) -> range:
    """Return the degrees that couple with a vector to degree l."""
    return range(l - 1, l + 2) if l else range(1, 2)


def multiplicities(rank: int) -> tuple[int, ...]:
    r"""Return how often each degree l = 0..rank comes in a Cartesian tensor without symmetry.

    .. math:: N_{n+1}(l) = N_n(l-1) + [l > 0] N_n(l) + N_n(l+1), \qquad
        \sum_l (2l+1) N_n(l) = 3^n

    Their sum is the central trinomial coefficient, the scalars are the Riordan numbers
    (OEIS A002426, A005043).

    Parameters
    ----------
    rank
        Number n of indices; nothing of the size of a tensor is built.

    Returns
    -------
    tuple of int

    Raises
    ------
    IrrepsError
        ``rank < 0``.

    Examples
    --------
    >>> multiplicities(4)
    (3, 6, 6, 3, 1)
    >>> sum(multiplicities(9))
    3139
    """
    rank = as_int(rank, "rank", minimum=0)
    counts = [1]
    for _ in range(rank):
        padded = [*counts, 0, 0]
        counts = [
            sum(padded[parent] for parent in parents(l) if parent < len(counts))
            for l in range(len(counts) + 1)
        ]
    return tuple(counts)


def histories(rank: int) -> tuple[tuple[History, ...], ...]:
    """Return the histories that end in each degree l = 0..rank.

    Parameters
    ----------
    rank
        Number n of indices.

    Returns
    -------
    tuple
        Entry l holds the ``multiplicities(rank)[l]`` histories; they are ordered by the last
        intermediate degree first.

    Raises
    ------
    IrrepsError
        ``rank < 0``.

    Examples
    --------
    >>> histories(3)[1]
    ((1, 0, 1), (1, 1, 1), (1, 2, 1))
    """
    rank = as_int(rank, "rank", minimum=0)
    found: tuple[tuple[History, ...], ...] = (((),),)
    for n in range(rank):
        found = tuple(
            tuple(
                (*history, l) for parent in parents(l) if parent <= n for history in found[parent]
            )
            for l in range(n + 2)
        )
    return found


class _Swap:
    """The swap of axes k and k+1 on histories that end in one degree: three entries a row."""

    def __init__(self, paths: Sequence[History], k: int) -> None:
        places = {history: place for place, history in enumerate(paths)}
        # Rows with fewer than three entries keep a zero in the first column.
        self._columns = np.zeros((len(paths), 3), dtype=np.int64)
        self._values = np.zeros((len(paths), 3))
        for row, history in enumerate(paths):
            before = history[k - 1] if k else 0
            middle, after = history[k : k + 2]
            for entry, other in enumerate(parents(before)):
                place = places.get((*history[:k], other, *history[k + 1 :]))
                if place is None:
                    continue
                value = math.sqrt((2 * middle + 1) * (2 * other + 1))
                value *= wigner_6j(1, before, middle, 1, after, other)
                self._columns[row, entry] = place
                self._values[row, entry] = -value if (middle + other) % 2 else value

    def __matmul__(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.einsum("re,rec->rc", self._values, matrix[self._columns])


def _sorting_swaps(axes: Sequence[int]) -> list[int]:
    """Return the swaps of neighbours k, k+1 that sort the axes, in order."""
    order, swaps = list(axes), []
    for end in range(len(order) - 1, 0, -1):
        for k in range(end):
            if order[k] > order[k + 1]:
                order[k], order[k + 1] = order[k + 1], order[k]
                swaps.append(k)
    return swaps


def projector(symmetry: IndexSymmetry, paths: Sequence[History]) -> npt.NDArray[np.float64]:
    r"""Return the projector onto the combinations of histories that have a symmetry.

    .. math:: P = \frac{1}{|G|} \sum_{g \in G} \operatorname{sign}(g)\, D(g)

    as a product over the cosets of :class:`~etn.o3.cartesian.indices.IndexSymmetry`.

    Parameters
    ----------
    symmetry
        The symmetry group of n indices.
    paths
        All N histories that end in one degree, from :func:`histories`.

    Returns
    -------
    ndarray of float64, shape (N, N)
        Symmetric, with eigenvalues 0 and 1.

    Examples
    --------
    >>> from etn.o3.cartesian.indices import parse
    >>> P = projector(parse("ijk=jik=jki"), histories(3)[1])
    >>> P.shape, round(float(P.trace()), 12)
    ((3, 3), 1.0)
    """
    swaps = [_Swap(paths, k) for k in range(symmetry.rank - 1)]
    found = np.eye(len(paths))
    for level in symmetry.cosets:
        total = np.zeros_like(found)
        for axes, sign in level:
            moved = found
            # The last swap that sorts the axes is the first that unsorted them.
            for k in reversed(_sorting_swaps(axes)):
                moved = swaps[k] @ moved
            total += sign * moved
        found = total / len(level)
    return (found + found.T) / 2


def invariants(symmetry: IndexSymmetry, paths: Sequence[History]) -> npt.NDArray[np.float64]:
    """Return an orthonormal basis of the combinations of histories that have a symmetry.

    The Cholesky factor of a projector has orthonormal columns, and with pivots it is the same on
    every machine: each vector is the projection of one history, made orthogonal to those before
    it, with a positive coefficient of that history.

    Parameters
    ----------
    symmetry
        The symmetry group of n indices.
    paths
        All N histories that end in one degree, from :func:`histories`.

    Returns
    -------
    ndarray of float64, shape (K, N)
        One combination a row.

    Examples
    --------
    >>> from etn.o3.cartesian.indices import parse
    >>> invariants(parse("ijk=jik=jki"), histories(3)[1]).round(6) + 0.0
    array([[0.745356, 0.      , 0.666667]])
    """
    rest = projector(symmetry, paths)
    rows = np.zeros((round(float(rest.trace())), len(paths)))
    for row in rows:
        diagonal = rest.diagonal()
        pivot = int(np.argmax(diagonal > diagonal.max() - _TIE))
        row[:] = rest[pivot] / math.sqrt(diagonal[pivot])
        rest -= np.outer(row, row)
    return rows
