"""Pairs of neighbouring atoms in a batch of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn.data.neighbours import neighbour_list
from etn.errors import DataError

if TYPE_CHECKING:
    from etn.data.frame import Frame


@dataclass(frozen=True)
class Pairs:
    """Directed pairs center → neighbor within ``r_max`` in a batch of frames.

    The centers are the samples that a chain is fed with; they may be some of the atoms only.

    Attributes
    ----------
    sample : (samples,) int
        Atoms that are centers, counted through the batch.
    center : (pairs,) int
        Index into ``sample``, rising.
    neighbor : (pairs,) int
        Atom, counted through the batch.
    vector : (pairs, 3)
        From center to (the periodic image of) neighbor, Å.
    distance : (pairs,)
    element : (atoms,) int
        Index into the elements of the basis.
    frame : (atoms,) int
        Frame of each atom, counted in the batch.
    charge : (frames,)
        Total charges, elementary charges.
    """

    sample: NDArray[np.int64]
    center: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    vector: NDArray[np.float64]
    distance: NDArray[np.float64]
    element: NDArray[np.int64]
    frame: NDArray[np.int64]
    charge: NDArray[np.float64]

    @property
    def n_frames(self) -> int:
        """Number of frames in the batch."""
        return len(self.charge)

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the batch."""
        return len(self.element)

    @property
    def n_samples(self) -> int:
        """Number of atoms whose neighbours are listed."""
        return len(self.sample)

    @property
    def sample_frame(self) -> NDArray[np.int64]:
        """Frame of each sample."""
        return self.frame[self.sample]

    @cached_property
    def is_image(self) -> NDArray[np.bool_]:
        """Whether the neighbor of a pair is a periodic image of its center."""
        return self.sample[self.center] == self.neighbor

    @classmethod
    def find(cls, frames: Sequence[Frame], elements: Sequence[str], r_max: float) -> Pairs:
        """Find all pairs within ``r_max``: any cell, periodic in any directions.

        Raises
        ------
        DataError
            If atoms coincide, or a frame holds an element that is not in ``elements``.
        """
        parts = [neighbour_list(frame, r_max) for frame in frames]
        offsets = np.cumsum([0] + [frame.n_atoms for frame in frames])
        return cls(
            sample=np.arange(offsets[-1]),
            center=np.concatenate([p[0] + at for p, at in zip(parts, offsets, strict=False)]),
            neighbor=np.concatenate([p[1] + at for p, at in zip(parts, offsets, strict=False)]),
            vector=np.concatenate([p[2] for p in parts]),
            distance=np.concatenate([p[3] for p in parts]),
            element=np.concatenate([element_indices(frame, elements) for frame in frames]),
            frame=np.repeat(np.arange(len(frames)), np.diff(offsets)),
            charge=np.array([frame.charge for frame in frames], dtype=np.float64),
        )

    def select(self, samples: NDArray[np.int64]) -> Pairs:
        """The pairs of some centers only; atoms and frames keep their numbers.

        Parameters
        ----------
        samples : (k,) int
            Indices into ``sample``, rising.
        """
        new = np.full(self.n_samples, -1)
        new[samples] = np.arange(len(samples))
        keep = new[self.center] >= 0
        return replace(
            self,
            sample=self.sample[samples],
            center=new[self.center[keep]],
            neighbor=self.neighbor[keep],
            vector=self.vector[keep],
            distance=self.distance[keep],
        )


def element_indices(frame: Frame, elements: Sequence[str]) -> NDArray[np.int64]:
    """Index into ``elements`` of every atom of a frame.

    Raises
    ------
    DataError
        If the frame holds another element.
    """
    known = {symbol: index for index, symbol in enumerate(elements)}
    unknown = sorted(set(frame.symbols) - known.keys())
    if unknown:
        raise DataError(
            f"{frame.title}: element {', '.join(unknown)} is unknown to this potential, "
            f"which was made for {', '.join(elements)}: add frames with it to the training set "
            "or take the frame out"
        )
    return np.array([known[symbol] for symbol in frame.symbols], dtype=np.int64)
