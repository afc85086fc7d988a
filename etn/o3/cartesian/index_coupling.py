r"""Coupling of the indices of a Cartesian tensor, one after the other.

Notes
-----
After k of n indices the array

.. math:: t_l[m, (i_{k+1} \dots i_n), h], \qquad t_{l'}[m', (i_{k+2} \dots i_n), h]
    = \sum_{m, i} C^{l' m'}_{l m, 1 i}\; t_l[m, (i\, i_{k+2} \dots i_n), h]

holds one column for each path h that ends in degree l.  Each step is a few matrix products with
3(2l+1) rows, and orthogonal: the steps back are the transposes.  So n 3^n numbers are touched where
the full change of basis has 9^n.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt

from etn.backend import Array, library, like
from etn.o3.cartesian.histories import multiplicities, parents
from etn.o3.coupling import clebsch_gordan


@cache
def _coupling(parent: int, l: int) -> npt.NDArray[np.float64]:
    """Return the coupling of degree `parent` and a vector (x, y, z) to l, shape (3(2p+1), 2l+1)."""
    C = clebsch_gordan(parent, 1, l)[:, [2, 0, 1], :]
    matrix = np.ascontiguousarray(C.reshape(-1, 2 * l + 1))
    matrix.setflags(write=False)
    return matrix


def couple(tensors: Array, rank: int) -> dict[int, Array]:
    """Return the components of some tensors along all paths.

    Parameters
    ----------
    tensors
        Shape (3**rank, columns): one tensor a column, indices (x, y, z), the last one fastest.
    rank
        Number of indices.

    Returns
    -------
    dict
        Degree l to components of shape (2l+1, paths, columns), the paths in the order of
        :func:`~etn.o3.cartesian.histories.histories`.

    Examples
    --------
    >>> blocks = couple(np.eye(9), 2)
    >>> {l: block.shape for l, block in blocks.items()}
    {0: (1, 1, 9), 1: (3, 1, 9), 2: (5, 1, 9)}
    """
    columns = tensors.shape[1]
    lib = library(tensors)
    state = {0: tensors.reshape(1, 3**rank, 1, columns)}
    for n in range(rank):
        rest = 3 ** (rank - n - 1)
        pieces: dict[int, list[Array]] = {l: [] for l in range(n + 2)}
        for parent, block in state.items():
            paths = block.shape[2]
            rows = block.reshape(3 * (2 * parent + 1), rest * paths * columns)
            for l in parents(parent):
                C = like(_coupling(parent, l), tensors)
                pieces[l].append((C.T @ rows).reshape(2 * l + 1, rest, paths, columns))
        state = {l: lib.concatenate(parts, 2) for l, parts in pieces.items() if parts}
    return {l: block[:, 0] for l, block in state.items()}


def uncouple(blocks: dict[int, Array], rank: int) -> Array:
    """Return some tensors from their components along paths: the transpose of :func:`couple`.

    Parameters
    ----------
    blocks
        Degree l to components of shape (2l+1, paths, columns); at least one degree, and those left
        out are zero.
    rank
        Number of indices.

    Returns
    -------
    array, shape (3**rank, columns)

    Examples
    --------
    >>> trace = uncouple({0: np.ones((1, 1, 1))}, 2)
    >>> trace.reshape(3, 3).round(6) + 0.0
    array([[0.57735, 0.     , 0.     ],
           [0.     , 0.57735, 0.     ],
           [0.     , 0.     , 0.57735]])
    """
    state = {l: block[:, None] for l, block in blocks.items()}
    for n in reversed(range(rank)):
        rest = 3 ** (rank - n - 1)
        counts = multiplicities(n)
        found: dict[int, Array] = {}
        while state:
            # Taken out one by one, so that what is done with is freed.
            l, block = state.popitem()
            columns, first = block.shape[3], 0
            for parent in parents(l):
                if parent > n:
                    continue
                part = block[:, :, first : first + counts[parent]]
                first += counts[parent]
                C = like(_coupling(parent, l), block)
                rows = C @ part.reshape(2 * l + 1, rest * counts[parent] * columns)
                rows = rows.reshape(2 * parent + 1, 3 * rest, counts[parent], columns)
                found[parent] = found[parent] + rows if parent in found else rows
        state = found
    return state[0][0, :, 0]


def path_tensors(rank: int, degrees: Iterable[int]) -> dict[int, npt.NDArray[np.float64]]:
    """Return all paths to some degrees as dense tensors.

    The same numbers as :func:`uncouple` gives for unit vectors, without the zeros in these: every
    tensor of one rank is built from those of the rank before.

    Parameters
    ----------
    rank
        Number of indices, at least 1.
    degrees
        Degrees l, 0 to `rank`.

    Returns
    -------
    dict
        Degree l to an array of shape (3**rank, paths, 2l+1).

    Examples
    --------
    >>> path_tensors(3, [1])[1].shape
    (27, 3, 3)
    """
    state = {0: np.ones((1, 1, 1))}
    for n in range(rank):
        counts = multiplicities(n + 1)
        found = {}
        for l in degrees if n == rank - 1 else range(n + 2):
            dense = np.empty((3**n, 3, counts[l], 2 * l + 1))
            first = 0
            for parent in parents(l):
                if parent not in state:
                    continue
                block = state[parent]
                C = _coupling(parent, l).reshape(2 * parent + 1, 3 * (2 * l + 1))
                rows = block.reshape(-1, 2 * parent + 1) @ C
                rows = rows.reshape(3**n, block.shape[1], 3, 2 * l + 1)
                dense[:, :, first : first + block.shape[1]] = rows.swapaxes(1, 2)
                first += block.shape[1]
            found[l] = dense.reshape(3 ** (n + 1), counts[l], 2 * l + 1)
        state = found
    return state
