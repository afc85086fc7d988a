"""How a fit divides the memory it may take.

What grows with the number of unknowns P of a core is its Gram matrix, 8 P^2 bytes, one for each
thread that accumulates and three for the solution.  What grows with the size of a frame is a
batch: the directions of its rows, and the rows themselves.  What grows with the number of frames
is the data set and its targets, which stay, and the pairs of neighbours and their features,
which are kept as far as memory allows and computed anew for every solve beyond.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from etn.data.dataset import Dataset
from etn.errors import SettingsError
from etn.machine import GB, memory_limit, resident_memory
from etn.potential.features.basis import Basis
from etn.potential.features.batching import ATOMS_PER_BATCH, MAX_DIRECTIONS, BatchLimits
from etn.potential.features.pairs import Pairs
from etn.sweep.regression.normal_equations import MAX_GRAMS, QR
from etn.sweep.threads import count_threads

__all__ = ["MemoryPlan"]

# Of what a fit may still take, the part that it plans with: freed memory comes in pieces.
USABLE = 0.85
# What predictions, reports and the pieces between arrays take besides, bytes.
RESERVE = 20e6
# Features kept where no plan was made, bytes.
MAX_KEPT = 1e9
# Most memory that building the rows of a batch takes at a time, in units of its directions, of
# its rows and of its features: measured, and rounded up.
DIRECTIONS, ROWS, FEATURES = 3.5, 4.0, 6.0
# Memory of a pair of neighbours, bytes.
PAIR = 48
# The part of the memory that is divided which batches and Gram matrices get where they want more,
# and what one Gram matrix may take at most.
BATCH_SHARE, GRAM_SHARE, GRAM_MOST = 0.35, 0.45, 0.75
# Vectors over all unknowns that a solution without a Gram matrix holds, and each of its threads.
VECTORS, VECTORS_EACH = 8, 2


@dataclass(frozen=True)
class MemoryPlan:
    """What each part of a fit may take; the default is that of a large machine.

    Attributes
    ----------
    grams : float
        All Gram matrices at a time, bytes; see :class:`~etn.sweep.LeastSquares`.
    directions : float
        Directions of one batch, bytes.
    rows : int or None
        Most force rows of one batch.
    kept : float
        Pairs and features kept between solves, bytes.
    threads : int or None
        Most threads, each with one batch.

    Examples
    --------
    >>> train = Dataset.read("etn:Mo/train", index="::20")
    >>> basis = Basis.for_dataset(train, n_max=4, l_max=2)
    >>> plan = MemoryPlan.divide(2e9, train, basis, unknowns=500, held=5e8)
    >>> plan.rows is None, plan.grams <= 1.5e9, plan.kept > 2e8
    (True, True, True)
    >>> MemoryPlan.divide(6e8, train, basis, unknowns=500, held=5e8).kept < plan.kept
    True
    """

    grams: float = MAX_GRAMS
    directions: float = MAX_DIRECTIONS
    rows: int | None = None
    kept: float = MAX_KEPT
    threads: int | None = None

    @classmethod
    def divide(
        cls,
        limit: float,
        data: Dataset,
        basis: Basis,
        *,
        unknowns: int,
        held: float | None = None,
    ) -> MemoryPlan:
        """Divide a limit among the parts of a fit.

        Batches and Gram matrices get what makes the fit fastest if that is at most a half of
        what there is to divide; else their shares.  The rest keeps pairs and features.

        Parameters
        ----------
        limit : float
            Bytes for the whole process.
        data : Dataset
            What is fitted.
        basis : Basis
        unknowns : int
            Of the largest core.
        held : float, optional
            What is taken already; by default the resident memory of this process.

        Raises
        ------
        SettingsError
            If the smallest step takes more, with what it takes.
        """
        held = resident_memory() if held is None else held
        # Targets, weights and factors of the rows.
        labels = 4 * 8.0 * (3 * data.n_atoms + 7 * len(data))
        free = USABLE * (limit - held) - labels - RESERVE
        batch, smallest = _Batch.largest(data, basis), _Batch.smallest(data, basis)
        least = smallest.nbytes(unknowns) + 8.0 * unknowns * (VECTORS + VECTORS_EACH)
        if free < least:
            step = (least + labels + RESERVE) / USABLE
            raise SettingsError(
                f"memory: expected at least {_up(held + step)} GB ({held / GB:.3f} GB are held by "
                f"the program and the data, {_up(step)} GB takes the smallest step with "
                f"{unknowns} unknowns), got {limit / GB:g} GB: allow more, or choose smaller "
                "n_max, l_max or max_bond"
            )
        threads = count_threads()
        batches = threads * batch.nbytes(unknowns)
        grams = max(threads, QR) * 8.0 * unknowns**2
        grams = max(grams, min(MAX_GRAMS, 0.5 * free - batches))
        if grams + batches > 0.5 * free:
            part = max(GRAM_SHARE * free, 0.5 * free - batches)
            # One Gram matrix is worth much: without it, solutions take many passes over the data.
            if part < 8.0 * unknowns**2 <= GRAM_MOST * free:
                part = 8.0 * unknowns**2
            grams = min(grams, part)
            batches = min(batches, max(BATCH_SHARE * free, 0.5 * free - grams), free - grams)
            batches = max(batches, min(smallest.nbytes(unknowns), free))
        threads = max(1, min(threads, int(batches / batch.nbytes(unknowns))))
        part = min(1.0, batches / threads / batch.nbytes(unknowns))
        return cls(
            grams=min(grams, free - batches),
            directions=MAX_DIRECTIONS if part == 1 else max(part * batch.directions, 1.0),
            rows=None if part == 1 else max(3, int(part * batch.rows)),
            kept=max(free - grams - batches, 0.0),
            threads=None if threads == count_threads() else threads,
        )

    @classmethod
    def for_fit(
        cls, memory: float | None, data: Dataset, basis: Basis, *, unknowns: int
    ) -> MemoryPlan:
        """The plan for a limit in GB; without one, for four fifths of what the machine has left.

        Raises
        ------
        SettingsError
            As :meth:`divide`, or if the limit is not a positive number.
        """
        limit = memory_limit(memory)
        if limit is None:
            return cls()
        return cls.divide(limit, data, basis, unknowns=unknowns)

    def part(self, fraction: float) -> MemoryPlan:
        """The plan for a part of the data, which keeps that part of the features."""
        return replace(self, kept=fraction * self.kept)

    @property
    def batch(self) -> BatchLimits:
        """What one batch may take."""
        return BatchLimits(self.directions, self.rows)


@dataclass(frozen=True)
class _Batch:
    """Bytes of the directions, number of rows, bytes of the features."""

    directions: float
    rows: int
    features: float

    def nbytes(self, unknowns: int) -> float:
        return (
            DIRECTIONS * self.directions
            + ROWS * 8.0 * unknowns * self.rows
            + FEATURES * self.features
        )

    @classmethod
    def largest(cls, data: Dataset, basis: Basis) -> _Batch:
        """What frames joined without regard to memory come to."""
        n = max(frame.n_atoms for frame in data)
        atoms = max(n, min(data.n_atoms, ATOMS_PER_BATCH + n - 1 if n < ATOMS_PER_BATCH else n))
        width = 8.0 * basis.leg.dim
        forces = min(3 * atoms, max(3, int(MAX_DIRECTIONS / (width * atoms))))
        rows = forces + 7 * max(1, atoms // min(frame.n_atoms for frame in data))
        return cls(width * atoms * rows, rows, atoms * _features_of_an_atom(data, basis))

    @classmethod
    def smallest(cls, data: Dataset, basis: Basis) -> _Batch:
        """Energy and stress of the largest frame, which are not divided further."""
        n = max(frame.n_atoms for frame in data)
        return cls(8.0 * basis.leg.dim * n * 7, 7, n * _features_of_an_atom(data, basis))


def _features_of_an_atom(data: Dataset, basis: Basis) -> float:
    """Bytes of the features and pairs of an atom, judged by the first atoms of some frames."""
    sizes = []
    for frame in data[:: max(1, len(data) // 4)]:
        pairs = Pairs.find([frame], basis.elements, basis.r_max)
        some = pairs.select(np.arange(min(8, frame.n_atoms)))
        expansion = basis.expand(some)
        sizes.append((expansion.nbytes + PAIR * len(some.distance)) / some.n_samples)
    return max(sizes)


def _up(nbytes: float) -> str:
    """GB, rounded up so that the number is enough."""
    return f"{np.ceil(nbytes / GB * 1e3) / 1e3:.3f}"
