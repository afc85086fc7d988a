r"""Energies in eV by a network, and their derivatives.

.. math:: E_i = s_{Z_i} (N_i - N^{alone}_{Z_i}) + m_{Z_i} (1 - e^{-5 q_i}), \qquad
    q_i = \sum_j \phi(r_{ij})

N are the answers of the network, of which those of lone atoms are taken away.  The scale s and the
mean m of each element come from the data before training: m is what a bound atom has on average,
switched on by its first neighbours.  Floor and wall stand where the data end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from etn.nn.bounds import InnerEnd, Rest
from etn.nn.graph import Batch
from etn.nn.network import Network
from etn.nn.radial import polynomial_cutoff
from etn.potential.features.floor import Floor
from etn.potential.features.inner import Inner

__all__ = ["DTYPES", "AtomicModel", "Outcome"]

# How fast the mean energy of a bound atom comes with its neighbours.
PRESENCE = 5.0
DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""The precisions that a model may have, by name."""


class Outcome(NamedTuple):
    """What a model answers to a batch.

    Attributes
    ----------
    energies : (atoms,), eV
    forces : (atoms, 3), eV/Å
    strain : (frames, 3, 3), eV
        dE/d epsilon.
    """

    energies: torch.Tensor
    forces: torch.Tensor
    strain: torch.Tensor

    @classmethod
    def of(cls, batch: Batch, energies: torch.Tensor, forces: torch.Tensor | None) -> Outcome:
        """Energies without strain derivatives, and without forces if there are none."""
        zeros = energies.new_zeros((batch.n_atoms, 3)) if forces is None else forces
        return cls(energies, zeros, energies.new_zeros((batch.n_frames, 3, 3)))


class AtomicModel(nn.Module):
    """Energies of atoms in eV by a network, and their derivatives.

    Parameters
    ----------
    network : Network
    inner : Inner, optional
        Where the data end: functions of distances rest below, and crowded atoms meet a wall.
    floor : Floor, optional
        Where answers come to rest.
    scale, mean : (elements,) array, optional
        eV; one and zero by default.
    dtype : torch.dtype
        The precision that all of it gets; ``model.to(dtype)`` gives it another.
    """

    def __init__(
        self,
        network: Network,
        inner: Inner | None = None,
        *,
        floor: Floor | None = None,
        scale: NDArray[np.float64] | None = None,
        mean: NDArray[np.float64] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.network = network
        n = len(network.elements)
        self.scale: torch.Tensor
        self.mean: torch.Tensor
        self.register_buffer("scale", torch.as_tensor(np.ones(n) if scale is None else scale))
        self.register_buffer("mean", torch.as_tensor(np.zeros(n) if mean is None else mean))
        self.end = None if inner is None else InnerEnd(inner)
        self.rest = None if floor is None else Rest(floor)
        self.to(dtype)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Energies of the atoms beyond the baseline, (atoms,), eV."""
        return self.answers(batch)[0]

    def answers(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Energies of the atoms and, of a network that predicts them, forces."""
        energies, forces = self.unbounded(batch)
        if self.rest is not None:
            energies = self.rest(energies, batch.element)
        if self.end is not None:
            energies = self.end.blend(energies, batch, batch.lengths())
        return energies, forces

    def unbounded(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Energies of the atoms and forces without floor and wall."""
        graph = batch.graph(None if self.end is None else self.end.rest(batch, batch.lengths()))
        n, last = batch.n_atoms, len(self.scale)
        lone = torch.arange(last, device=graph.element.device)
        extended = graph._replace(
            element=torch.cat([graph.element, lone]),
            charge=torch.cat([graph.charge, graph.charge.new_zeros(last)]),
        )
        answers, forces = self.network.answers(extended)
        # A sum, as compilers of derivatives fail on indices into what has one element.
        kinds = (graph.element[:, None] == lone).to(answers.dtype)
        own = answers[:n] - (kinds * answers[n:]).sum(1)
        near = polynomial_cutoff(graph.distance, self.network.r_max)
        count = near.new_zeros(n).index_add(0, graph.first, near).index_add(0, graph.second, near)
        bound = -torch.expm1(-PRESENCE * count)
        scale = self.scale[graph.element]
        energies = scale * own + self.mean[graph.element] * bound
        return energies, None if forces is None else scale[:, None] * forces[:n]

    def outcome(self, batch: Batch, *, training: bool = False, derivatives: bool = True) -> Outcome:
        """Energies, forces and strain derivatives; with a graph of their own in training.

        Without derivatives those of the energies are zero, and cost nothing.
        """
        if self.network.has_forces or not derivatives:
            with torch.set_grad_enabled(training):
                energies, forces = self.answers(batch)
            return Outcome.of(batch, energies, forces)
        vector = batch.vector.detach().requires_grad_(True)
        with torch.enable_grad():
            energies = self(batch._replace(vector=vector))
            (gradient,) = torch.autograd.grad(energies.sum(), vector, create_graph=training)
        if not training:
            energies = energies.detach()
        return Outcome(energies, batch.forces(gradient), batch.strain(gradient))
