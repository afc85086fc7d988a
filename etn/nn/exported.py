"""Potentials for programs without etn: graphs of tensor operations, and packages of machine code.

``torch.export`` writes down the energies as operations on tensors, for any number of pairs, atoms
and frames.  A gradient of that graph is a graph again, which AOTInductor compiles ahead of time;
and as TorchScript it is what metatomic takes.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from etn.errors import SettingsError
from etn.nn.graph import Batch
from etn.nn.whole import WholeModel
from etn.potential.base import Potential

__all__ = ["energy_graph", "export", "scripted"]

Tensors = tuple[torch.Tensor, ...]

# Pairs, atoms and frames of the example that is traced: numbers that stand for nothing else in a
# network, and unlike each other, so that none is taken for another.
EXAMPLE = 23, 17, 7
# Operations that only check what is known when the graph is made.
CHECKS = {"_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"}


def export(
    potential: Potential,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> None:
    """Compile the energies, forces and strain derivatives of a potential into a package.

    ``torch._inductor.aoti_load_package(path)`` loads it where torch is, without etn, and
    ``torch::inductor::AOTIModelPackageLoader`` does so in C++.  It is a function of the six tensors
    of a :class:`~etn.nn.Batch`, with all pairs within ``potential.r_max`` and any number of pairs,
    atoms and frames, and gives the three of an :class:`~etn.nn.Outcome`, with the baseline.

    A C++ compiler must be there, and takes one to several minutes.  The package runs on the kind of
    device that it was made for, with the version of torch that made it.

    Parameters
    ----------
    potential : Potential
        Neural with conservative forces, or polynomial; one below it as well.
    path : path-like
        Ends in ``.pt2``.
    dtype, device : optional
        By default those of the network, float64 on the CPU for a polynomial potential.

    Raises
    ------
    SettingsError
        If the potential is of another kind, its network cannot be exported, or the path has
        another ending.
    CoreError
        If a polynomial potential is not fitted.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    if not os.fspath(path).endswith(".pt2"):
        raise SettingsError(f"path: expected a name that ends in .pt2, got {os.fspath(path)!r}")
    model = WholeModel(potential, dtype)
    if device is not None:
        model = model.to(device)
    batch = _example(model)
    with _quiet():
        outcome = make_fx(
            _with_derivatives(energy_graph(model)), tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
        )(*batch)  # fmt: skip
        program = torch.export.export(outcome, tuple(batch), dynamic_shapes=_dynamic())
        torch._inductor.aoti_compile_and_package(program, package_path=os.fspath(path))


def energy_graph(model: WholeModel) -> fx.GraphModule:
    """The energies of atoms as a graph of operations on the tensors of a batch, in their order.

    Raises
    ------
    SettingsError
        If the network cannot be exported.
    """
    batch = _example(model)
    # Constants that are made once must not be made of the tensors of a tracer.
    model(batch)
    module: Any = _program(model, batch).module()
    for node in list(module.graph.nodes):
        if node.op == "call_module" or getattr(node.target, "_opname", "") in CHECKS:
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.graph.set_codegen(fx.graph.CodeGen())
    return fx.GraphModule(module, module.graph)


def scripted(model: WholeModel) -> torch.jit.ScriptModule:
    """The energies of atoms as TorchScript: a function of the tensors of a batch, in their order.

    Derivatives of it are taken as of any function of torch, on the device that it is moved to.

    Raises
    ------
    SettingsError
        If the network cannot be exported.
    """
    module = energy_graph(model)
    graph = module.graph
    places = [node for node in graph.nodes if node.op == "placeholder"]
    with graph.inserting_after(places[-1]):
        device = graph.call_function(getattr, (places[Batch._fields.index("vector")], "device"))
    for node in list(graph.nodes):
        # TorchScript chooses between overloads itself, and knows the device of no example.
        if node.target is torch.ops.aten.sym_size.int:
            node.op, node.target = "call_method", "size"
        elif isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target.overloadpacket
        with graph.inserting_before(node):

            def written(value: Any) -> Any:
                if isinstance(value, torch.device):
                    return device
                if isinstance(value, float) and not math.isfinite(value):
                    return graph.call_function(float, (str(value),))
                return value

            node.args = fx.node.map_aggregate(node.args, written)
            node.kwargs = fx.node.map_aggregate(node.kwargs, written)
    graph.lint()
    with _quiet():
        script: torch.jit.ScriptModule = torch.jit.script(fx.GraphModule(module, graph))
    return script


class _OfTensors(nn.Module):
    """A model as a function of tensors."""

    def __init__(self, model: WholeModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        vector: torch.Tensor,
        element: torch.Tensor,
        frame: torch.Tensor,
        charge: torch.Tensor,
    ) -> torch.Tensor:
        energies: torch.Tensor = self.model(Batch(first, second, vector, element, frame, charge))
        return energies


def _program(model: WholeModel, batch: Batch) -> torch.export.ExportedProgram:
    """The energies as torch writes them down, by the first of its two ways that can.

    One reads the source, and so knows that the length of a tensor is no fixed number; the other
    runs it, and so takes what was never meant for a compiler.
    """
    from torch._subclasses.fake_tensor import FakeTensor

    errors = []
    for strict in (True, False):
        try:
            with _quiet():
                program = torch.export.export(
                    _OfTensors(model), tuple(batch), dynamic_shapes=_dynamic(), strict=strict,
                    prefer_deferred_runtime_asserts_over_guards=True,
                )  # fmt: skip
            if any(isinstance(value, FakeTensor) for value in program.constants.values()):
                raise TypeError("numbers of NumPy are used as sizes or indices")
            return program
        except Exception as error:  # torch has no common class for what it cannot trace
            errors.append(error)
    raise SettingsError(
        f"export: the network cannot be written as a graph of tensor operations "
        f"({str(errors[0]).splitlines()[0][:200]}); what torch.compile takes with fullgraph=True "
        "and any number of atoms can be"
    ) from errors[0]


def _with_derivatives(energies: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """Energies, forces and strain derivatives of a function that gives energies."""

    def outcome(*tensors: torch.Tensor) -> Tensors:
        batch = Batch(*tensors)
        vector = batch.vector.detach().requires_grad_(True)
        with torch.enable_grad():
            (found,) = energies(*batch._replace(vector=vector))
            (gradient,) = torch.autograd.grad(found.sum(), vector)
        return found.detach(), batch.forces(gradient), batch.strain(gradient)

    return outcome


def _example(model: WholeModel) -> Batch:
    """A batch of which nothing but the sizes matters."""
    pairs, atoms, frames = EXAMPLE
    vector = torch.stack([torch.linspace(1.0, 2.0, pairs, dtype=model.dtype)] * 3, 1)
    batch = Batch(
        torch.arange(pairs) % atoms, (torch.arange(pairs) + 1) % atoms, vector,
        torch.arange(atoms) % len(model.elements), torch.arange(atoms) % frames,
        torch.zeros(frames, dtype=model.dtype),
    )  # fmt: skip
    return batch.to(model.device)


def _dynamic() -> tuple[dict[int, Any], ...]:
    """Which sizes of the tensors of a batch may change."""
    pairs, atoms, frames = (torch.export.Dim(name, min=0) for name in ("pairs", "atoms", "frames"))
    return tuple({0: size} for size in (pairs, pairs, pairs, atoms, atoms, frames))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch tells of itself."""
    with warnings.catch_warnings():
        for category in (UserWarning, DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        yield
