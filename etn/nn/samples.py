"""Frames and their labels as tensors, joined to batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from etn.data.frame import Frame
from etn.data.stress import voigt
from etn.data.weights import Weights
from etn.nn.graph import Batch
from etn.nn.model import Outcome
from etn.nn.potential import NeuralPotential, within
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.targets import Targets
from etn.potential.response import Response

__all__ = ["Errors", "Goal", "Sample", "Samples"]

# Threads that make samples, and batches that wait to be used.
WORKERS, AHEAD = 2, 3
# Bytes of a tensor beside its numbers.
TENSOR = 500.0
# Voigt components xx, yy, zz, yz, xz, xy of a symmetric matrix.
_ROWS, _COLUMNS = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]


class Errors(NamedTuple):
    """Errors of a batch.

    Attributes
    ----------
    energy : (frames,), eV
    forces : (atoms, 3), eV/Å
    strain : (frames, 6), eV
    """

    energy: torch.Tensor
    forces: torch.Tensor
    strain: torch.Tensor


class Goal(NamedTuple):
    """What a network should answer to a batch: labels less the baseline, and their weights.

    Weights are zero, and targets too, where a label is missing.  See
    :class:`etn.potential.fitting.targets.Targets`.

    Attributes
    ----------
    energy, energy_weight : (frames,)
    forces : (atoms, 3)
    force_weight : (atoms,)
    strain : (frames, 6)
    strain_weight : (frames,)
    """

    energy: torch.Tensor
    energy_weight: torch.Tensor
    forces: torch.Tensor
    force_weight: torch.Tensor
    strain: torch.Tensor
    strain_weight: torch.Tensor

    def errors(self, outcome: Outcome, batch: Batch) -> Errors:
        """What a network answers less what it should, also where there is no label."""
        if batch.n_frames == 1:  # the compiler of several threads fails on a sum at one place
            energy = outcome.energies.sum(0, keepdim=True) - self.energy
        else:
            zero = self.energy.new_zeros(batch.n_frames)
            energy = zero.index_add(0, batch.frame, outcome.energies) - self.energy
        strain = 0.5 * (outcome.strain + outcome.strain.transpose(1, 2))[:, _ROWS, _COLUMNS]
        return Errors(energy, outcome.forces - self.forces, strain - self.strain)

    def residuals(self, errors: Errors) -> torch.Tensor:
        """Weighted errors of all labels, flat; zero where there is none."""
        parts = (
            self.energy_weight * errors.energy,
            self.force_weight[:, None] * errors.forces,
            self.strain_weight[:, None] * errors.strain,
        )
        return torch.cat([part.flatten() for part in parts])

    def balanced(self, balance: tuple[float, float, float]) -> Goal:
        """The same with the weights of energies, forces and stresses times numbers."""
        if balance == (1.0, 1.0, 1.0):
            return self
        energy, forces, stress = balance
        return self._replace(
            energy_weight=energy * self.energy_weight,
            force_weight=forces * self.force_weight,
            strain_weight=stress * self.strain_weight,
        )

    def to(self, device: torch.device | str) -> Goal:
        """The same on another device."""
        return Goal(*(tensor.to(device, non_blocking=True) for tensor in self))


class Sample(NamedTuple):
    """One frame, or several joined."""

    batch: Batch
    goal: Goal

    @classmethod
    def join(cls, samples: Sequence[Sample]) -> Sample:
        """Several frames as one batch."""
        if len(samples) == 1:
            return samples[0]
        batches = [sample.batch for sample in samples]
        atoms = np.cumsum([0] + [batch.n_atoms for batch in batches])
        frames = np.cumsum([0] + [batch.n_frames for batch in batches])
        columns = [list(column) for column in zip(*batches, strict=True)]
        for k, name in enumerate(Batch._fields):
            offsets = {"first": atoms, "second": atoms, "frame": frames}.get(name)
            if offsets is not None:
                pairs = zip(columns[k], offsets, strict=False)
                columns[k] = [tensor + int(at) for tensor, at in pairs]
        goals = zip(*(sample.goal for sample in samples), strict=True)
        return cls(Batch(*map(torch.cat, columns)), Goal(*map(torch.cat, goals)))

    def balanced(self, balance: tuple[float, float, float]) -> Sample:
        """The same with other weights of the labels, see :meth:`Goal.balanced`."""
        return self._replace(goal=self.goal.balanced(balance))

    @property
    def nbytes(self) -> float:
        """Bytes of its tensors."""
        return sum(TENSOR + tensor.nbytes for part in self for tensor in part)

    def to(self, device: torch.device | str) -> Sample:
        """The same on another device."""
        return Sample(self.batch.to(device), self.goal.to(device))


@dataclass(frozen=True, eq=False)
class Samples:
    """The frames of a data set with their pairs and targets.

    The first ones are in memory, as many as may be.  The others are made anew when they are asked
    for, in the background while the batches before them are used, and are the same to the bit.

    Parameters
    ----------
    frames : sequence of Frame
    items : list of Sample
        Those in memory.
    sizes : list of int
        Atoms of each frame.
    make : callable
        The sample of a frame.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> from etn.nn.start import untrained
    >>> data = Dataset.read("etn:Mo/test")
    >>> start = untrained("tensornet", data, r_max=4.0, settings={"channels": 4})
    >>> some = Samples.of(data, start, Weights(), most=1e5)
    >>> len(some), 0 < len(some.items) < 23
    (23, True)
    >>> [batch.n_frames for batch, _ in some.batches(10)]
    [10, 10, 3]
    """

    frames: Sequence[Frame]
    items: list[Sample]
    sizes: list[int]
    make: Callable[[Frame], Sample]

    @classmethod
    def of(
        cls,
        frames: Sequence[Frame],
        potential: NeuralPotential,
        weights: Weights,
        *,
        most: float = np.inf,
    ) -> Samples:
        """Frames for the network of a potential, less its baseline.

        Parameters
        ----------
        frames : sequence of Frame
        potential : NeuralPotential
        weights : Weights
        most : float
            Bytes that samples in memory may take.
        """

        def make(frame: Frame) -> Sample:
            pairs = Pairs.find([frame], potential.elements, potential.r_max)
            targets = Targets.of([frame], pairs, potential.baseline, weights, potential)
            if potential.below is not None:
                targets = _less(targets, potential.respond_below(pairs))
            goal = Goal(
                *(
                    torch.as_tensor(values, dtype=potential.dtype)
                    for values in (
                        targets.energy, targets.energy_weights, targets.forces,
                        targets.force_weights, targets.strain, targets.strain_weights,
                    )
                )
            )  # fmt: skip
            near = within(pairs, potential.network.r_max)
            return Sample(Batch.of(near, dtype=potential.dtype), goal)

        items: list[Sample] = []
        sizes, left = [], most
        for frame in frames:
            sizes.append(frame.n_atoms)
            if left > 0:
                sample = make(frame)
                left -= sample.nbytes
                if left >= 0:
                    items.append(sample)
        return cls(frames, items, sizes, make)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def nbytes(self) -> float:
        """Bytes of those in memory."""
        return sum(sample.nbytes for sample in self.items)

    def batches(self, size: int, order: Sequence[int] | None = None) -> Iterator[Sample]:
        """Batches of up to `size` frames, in their order or another."""
        numbers = range(len(self)) if order is None else order
        groups = (numbers[first : first + size] for first in range(0, len(numbers), size))
        return (sample for sample in self.joined(groups) if sample is not None)

    def joined(self, groups: Iterable[Sequence[int]]) -> Iterator[Sample | None]:
        """Frames of each group as one batch; None for a group of none."""
        if len(self.items) == len(self):
            yield from map(self._join, groups)
            return
        with ThreadPoolExecutor(WORKERS) as pool:
            coming: deque[Future[Sample | None]] = deque()
            for group in groups:
                coming.append(pool.submit(self._join, group))
                if len(coming) > AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def _join(self, group: Sequence[int]) -> Sample | None:
        known = len(self.items)
        samples = [self.items[k] if k < known else self.make(self.frames[k]) for k in group]
        return Sample.join(samples) if samples else None


def _less(targets: Targets, response: Response) -> Targets:
    """Targets of one frame less what another potential answers; those without weight stay zero."""
    energy = np.array([response.energies.sum()])
    return replace(
        targets,
        energy=targets.energy - np.where(targets.energy_weights > 0, energy, 0.0),
        forces=targets.forces - np.where(targets.force_weights[:, None] > 0, response.forces, 0.0),
        strain=targets.strain
        - np.where(targets.strain_weights[:, None] > 0, voigt(response.strain), 0.0),
    )
