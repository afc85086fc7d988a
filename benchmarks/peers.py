"""Networks of other codes, of the sizes that etn's have, and how they are trained."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import nn

from etn import Dataset
from etn.nn import AtomicModel, NeuralPotential, Recipe
from etn.nn.compiled import CompiledLoss, compiled_outcome
from etn.nn.samples import Sample
from etn.potential.features.pairs import Pairs


class Steps(NamedTuple):
    """A training step, and energies with forces."""

    train: Callable[[], Any]
    predict: Callable[[], Any]
    n_parameters: int = 0


@dataclass(frozen=True)
class System:
    """A batch as codes with positions and edges read it, and the same for etn."""

    elements: tuple[str, ...]
    r_max: float
    sample: Sample
    positions: torch.Tensor
    element: torch.Tensor
    frame: torch.Tensor
    edges: torch.Tensor
    """(2, edges): centre and neighbour, each pair both ways."""
    shifts: torch.Tensor
    """(edges, 3): what the neighbour is moved by."""
    scale: float

    @classmethod
    def of(cls, frames: Dataset, potential: NeuralPotential, sample: Sample) -> System:
        """The batch of some frames."""
        pairs = Pairs.find(list(frames), potential.elements, potential.r_max)
        positions = np.concatenate([frame.positions for frame in frames])
        center, neighbor = pairs.sample[pairs.center], pairs.neighbor
        shifts = pairs.vector - (positions[neighbor] - positions[center])
        return cls(
            potential.elements, potential.r_max, sample,
            torch.as_tensor(positions, dtype=torch.float32), sample.batch.element,
            sample.batch.frame, torch.as_tensor(np.stack([center, neighbor])),
            torch.as_tensor(shifts, dtype=torch.float32), float(potential.model.scale[0]),
        )  # fmt: skip

    @property
    def numbers(self) -> torch.Tensor:
        """Atomic numbers."""
        return torch.tensor([atomic_numbers[symbol] for symbol in self.elements])[self.element]


class Peer(NamedTuple):
    """A network of another code, and how it is called: energies (frames,) and forces."""

    parameters: list[nn.Parameter]
    train: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    predict: Callable[[], Any]


def own_steps(
    model: AtomicModel, sample: Sample, recipe: Recipe, *, compiled: bool = False
) -> Steps:
    """What etn does in a training step, and for a prediction."""
    batch, goal = sample
    optimizer = recipe.make_optimizer(model.parameters())
    predict = compiled_outcome(model) if compiled else model.outcome
    loss_of = CompiledLoss(model, recipe) if compiled else None

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        if loss_of is not None:
            loss_of(batch, goal, 1.0)
        else:
            outcome = model.outcome(batch, training=True)
            recipe.loss(goal.residuals(goal.errors(outcome, batch))).backward()
        optimizer.step()

    count = sum(weight.numel() for weight in model.parameters())
    return Steps(train, lambda: predict(batch), count)


def peer_steps(peer: Peer, system: System, recipe: Recipe) -> Steps:
    """Steps with the loss and the optimizer of etn, without the stress that it weighs."""
    goal = system.sample.goal
    optimizer = recipe.make_optimizer(peer.parameters)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        energy, forces = peer.train()
        errors = (goal.energy_weight * (energy.flatten() - goal.energy),
                  goal.force_weight[:, None] * (forces - goal.forces))  # fmt: skip
        recipe.loss(torch.cat([error.flatten() for error in errors])).backward()
        optimizer.step()

    count = sum(weight.numel() for weight in peer.parameters)
    return Steps(train, peer.predict, count)


class Given(nn.Module):
    """Neighbours that were found beforehand, where torchmd-net looks for them."""

    def __init__(self, system: System) -> None:
        super().__init__()
        loops = torch.arange(len(system.positions)).expand(2, -1)
        # It takes vectors from the neighbour to the centre, and every atom is one of its own.
        self.edges = torch.cat([system.edges, loops], 1)
        self.first, self.second = system.edges[0], system.edges[1]
        self.shifts = system.shifts

    def forward(
        self, pos: torch.Tensor, batch: torch.Tensor | None = None, box: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        vectors = pos[self.first] - pos[self.second] - self.shifts
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        n = pos.shape[0]
        return (
            self.edges, torch.cat([lengths, lengths.new_zeros(n)]),
            torch.cat([vectors, vectors.new_zeros(n, 3)]),
        )  # fmt: skip


def torchmd_net(
    system: System, settings: Mapping[str, Any], recipe: Recipe, *, warp: bool, way: str = ""
) -> Peer:
    """TensorNet of torchmd-net: its operations for NVIDIA warp, or those of plain torch."""
    from torchmdnet.models.model import create_model

    arguments = {
        "precision": 32, "model": "tensornet", "embedding_dimension": settings["channels"],
        "num_layers": settings["layers"], "num_rbf": settings["n_max"], "rbf_type": "expnorm",
        "trainable_rbf": False, "activation": "silu", "cutoff_lower": 0.0,
        "cutoff_upper": system.r_max, "max_z": 128, "max_num_neighbors": 128,
        "equivariance_invariance_group": "O(3)", "static_shapes": False, "derivative": True,
        "atom_filter": -1, "prior_model": None, "output_model": "Scalar", "reduce_op": "add",
        "output_mlp_num_layers": 0,
    }  # fmt: skip
    with _operations(warp):
        model = create_model(arguments)
    model.representation_model.distance = Given(system)
    z, batch = system.numbers, system.frame
    if way == "compiled":
        return _compiled_inference(model, system)
    if way == "scripted":
        model = torch.jit.script(model)

    def train() -> tuple[torch.Tensor, torch.Tensor]:
        energy, forces = model.train()(z, system.positions.clone(), batch)
        return energy, forces

    def predict() -> Any:
        return model.eval()(z, system.positions.clone(), batch)

    return Peer(list(model.parameters()), train, predict)


@contextmanager
def _operations(warp: bool) -> Iterator[None]:
    """Which operations torchmd-net finds when its TensorNet is imported."""
    ours, theirs = "torchmdnet.models.tensornet", "torchmdnet.extensions.warp_ops"
    if warp:
        import_module("warp").config.quiet = True
        import_module(theirs)
    before = {name: sys.modules.pop(name, None) for name in (ours, theirs)}
    if warp:
        sys.modules |= {name: module for name, module in before.items() if module is not None}
    else:
        sys.modules[theirs] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in before:
            sys.modules.pop(name, None)
        sys.modules |= {name: module for name, module in before.items() if module is not None}


def _compiled_inference(model: Any, system: System) -> Peer:
    """As its calculator does it: the energy compiled, forces by autograd behind it."""
    model.derivative = False
    for weight in model.parameters():
        weight.requires_grad_(False)
    # It counts the frames before it is compiled.
    model(system.numbers, system.positions, system.frame)
    compiled = torch.compile(model, backend="inductor", dynamic=False, fullgraph=True)
    positions = system.positions.clone().requires_grad_(True)

    def predict() -> Any:
        positions.grad = None
        energy, _ = compiled(system.numbers, positions, batch=system.frame)
        energy.sum().backward()
        return energy, positions.grad

    def train() -> Any:
        raise NotImplementedError("torchmd-net does not compile its training")

    return Peer(list(model.parameters()), train, predict)


def mace(
    system: System, settings: Mapping[str, Any], recipe: Recipe, *, way: str = ""
) -> Peer | Steps:
    """MACE with as many channels, degrees, factors and interactions."""
    import_module("mace")  # makes the constants of an old e3nn readable
    from e3nn import o3
    from e3nn.util import jit
    from mace import modules
    from mace.tools.compile import prepare

    channels, hidden = settings["channels"], settings["hidden"]
    irreps = "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(settings["l_hidden"] + 1))
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]

    def make() -> Any:
        return modules.ScaleShiftMACE(
            r_max=system.r_max, num_bessel=settings["n_max"], num_polynomial_cutoff=5,
            max_ell=settings["l_max"], interaction_cls=block, interaction_cls_first=block,
            num_interactions=settings["layers"], num_elements=len(system.elements),
            hidden_irreps=o3.Irreps(irreps), MLP_irreps=o3.Irreps("16x0e"),
            atomic_energies=np.zeros(len(system.elements)), avg_num_neighbors=10.0,
            atomic_numbers=[atomic_numbers[symbol] for symbol in system.elements],
            correlation=settings["order"], gate=torch.nn.functional.silu,
            radial_MLP=[hidden, hidden], atomic_inter_scale=system.scale, atomic_inter_shift=0.0,
        )  # fmt: skip

    with torch.random.fork_rng(devices=[]):
        if way == "compiled":
            model = torch.compile(prepare(make)(), dynamic=False)
        else:
            model = jit.compile(make()) if way == "scripted" else make()
    n = len(system.positions)
    frames = int(system.frame.max()) + 1
    attributes = torch.nn.functional.one_hot(system.element, len(system.elements)).float()
    counts = torch.bincount(system.frame, minlength=frames)

    def data() -> dict[str, torch.Tensor]:
        # Its vectors go from the first row to the second: from the neighbour to the centre.
        return {
            "positions": system.positions.clone().requires_grad_(True), "node_attrs": attributes,
            "edge_index": system.edges.flip(0), "shifts": -system.shifts,
            "unit_shifts": torch.zeros_like(system.shifts), "cell": torch.zeros(3 * frames, 3),
            "batch": system.frame, "head": torch.zeros(frames, dtype=torch.long),
            "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        }  # fmt: skip

    assert len(attributes) == n

    def train() -> tuple[torch.Tensor, torch.Tensor]:
        found = model(data(), training=True)
        return found["energy"], found["forces"]

    def predict() -> Any:
        # The compiled one differentiates in its graph, as in its calculator.
        return model(data(), training=way == "compiled")["forces"]

    return Peer(list(model.parameters()), train, predict)


def per_path(
    system: System,
    settings: Mapping[str, Any],
    recipe: Recipe,
    *,
    mode: str,
    compiled: bool = False,
) -> Steps:
    """The network of per_path.py, with all that etn has around a network."""
    import e3nn
    from per_path import PerPath

    known = {
        key: settings[key] for key in ("channels", "l_max", "layers", "heads", "n_max", "hidden")
    }
    modern = "jit_mode" in e3nn.get_optimization_defaults()
    if modern:
        before = e3nn.get_optimization_defaults()["jit_mode"]
        e3nn.set_optimization_defaults(jit_mode=mode)
    network = PerPath(system.elements, system.r_max, **known)
    if modern:
        e3nn.set_optimization_defaults(jit_mode=before)
    model = AtomicModel(network, scale=np.full(len(system.elements), system.scale),
                        dtype=torch.float32)  # fmt: skip
    return own_steps(model, system.sample, recipe, compiled=compiled)


PEERS: dict[str, dict[str, Callable[..., Peer | Steps]]] = {
    "tensornet": {
        "torchmd-net": partial(torchmd_net, warp=False),
        "torchmd-net, warp": partial(torchmd_net, warp=True),
        "torchmd-net, scripted": partial(torchmd_net, warp=True, way="scripted"),
        "torchmd-net, compiled": partial(torchmd_net, warp=False, way="compiled"),
    },
    "ictp": {
        "MACE": mace,
        "MACE, scripted": partial(mace, way="scripted"),
        "MACE, compiled": partial(mace, way="compiled"),
    },
    "tdn": {
        "e3nn": partial(per_path, mode="eager"),
        "e3nn, scripted": partial(per_path, mode="script"),
        "e3nn, compiled": partial(per_path, mode="eager", compiled=True),
    },
}
