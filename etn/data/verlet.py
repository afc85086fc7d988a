"""Neighbours of a structure that moves: lists with a skin, found anew when an atom has left it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.neighbours import neighbour_list

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["Neighbours", "VerletList"]


class Neighbours(NamedTuple):
    """Directed pairs of atoms, some of them farther apart than was asked for.

    Attributes
    ----------
    first, second : (pairs,) int
        Atoms, ordered by the first.
    shift : (pairs, 3), Å
        What to add to ``positions[second] - positions[first]``: vectors of the lattice.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shift: Array


class VerletList:
    """Pairs within a radius, found with a skin so that they serve for many small steps.

    As long as no atom has moved by more than half of the skin, and the cell has not changed, all
    pairs within the radius are in the list that was found before.

    Parameters
    ----------
    r_max : float
        Å.
    skin : float
        Å; zero finds them anew for every structure.

    Examples
    --------
    >>> from etn.data import Frame
    >>> lists = VerletList(3.5, skin=0.5)
    >>> frame = Frame([42, 42], [[0, 0, 0], [0, 0, 3.9]], np.zeros((3, 3)), [False] * 3)
    >>> lists.of(frame).second, lists.searches
    (array([1, 0]), 1)
    >>> moved = Frame([42, 42], [[0, 0, 0], [0, 0, 3.7]], np.zeros((3, 3)), [False] * 3)
    >>> lists.of(moved).second, lists.searches
    (array([1, 0]), 1)
    """

    def __init__(self, r_max: float, *, skin: float = 0.5) -> None:
        self.r_max, self.skin = r_max, skin
        self.searches = 0
        """How often neighbours were searched for."""
        self._found: tuple[Frame, Neighbours] | None = None

    def of(self, frame: Frame) -> Neighbours:
        """The pairs of a structure.

        Raises
        ------
        DataError
            If atoms coincide where neighbours are searched for.
        """
        if self._found is not None and self._holds(self._found[0], frame):
            return self._found[1]
        first, second, vector, _ = neighbour_list(frame, self.r_max + self.skin)
        shift = vector - (frame.positions[second] - frame.positions[first])
        self._found = frame, Neighbours(first, second, shift)
        self.searches += 1
        return self._found[1]

    def _holds(self, before: Frame, now: Frame) -> bool:
        if not (
            np.array_equal(before.numbers, now.numbers)
            and np.array_equal(before.pbc, now.pbc)
            and np.array_equal(before.cell, now.cell)
        ):
            return False
        moved = now.positions - before.positions
        return bool(np.einsum("ia,ia->i", moved, moved).max(initial=0.0) <= (self.skin / 2) ** 2)
