"""Whether one structure can be laid on another: turned, mirrored, shifted, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray

if TYPE_CHECKING:
    from scipy.spatial import KDTree

    from etn.data.frame import Frame

__all__ = ["Placed", "are_superposable"]

_REACH = 5.0  # Å, of the surroundings
_REACH_SPACINGS = 1.7  # the same where atoms are dense, in units of (V/N)^(1/3)
_NEAREST, _NEIGHBOURS = 8, 20  # atoms nearby that describe one, and about how many there are
_ENVIRONMENT = 2e-4  # Å, by which that may differ in copies
_NEAR = 3e-3  # Å, within which an atom is found before the motion is refined
_OFF = 1e-3  # Å, within which an atom lies on the axis or in the center
_PROBES = 8  # atoms tried before all are
_TRIALS = 10_000  # motions tried before two structures count as different


class Placed:
    """A structure in coordinates along its periodic cell vectors and across them.

    Parameters
    ----------
    frame : Frame
        With N atoms and p periodic directions.

    Attributes
    ----------
    cell : (p, 3)
        The periodic cell vectors.
    along : (N, p)
        Fractional coordinates in the periodic directions.
    across : (N, 3 - p)
        Cartesian coordinates across them, counted from the center of the atoms, Å.
    element : (N,) int
        Index into the sorted elements of the structure, of which there are `n_elements`.
    """

    def __init__(self, frame: Frame) -> None:
        self.cell = frame.cell[frame.pbc]
        n_periodic = len(self.cell)
        normal = np.linalg.svd(self.cell)[2][n_periodic:] if n_periodic else np.eye(3)
        self.along = frame.positions @ np.linalg.pinv(self.cell)
        self.across = (frame.positions - frame.positions.mean(axis=0)) @ normal.T
        elements, self.element = np.unique(frame.numbers, return_inverse=True)
        self.n_elements = len(elements)
        self._frame = frame

    @cached_property
    def environment(self) -> FloatArray:
        """Distances of the nearest atoms and a sum over elements nearby: (N, 9), smooth."""
        first, second, distance = self._pairs
        order = np.lexsort((distance, first))
        place = np.arange(len(order)) - np.searchsorted(first[order], first[order])
        nearest = np.full((len(self.element), _NEAREST + 1), self.reach)
        chosen = order[place < _NEAREST]
        nearest[first[chosen], place[place < _NEAREST]] = distance[chosen]
        share = (1.0 + self.element[second]) / self.n_elements / _NEIGHBOURS
        fading = np.maximum(1 - (distance / self.reach) ** 2, 0.0) ** 2
        nearest[:, -1] = np.bincount(first, share * fading, minlength=len(nearest))
        return nearest

    def distances(self, one: int, other: int) -> FloatArray:
        """Sorted distances between near atoms of one element and of another, Å."""
        first, second, distance = self._pairs
        return np.sort(distance[(self.element[first] == one) & (self.element[second] == other)])

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
        """Near atoms, each pair both ways: first, second, distance."""
        from ase.geometry import complete_cell
        from vesin import NeighborList

        frame = self._frame
        box = np.where(frame.pbc[:, None], frame.cell, 0.0)
        first, second, distance = NeighborList(
            cutoff=self.reach, full_list=True, n_threads=1
        ).compute(
            points=np.ascontiguousarray(frame.positions),
            box=np.ascontiguousarray(complete_cell(box) if frame.pbc.any() else box),
            periodic=frame.pbc,
            quantities="ijd",
        )
        return first.astype(np.int64), second.astype(np.int64), distance

    @property
    def reach(self) -> float:
        """Up to which distance atoms are near, Å."""
        if not self._frame.pbc.all():
            return _REACH
        return min(_REACH, _REACH_SPACINGS * (self._frame.volume / len(self.element)) ** (1 / 3))

    @cached_property
    def crowd(self) -> NDArray[np.int64]:
        """How many atoms of its element have about the same environment as an atom: (N,)."""
        kind = np.column_stack([self.element, np.rint(self.environment / (10 * _ENVIRONMENT))])
        _, which, counts = np.unique(kind, axis=0, return_inverse=True, return_counts=True)
        return counts[which.ravel()]

    @cached_property
    def radius(self) -> FloatArray:
        """Distances from the center across the periodic directions, Å: (N,)."""
        return np.linalg.norm(self.across, axis=1)

    @cached_property
    def tree(self) -> KDTree:
        """The atoms, for :meth:`points` to be looked up among."""
        from scipy.spatial import KDTree

        box = np.zeros(4)  # zero: not periodic
        box[: len(self.cell)] = self._lengths
        return KDTree(self.points(self.along, self.across, self.element), boxsize=box)

    def points(
        self, along: FloatArray, across: FloatArray, element: NDArray[np.int64]
    ) -> FloatArray:
        """Coordinates in which the tree measures, Å; atoms of different elements lie far apart."""
        wrapped = along - np.floor(along)
        wrapped[wrapped >= 1] = 0.0  # of tiny negative numbers
        return np.column_stack([wrapped * self._lengths, across, 10.0 * element])

    @property
    def _lengths(self) -> FloatArray:
        return np.linalg.norm(self.cell, axis=1)


def are_superposable(one: Placed, other: Placed, tolerance: float) -> bool:
    """Whether a rigid motion, with or without mirroring, lays one structure on another.

    Periodic structures must have the same cell vectors up to a motion; images of atoms count as
    the atoms. Structures of so high a symmetry that ten thousand motions could not be told apart by
    the surroundings of atoms count as different.

    Parameters
    ----------
    one, other : Placed
        With the same elements, number of atoms and periodic directions.
    tolerance : float
        Largest distance in Å at which an atom counts as lying on another.

    Examples
    --------
    >>> from etn.data import Frame
    >>> water = Frame([8, 1, 1], [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]], np.zeros((3, 3)),
    ...               [False] * 3)
    >>> turned = Frame([1, 8, 1], [[1.59, 5, 5.76], [1, 5, 5], [1.59, 5, 4.24]], np.zeros((3, 3)),
    ...                [False] * 3)
    >>> are_superposable(Placed(water), Placed(turned), 1e-4)
    True
    """
    rarest = np.argsort(other.crowd, kind="stable")[:_PROBES]
    anchors = _anchors(one)
    for trial, motion in enumerate(_motions(one, other, anchors, tolerance)):
        if trial == _TRIALS:
            return False
        if len(_found(one, other, motion, rarest)) and _fits(one, other, motion, tolerance):
            return True
    return False


# M, Q and t: fractional coordinates f go to f M + t, those across the periodic directions to x Q.
_Motion = tuple[FloatArray, FloatArray, FloatArray]


def _found(
    one: Placed, other: Placed, motion: _Motion, atoms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Atoms of one structure on which those of the other come to lie; none if one finds none."""
    lattice, turn, shift = motion
    points = one.points(
        other.along[atoms] @ lattice + shift, other.across[atoms] @ turn, other.element[atoms]
    )
    distance, found = one.tree.query(points, distance_upper_bound=_NEAR, p=np.inf)
    return found if np.isfinite(distance).all() else np.zeros(0, dtype=np.int64)


def _fits(one: Placed, other: Placed, motion: _Motion, tolerance: float) -> bool:
    """Whether every atom comes to lie on an atom of its own, once the motion is refined."""
    lattice, turn, shift = motion
    found = _found(one, other, motion, np.arange(len(other.element)))
    if len(np.unique(found)) != len(other.element):
        return False
    away = other.along @ lattice + shift - one.along[found]
    away -= np.rint(away)
    away -= away.mean(axis=0)
    if turn.shape[0] > 1:
        # The orthogonal matrix that lays the one on the other best (W. Kabsch, 1976).
        left, _, right = np.linalg.svd(other.across.T @ one.across[found])
        turn = left @ right
    across = other.across @ turn - one.across[found]
    squares = ((away @ one.cell) ** 2).sum(axis=1) + (across**2).sum(axis=1)
    return bool(squares.max() <= tolerance**2)


def _motions(one: Placed, other: Placed, anchors: list[int], tolerance: float) -> Iterator[_Motion]:
    """Motions that lay atoms of the other structure on the anchors in the one."""
    for lattice in _lattice_maps(one.cell, other.cell, tolerance):
        for images in _images(one, other, anchors, tolerance):
            shift = one.along[anchors[0]] - other.along[images[0]] @ lattice
            for turn in _turns(one.across[anchors], other.across[images]):
                yield lattice, turn, shift


def _lattice_maps(one: FloatArray, other: FloatArray, tolerance: float) -> list[FloatArray]:
    """Integer matrices M with which M one is the other up to a rotation, the unit matrix first.

    Of a reduced cell these are all symmetries of the lattice, at most 48.
    """
    steps = np.array(list(product((0, 1, -1), repeat=len(one))), dtype=np.float64)
    ends = steps @ one
    lengths = np.linalg.norm(ends, axis=1)
    sums = np.linalg.norm(ends[:, None] + ends, axis=2)
    choices: list[tuple[int, ...]] = [()]
    for index, vector in enumerate(other):
        right = np.flatnonzero(np.abs(lengths - np.linalg.norm(vector)) < tolerance)
        wanted = np.linalg.norm(other[:index] + vector, axis=1)
        choices = [
            (*chosen, int(new))
            for chosen in choices
            for new in right
            if np.all(np.abs(sums[list(chosen), new] - wanted) < tolerance)
        ]
    maps = [steps[list(chosen)] for chosen in choices]
    return sorted(maps, key=lambda lattice: float(np.abs(lattice - np.eye(len(one))).sum()))


def _anchors(one: Placed) -> list[int]:
    """Few atoms that fix a motion: rare ones, and off the axes around which it may turn."""
    n_across = one.across.shape[1]
    if n_across < 2:
        return [int(np.argmin(one.crowd))]
    anchors = [_rarest_far_out(one.crowd, one.radius)]
    if n_across == 3 and one.radius[anchors[0]] > _OFF:
        axis = one.across[anchors[0]] / one.radius[anchors[0]]
        height = np.linalg.norm(one.across - np.outer(one.across @ axis, axis), axis=1)
        if height.max() > _OFF:
            anchors.append(_rarest_far_out(one.crowd, height))
    return anchors


def _rarest_far_out(crowd: NDArray[np.int64], distance: FloatArray) -> int:
    far = distance >= 0.3 * distance.max()
    return int(np.argmin(np.where(far, crowd, len(crowd) + 1)))


def _images(
    one: Placed, other: Placed, anchors: list[int], tolerance: float
) -> Iterator[list[int]]:
    """Atoms of the other structure that may come to lie on the anchors."""
    fitting = []
    for anchor in anchors:
        away = np.abs(other.environment - one.environment[anchor]).max(axis=1)
        fits = (other.element == one.element[anchor]) & (away < _ENVIRONMENT)
        fits &= np.abs(other.radius - one.radius[anchor]) < 2 * tolerance
        fitting.append(np.flatnonzero(fits))
    if len(anchors) == 1:
        yield from ([int(image)] for image in fitting[0])
        return
    apart = np.linalg.norm(one.across[anchors[0]] - one.across[anchors[1]])
    for image in fitting[0]:
        distance = np.linalg.norm(other.across[fitting[1]] - other.across[image], axis=1)
        for second in fitting[1][np.abs(distance - apart) < 4 * tolerance]:
            yield [int(image), int(second)]


def _turns(one: FloatArray, other: FloatArray) -> list[FloatArray]:
    """Orthogonal matrices, proper and mirrored, that turn the other vectors into the one."""
    n_across = one.shape[1]
    if n_across == 0:
        return [np.zeros((0, 0))]
    if n_across == 1:
        return [np.eye(1), -np.eye(1)]
    first, second = _axes(one), _axes(other)
    mirror = np.ones(n_across)
    mirror[-1] = -1
    return [second @ first.T, second @ (mirror[:, None] * first.T)]


def _axes(vectors: FloatArray) -> FloatArray:
    """An orthonormal basis as columns, the first ones by Gram and Schmidt from the vectors."""
    axes, upper = np.linalg.qr(vectors.T, mode="complete")
    signs = np.ones(len(axes))
    diagonal = np.diag(upper)
    signs[: len(diagonal)] = np.where(diagonal < 0, -1.0, 1.0)
    return axes * signs
