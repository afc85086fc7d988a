r"""Neural potentials: the energies of a network on top of a baseline.

.. math:: E = \sum_i \bigl[ E^{baseline}_i + \lambda E^{below}_i + E^{model}_i \bigr]

with the model of :mod:`etn.nn.model`, which is zero for an atom alone, so that it has its E0.
Below there may be another potential, such as a polynomial one: then the network learns what its
share lambda leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etn.data.frame import Frame
from etn.errors import SettingsError
from etn.nn.bounded import Bounded
from etn.nn.graph import Batch
from etn.nn.last_layer import LastLayer
from etn.nn.model import DTYPES, AtomicModel, Outcome
from etn.nn.network import Network, network_class
from etn.potential.base import Arrays, Potential, potential_class
from etn.potential.baseline import Baseline
from etn.potential.features.floor import Floor
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs
from etn.potential.response import Response
from etn.potential.uncertainty import Uncertainty
from etn.stored import conform, numbers

__all__ = ["NeuralPotential", "within"]

# Numbers that a network may hold beside four times its weights: constants of its products.
SPARE = 10_000_000


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
    share : float
        What its energies beyond the baseline are multiplied by.  Of a whole one a network sees
        only what is hard to learn, and may learn nothing.
    uncertainty : Uncertainty, optional
        Of the weights of this model.

    Raises
    ------
    SettingsError
        If the potential below has other elements or another baseline, or its share is not above
        zero and at most one.

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
        share: float = 1.0,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        elements = model.network.elements
        if baseline is None:
            baseline = Baseline(dict.fromkeys(elements, 0.0)) if below is None else below.baseline
        super().__init__(baseline)
        self.model, self.below, self.share = model.eval(), below, float(share)
        self._uncertainty = uncertainty
        if below is not None and below.elements != elements:
            raise SettingsError(
                f"below: expected a potential of {', '.join(elements)} in this order, got one of "
                f"{', '.join(below.elements)}"
            )
        if below is not None and below.baseline != baseline:
            raise SettingsError("below: expected a potential with the same baseline")
        if not 0.0 < self.share <= 1.0:
            raise SettingsError(f"share: expected a number above 0, at most 1, got {share}")

    def with_model(
        self, model: AtomicModel, *, uncertainty: Uncertainty | None = None
    ) -> NeuralPotential:
        """The same with another model and its uncertainty."""
        return NeuralPotential(
            model, self.baseline, below=self.below, share=self.share, uncertainty=uncertainty
        )

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
        """The share of what the potential below answers; the one that there must be."""
        assert self.below is not None
        whole = self.below._respond(within(pairs, self.below.r_max))
        return Response(*(self.share * part for part in whole))

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
            share = {} if self.share == 1.0 else {"share": self.share}
            header["below"] = {"kind": self.below.KIND, "header": below, **share}
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
        below, share = None, 1.0
        if "below" in header:
            kind = potential_class(conform(header["below"]["kind"], str, "below.kind"))
            own = {k.removeprefix("below."): a for k, a in arrays.items() if k.startswith("below.")}
            below = kind.from_arrays(header["below"]["header"], own, baseline)
            share = conform(header["below"].get("share", 1.0), float, "below.share")
        known = None
        if "uncertainty" in header:
            known = LastLayer.of_file(model, header["uncertainty"], arrays)
        return cls(model, baseline, below=below, share=share, uncertainty=known)

    def describe(self) -> dict[str, str]:
        """Facts about the network."""
        dtype = str(self.dtype).removeprefix("torch.")
        weights = f"{self.n_parameters} parameters, {dtype}"
        facts = {**self.network.describe(), "weights": weights}
        facts["uncertainty"] = self.describe_uncertainty()
        if self.below is not None:
            part = "" if self.share == 1.0 else f"{self.share:g} of "
            facts["below"] = f"{part}{self.below!r}"
        return facts

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"NeuralPotential({self.network.NAME}, {' '.join(self.elements)}, r_max "
            f"{self.r_max:g}, {self.n_parameters} parameters, {dtype})"
        )
