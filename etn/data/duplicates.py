"""Which frames of a data set are the same structure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray
from etn.data.superposition import Placed, are_superposable

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["find_duplicates", "linked"]

# Two structures are the same if they can be laid on each other with every atom this close, Å: files
# keep at least five decimals, and the smallest displacements of phonon calculations are hundred
# times larger.
_SAME = 1e-4
# Fingerprints of the same structure differ by less than this.
_SIMILAR = 1e-3
_WAVES = tuple(k for k in product((0, 1, 2), (-1, 0, 1), (-1, 0, 1)) if k > (0, 0, 0))


def find_duplicates(frames: Sequence[Frame]) -> list[list[int]]:
    """Indices of frames that are the same structure, in groups of two or more.

    Shifted, rotated, mirrored and wrapped copies and other orders of the atoms count as the same;
    another choice of cell vectors does not, nor another total charge.

    Parameters
    ----------
    frames : sequence of Frame, or Dataset

    Returns
    -------
    list of list of int
        Both the groups and their members in the order of the frames.

    Examples
    --------
    >>> from etn.data import Dataset, Frame
    >>> one = Dataset.read("etn:Mo/test")[0]
    >>> other = Frame(one.numbers[::-1], one.positions[::-1] + 0.7, one.cell, one.pbc)
    >>> find_duplicates([one, Dataset.read("etn:Mo/test")[1], other])
    [[0, 2]]
    """
    copies: dict[bytes, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        copies[_digest(frame)].append(index)
    alike: dict[bytes, list[int]] = defaultdict(list)
    for first, *_ in copies.values():
        frame = frames[first]
        what = np.append(np.sort(frame.numbers), [*frame.pbc, frame.charge])
        alike[what.tobytes()].append(first)
    merged: dict[int, int] = {}
    for members in alike.values():
        for later, earlier in _merged(frames, members):
            merged[later] = earlier
    found: dict[int, list[int]] = defaultdict(list)
    for first, *others in copies.values():
        found[merged.get(first, first)] += [first, *others]
    return sorted(sorted(group) for group in found.values() if len(group) > 1)


def _merged(frames: Sequence[Frame], members: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of a frame and the first one that is the same structure, from the cheap to the sure."""
    if len(members) < 2:
        return
    for group in linked([_fingerprint(frames[i]) for i in members], _SIMILAR):
        placed = {members[i]: Placed(frames[members[i]]) for i in group}
        chosen = list(placed)
        for part in linked(_near_distances(list(placed.values())), _SAME):
            different: list[int] = []
            for index in (chosen[i] for i in part):
                for first in different:
                    if are_superposable(placed[first], placed[index], _SAME):
                        yield index, first
                        break
                else:
                    different.append(index)


def linked(points: Sequence[FloatArray] | FloatArray, tolerance: float) -> Iterator[list[int]]:
    """Groups of points that are linked by steps of at most the tolerance in any component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if len(points) < 2:
        return
    pairs = KDTree(np.array(points)).query_pairs(tolerance, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(points), len(points)))
    _, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        if len(group) > 1:
            yield [int(i) for i in group]


def _digest(frame: Frame) -> bytes:
    """A hash of the structure as it stands: of copies to the bit."""
    digest = hashlib.sha256(frame.pbc.tobytes())
    for array in (np.array(frame.charge), frame.cell, frame.numbers, frame.positions):
        digest.update(array.tobytes())
    return digest.digest()


def _fingerprint(frame: Frame) -> FloatArray:
    """Numbers that shifts, rotations, wrapping and other orders of the atoms leave as they are.

    The cell, the extent of the structure where it is not periodic, and how the elements scatter
    waves that fit the cell: all change smoothly with the positions, unlike a hash.
    """
    periodic = frame.cell[frame.pbc]
    across = np.eye(3) - np.linalg.pinv(periodic) @ periodic
    centered = (frame.positions - frame.positions.mean(axis=0)) @ across
    extent = np.linalg.svd(centered, compute_uv=False)
    parts = [_cell(frame), np.resize(extent, 3) / np.sqrt(frame.n_atoms)]
    waves = np.array([k for k in _WAVES if not np.any(np.array(k)[~frame.pbc])])
    if len(waves):
        fractional = frame.positions @ np.linalg.pinv(periodic)
        phases = np.exp(2j * np.pi * fractional @ waves[:, frame.pbc].T)
        elements = np.unique(frame.numbers)
        waves_of = np.array([phases[frame.numbers == number].sum(axis=0) for number in elements])
        first, second = np.triu_indices(len(elements))
        scattered = (waves_of[first] * waves_of[second].conj()).real.ravel()
        # The same structure to 1e-4 Å may differ by some times that where all atoms add up.
        parts.append(0.1 * scattered / frame.n_atoms)
    return np.concatenate(parts)


def _near_distances(placed: Sequence[Placed]) -> FloatArray:
    """Distances between near atoms, sorted within each pair of elements, a row a structure."""
    n_elements = placed[0].n_elements
    columns = []
    for first in range(n_elements):
        for second in range(first, n_elements):
            rows = [one.distances(first, second) for one in placed]
            # The reach stands for what lies beyond, so that a distance may grow out of it.
            table = np.full((len(rows), 1 + max(map(len, rows))), placed[0].reach)
            for into, row in zip(table, rows, strict=True):
                into[: len(row)] = row
            columns.append(table)
    return np.concatenate(columns, axis=1)


def _cell(frame: Frame) -> FloatArray:
    """Lengths of the periodic cell vectors and of their sums, which fix the cell up to rotation."""
    cell = frame.cell[frame.pbc]
    vectors = [*cell, *(a + b for i, a in enumerate(cell) for b in cell[i + 1 :])]
    return np.array([np.linalg.norm(vector) for vector in vectors])
