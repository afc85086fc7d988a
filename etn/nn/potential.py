r"""Neural potentials: a network with units, on top of a baseline.

.. math:: E = \sum_i \bigl[ E^{baseline}_i + E^{below}_i + s_{Z_i} (N_i - N^{alone}_{Z_i})
    + m_{Z_i} (1 - e^{-5 q_i}) \bigr], \qquad q_i = \sum_j \phi(r_{ij})

N are the answers of the network, of which those of lone atoms are taken away, so that an atom alone
has its E0.  The scale s and the mean m of each element come from the data before training: m is
what a bound atom has on average, switched on by its first neighbours.  Below the network there may
be another potential, such as a polynomial one: then the network learns what that leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from etn.data.frame import Frame
from etn.errors import SettingsError
from etn.nn.bounded import Bounded
from etn.nn.bounds import InnerEnd, Rest
from etn.nn.graph import Batch
from etn.nn.last_layer import LastLayer
from etn.nn.network import Network, network_class
from etn.nn.radial import polynomial_cutoff
from etn.potential.base import Arrays, Potential, potential_class
from etn.potential.baseline import Baseline
from etn.potential.features.floor import Floor
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs
from etn.potential.response import Response
from etn.potential.uncertainty import Uncertainty
from etn.stored import conform, numbers

__all__ = ["AtomicModel", "NeuralPotential", "Outcome"]

# How fast the mean energy of a bound atom comes with its neighbours.
PRESENCE = 5.0
# Numbers that a network may hold beside four times its weights: constants of its products.
SPARE = 10_000_000
DTYPES = {"float32": torch.float32, "float64": torch.float64}


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
        own = answers[:n] - answers[n:][graph.element]
        near = polynomial_cutoff(graph.distance, self.network.r_max)
        count = near.new_zeros(n).index_add(0, graph.first, near).index_add(0, graph.second, near)
        bound = -torch.expm1(-PRESENCE * count)
        scale = self.scale[graph.element]
        energies = scale * own + self.mean[graph.element] * bound
        return energies, None if forces is None else scale[:, None] * forces[:n]

    def outcome(self, batch: Batch, *, training: bool = False) -> Outcome:
        """Energies, forces and strain derivatives; with a graph of their own in training."""
        if self.network.has_forces:
            with torch.set_grad_enabled(training):
                energies, forces = self.answers(batch)
            assert forces is not None
            return Outcome(energies, forces, forces.new_zeros((batch.n_frames, 3, 3)))
        vector = batch.vector.detach().requires_grad_(True)
        with torch.enable_grad():
            energies = self(batch._replace(vector=vector))
            (gradient,) = torch.autograd.grad(energies.sum(), vector, create_graph=training)
        if not training:
            energies = energies.detach()
        return Outcome(energies, batch.forces(gradient), batch.strain(gradient))


def within(pairs: Pairs, r_max: float) -> Pairs:
    """The pairs within a radius."""
    near = pairs.distance < r_max
    if near.all():
        return pairs
    return replace(
        pairs,
        center=pairs.center[near],
        neighbor=pairs.neighbor[near],
        vector=pairs.vector[near],
        distance=pairs.distance[near],
    )


class NeuralPotential(Potential):
    """A trained network as a potential.

    Parameters
    ----------
    model : AtomicModel
        In float64 or float32, in which it computes; on the CPU or a GPU.
    baseline : Baseline, optional
        Zero by default, or that of the potential below.
    below : Potential, optional
        A potential whose energies are added, of the same elements.
    uncertainty : Uncertainty, optional
        Of the weights of this model.

    Raises
    ------
    SettingsError
        If the potential below has other elements or another baseline.

    Examples
    --------
    >>> from etn.nn.tensornet import TensorNet
    >>> from etn.data import Dataset
    >>> network = TensorNet(("Mo",), r_max=4.0, channels=8, layers=1)
    >>> potential = NeuralPotential(AtomicModel(network), Baseline({"Mo": -10.9}))
    >>> potential
    NeuralPotential(tensornet, Mo, r_max 4, 3185 parameters, float64)
    >>> potential.predict(Dataset.read("etn:Mo/test")[:1])[0].forces.shape
    (53, 3)
    """

    KIND = "neural potential"
    WITH_UNCERTAINTY = "etn.nn.with_uncertainty"
    is_local = False
    ignores_charge = False

    def __init__(
        self,
        model: AtomicModel,
        baseline: Baseline | None = None,
        *,
        below: Potential | None = None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        elements = model.network.elements
        if baseline is None:
            baseline = Baseline(dict.fromkeys(elements, 0.0)) if below is None else below.baseline
        super().__init__(baseline)
        self.model, self.below = model.eval(), below
        self._uncertainty = uncertainty
        if below is not None and below.elements != elements:
            raise SettingsError(
                f"below: expected a potential of {', '.join(elements)} in this order, got one of "
                f"{', '.join(below.elements)}"
            )
        if below is not None and below.baseline != baseline:
            raise SettingsError("below: expected a potential with the same baseline")

    def with_model(
        self, model: AtomicModel, *, uncertainty: Uncertainty | None = None
    ) -> NeuralPotential:
        """The same with another model and its uncertainty."""
        return NeuralPotential(model, self.baseline, below=self.below, uncertainty=uncertainty)

    def check_frames(self, frames: Iterable[Frame]) -> None:
        """Refuse what the network refuses: charges that it does not read."""
        self.network.check_frames(frames)

    def _outcome(self, batch: Batch) -> Outcome:
        """What the network answers to a batch."""
        return self.model.outcome(batch)

    @property
    def network(self) -> Network:
        """The network."""
        return self.model.network

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the potential knows."""
        return self.network.elements

    @property
    def r_max(self) -> float:
        """Radius within which an atom hears its neighbours, Å."""
        below = 0.0 if self.below is None else self.below.r_max
        return max(self.network.r_max, below)

    @property
    def inner(self) -> Inner | None:
        """Where the data end."""
        if self.below is not None:
            return self.below.inner
        return None if self.model.end is None else self.model.end.inner

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the network computes in."""
        return self.model.scale.dtype

    def _respond(self, pairs: Pairs) -> Response:
        batch = Batch.of(
            within(pairs, self.network.r_max), dtype=self.dtype, device=self.model.scale.device
        )
        found = Response(*(part.double().cpu().numpy() for part in self._outcome(batch)))
        if self.below is None:
            return found
        return Response(*map(np.add, found, self.respond_below(pairs)))

    def respond_below(self, pairs: Pairs) -> Response:
        """What the potential below answers; the one that there must be."""
        assert self.below is not None
        return self.below._respond(within(pairs, self.below.r_max))

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.network.parameters())

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        header = {
            "network": self.network.NAME,
            "elements": list(self.elements),
            "r_max": self.network.r_max,
            "settings": dict(self.network.settings),
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        state = self.model.state_dict()
        arrays = {f"model.{name}": value.cpu().numpy() for name, value in state.items()}
        if self.model.end is not None:
            arrays |= self.model.end.inner.to_arrays()
        if self.model.rest is not None:
            arrays |= self.model.rest.floor.to_arrays()
        if self._uncertainty is not None:
            header["uncertainty"], more = self._uncertainty.to_arrays()
            arrays |= more
        if self.below is not None:
            below, more = self.below.to_arrays()
            header["below"] = {"kind": self.below.KIND, "header": below}
            arrays |= {f"below.{name}": array for name, array in more.items()}
        return header, arrays

    @classmethod
    def from_arrays(
        cls, header: Mapping[str, Any], arrays: Arrays, baseline: Baseline
    ) -> NeuralPotential:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        elements = conform(header["elements"], tuple[str, ...], "elements")
        r_max = conform(header["r_max"], float, "r_max")
        settings = conform(header["settings"], dict[str, Any], "settings")
        made = network_class(conform(header["network"], str, "network"))
        # What a file says must not fill the memory before it is found to be another network.
        weights = sum(array.size for name, array in arrays.items() if name.startswith("model."))
        with Bounded(4 * weights + SPARE):
            network = made(elements, r_max, **settings)
        inner = Inner.from_arrays(elements, r_max, arrays) if "inner.onset" in arrays else None
        dtype = DTYPES[conform(header["dtype"], str, "dtype")]
        model = AtomicModel(network, inner, floor=Floor.from_arrays(elements, arrays), dtype=dtype)
        model.load_state_dict(
            {
                name: torch.as_tensor(numbers(arrays, f"model.{name}", tuple(value.shape)))
                for name, value in model.state_dict().items()
            }
        )
        below = None
        if "below" in header:
            kind = potential_class(conform(header["below"]["kind"], str, "below.kind"))
            own = {k.removeprefix("below."): a for k, a in arrays.items() if k.startswith("below.")}
            below = kind.from_arrays(header["below"]["header"], own, baseline)
        known = None
        if "uncertainty" in header:
            known = LastLayer.of_file(model, header["uncertainty"], arrays)
        return cls(model, baseline, below=below, uncertainty=known)

    def describe(self) -> dict[str, str]:
        """Facts about the network."""
        dtype = str(self.dtype).removeprefix("torch.")
        weights = f"{self.n_parameters} parameters, {dtype}"
        facts = {**self.network.describe(), "weights": weights}
        facts["uncertainty"] = self.describe_uncertainty()
        return facts if self.below is None else {**facts, "below": repr(self.below)}

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"NeuralPotential({self.network.NAME}, {' '.join(self.elements)}, r_max "
            f"{self.r_max:g}, {self.n_parameters} parameters, {dtype})"
        )
