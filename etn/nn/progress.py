"""What is known of a training: epochs, all that the next one depends on, and the end."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from etn import io
from etn.potential.base import Potential
from etn.stored import conform, unpacking

__all__ = ["HEAD", "Epoch", "Progress", "TrainingReport", "line", "table"]

KIND = "training"


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with.

    Attributes
    ----------
    number : int
        From 1.
    rate : float
        Learning rate of its last step.
    loss : float
        Mean loss of its batches, each before its step.
    valid : float or None
        Loss of the averaged weights on the validation data.
    energy, forces : float
        Root mean square errors of these, eV/atom and eV/Å: on validation data, or else of the
        batches; nan where there are no labels.
    seconds : float
    """

    number: int
    rate: float
    loss: float
    valid: float | None
    energy: float
    forces: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where a training stands after an epoch: all that the next one depends on.

    Attributes
    ----------
    epochs : tuple of Epoch
    weights, averaged, best : dict of str to array
        State of the model in training, of the average, and of the best average so far.
    optimizer : dict of str to array
        Moments of every weight.
    factor : float
        What plateaus have left of the learning rate.
    start : float
        Loss on the validation data before the first epoch; infinite where there are none.
    note : dict
        What was stored beside it.
    """

    epochs: tuple[Epoch, ...]
    weights: Mapping[str, np.ndarray]
    averaged: Mapping[str, np.ndarray]
    best: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    factor: float = 1.0
    start: float = math.inf
    note: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str], *, note: Mapping[str, Any]) -> None:
        """Write it, atomically."""
        groups = ("weights", "averaged", "best", "optimizer")
        arrays = {
            f"{group}.{name}": array
            for group in groups
            for name, array in getattr(self, group).items()
        }
        epochs = [asdict(epoch) for epoch in self.epochs]
        for epoch in epochs:  # JSON has no nan
            epoch.update({k: None for k in ("energy", "forces") if math.isnan(epoch[k])})
        start = self.start if math.isfinite(self.start) else None
        header = {"epochs": epochs, "factor": self.factor, "start": start, "note": dict(note)}
        io.save(path, kind=KIND, header=header, arrays=arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Progress:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged or of another kind.
        """
        stored = io.load(path, kind=KIND)
        with unpacking(path, KIND):
            groups: dict[str, dict[str, Any]] = {}
            for name, array in stored.arrays.items():
                group, _, rest = name.partition(".")
                groups.setdefault(group, {})[rest] = array
            epochs: list[dict[str, Any]] = [
                {k: math.nan if v is None and k != "valid" else v for k, v in epoch.items()}
                for epoch in conform(stored.header["epochs"], list[Any], "epochs")
            ]
            start = stored.header.get("start")
            return cls(
                epochs=tuple(Epoch(**epoch) for epoch in epochs),
                start=math.inf if start is None else conform(start, float, "start"),
                factor=conform(stored.header["factor"], float, "factor"),
                note=stored.header["note"],
                **groups,
            )


@dataclass(frozen=True)
class TrainingReport:
    """What a training ended with.

    Attributes
    ----------
    model : Potential
        With the averaged weights of the best epoch on the validation data, or of the start if no
        epoch is better; without validation data of the last.
    epochs : tuple of Epoch
    reason : str
        Why it ended.
    best : int
        Number of the epoch whose weights are kept; 0 for those that it began with.
    """

    model: Potential
    epochs: tuple[Epoch, ...]
    reason: str
    best: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a model file and a report keep of it."""
        return {"epoch": self.best}

    @property
    def warnings(self) -> list[str]:
        """What may be wrong with it."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """All of it but the model, for JSON."""
        epochs = [asdict(epoch) for epoch in self.epochs]
        return {"epochs": epochs, "reason": self.reason, "best": self.best}

    def __str__(self) -> str:
        """One line an epoch, some tens of them, and the reason."""
        step = max(1, len(self.epochs) // 40)
        shown = [e for e in self.epochs if e.number % step == 0 or e is self.epochs[-1]]
        return "\n".join([HEAD, *map(line, shown), self.reason])


def table(epochs: Sequence[Epoch]) -> str:
    """Epochs as comma-separated values, with the units in the head.

    Examples
    --------
    >>> print(table([Epoch(1, 1e-3, 2.0, None, 0.5, 0.25, 12.0)]))
    epoch,rate,loss,valid_loss,energy_rmse_eV_per_atom,forces_rmse_eV_per_A,seconds
    1,0.001,2.0,,0.5,0.25,12.0
    <BLANKLINE>
    """
    head = "epoch,rate,loss,valid_loss,energy_rmse_eV_per_atom,forces_rmse_eV_per_A,seconds"
    lines = [",".join("" if v is None else repr(v) for v in asdict(e).values()) for e in epochs]
    return "\n".join([head, *lines, ""])


HEAD = f"{'epoch':>6}{'rate':>10}{'loss':>11}{'valid':>11}{'E meV/at.':>11}{'F eV/Å':>9}{'s':>8}"


def line(epoch: Epoch) -> str:
    """An epoch in one line, under :data:`HEAD`."""
    valid = "" if epoch.valid is None else f"{epoch.valid:.3e}"
    return (
        f"{epoch.number:>6}{epoch.rate:>10.2e}{epoch.loss:>11.3e}{valid:>11}"
        f"{1e3 * epoch.energy:>11.3f}{epoch.forces:>9.4f}{epoch.seconds:>8.1f}"
    )
