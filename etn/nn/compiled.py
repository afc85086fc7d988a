"""Energies, forces and the gradients of a loss as compiled functions.

Forces are derivatives, and the gradients of a loss of forces are derivatives of derivatives, which
compilers of autograd do not take.  Written as functions of functions (``torch.func``) all of it is
one graph, that is compiled as a whole: for any number of atoms and pairs, once.  On a CPU that
takes one to several minutes, and a step then a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from etn.errors import SettingsError
from etn.nn.graph import Batch
from etn.nn.model import AtomicModel, Outcome
from etn.nn.network import Network
from etn.nn.recipe import Recipe
from etn.nn.samples import Goal

__all__ = ["CompiledLoss", "check_compilable", "compiled_outcome"]

Weights = dict[str, torch.Tensor]


def compiled_outcome(
    model: AtomicModel, *, derivatives: bool = True, backend: str = "inductor"
) -> Callable[[Batch], Outcome]:
    """The energies and forces of a model, compiled, with the weights that it has when called.

    Parameters
    ----------
    model : AtomicModel
    derivatives : bool
        Whether to form forces and strain derivatives, which are zero otherwise.
    backend : str
        Of ``torch.compile``; "eager" only traces the graph.

    Raises
    ------
    SettingsError
        When it is called, if the network cannot be compiled.
    """
    function = torch.compile(
        lambda weights, batch: _outcome(model, weights, batch, derivatives),
        dynamic=True, fullgraph=True, backend=backend,
    )  # fmt: skip

    ready = _Ready(model)

    def outcome(batch: Batch) -> Outcome:
        ready(batch)
        with _told(model):
            return Outcome(*function(_weights(model), batch))

    return outcome


def check_compilable(network: Network) -> None:
    """Raise a :class:`~etn.errors.SettingsError` for a network that is not compiled."""
    if network.has_forces:
        raise SettingsError("compile: networks that predict forces are not compiled")


class CompiledLoss:
    """The loss of a batch and its gradients by the weights, compiled.

    Parameters
    ----------
    model : AtomicModel
    recipe : Recipe
    derivatives : bool
        Whether forces and strain derivatives are part of the loss.
    backend : str
        Of ``torch.compile``.

    Raises
    ------
    SettingsError
        When it is called, if the network cannot be compiled.
    """

    def __init__(
        self,
        model: AtomicModel,
        recipe: Recipe,
        *,
        derivatives: bool = True,
        backend: str = "inductor",
    ) -> None:
        self._derivatives = derivatives
        self._model, self._recipe, self._ready = model, recipe, _Ready(model)
        self._function = torch.compile(
            self._gradients, dynamic=True, fullgraph=True, backend=backend
        )

    def __call__(self, batch: Batch, goal: Goal, scale: float) -> tuple[torch.Tensor, Outcome]:
        """The sum of the losses times a scale; its gradients are left at the weights.

        Returns
        -------
        loss : ()
        outcome : Outcome
        """
        self._ready(batch)
        factor = torch.as_tensor(scale, dtype=batch.vector.dtype, device=batch.vector.device)
        with _told(self._model):
            gradients, loss, parts = self._function(_weights(self._model), batch, goal, factor)
        for name, weight in self._model.named_parameters():
            weight.grad = gradients[name]
        return loss, Outcome(*parts)

    def _gradients(
        self, weights: Weights, batch: Batch, goal: Goal, scale: torch.Tensor
    ) -> tuple[Weights, torch.Tensor, Outcome]:
        def loss(weights: Weights) -> tuple[torch.Tensor, Outcome]:
            outcome = _outcome(self._model, weights, batch, self._derivatives)
            residuals = goal.residuals(goal.errors(outcome, batch))
            return self._recipe.loss(residuals) * scale, outcome

        found: Any = torch.func.grad_and_value(loss, has_aux=True)(weights)
        gradients, (value, outcome) = found
        return gradients, value, outcome


class _Ready:
    """Has made what is made once, before a compiler comes, which cannot read its locks."""

    def __init__(self, model: AtomicModel) -> None:
        self._model, self._is_done = model, False

    def __call__(self, batch: Batch) -> None:
        if not self._is_done:
            self._model.outcome(batch)
            self._is_done = True


def _outcome(model: AtomicModel, weights: Weights, batch: Batch, derivatives: bool) -> Outcome:
    def energy(vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moved = batch._replace(vector=vector)
        energies = torch.func.functional_call(model, weights, (moved,))
        return energies.sum(), energies

    if not derivatives:
        return Outcome.of(batch, energy(batch.vector)[1], None)
    gradient, energies = torch.func.grad(energy, has_aux=True)(batch.vector)
    return Outcome(energies, batch.forces(gradient), batch.strain(gradient))


def _weights(model: AtomicModel) -> Weights:
    return {name: weight.detach() for name, weight in model.named_parameters()}


@contextmanager
def _told(model: AtomicModel) -> Iterator[None]:
    check_compilable(model.network)
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as error:
        raise SettingsError(
            f"compile: the network {model.network.NAME} cannot be compiled here "
            f"({str(error).splitlines()[0][:200]}); leave it out"
        ) from error
