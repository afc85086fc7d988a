"""Settings of whatever is made of data: what they are, their labels, and what these weigh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from etn.data.atomic_energies import is_mode
from etn.data.dataset import Dataset
from etn.data.embedded import PREFIX
from etn.data.labels import LabelKeys
from etn.data.stress import STRESS_UNITS
from etn.data.weights import Weights
from etn.potential.base import Potential
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.fitting.fit import fit
from etn.run import parsing
from etn.run.options import Options, option
from etn.run.record import Record
from etn.run.sizes import default_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DataSettings", "absolute"]

WEIGHT_LIMIT = 1e9  # squares of labels times weights stay far from the largest numbers
R_MAX_LIMIT = 20.0  # Å; beyond, a sum over neighbours is not a model of short-ranged bonding


Paths = Annotated[tuple[str, ...] | None, BeforeValidator(parsing.to_paths)]
Key = Annotated[str | None, BeforeValidator(parsing.to_optional)]


class DataSettings(Options):
    """What can be set whenever a potential is made of data."""

    train: Annotated[tuple[str, ...], BeforeValidator(parsing.to_train)] = option(
        ..., "Training data: extended XYZ or other files of ASE, or an embedded set.", form="FILE"
    )
    test: Paths = option(None, "Data to test on after the fit; never fitted.", form="FILE")
    valid: Annotated[float | str | None, BeforeValidator(parsing.to_valid)] = option(
        default_of(fit, "valid"),
        "Fraction of the training data to hold out, or a file: picks the best sweep and stops "
        "stages early.",
        form="FRACTION|FILE",
    )
    energy_key: Key = option(
        default_of(Dataset.read, "energy"),
        "Key of the total energy in the files; none leaves energies out.",
        unit="eV",
        form="NAME",
    )
    forces_key: Key = option(
        default_of(Dataset.read, "forces"),
        "Key of the forces in the files; none leaves forces out.",
        unit="eV/Å",
        form="NAME",
    )
    stress_key: Key = option(
        default_of(Dataset.read, "stress"),
        "Key of the stress in the files; none leaves stress out. It is read of frames that are "
        "periodic in all three directions.",
        form="NAME",
    )
    virial_key: Key = option(
        default_of(Dataset.read, "virial"),
        "Key of the virial, -V·stress, which is read as the stress.",
        unit="eV",
        form="NAME",
    )
    stress_unit: str = option(
        default_of(Dataset.read, "stress_unit"),
        f"Unit of the stress in the files: {', '.join(STRESS_UNITS)}.",
        form="UNIT",
    )
    stress_convention: Annotated[str | None, BeforeValidator(parsing.to_optional)] = option(
        default_of(Dataset.read, "stress_convention"),
        "Sign of stresses and virials in the files: positive under tension or under compression, "
        "or as VASP writes them: compression, six numbers in the order xx yy zz xy yz zx. none: "
        "tension for a stress, compression for a virial.",
        form="tension|compression|vasp",
    )
    charge_key: Key = option(
        default_of(Dataset.read, "charge"),
        "Key of the total charge of a frame in the files; none takes all for neutral. Networks of "
        "tensornet read it, other networks refuse charged frames, fits pass over it.",
        unit="e",
        form="NAME",
    )
    missing: Literal["error", "skip"] = option(
        default_of(fit, "missing"),
        "Whether a frame that lacks a label with a weight is an error, or is fitted without it.",
        form="error|skip",
    )
    max_force: Annotated[float | None, BeforeValidator(parsing.to_optional)] = option(
        None,
        "Frames in which a force is longer are not fitted; errors are shown with and without them. "
        "none fits all.",
        unit="eV/Å",
        form="FLOAT",
        gt=0,
        allow_inf_nan=False,
    )
    r_max: float = option(
        default_of(Basis.for_dataset, "r_max"),
        "Radius of the neighbourhood of an atom.",
        unit="Å",
        gt=0,
        le=R_MAX_LIMIT,
    )
    e0: Annotated[str | dict[str, float], BeforeValidator(parsing.to_e0)] = option(
        default_of(Baseline.fit, "e0"),
        "Energies of isolated atoms: from frames whose atoms have no neighbours within r_max "
        "(isolated), from single atoms of a config_type ('by-config NAME'), by least squares "
        "(lstsq), by these plus cohesive energies (cohesive), isolated atoms and cohesive for "
        "elements that have none (auto), as numbers (Mo=-4.2,Nb=-2.6), or from a file.",
        unit="eV",
        form="SPEC",
    )
    zbl: bool = option(
        default_of(Baseline.fit, "zbl"),
        "Whether the nuclei repel each other below the distances of the data, as Ziegler, Biersack "
        "and Littmark have it.",
    )
    energy_weight: float = option(
        default_of(Weights, "energy"),
        "Weight of the energies over the square root of the number of atoms; zero leaves them out.",
        unit="per eV",
        ge=0,
        le=WEIGHT_LIMIT,
        allow_inf_nan=False,
    )
    forces_weight: float = option(
        default_of(Weights, "forces"),
        "Weight of the force components; zero leaves them out.",
        unit="per eV/Å",
        ge=0,
        le=WEIGHT_LIMIT,
        allow_inf_nan=False,
    )
    stress_weight: Annotated[float | None, BeforeValidator(parsing.to_optional)] = option(
        default_of(Weights, "stress"),
        f"Weight of stress times volume per atom; none means {Weights.DEFAULT_STRESS:g} where a "
        "frame has a stress, a number demands one of every frame.",
        unit="per eV/atom",
        form="FLOAT",
        ge=0,
        le=WEIGHT_LIMIT,
        allow_inf_nan=False,
    )
    kind_weights: Annotated[dict[str, float] | None, BeforeValidator(parsing.to_kind_weights)] = (
        option(
            default_of(Weights, "kinds"),
            "How many times frames of a config_type count (Surface=2,Elastic=0.5), 1 if not given; "
            "config_weight in the file does the same for one frame.",
            form="KIND=FLOAT,...",
        )
    )
    seed: int = option(
        default_of(fit, "seed"), "Seed of the random start and of the validation split.", ge=0
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_names(cls, given: Any) -> Any:
        """Turn the name of an embedded set into those of its two parts."""
        try:
            train = parsing.to_train(given["train"])
        except (KeyError, TypeError, ValueError):
            return given  # the field itself says what is wrong with it
        names = [path for path in train if path.startswith(PREFIX) and "/" not in path]
        if not names:
            return given
        parts = tuple(f"{path}/train" if path in names else path for path in train)
        return {"test": tuple(f"{name}/test" for name in names), **given, "train": parts}

    @model_validator(mode="after")
    def _build_weights(self) -> Self:
        """Let the objects that the settings are for check what they check together."""
        self.weights()
        LabelKeys(**self._label_keys())
        return self

    def weights(self) -> Weights:
        """Weights of the labels."""
        return Weights(
            self.energy_weight, self.forces_weight, self.stress_weight, self.kind_weights
        )

    @property
    def e0_path(self) -> str | None:
        """The data set with the isolated atoms, if `e0` names one."""
        return self.e0 if isinstance(self.e0, str) and not is_mode(self.e0) else None

    def read(self, source: str | tuple[str, ...]) -> Dataset:
        """Read data with the label keys of these settings."""
        return Dataset.read(source, **self._label_keys())

    def _label_keys(self) -> dict[str, Any]:
        """Where the labels stand, and how stresses are written: arguments of ``Dataset.read``."""
        return {
            "energy": self.energy_key,
            "forces": self.forces_key,
            "stress": self.stress_key,
            "virial": self.virial_key,
            "stress_unit": self.stress_unit,
            "stress_convention": self.stress_convention,
            "charge": self.charge_key,
        }

    def resolved(self) -> Self:
        """The same settings with absolute paths, which hold in any working folder.

        Examples
        --------
        >>> from etn.run.settings import FitSettings
        >>> FitSettings(train="etn:Mo").resolved() == FitSettings(train="etn:Mo")
        True
        """
        changes: dict[str, Any] = {"train": tuple(absolute(path) for path in self.train)}
        if self.test is not None:
            changes["test"] = tuple(absolute(path) for path in self.test)
        if isinstance(self.valid, str):
            changes["valid"] = absolute(self.valid)
        if self.e0_path is not None:
            changes["e0"] = absolute(self.e0_path)
        # A copy keeps which settings were given, and so what a size is free to choose.
        return self.model_copy(update=changes)

    def start(self, data: Dataset, baseline: Baseline) -> Potential:
        """The potential of some data that training or a fit starts from."""
        raise NotImplementedError

    def hold_out(
        self, data: Dataset, valid: float | Dataset | None
    ) -> tuple[Dataset, Dataset | None]:
        """Training and validation data, checked for the labels that have a weight."""
        raise NotImplementedError

    def sized_for(self, train: Dataset) -> tuple[Self, str]:
        """The same settings with every number decided, and why they are what they are."""
        raise NotImplementedError

    def unknowns(self, n_elements: int) -> int | None:
        """Unknowns that are solved for at once, if any are."""
        raise NotImplementedError

    def run(
        self,
        model: Any,
        train: Dataset,
        *,
        valid: Dataset | None,
        record: Record,
        callbacks: Sequence[Any] = (),
    ) -> Any:
        """Fit or train it on the record of a run folder, and return the report."""
        raise NotImplementedError

    def session(self) -> AbstractContextManager[bool]:
        """What a run happens within; says whether this process is the one that writes."""
        return nullcontext(True)

    def figure(self, report: Any) -> Figure:
        """The course of the fit or training."""
        raise NotImplementedError


def absolute(path: str) -> str:
    """The path of a file in any working folder; the name of an embedded set as it is."""
    return path if path.startswith(PREFIX) else os.path.abspath(os.path.expanduser(path))
