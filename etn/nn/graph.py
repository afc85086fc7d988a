r"""Atoms and the pairs between them as tensors: what a network reads.

Energies are functions of the vectors between atoms alone.  So the vectors are the one thing that
derivatives are taken by, and forces and stress follow from one gradient, for any cell and any
number of periodic images:

.. math:: g_p = \frac{\partial E}{\partial r_p}, \qquad
    F_i = \sum_{p:\, i \to j} g_p - \sum_{p:\, j \to i} g_p, \qquad
    \frac{\partial E}{\partial \epsilon} = \sum_p r_p \otimes g_p

Every two atoms, or images of atoms, stand in the list once: what a network computes of a distance
is the same both ways, and is computed once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from etn.potential.features.pairs import Pairs

__all__ = ["Batch", "Edges", "Graph"]


class Batch(NamedTuple):
    """Atoms and pairs of some frames.

    Attributes
    ----------
    first, second : (pairs,) int64
        The atoms of each pair, counted through the batch.
    vector : (pairs, 3)
        From the first to the second, or its image, Å.
    element : (atoms,) int64
        Index into the elements of the network.
    frame : (atoms,) int64
        Frame of each atom.
    charge : (frames,)
        Total charges, elementary charges.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> pairs = Pairs.find(Dataset.read("etn:Mo/test")[:2], ("Mo",), 4.0)
    >>> batch = Batch.of(pairs)
    >>> len(pairs.center) == 2 * len(batch.vector)
    True
    """

    first: torch.Tensor
    second: torch.Tensor
    vector: torch.Tensor
    element: torch.Tensor
    frame: torch.Tensor
    charge: torch.Tensor

    @classmethod
    def of(
        cls,
        pairs: Pairs,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """All pairs of some frames.

        Parameters
        ----------
        pairs : Pairs
            Of all atoms of the frames: each pair both ways.
        dtype, device
            Of the tensors of real numbers, and of all.
        """
        first, second = pairs.sample[pairs.center], pairs.neighbor
        # Of an atom and its own image the one whose vector points up, or else along y or x.
        x, y, z = pairs.vector.T
        up = (z > 0) | ((z == 0) & ((y > 0) | ((y == 0) & (x > 0))))
        once = np.flatnonzero((first < second) | ((first == second) & up))
        assert 2 * len(once) == len(first), "every pair must be there both ways"
        return cls(
            torch.as_tensor(first[once], device=device),
            torch.as_tensor(second[once], device=device),
            torch.as_tensor(pairs.vector[once], dtype=dtype, device=device),
            torch.as_tensor(pairs.element, device=device),
            torch.as_tensor(pairs.frame, device=device),
            torch.as_tensor(pairs.charge, dtype=dtype, device=device),
        )

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.charge.shape[0]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.element.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))

    def lengths(self) -> torch.Tensor:
        """Lengths of the vectors, (pairs,)."""
        lengths: torch.Tensor = torch.linalg.vector_norm(self.vector, dim=1)
        return lengths

    def graph(self, distance: torch.Tensor | None = None) -> Graph:
        """What a network reads, with the lengths of the vectors or other distances."""
        lengths = self.lengths()
        return Graph(
            self.first, self.second, lengths if distance is None else distance,
            self.vector / lengths[:, None], self.element, self.charge[self.frame],
        )  # fmt: skip

    def forces(self, gradient: torch.Tensor) -> torch.Tensor:
        """Forces (atoms, 3) from the gradient (pairs, 3) of the energy."""
        forces = gradient.new_zeros((self.n_atoms, 3))
        return forces.index_add(0, self.first, gradient).index_add(0, self.second, -gradient)

    def strain(self, gradient: torch.Tensor) -> torch.Tensor:
        """Strain derivatives (frames, 3, 3) from the gradient (pairs, 3) of the energy."""
        strain = gradient.new_zeros((self.n_frames, 3, 3))
        parts = self.vector[:, :, None] * gradient[:, None, :]
        return strain.index_add(0, self.frame[self.first], parts)


class Edges(NamedTuple):
    """Pairs seen from both sides: from a centre that hears to a neighbour that speaks.

    Attributes
    ----------
    center, neighbor : (edges,) int64
        The first half of the edges are the pairs in order, the second half the same turned round.
    direction : (edges, 3)
        Unit vectors from center to neighbor.
    """

    center: torch.Tensor
    neighbor: torch.Tensor
    direction: torch.Tensor


class Graph(NamedTuple):
    """What a network reads of a batch.

    Attributes
    ----------
    first, second : (pairs,) int64
    distance : (pairs,)
        What functions of the distance take, Å: below the distances of the data it rests, see
        :mod:`etn.potential.features.inner`.
    direction : (pairs, 3)
        Unit vectors from the first atom to the second.
    element : (atoms,) int64
    charge : (atoms,)
        Total charge of the frame that an atom is in.
    """

    first: torch.Tensor
    second: torch.Tensor
    distance: torch.Tensor
    direction: torch.Tensor
    element: torch.Tensor
    charge: torch.Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.element.shape[0]

    def edges(self) -> Edges:
        """The pairs from both sides."""
        return Edges(
            torch.cat([self.first, self.second]),
            torch.cat([self.second, self.first]),
            torch.cat([self.direction, -self.direction]),
        )
