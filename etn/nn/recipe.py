"""How a network is trained: optimizer, learning rate, average of the weights, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch

from etn.data.frame import Frame
from etn.data.labels import LABELS
from etn.data.weights import Weights
from etn.errors import SettingsError

__all__ = ["Arithmetic", "OptimizerName", "Recipe", "ScheduleName"]

OptimizerName: TypeAlias = Literal["adam", "amsgrad", "adamw"]
ScheduleName: TypeAlias = Literal["cosine", "plateau", "constant"]
Arithmetic: TypeAlias = Literal["full", "tf32", "bfloat16"]

# Adam divides a gradient by its size plus this.  Far below any gradient, so that the unit of the
# loss does not matter: squares of small residuals have gradients below the usual 1e-8.
EPSILON = 1e-12


@dataclass(frozen=True)
class Recipe:
    r"""The settings of a training.

    The loss of a batch is that of :class:`~etn.data.weights.Weights`, the one of ``etn fit``, over
    the number of its force components.

    Parameters
    ----------
    weights : Weights
    final_weights : mapping of str to float, optional
        Weights of "energy", "forces" or "stress" in the last epoch, to which they go in equal
        ratios from epoch to epoch.  Validation is judged by the final ones throughout.
    optimizer : {"amsgrad", "adam", "adamw"}
    learning_rate : float
        The largest.
    batch_size : int
        Frames.
    max_epochs : int
        Passes over the training data.
    schedule : {"cosine", "plateau", "constant"}
        "cosine" lets the learning rate fall to a hundredth over `max_epochs`; "plateau" multiplies
        it by `factor` when the validation loss has not fallen for `plateau` epochs.
    warmup : int
        Steps in which the learning rate rises from zero.
    factor, plateau
        See `schedule`.
    weight_decay : float
        Of matrices; other weights are left alone.
    average : float
        Decay of the exponential moving average of the weights, which is what is evaluated and
        kept; zero keeps the weights themselves.
    clip : float
        Largest norm of a gradient; zero clips none.
    huber : float
        Weighted residuals beyond it count with their size, not their square; zero: all squares.
    patience : int
        Epochs without a lower validation loss after which training ends; zero: never.
    max_hours : float
        Wall time after which it ends, at the end of an epoch; zero: never.
    arithmetic : {"full", "tf32", "bfloat16"}
        Of products of matrices in a step: as precise as the network, or rounded to 10 bits
        ("tf32", on GPUs that have it) or 8 bits ("bfloat16") of mantissa.  Weights, sums,
        products of irreps and validation keep the precision of the network.
    compiled : bool
        Compile the steps, see :mod:`etn.nn.compiled`: minutes before the first one, and a third
        of the time for each.
    seed : int
        Of the order of the frames.

    Raises
    ------
    SettingsError
        If one is out of range.

    Examples
    --------
    >>> recipe = Recipe(max_epochs=10, warmup=5)
    >>> [round(recipe.rate(step, steps=100), 6) for step in (0, 4, 99)]
    [0.000333, 0.00166, 2e-05]
    """

    weights: Weights = field(default_factory=Weights)
    final_weights: Mapping[str, float] | None = None
    optimizer: OptimizerName = "amsgrad"
    learning_rate: float = 2e-3
    batch_size: int = 8
    max_epochs: int = 500
    schedule: ScheduleName = "cosine"
    warmup: int = 100
    factor: float = 0.8
    plateau: int = 25
    weight_decay: float = 0.0
    average: float = 0.99
    clip: float = 10.0
    huber: float = 0.0
    patience: int = 0
    max_hours: float = 0.0
    arithmetic: Arithmetic = "full"
    compiled: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("max_epochs", 1), ("warmup", 0), ("plateau", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("weight_decay", "clip", "huber", "max_hours", "patience"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name}: expected zero or more, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise SettingsError(
                f"learning_rate: expected a number above zero, got {self.learning_rate}"
            )
        for name in ("average", "factor"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name}: expected 0 to below 1, got {getattr(self, name)}")
        for name, known in (
            ("optimizer", ("amsgrad", "adam", "adamw")),
            ("schedule", ("cosine", "plateau", "constant")),
            ("arithmetic", ("full", "tf32", "bfloat16")),
        ):
            if getattr(self, name) not in known:
                raise SettingsError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )

        for name, value in (self.final_weights or {}).items():
            if name not in LABELS:
                raise SettingsError(
                    f"final_weights: expected weights of {', '.join(LABELS)}, got one of {name!r}"
                )
            if not (0 < value < math.inf and self._weight(name) > 0):
                raise SettingsError(
                    f"final_weights: expected {name} to go from one number above zero to another, "
                    f"got {self._weight(name):g} to {value:g}"
                )

    def _weight(self, label: str) -> float:
        """The weight that a label begins with."""
        value: float | None = getattr(self.weights, label)
        return Weights.DEFAULT_STRESS if value is None else value

    def has_derivatives(self, frames: Iterable[Frame]) -> bool:
        """Whether any forces or stresses are learned from."""
        return any(
            (self.weights.forces > 0 and frame.forces is not None)
            or (self._weight("stress") > 0 and frame.stress is not None)
            for frame in frames
        )

    def balance(self, epoch: int) -> tuple[float, float, float]:
        """What multiplies the weights of energies, forces and stresses in an epoch, from 1.

        Examples
        --------
        >>> Recipe(final_weights={"energy": 120.0}, max_epochs=3).balance(2)
        (2.0, 1.0, 1.0)
        """
        final, share = self.final_weights or {}, (epoch - 1) / max(1, self.max_epochs - 1)
        energy, forces, stress = (
            (final[label] / self._weight(label)) ** share if label in final else 1.0
            for label in LABELS
        )
        return energy, forces, stress

    @contextmanager
    def rounded(self, device: torch.device) -> Iterator[None]:
        """The arithmetic of the steps, within."""
        before = torch.get_float32_matmul_precision()
        if self.arithmetic == "tf32":
            torch.set_float32_matmul_precision("high")
        try:
            half = self.arithmetic == "bfloat16"
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                yield
        finally:
            torch.set_float32_matmul_precision(before)

    def rate(self, step: int, *, steps: int, factor: float = 1.0) -> float:
        """Learning rate of a step.

        Parameters
        ----------
        step, steps : int
            Of all steps of the training, from 0.
        factor : float
            What plateaus have left of it.
        """
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        if self.schedule == "cosine":
            factor = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / steps)))
        return self.learning_rate * rise * factor

    def make_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer, with weight decay on matrices alone."""
        weights = list(parameters)
        groups: list[dict[str, Any]] = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=self.learning_rate, eps=EPSILON)
        return torch.optim.Adam(
            groups, lr=self.learning_rate, eps=EPSILON, amsgrad=self.optimizer == "amsgrad"
        )

    def loss(self, residuals: torch.Tensor) -> torch.Tensor:
        """Sum over residuals of their squares, or Huber's function."""
        if not self.huber:
            return (residuals * residuals).sum()
        size, d = residuals.abs(), self.huber
        return torch.where(size <= d, residuals * residuals, d * (2.0 * size - d)).sum()
