"""Neighbours of the atoms of one structure, and structures whose atoms have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import DataError

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["COINCIDENT", "is_dissociated", "neighbour_list"]

# Atoms nearer than this (Å) are a mistake in the input, not a structure.
COINCIDENT = 1e-3


def neighbour_list(
    frame: Frame, r_max: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """All directed pairs of atoms within a radius, periodic images included.

    Parameters
    ----------
    frame : Frame
    r_max : float
        Å.

    Returns
    -------
    first, second : (pairs,)
        Atoms, ordered by the first.
    vector : (pairs, 3)
        From the first to (the periodic image of) the second, Å.
    distance : (pairs,)

    Raises
    ------
    DataError
        If atoms coincide.

    Examples
    --------
    >>> from etn.data import Frame
    >>> cube = Frame([42], [[0, 0, 0]], 3 * np.eye(3), [True, True, False])
    >>> neighbour_list(cube, 3.5)[3]
    array([3., 3., 3., 3.])
    """
    from ase.geometry import complete_cell
    from vesin import NeighborList

    periodic = np.asarray(frame.pbc, dtype=bool)
    cell = complete_cell(np.where(periodic[:, None], frame.cell, 0.0))
    positions = _closed_up(frame.positions, cell[~periodic], 2 * r_max)
    neighbours = NeighborList(cutoff=r_max, full_list=True, sorted=True, n_threads=1)
    i, j, d, vector = neighbours.compute(
        points=np.ascontiguousarray(positions),
        box=np.ascontiguousarray(cell if periodic.any() else np.zeros((3, 3))),
        periodic=periodic,
        quantities="ijdD",
    )
    if len(d) and d.min() < COINCIDENT:
        at = int(np.argmin(d))
        raise DataError(
            f"{frame.title}: atoms {int(i[at])} and {int(j[at])} coincide "
            f"(distance {d[at]:.1e} Å): remove one of them or correct the positions"
        )
    return i.astype(np.int64), j.astype(np.int64), vector, d


def _closed_up(positions: Array, directions: Array, widest: float) -> Array:
    """Positions with no gap wider than this along open directions, orthonormal.

    Atoms on both sides of a gap are no neighbours, however wide it is.  The search counts boxes,
    and would run out of numbers for an atom that has flown away.
    """
    for direction in directions:
        along = positions @ direction
        order = np.argsort(along)
        gaps = np.diff(along[order])
        if not (gaps > widest).any():
            continue
        closer = np.empty_like(along)
        closer[order] = np.concatenate([[0.0], np.cumsum(np.minimum(gaps, widest))])
        across = positions - along[:, None] * direction
        positions = across + closer[:, None] * direction
    return positions


def is_dissociated(frame: Frame, r_max: float) -> bool:
    """Whether no atom has a neighbour within a radius, not even an image of itself.

    Every potential of this radius gives such a frame the sum of the energies of its atoms.

    Examples
    --------
    >>> from etn.data import Frame
    >>> atom = Frame([42], [[0, 0, 0]], 8 * np.eye(3), [True] * 3)
    >>> is_dissociated(atom, 7.0), is_dissociated(atom, 9.0)
    (True, False)
    """
    # Nearly all structures show at once that they are none: the first atom has a neighbour.
    others = np.linalg.norm(frame.positions[1:] - frame.positions[0], axis=1)
    if np.any(others < r_max):
        return False
    return not len(neighbour_list(frame, r_max)[3])
