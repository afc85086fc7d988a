"""Training by gradients: epochs, validation, the average of the weights, exact resumption."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from etn import io
from etn.data.dataset import Dataset
from etn.errors import DivergedError, RunFolderError
from etn.nn.potential import NeuralPotential, Outcome
from etn.nn.recipe import Recipe
from etn.nn.samples import Sample, Samples
from etn.stored import conform, unpacking

__all__ = ["Epoch", "Progress", "TrainingReport", "train"]

KIND = "training"
# Batches of validation data are larger: nothing is kept for their gradients.
VALID_BATCH = 4


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
    note : dict
        What was stored beside it.
    """

    epochs: tuple[Epoch, ...]
    weights: Mapping[str, np.ndarray]
    averaged: Mapping[str, np.ndarray]
    best: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    factor: float = 1.0
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
        header = {"epochs": epochs, "factor": self.factor, "note": dict(note)}
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
            return cls(
                epochs=tuple(Epoch(**epoch) for epoch in epochs),
                factor=conform(stored.header["factor"], float, "factor"),
                note=stored.header["note"],
                **groups,
            )


@dataclass(frozen=True)
class TrainingReport:
    """What a training ended with.

    Attributes
    ----------
    model : NeuralPotential
        With the averaged weights of the best epoch on the validation data, or of the last.
    epochs : tuple of Epoch
    reason : str
        Why it ended.
    best : int
        Number of the epoch whose weights are kept.
    """

    model: NeuralPotential
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


HEAD = f"{'epoch':>6}{'rate':>10}{'loss':>11}{'valid':>11}{'E meV/at.':>11}{'F eV/Å':>9}{'s':>8}"


def line(epoch: Epoch) -> str:
    """An epoch in one line, under :data:`HEAD`."""
    valid = "" if epoch.valid is None else f"{epoch.valid:.3e}"
    return (
        f"{epoch.number:>6}{epoch.rate:>10.2e}{epoch.loss:>11.3e}{valid:>11}"
        f"{1e3 * epoch.energy:>11.3f}{epoch.forces:>9.4f}{epoch.seconds:>8.1f}"
    )


def train(
    potential: NeuralPotential,
    data: Dataset,
    *,
    valid: float | Dataset | None = None,
    recipe: Recipe | None = None,
    callbacks: Sequence[Callable[[Epoch, Callable[[], Progress]], None]] = (),
    resume: Progress | None = None,
) -> TrainingReport:
    """Train the network of a potential.

    The potential that is given keeps its weights; :func:`~etn.nn.start.untrained` makes one that
    begins with the scale and the means of the data.

    Parameters
    ----------
    potential : NeuralPotential
        What training starts from.
    data : Dataset
    valid : float or Dataset, optional
        Data that choose the best epoch, or the fraction of `data` to hold out for that.
    recipe : Recipe, optional
    callbacks : sequence of callable
        Called after every epoch with it and a function that gives the :class:`Progress`.
    resume : Progress, optional
        Go on from there; on the CPU, with the same data and recipe, to the same bits as without
        the interruption.

    Returns
    -------
    TrainingReport

    Raises
    ------
    DataError
        If a label with a weight is missing, or elements are unknown.
    DivergedError
        If the loss is no number; the message names the frames of the batch.
    RunFolderError
        If `resume` is of another network.

    Examples
    --------
    >>> from etn.nn.potential import AtomicModel
    >>> from etn.nn.tensornet import TensorNet
    >>> from etn.potential import Baseline
    >>> data = Dataset.read("etn:Mo/train", index="::40")
    >>> network = TensorNet(("Mo",), r_max=3.5, channels=4, layers=1)
    >>> start = NeuralPotential(AtomicModel(network), Baseline.fit(data))
    >>> report = train(start, data, recipe=Recipe(max_epochs=2, batch_size=2))
    >>> len(report.epochs), report.reason
    (2, 'done: 2 epochs')
    """
    recipe = recipe or Recipe()
    held_out = valid if isinstance(valid, Dataset) else None
    if valid is not None and held_out is None:
        data, held_out = data.split(float(valid), recipe.seed)  # type: ignore[arg-type]
    for what, frames in (("training set", data), ("validation set", held_out)):
        if frames is not None:
            recipe.weights.require(frames, what=what)
    return _Training(potential, data, held_out, recipe, resume).run(callbacks)


class _Training:
    """A training on its way."""

    def __init__(
        self,
        potential: NeuralPotential,
        data: Dataset,
        valid: Dataset | None,
        recipe: Recipe,
        resume: Progress | None,
    ) -> None:
        self.recipe = recipe
        self.potential = potential.with_model(copy.deepcopy(potential.model))
        self.model = self.potential.model.train()
        self.samples = Samples.of(data, self.potential, recipe.weights)
        self.valid = None if valid is None else Samples.of(valid, self.potential, recipe.weights)
        self.averaged = copy.deepcopy(self.model)
        self.optimizer = recipe.make_optimizer(self.model.parameters())
        self.best = _state(self.averaged)
        self.epochs: list[Epoch] = []
        self.factor = 1.0
        self.per_epoch = math.ceil(len(self.samples) / recipe.batch_size)
        if resume is not None:
            self._restore(resume)

    def run(
        self, callbacks: Sequence[Callable[[Epoch, Callable[[], Progress]], None]]
    ) -> TrainingReport:
        began = time.perf_counter() - sum(epoch.seconds for epoch in self.epochs)
        reason = self._reason(time.perf_counter() - began)
        while not reason:
            epoch = self._epoch()
            self.epochs.append(epoch)
            self._judge(epoch)
            for callback in callbacks:
                callback(epoch, self.progress)
            reason = self._reason(time.perf_counter() - began)
        self.averaged.load_state_dict(_tensors(self.best))
        model = self.potential.with_model(copy.deepcopy(self.averaged))
        return TrainingReport(model, tuple(self.epochs), reason, self._best_epoch())

    def progress(self) -> Progress:
        """All that the next epoch depends on."""
        moments = {
            f"{k}.{name}": _array(value)
            for k, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        return Progress(
            tuple(self.epochs), _state(self.model), _state(self.averaged), self.best, moments,
            self.factor,
        )  # fmt: skip

    def _restore(self, progress: Progress) -> None:
        try:
            self.model.load_state_dict(_tensors(progress.weights))
            self.averaged.load_state_dict(_tensors(progress.averaged))
        except RuntimeError as error:
            raise RunFolderError(
                "resume: expected the weights of this network, the checkpoint has others "
                f"({str(error).splitlines()[-1].strip()}); continue it with the settings that it "
                "was started with"
            ) from None
        self.best = dict(progress.best)
        states: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in progress.optimizer.items():
            number, _, name = key.partition(".")
            states.setdefault(int(number), {})[name] = torch.as_tensor(value)
        known = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**known, "state": states})
        self.epochs = list(progress.epochs)
        self.factor = progress.factor

    def _epoch(self) -> Epoch:
        began, recipe = time.perf_counter(), self.recipe
        number = len(self.epochs) + 1
        # By seed and epoch alone, so that nothing has to be remembered.
        order = np.random.default_rng([recipe.seed, number]).permutation(len(self.samples))
        device = self.model.scale.device
        tally, rate = _Tally(recipe), 0.0
        self.model.train()
        for k, joined in enumerate(self.samples.batches(recipe.batch_size, order.tolist())):
            sample = joined.to(device)
            step = (number - 1) * self.per_epoch + k
            rate = recipe.rate(step, steps=self.per_epoch * recipe.max_epochs, factor=self.factor)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = tally.add(sample, self.model.outcome(sample.batch, training=True))
            if not math.isfinite(loss.item()):
                first = k * recipe.batch_size
                self._stop_at(number, order[first : first + recipe.batch_size])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
            self.optimizer.step()
            self._average(step)
        measured = tally
        if self.valid is not None:
            measured = _Tally(recipe)
            for joined in self.valid.batches(VALID_BATCH * recipe.batch_size):
                sample = joined.to(device)
                measured.add(sample, self.averaged.outcome(sample.batch))
        return Epoch(
            number, rate, tally.loss, None if self.valid is None else measured.loss,
            measured.energy, measured.forces, time.perf_counter() - began,
        )  # fmt: skip

    def _average(self, step: int) -> None:
        """Move the average towards the weights; the first steps count fully."""
        decay = min(self.recipe.average, (1 + step) / (10 + step)) if self.recipe.average else 0.0
        with torch.no_grad():
            for mean, now in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, 1.0 - decay)

    def _judge(self, epoch: Epoch) -> None:
        """Keep the weights of the best epoch, and shorten the steps on a plateau."""
        if epoch.valid is None or self._best_epoch() == epoch.number:
            self.best = _state(self.averaged)
        elif self.recipe.schedule == "plateau":
            since = epoch.number - self._best_epoch()
            if since % self.recipe.plateau == 0:
                self.factor *= self.recipe.factor

    def _best_epoch(self) -> int:
        """Number of the epoch whose average is kept."""
        if self.valid is None or not self.epochs:
            return len(self.epochs)
        return min(self.epochs, key=lambda epoch: (epoch.valid, epoch.number)).number

    def _reason(self, seconds: float) -> str:
        """Why to end; empty if not."""
        recipe, done = self.recipe, len(self.epochs)
        best = self._best_epoch()
        if done >= recipe.max_epochs:
            return f"done: {done} epochs"
        if recipe.patience and done - best >= recipe.patience:
            return f"done: no lower validation loss in {recipe.patience} epochs"
        if recipe.max_hours and seconds >= 3600 * recipe.max_hours:
            return f"done: {recipe.max_hours:g} hours, {done} epochs"
        return ""

    def _stop_at(self, epoch: int, numbers: np.ndarray) -> None:
        names = ", ".join(self.samples.frames[k].title for k in numbers)
        raise DivergedError(
            f"epoch {epoch}: the loss of a batch is no number ({names}); look at these frames, or "
            "train with a smaller learning rate; the last complete epoch is kept"
        )


class _Tally:
    """Sums over batches: the loss, and squared errors of energies and forces."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._loss = self._components = 0.0
        # Sum of squares and number of labels.
        self._energy, self._forces = [0.0, 0.0], [0.0, 0.0]

    def add(self, sample: Sample, outcome: Outcome) -> torch.Tensor:
        """The loss of a batch; what is said of errors is added to the sums."""
        batch, goal = sample
        errors = goal.errors(outcome, batch)
        components = 3 * batch.n_atoms
        loss = self._recipe.loss(goal.residuals(errors)) / components
        self._loss += loss.item() * components
        self._components += components
        sizes = torch.bincount(batch.frame, minlength=batch.n_frames)
        for sums, error, weight in (
            (self._energy, (errors.energy / sizes)[:, None], goal.energy_weight),
            (self._forces, errors.forces, goal.force_weight),
        ):
            known = error.detach()[weight > 0]
            sums[0] += float((known * known).sum())
            sums[1] += known.numel()
        return loss

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


def _state(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: _array(value) for name, value in model.state_dict().items()}


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(array) for name, array in arrays.items()}
