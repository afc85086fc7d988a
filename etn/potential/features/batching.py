"""Frames and atoms in batches: what is predicted or fitted together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.frame import Frame
from etn.potential.features.basis import Basis
from etn.potential.features.pairs import Pairs

# Atoms whose features are held in memory together in a prediction.
ATOMS_AT_ONCE = 256
# Frames are joined until a batch has this many atoms, so that matrix products are large.
ATOMS_PER_BATCH = 48
# Bound of the direction arrays of one batch, bytes.
MAX_DIRECTIONS = 96e6


class BatchLimits(NamedTuple):
    """What a batch of design rows may take.

    Attributes
    ----------
    directions : float
        Bytes of the derivatives of the features along the rows.
    rows : int or None
        Most force rows.
    """

    directions: float = MAX_DIRECTIONS
    rows: int | None = None


DEFAULT = BatchLimits()


def sample_parts(pairs: Pairs) -> Iterator[Pairs]:
    """The pairs of up to 256 centers at a time."""
    for first in range(0, pairs.n_samples, ATOMS_AT_ONCE):
        here = np.arange(first, min(first + ATOMS_AT_ONCE, pairs.n_samples))
        yield pairs if len(here) == pairs.n_samples else pairs.select(here)


def frame_batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Frames that are predicted together: up to 256 atoms, or one frame."""
    return _join(frames, lambda count, before, after: after > ATOMS_AT_ONCE)


def join_frames(
    frames: Sequence[Frame], basis: Basis, limits: BatchLimits = DEFAULT
) -> Iterator[list[Frame]]:
    """Join frames to batches of some tens of atoms, within the limits of a batch."""

    def is_full(count: int, before: int, after: int) -> bool:
        too_large = 24.0 * basis.leg.dim * after**2 > limits.directions
        if limits.rows is not None:
            too_large |= 3 * after + 7 * (count + 1) > limits.rows
        return before >= ATOMS_PER_BATCH or too_large

    return _join(frames, is_full)


def _join(
    frames: Iterable[Frame], is_full: Callable[[int, int, int], bool]
) -> Iterator[list[Frame]]:
    """Join frames until a batch is full, by its frames and by its atoms before and after one."""
    batch: list[Frame] = []
    atoms = 0
    for frame in frames:
        if batch and is_full(len(batch), atoms, atoms + frame.n_atoms):
            yield batch
            batch, atoms = [], 0
        batch.append(frame)
        atoms += frame.n_atoms
    if batch:
        yield batch


def most_atoms(pairs: Pairs, basis: Basis, limits: BatchLimits = DEFAULT) -> int:
    """Atoms whose forces fit in the memory of a batch together."""
    most = int(limits.directions / (24.0 * basis.leg.dim * pairs.n_samples))
    return max(1, most if limits.rows is None else min(most, limits.rows // 3))


def force_parts(
    pairs: Pairs,
    atoms: NDArray[np.int64],
    frames: Sequence[Frame],
    basis: Basis,
    limits: BatchLimits = DEFAULT,
) -> Iterator[tuple[NDArray[np.int64], Pairs]]:
    """Atoms whose forces fit in memory together, with the pairs of the centers that feel them."""
    most = most_atoms(pairs, basis, limits)
    if len(atoms) <= most:
        yield atoms, pairs
        return
    positions = np.concatenate([frame.positions for frame in frames])
    for part in neighbourhoods(atoms, positions, min(most, ATOMS_PER_BATCH)):
        near = np.zeros(pairs.n_atoms, dtype=bool)
        near[part] = True
        felt = near[pairs.sample]
        felt[pairs.center[near[pairs.neighbor]]] = True
        yield part, pairs.select(np.flatnonzero(felt))


def neighbourhoods(
    atoms: NDArray[np.int64], positions: Array, size: int
) -> Iterator[NDArray[np.int64]]:
    """Halve a set of atoms along its longest side until the parts have at most this size."""
    if len(atoms) <= size:
        yield np.sort(atoms)
        return
    here = positions[atoms]
    axis = int(np.argmax(np.ptp(here, axis=0)))
    order = atoms[np.argsort(here[:, axis], kind="stable")]
    half = len(order) // 2
    yield from neighbourhoods(order[:half], positions, size)
    yield from neighbourhoods(order[half:], positions, size)
