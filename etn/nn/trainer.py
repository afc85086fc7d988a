"""Training by gradients: epochs, validation, the average of the weights, exact resumption."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NoReturn

import numpy as np
import torch

from etn.data.dataset import Dataset
from etn.errors import DivergedError, RunFolderError, SettingsError
from etn.machine import memory_left
from etn.nn.calibration import with_uncertainty
from etn.nn.compiled import CompiledLoss, compiled_outcome
from etn.nn.graph import Batch
from etn.nn.model import Outcome
from etn.nn.out_of_memory import if_it_fits, largest_that_fits
from etn.nn.parallel import Processes
from etn.nn.potential import NeuralPotential
from etn.nn.progress import Epoch, Progress, TrainingReport
from etn.nn.recipe import Recipe
from etn.nn.samples import Sample, Samples
from etn.nn.tally import Tally
from etn.surface import option

__all__ = ["train"]

# Batches of validation data are larger: nothing is kept for their gradients.
VALID_BATCH = 4
# Of the memory that is left, what pairs and targets may take: steps need some as well.
SAMPLES = 0.4


def train(
    potential: NeuralPotential,
    data: Dataset,
    *,
    valid: float | Dataset | None = None,
    recipe: Recipe | None = None,
    callbacks: Sequence[Callable[[Epoch, Callable[[], Progress]], None]] = (),
    resume: Progress | None = None,
    uncertainty: bool = True,
    memory: float | None = None,
) -> TrainingReport:
    """Train the network of a potential, also in several processes, see :mod:`etn.nn.parallel`.

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
    uncertainty : bool
        Whether to end with ``model.uncertainty``, error bars and extrapolation grades, of a network
        that states its last weights.
    memory : float, optional
        Most memory of the process, GB; by default four fifths of what the machine has left.  Of
        what does not fit, pairs and targets are found anew for every batch, which changes no bit;
        read such data with ``Dataset.read(..., memory=...)``.

    Returns
    -------
    TrainingReport

    Raises
    ------
    DataError
        If a label with a weight is missing, elements are unknown, or frames have charges that the
        network does not read.
    DivergedError
        If the loss is no number; the message names the frames of the batch.
    RunFolderError
        If `resume` is of another network.
    SettingsError
        If the program and the data take more than `memory` already, or a batch does not fit in
        the memory of the device; the message says how many frames do.

    Examples
    --------
    >>> from etn.nn.model import AtomicModel
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
            potential.check_frames(frames)
            recipe.weights.require(frames, what=what)
    report = _Training(potential, data, held_out, recipe, resume, memory).run(callbacks)
    trained = report.model
    assert isinstance(trained, NeuralPotential)
    if not uncertainty or not trained.network.last_weights:
        return report
    known = with_uncertainty(trained, data, valid=held_out, weights=recipe.weights)
    return replace(report, model=known)


class _Training:
    """A training on its way."""

    def __init__(
        self,
        potential: NeuralPotential,
        data: Dataset,
        valid: Dataset | None,
        recipe: Recipe,
        resume: Progress | None,
        memory: float | None,
    ) -> None:
        self.recipe, self.processes = recipe, Processes.now()
        self.potential = potential.with_model(copy.deepcopy(potential.model))
        self.model = self.potential.model.train()
        room = SAMPLES * memory_left(memory)
        self.samples = Samples.of(data, self.potential, recipe.weights, most=room)
        self.valid = None
        if valid is not None:
            room -= self.samples.nbytes
            self.valid = Samples.of(valid, self.potential, recipe.weights, most=room)
        self.averaged = copy.deepcopy(self.model)
        self.optimizer = recipe.make_optimizer(self.model.parameters())
        self.compiled: CompiledLoss | None = None
        self.derivatives = recipe.has_derivatives(data)
        judged = valid is not None and recipe.has_derivatives(valid)
        self.judge: Callable[[Batch], Outcome] = partial(self.averaged.outcome, derivatives=judged)
        if recipe.compiled:
            self.compiled = CompiledLoss(self.model, recipe, derivatives=self.derivatives)
            self.judge = compiled_outcome(self.averaged, derivatives=judged)
        self.best = _state(self.averaged)
        self.epochs: list[Epoch] = []
        self.factor, self.start = 1.0, math.inf
        self.per_epoch = math.ceil(len(self.samples) / recipe.batch_size)
        if resume is not None:
            self._restore(resume)

    def run(
        self, callbacks: Sequence[Callable[[Epoch, Callable[[], Progress]], None]]
    ) -> TrainingReport:
        began = time.perf_counter() - sum(epoch.seconds for epoch in self.epochs)
        if self.valid is not None and not self.epochs:
            # What training starts from may be a fit that no epoch improves.
            start = self._validated(self.valid).loss
            self.start = start if math.isfinite(start) else math.inf
        while not (reason := self._reason(time.perf_counter() - began)):
            epoch = self._epoch()
            self.epochs.append(epoch)
            self._judge(epoch)
            for callback in callbacks if self.processes.leads else ():
                callback(epoch, self.progress)
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
            self.factor, self.start,
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
        self.factor, self.start = progress.factor, progress.start

    def _epoch(self) -> Epoch:
        began, recipe = time.perf_counter(), self.recipe
        number = len(self.epochs) + 1
        # By seed and epoch alone, so that nothing has to be remembered.
        order = np.random.default_rng([recipe.seed, number]).permutation(len(self.samples))
        device = self.model.scale.device
        tally, rate = Tally(recipe), 0.0
        balance = recipe.balance(number)
        self.model.train()
        starts = range(0, len(order), recipe.batch_size)
        batches = [order[first : first + recipe.batch_size].tolist() for first in starts]
        shares = self.samples.joined(map(self.processes.share, batches))
        for k, (numbers, share) in enumerate(zip(batches, shares, strict=True)):
            step = (number - 1) * self.per_epoch + k
            rate = recipe.rate(step, steps=self.per_epoch * recipe.max_epochs, factor=self.factor)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            sample = None if share is None else share.to(device).balanced(balance)
            loss = self._descend(numbers, sample, tally)
            if not math.isfinite(loss):
                self._stop_at(number, numbers)
            if recipe.clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
            self.optimizer.step()
            self._average(step)
        tally.add_up(self.processes, device)
        measured = tally if self.valid is None else self._validated(self.valid)
        return Epoch(
            number, rate, tally.loss, None if self.valid is None else measured.loss,
            measured.energy, measured.forces, time.perf_counter() - began,
        )  # fmt: skip

    def _validated(self, valid: Samples) -> Tally:
        """Errors of the averaged weights."""
        recipe, device = self.recipe, self.model.scale.device
        measured, final = Tally(recipe), recipe.balance(recipe.max_epochs)
        own = self.processes.share(range(len(valid)))
        for joined in valid.batches(VALID_BATCH * recipe.batch_size, own):
            sample = joined.to(device).balanced(final)
            measured.add(sample, self.judge(sample.batch))
        measured.add_up(self.processes, device)
        return measured

    def _descend(self, numbers: Sequence[int], sample: Sample | None, tally: Tally) -> float:
        """The gradients of the loss of a batch, of which every process forms its share."""
        loss = torch.zeros((), device=self.model.scale.device)
        scale = 1.0 / sum(3 * self.samples.sizes[k] for k in numbers)
        if sample is not None:
            found = if_it_fits(lambda: self._gradients(sample, scale, tally))
            if found is None:
                self._stop_for_memory(numbers)
            loss = found
        self.processes.add_gradients(self.model.parameters())
        return float(self.processes.add_up(loss))

    def _gradients(self, sample: Sample, scale: float, tally: Tally) -> torch.Tensor:
        """The loss of a sample, its gradients left at the weights."""
        with self.recipe.rounded(self.model.scale.device):
            if self.compiled is not None:
                loss, outcome = self.compiled(*sample, scale)
                tally.add(sample, outcome)
                return loss
            found = self.model.outcome(sample.batch, training=True, derivatives=self.derivatives)
            part = tally.add(sample, found) * scale
            if torch.isfinite(part):
                part.backward()
        return part.detach()

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
        """Number of the epoch whose average is kept; 0: the start."""
        if self.valid is None or not self.epochs:
            return len(self.epochs)
        best = min(self.epochs, key=lambda epoch: (epoch.valid, epoch.number))
        assert best.valid is not None
        return best.number if best.valid < self.start else 0

    def _reason(self, seconds: float) -> str:
        """Why to end; empty if not."""
        recipe, done = self.recipe, len(self.epochs)
        seconds, best = self.processes.from_first(seconds), self._best_epoch()
        if done >= recipe.max_epochs:
            return f"done: {done} epochs"
        if recipe.patience and done - best >= recipe.patience:
            return f"done: no lower validation loss in {recipe.patience} epochs"
        if done and recipe.max_hours and seconds >= 3600 * recipe.max_hours:
            return f"done: {recipe.max_hours:g} hours, {done} epochs"
        return ""

    def _stop_at(self, epoch: int, numbers: Sequence[int]) -> None:
        names = ", ".join(self.samples.frames[k].title for k in numbers)
        raise DivergedError(
            f"epoch {epoch}: the loss of a batch is no number ({names}); look at these frames, or "
            "train with a smaller learning rate; the last complete epoch is kept"
        )

    def _stop_for_memory(self, numbers: Sequence[int]) -> NoReturn:
        """Say how many frames would fit, by trying."""
        own = sorted(self.processes.share(numbers), key=lambda k: -self.samples.sizes[k])

        def step(n: int) -> torch.Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            (sample,) = self.samples.joined([own[:n]])
            assert sample is not None
            device = self.model.scale.device
            return self._gradients(sample.to(device), 1.0, Tally(self.recipe))

        size = self.processes.size * largest_that_fits(step, len(own) - 1)
        largest = self.samples.frames[own[0]]
        raise SettingsError(
            f"batch_size: a step with {len(numbers)} frames does not fit in the memory of the "
            f"{self.model.scale.device.type}; "
            + (
                f"{size} would: {option('batch_size', size)}"
                if size
                else f"{largest.title} ({largest.n_atoms} atoms) alone does not either: choose a "
                "smaller network or radius"
            )
        )


def _state(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: _array(value) for name, value in model.state_dict().items()}


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(array) for name, array in arrays.items()}
