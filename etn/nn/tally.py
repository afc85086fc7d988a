"""Sums over the batches of an epoch: the loss, and squared errors of energies and forces."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from etn.nn.model import Outcome
from etn.nn.parallel import Processes
from etn.nn.recipe import Recipe
from etn.nn.samples import Sample

__all__ = ["Tally"]


class Tally:
    """Sums over batches.

    Parameters
    ----------
    recipe : Recipe
        Whose loss is added up.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._loss = self._components = 0.0
        # Sum of squares and number of labels.
        self._energy, self._forces = [0.0, 0.0], [0.0, 0.0]

    def add(self, sample: Sample, outcome: Outcome) -> torch.Tensor:
        """The sum of the losses of a batch; it is added up, and what is said of errors."""
        batch, goal = sample
        errors = goal.errors(outcome, batch)
        loss = self._recipe.loss(goal.residuals(errors))
        self._loss += loss.item()
        self._components += 3 * batch.n_atoms
        sizes = torch.bincount(batch.frame, minlength=batch.n_frames)
        for sums, error, weight in (
            (self._energy, (errors.energy / sizes)[:, None], goal.energy_weight),
            (self._forces, errors.forces, goal.force_weight),
        ):
            known = error.detach()[weight > 0]
            sums[0] += float((known * known).sum())
            sums[1] += known.numel()
        return loss

    def add_up(self, processes: Processes, device: torch.device) -> None:
        """Make the sums those over all processes."""
        sums = [self._loss, self._components, *self._energy, *self._forces]
        told = processes.add_up(torch.tensor(sums, dtype=torch.float64, device=device)).tolist()
        (self._loss, self._components), self._energy, self._forces = told[:2], told[2:4], told[4:]

    @property
    def loss(self) -> float:
        """Of all batches."""
        return self._loss / self._components

    @property
    def energy(self) -> float:
        """Root mean square error, eV/atom."""
        return _root(self._energy)

    @property
    def forces(self) -> float:
        """Root mean square error, eV/Å."""
        return _root(self._forces)


def _root(sums: Sequence[float]) -> float:
    return math.sqrt(sums[0] / sums[1]) if sums[1] else math.nan
