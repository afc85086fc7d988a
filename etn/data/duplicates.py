"""Which frames of a data set are the same structure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["find_duplicates", "linked"]

# Two structures are the same if no distance differs by more than this, Å: files keep at least
# five decimals, and the smallest displacements of phonon calculations are hundred times larger.
_SAME = 1e-4
# Fingerprints of the same structure differ by less than this.
_SIMILAR = 1e-3
_WAVES = tuple(k for k in product((0, 1, 2), (-1, 0, 1), (-1, 0, 1)) if k > (0, 0, 0))


def find_duplicates(frames: Sequence[Frame]) -> list[list[int]]:
    """Indices of frames that are the same structure, in groups of two or more.

    Shifted, rotated, mirrored and wrapped copies and other orders of the atoms count as the same;
    another choice of cell vectors does not.

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
    alike: dict[bytes, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        alike[np.sort(frame.numbers).tobytes() + frame.pbc.tobytes()].append(index)
    found = []
    for members in alike.values():
        similar = linked([_fingerprint(frames[i]) for i in members], _SIMILAR)
        for group in similar:
            chosen = [members[i] for i in group]
            same = linked([_geometry(frames[i]) for i in chosen], _SAME)
            found += [[chosen[i] for i in part] for part in same]
    return sorted(found)


def linked(points: Sequence[FloatArray], tolerance: float) -> Iterator[list[int]]:
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


def _geometry(frame: Frame) -> FloatArray:
    """The cell, all distances sorted within each pair of elements, and their spectrum, Å.

    Alloys on one lattice often share all distances and yet differ in who has which; the
    eigenvalues of the distance matrix, weighted by element, tell such structures apart.
    """
    shifts = np.array(list(product(*((-1, 0, 1) if p else (0,) for p in frame.pbc)))) @ frame.cell
    inverse = np.linalg.pinv(frame.cell[frame.pbc])
    vectors = frame.positions[:, None] - frame.positions
    vectors = vectors - np.rint(vectors @ inverse) @ frame.cell[frame.pbc]
    squares = np.min(
        [np.einsum("ijx,ijx->ij", v, v) for v in (vectors + s for s in shifts)], axis=0
    )
    # An exact symmetry, which the eigenvalues need and rounding at the cell's border may break.
    distances = np.sqrt(np.minimum(squares, squares.T))
    elements, which = np.unique(frame.numbers, return_inverse=True)
    weights = (1.0 + which) / len(elements)
    spectrum = np.linalg.eigvalsh(weights[:, None] * distances * weights) / frame.n_atoms
    blocks = [
        np.sort(distances[np.ix_(which == one, which == other)], axis=None)
        for one in range(len(elements))
        for other in range(one, len(elements))
    ]
    return np.concatenate([_cell(frame), spectrum, *blocks])


def _cell(frame: Frame) -> FloatArray:
    """Lengths of the periodic cell vectors and of their sums, which fix the cell up to rotation."""
    cell = frame.cell[frame.pbc]
    vectors = [*cell, *(a + b for i, a in enumerate(cell) for b in cell[i + 1 :])]
    return np.array([np.linalg.norm(vector) for vector in vectors])
