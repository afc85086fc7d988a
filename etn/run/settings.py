"""The settings of a fit: what may be set, in which range, and what it means.

:class:`FitSettings` is the one list of options behind ``settings.yaml`` and the command line.
Defaults are read from the signatures of the Python functions that the options go to, so there is
no second set of numbers.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from etn.data.atomic_energies import is_mode
from etn.data.dataset import Dataset
from etn.data.embedded import PREFIX
from etn.data.labels import LabelKeys
from etn.data.stress import STRESS_UNITS
from etn.data.weights import Weights, count_rows
from etn.potential.base import Potential
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.fitting.fit import FitReport, fit
from etn.potential.fitting.objective import Objective
from etn.potential.polynomial import PolynomialPotential
from etn.run import parsing
from etn.run.options import SIZED, Options, option
from etn.run.sizes import SIZES, choose_size, count_unknowns, default_of
from etn.sweep import EarlyStop, Schedule
from etn.sweep.schedule import FIT_DEFAULTS

__all__ = ["CommonSettings", "FitSettings"]

WEIGHT_LIMIT = 1e9  # squares of labels times weights stay far from the largest numbers
R_MAX_LIMIT = 20.0  # Å; beyond, a sum over neighbours is not a model of short-ranged bonding


Paths = Annotated[tuple[str, ...] | None, BeforeValidator(parsing.to_paths)]
Key = Annotated[str | None, BeforeValidator(parsing.to_optional)]


class CommonSettings(Options):
    """What can be set in the fit of any kind of potential."""

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
    size: Literal["small", "medium", "wide", "large", "auto"] = option(
        "auto",
        f"What the settings {', '.join(SIZED)} are unless they are given. "
        + "; ".join(f"{name}: {size}" for name, size in SIZES.items())
        + "; auto: medium, wide for three elements and more, or less where there are few data, or "
        "so many that it would be slow.",
        form="small|medium|wide|large|auto",
    )
    r_max: float = option(
        default_of(Basis.for_dataset, "r_max"),
        "Radius of the neighbourhood of an atom.",
        unit="Å",
        gt=0,
        le=R_MAX_LIMIT,
    )
    n_max: int = option(
        default_of(Basis.for_dataset, "n_max"),
        "Number of radial functions for each element of the neighbours.",
        ge=1,
        le=50,
    )
    l_max: int = option(
        default_of(Basis.for_dataset, "l_max"),
        "Highest degree of the spherical harmonics.",
        ge=0,
        le=12,
    )
    smoothness: float = option(
        default_of(Basis.for_dataset, "smoothness"),
        "Exponent p of the weights (1+n)^-p and (1+l)^-p of the features; larger is smoother.",
        ge=0,
        allow_inf_nan=False,
    )
    max_channels: Annotated[
        int | tuple[int, ...] | None, BeforeValidator(parsing.to_max_channels)
    ] = option(
        default_of(Basis.for_dataset, "max_channels"),
        "Most radial channels, combinations of radial functions and elements, for l = 1, 2, ... "
        "(the last number repeats); none keeps all.",
        form="INT,...",
    )
    body_order: int = option(
        default_of(PolynomialPotential, "body_order"),
        "Most atoms in one term of the energy: the chain has one site less.",
        ge=3,
        le=12,
    )
    max_bond: Annotated[int | tuple[int, ...] | str, BeforeValidator(parsing.to_max_bond)] = option(
        default_of(PolynomialPotential, "max_bond"),
        "Multiplicities on the bonds of the chain: one for all l, one for each l, or irreps.",
        form="INT,...|IRREPS",
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
    robust: Annotated[Literal["huber"] | None, BeforeValidator(parsing.to_optional)] = option(
        default_of(fit, "robust"),
        "With huber, labels that lie far from the fit, by the scale of all of them, pull on it "
        "less: for data with some wrong labels.",
        form="huber|none",
    )
    kind_weights: Annotated[dict[str, float] | None, BeforeValidator(parsing.to_kind_weights)] = (
        option(
            default_of(Weights, "kinds"),
            "How many times frames of a config_type count (Surface=2,Elastic=0.5), 1 if not given; "
            "config_weight in the file does the same for one frame.",
            form="KIND=FLOAT,...",
        )
    )
    ridge: Annotated[float | Literal["evidence"], BeforeValidator(parsing.to_ridge)] = option(
        default_of(fit, "ridge"),
        "Weight of the squared norm of the network in the loss; evidence chooses after each sweep "
        "what makes the labels most likely.",
        form="FLOAT|evidence",
    )
    max_sweeps: Annotated[int | tuple[int, ...], BeforeValidator(parsing.to_max_sweeps)] = option(
        FIT_DEFAULTS["max_sweeps"],
        "Most sweeps at each length of the chain, two sites first; the last number repeats.",
        form="INT,...",
    )
    min_sweeps: int = option(
        default_of(Schedule, "min_sweeps"), "Fewest sweeps at each length of the chain.", ge=1
    )
    rel_tol: float = option(
        FIT_DEFAULTS["rel_tol"],
        "A length is done once a sweep lowers the loss by less than this fraction.",
        ge=0,
        lt=1,
    )
    sites: int = option(
        FIT_DEFAULTS["sites"],
        "Cores that are solved for together: two neighbours share out the multiplets of their "
        "bond among its irreps, up to max_bond.",
        form="1|2",
        ge=1,
        le=2,
    )
    tol: float = option(
        FIT_DEFAULTS["tol"],
        "With two sites: how much of what a pair predicts a smaller bond may leave out, as a "
        "fraction of its norm.",
        ge=0,
        lt=1,
    )
    early_stop_rel_tol: float = option(
        default_of(EarlyStop, "rel_tol"),
        "With validation data: a sweep is progress if it lowers their loss by this fraction.",
        ge=0,
        lt=1,
    )
    early_stop_patience: int = option(
        default_of(EarlyStop, "patience"),
        "With validation data: sweeps without progress until a length is done.",
        ge=1,
    )
    memory: Annotated[float | None, BeforeValidator(parsing.to_optional)] = option(
        default_of(fit, "memory"),
        "Most memory of the fit; none means four fifths of what the machine has left. What does "
        "not fit is computed anew, which takes longer.",
        unit="GB",
        form="FLOAT",
        gt=0,
        le=1e6,
        allow_inf_nan=False,
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
    def _build(self) -> Self:
        """Let the objects that the settings are for check what they check together."""
        self.objective()
        self.schedule()
        LabelKeys(**self._label_keys())
        return self

    def weights(self) -> Weights:
        """Weights of the labels."""
        return Weights(
            self.energy_weight, self.forces_weight, self.stress_weight, self.kind_weights
        )

    def objective(self) -> Objective:
        """What the fit minimises."""
        return Objective.of(
            self.weights(), robust=self.robust, ridge=self.ridge, missing=self.missing
        )

    def schedule(self) -> Schedule:
        """Sweeps at each length of the chain."""
        return Schedule(
            sites=self.sites,
            max_sweeps=self.max_sweeps,
            min_sweeps=self.min_sweeps,
            rel_tol=self.rel_tol,
            tol=self.tol,
        )

    def early_stop(self) -> EarlyStop:
        """The callback that watches the validation data."""
        return EarlyStop(rel_tol=self.early_stop_rel_tol, patience=self.early_stop_patience)

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
        }

    def basis(self, dataset: Dataset) -> Basis:
        """Features of the data."""
        return Basis.for_dataset(
            dataset,
            r_max=self.r_max,
            n_max=self.n_max,
            l_max=self.l_max,
            smoothness=self.smoothness,
            max_channels=self.max_channels,
        )

    def potential(self, basis: Basis, baseline: Baseline) -> Potential:
        """The potential that is fitted."""
        raise NotImplementedError

    def fit_potential(self, model: Any, train: Dataset, **options: Any) -> FitReport[Any]:
        """Fit it; `options` are `valid`, `callbacks` and `resume`."""
        raise NotImplementedError

    def _arguments(self) -> dict[str, Any]:
        """What the fits of all kinds of potential take."""
        return {
            "weights": self.weights(),
            "robust": self.robust,
            "ridge": self.ridge,
            "schedule": self.schedule(),
            "missing": self.missing,
            "memory": self.memory,
            "seed": self.seed,
        }

    def resolved(self) -> Self:
        """The same settings with absolute paths, which hold in any working folder.

        Examples
        --------
        >>> FitSettings(train="etn:Mo").resolved() == FitSettings(train="etn:Mo")
        True
        """
        changes: dict[str, Any] = {"train": tuple(_absolute(path) for path in self.train)}
        if self.test is not None:
            changes["test"] = tuple(_absolute(path) for path in self.test)
        if isinstance(self.valid, str):
            changes["valid"] = _absolute(self.valid)
        if self.e0_path is not None:
            changes["e0"] = _absolute(self.e0_path)
        # A copy keeps which settings were given, and so what a size is free to choose.
        return self.model_copy(update=changes)

    def sized_for(self, train: Dataset) -> tuple[Self, str]:
        """The same settings with every number decided, and why they are what they are.

        Parameters
        ----------
        train : Dataset
            What is fitted, without the frames that are held out.

        Returns
        -------
        settings : FitSettings
        reason : str

        Raises
        ------
        SettingsError
            If `max_bond` does not fit `l_max`.

        Examples
        --------
        >>> few = Dataset.read("etn:Mo/train", index="::20")
        >>> settings, reason = FitSettings(train="etn:Mo").sized_for(few)
        >>> settings.l_max, settings.max_bond
        (3, (4, 3, 2, 2))
        >>> reason
        'auto, small: medium has 3575 unknowns in one core for 1684 data rows'
        """
        given = {key: getattr(self, key) for key in SIZED if key in self.model_fields_set}
        n_rows, n_elements = count_rows(train, self.weights()), len(train.elements)
        suffix = f" (given: {', '.join(given)})" if given else ""
        if self.size == "auto" and len(given) < len(SIZED):
            values, reason = choose_size(n_elements, n_rows, given, max_channels=self.max_channels)
            return self.model_copy(update=values), f"auto, {reason}{suffix}"
        unknowns = count_unknowns(n_elements, dict(self))
        name = self.size if self.size != "auto" else "as given"
        return self, f"{name}: {n_rows} data rows for {unknowns} unknowns in one core{suffix}"


class FitSettings(CommonSettings):
    """Everything that can be set in the fit of a polynomial potential; an immutable value.

    All fields but `train` have defaults, those of the Python functions :func:`fit`,
    :meth:`Basis.for_dataset`, :class:`PolynomialPotential`, :meth:`Baseline.fit`,
    :class:`Weights`, :class:`Schedule` and :class:`EarlyStop`. Values may be given as text, as
    on a command line: ``max_bond="5,4,3"``. The name ``"etn:Mo"`` of an embedded set as `train`
    stands for ``"etn:Mo/train"`` and, unless `test` is given, ``"etn:Mo/test"`` to test on.

    A `size` gives the values of `n_max`, `l_max`, `body_order`, `max_bond` and `max_sweeps` that
    are not given. ``"auto"`` can choose them only once the data are known: :meth:`sized_for`.

    Raises
    ------
    SettingsError
        If a name is unknown or a value out of range; the message names all of them.

    Examples
    --------
    >>> settings = FitSettings(train="etn:Mo", r_max=4.5)
    >>> settings.train, settings.test, settings.r_max
    (('etn:Mo/train',), ('etn:Mo/test',), 4.5)
    >>> small = FitSettings(train="etn:Mo", size="small", n_max=6)
    >>> small.n_max, small.l_max, small.max_bond
    (6, 3, (4, 3, 2, 2))
    >>> FitSettings(train="etn:Mo", rmax=4.5)
    Traceback (most recent call last):
    etn.errors.SettingsError: settings: unknown key "rmax" (did you mean "r_max"?)
    >>> FitSettings(train="etn:Mo", r_max=-1)
    Traceback (most recent call last):
    etn.errors.SettingsError: settings: r_max: expected a value greater than 0, got -1
    """

    layers: Annotated[Literal[1], BeforeValidator(parsing.to_count)] = option(
        1,
        "Layers of the network: with 2, messages of its neighbours reach an atom, which so feels "
        "what is within twice the radius; for frames of up to some tens of atoms.",
        form="1|2",
    )
    refine: int = option(
        default_of(fit, "refine"),
        "Steps of all cores together after the sweeps; a resumed run takes them anew.",
        ge=0,
    )

    def potential(self, basis: Basis, baseline: Baseline) -> PolynomialPotential:
        """The potential that is fitted."""
        return PolynomialPotential(
            basis, body_order=self.body_order, max_bond=self.max_bond, baseline=baseline
        )

    def fit_potential(
        self, model: PolynomialPotential, train: Dataset, **options: Any
    ) -> FitReport[PolynomialPotential]:
        """Fit it; `options` are `valid`, `callbacks` and `resume`."""
        return fit(model, train, refine=self.refine, **self._arguments(), **options)


def _absolute(path: str) -> str:
    return path if path.startswith(PREFIX) else os.path.abspath(os.path.expanduser(path))
