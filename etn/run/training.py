"""The settings of a training: of the network, of the optimizer, and of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, model_validator

from etn.data.dataset import Dataset
from etn.data.weights import count_rows
from etn.errors import SettingsError
from etn.io import write_atomic
from etn.machine import GB, memory_left
from etn.nn import trainer
from etn.nn.board import Board
from etn.nn.parallel import session
from etn.nn.potential import NeuralPotential
from etn.nn.progress import Epoch, Progress, TrainingReport, table
from etn.nn.recipe import Arithmetic, OptimizerName, Recipe, ScheduleName
from etn.nn.start import untrained
from etn.potential.base import load
from etn.potential.baseline import Baseline
from etn.run import parsing
from etn.run.data_settings import DataSettings, absolute
from etn.run.options import option
from etn.run.record import BOARD, EPOCHS, Record
from etn.run.sizes import default_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TrainingSettings"]

# Of the memory that is left, what the frames of a set may take.
FRAMES = 0.25


class TrainingSettings(DataSettings):
    """What can be set in the training of any network."""

    valid: Annotated[float | str | None, BeforeValidator(parsing.to_valid)] = option(
        0.1,
        "Fraction of the training data to hold out, or a file: it picks the best epoch. none "
        "trains on all and keeps the last.",
        form="FRACTION|FILE",
    )
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    size: Literal["small", "medium", "large"] = option(
        "small", "What the settings of the network are unless they are given.",
        form="small|medium|large",
    )  # fmt: skip
    dtype: Literal["float32", "float64"] = option(
        default_of(untrained, "dtype"), "Precision of the network.", form="float32|float64"
    )
    optimizer: OptimizerName = option(
        default_of(Recipe, "optimizer"),
        "Rule of the steps.",
        form="|".join(get_args(OptimizerName)),
    )
    learning_rate: float = option(
        default_of(Recipe, "learning_rate"), "Largest learning rate.", gt=0, le=10
    )
    batch_size: int = option(default_of(Recipe, "batch_size"), "Frames in a step.", ge=1)
    max_epochs: int = option(
        default_of(Recipe, "max_epochs"), "Most passes over the training data.", ge=1
    )
    schedule: ScheduleName = option(
        default_of(Recipe, "schedule"),
        "How the learning rate falls: along a cosine to a hundredth over max_epochs, by a factor "
        "on plateaus of the validation loss, or not.",
        form="|".join(get_args(ScheduleName)),
    )
    warmup: int = option(
        default_of(Recipe, "warmup"), "Steps in which the learning rate rises from zero.", ge=0
    )
    factor: float = option(
        default_of(Recipe, "factor"), "Of the learning rate on a plateau.", gt=0, lt=1
    )
    plateau: int = option(
        default_of(Recipe, "plateau"), "Epochs without a lower validation loss that are one.", ge=1
    )
    weight_decay: float = option(
        default_of(Recipe, "weight_decay"), "Of matrices.", ge=0, allow_inf_nan=False
    )
    average: float = option(
        default_of(Recipe, "average"),
        "Decay of the moving average of the weights, which is what is kept; 0: the weights.",
        ge=0,
        lt=1,
    )
    clip: float = option(
        default_of(Recipe, "clip"), "Largest norm of a gradient; 0: any.", ge=0, allow_inf_nan=False
    )
    huber: float = option(
        default_of(Recipe, "huber"),
        "Weighted errors beyond it count with their size, not their square; 0: all squares.",
        ge=0,
        allow_inf_nan=False,
    )
    final_weights: Annotated[dict[str, float] | None, BeforeValidator(parsing.to_label_weights)] = (
        option(
            default_of(Recipe, "final_weights"),
            "Weights of labels in the last epoch (energy=300,forces=1), to which they go from "
            "epoch to epoch; validation is judged by these.",
            form="LABEL=FLOAT,...",
        )
    )
    arithmetic: Arithmetic = option(
        default_of(Recipe, "arithmetic"),
        "Of products of matrices in the steps: in the precision of the network, or rounded to 10 "
        "or 8 bits, which GPUs do faster.",
        form="|".join(get_args(Arithmetic)),
    )
    patience: int = option(
        default_of(Recipe, "patience"),
        "Epochs without a lower validation loss after which training ends; 0: never.",
        ge=0,
    )
    max_hours: float = option(
        default_of(Recipe, "max_hours"),
        "Wall time after which training ends with an epoch; 0: never.",
        unit="h",
        ge=0,
        allow_inf_nan=False,
    )
    below: Annotated[str | None, BeforeValidator(parsing.to_file)] = option(
        None,
        "Model file of a potential, such as that of a fit, that stands below the network, which "
        "then learns what its share leaves.",
        form="FILE",
    )
    share: float = option(
        0.8,
        "Of the potential below. Of a whole one a network sees only what is hard to learn, and "
        "may learn nothing.",
        gt=0,
        le=1,
    )
    compiled: bool = option(
        default_of(Recipe, "compiled"),
        "Compile the steps of the training: minutes before the first one, then a third of the "
        "time.",
    )
    uncertainty: bool = option(
        default_of(trainer.train, "uncertainty"),
        "End with error bars and extrapolation grades: takes about as long as some epochs.",
    )
    memory: Annotated[float | None, BeforeValidator(parsing.to_optional)] = option(
        default_of(trainer.train, "memory"),
        "Most memory of the training; none means four fifths of what the machine has left. Frames "
        "that do not fit wait on disk, and their pairs are found anew for every batch.",
        unit="GB",
        form="FLOAT",
        gt=0,
        le=1e6,
        allow_inf_nan=False,
    )
    tensorboard: bool = option(
        False, "Write the course of the training for TensorBoard too, into the run folder."
    )
    device: str = option("cpu", "Device of torch to train on.", form="cpu|cuda")

    NETWORK: ClassVar[tuple[str, ...]] = ()
    """Settings that are arguments of the network."""

    FILES: ClassVar[tuple[str, ...]] = ("below",)
    """Settings that name a model file."""

    KEPT: ClassVar[tuple[str, ...]] = ()
    """Settings that a potential to begin with brings along, and nobody else sets."""

    @model_validator(mode="after")
    def _build_recipe(self) -> Self:
        self.recipe()
        if self.below is None and self.share != type(self).model_fields["share"].default:
            raise ValueError(
                f"share: expected a potential that it is of (below), got {self.share:g} of none"
            )
        return self

    def recipe(self) -> Recipe:
        """How the network is trained."""
        names = Recipe.__dataclass_fields__.keys() - {"weights"}
        return Recipe(weights=self.weights(), **{name: getattr(self, name) for name in names})

    def read(self, source: str | tuple[str, ...]) -> Dataset:
        """Read data, on disk as far as they do not fit in their part of the memory."""
        left = memory_left(self.memory)
        return Dataset.read(source, **self._label_keys(), memory=FRAMES * left / GB)

    def hold_out(
        self, data: Dataset, valid: float | Dataset | None
    ) -> tuple[Dataset, Dataset | None]:
        """Training and validation data, checked for the labels that have a weight."""
        train, held_out = data, valid if isinstance(valid, Dataset) else None
        if valid and held_out is None:
            train, held_out = data.split(float(valid), self.seed)  # type: ignore[arg-type]
        weights = self.weights()
        if self.missing == "error":
            weights.require(train, what="training set")
            if held_out is not None:
                weights.require(held_out, what="validation set")
        weights.check_kinds(train, *(() if held_out is None else (held_out,)))
        return train, held_out

    def start(self, data: Dataset, baseline: Baseline) -> NeuralPotential:
        """What training starts from, on the device that it is trained on."""
        potential = self.make(data, baseline)
        try:
            potential.model.to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise SettingsError(
                f"device: {self.device!r} cannot be used here ({str(error).splitlines()[0]}); "
                "choose cpu"
            ) from None
        return potential

    def make(self, data: Dataset, baseline: Baseline) -> NeuralPotential:
        """An untrained potential with the scales of the data."""
        return untrained(
            self.network,  # type: ignore[attr-defined]
            data,
            r_max=self.r_max,
            settings={name: getattr(self, name) for name in self.NETWORK},
            baseline=baseline,
            below=None if self.below is None else load(self.below),
            share=self.share,
            dtype=self.dtype,
            seed=self.seed,
        )

    def resolved(self) -> Self:
        """The same settings with absolute paths, which hold in any working folder."""
        own = super().resolved()
        changes = {name: absolute(path) for name in self.FILES if (path := getattr(self, name))}
        return own.model_copy(update=changes)

    def sized_for(self, train: Dataset) -> tuple[Self, str]:
        """These settings, and what they are up against."""
        given = sorted(set(self.NETWORK) & self.model_fields_set)
        suffix = f" (given: {', '.join(given)})" if given else ""
        return self, f"{self.size}: {count_rows(train, self.weights())} data rows{suffix}"

    def unknowns(self, n_elements: int) -> None:
        """None: gradients solve for nothing."""
        return

    def run(
        self,
        model: NeuralPotential,
        train: Dataset,
        *,
        valid: Dataset | None,
        record: Record,
        callbacks: Sequence[Callable[[Epoch, Callable[[], Progress]], None]] = (),
    ) -> TrainingReport:
        """Train it on the record of a run folder."""

        def keep(epoch: Epoch, progress: Callable[[], Progress]) -> None:
            record.open()
            now = progress()
            now.save(record.path, note=record.note)
            # Anew each time: a run that was killed between two files has no line twice.
            write_atomic(record.out / EPOCHS, table(now.epochs))

        board = [Board(record.out / BOARD)] if self.tensorboard else []
        return trainer.train(
            model,
            train,
            valid=valid,
            recipe=self.recipe(),
            callbacks=[keep, *board, *callbacks],
            resume=Progress.load(record.path) if record.has_state else None,
            uncertainty=self.uncertainty,
            memory=self.memory,
        )

    @contextmanager
    def session(self) -> Iterator[bool]:
        """Join the other processes of the training, if torchrun has started any."""
        with session(self.device) as processes:
            yield processes.leads

    def figure(self, report: TrainingReport) -> Figure:
        """The course of a training."""
        from etn.plot import training

        return training(report)
