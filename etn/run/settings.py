"""The settings of a fit: what may be set, in which range, and what it means.

:class:`FitSettings` is the one list of options behind ``settings.yaml`` and the command line.
Defaults are read from the signatures of the Python functions that the options go to, so there is
no second set of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from etn.data.dataset import Dataset
from etn.data.weights import count_rows
from etn.potential.base import Potential
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.fitting.fit import FitReport, fit
from etn.potential.fitting.objective import Objective
from etn.potential.polynomial import PolynomialPotential
from etn.run import parsing
from etn.run.data_settings import DataSettings
from etn.run.options import SIZED, option
from etn.run.record import Record
from etn.run.sizes import SIZES, choose_size, count_unknowns, default_of
from etn.sweep import Callback, Checkpoint, EarlyStop, Schedule, State, Step, Sweepable
from etn.sweep.schedule import FIT_DEFAULTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CommonSettings", "FitSettings"]


class CommonSettings(DataSettings):
    """What can be set in the fit of any kind of polynomial potential."""

    size: Literal["small", "medium", "wide", "large", "auto"] = option(
        "auto",
        f"What the settings {', '.join(SIZED)} are unless they are given. "
        + "; ".join(f"{name}: {size}" for name, size in SIZES.items())
        + "; auto: medium, wide for three elements and more, or less where there are few data, or "
        "so many that it would be slow.",
        form="small|medium|wide|large|auto",
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
    robust: Annotated[Literal["huber"] | None, BeforeValidator(parsing.to_optional)] = option(
        default_of(fit, "robust"),
        "With huber, labels that lie far from the fit, by the scale of all of them, pull on it "
        "less: for data with some wrong labels.",
        form="huber|none",
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

    @model_validator(mode="after")
    def _build(self) -> Self:
        """Let the objects that the settings are for check what they check together."""
        self.objective()
        self.schedule()
        return self

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

    def hold_out(
        self, data: Dataset, valid: float | Dataset | None
    ) -> tuple[Dataset, Dataset | None]:
        """Training and validation data, checked for the labels that have a weight."""
        return self.objective().hold_out(data, valid, self.seed)

    def start(self, data: Dataset, baseline: Baseline) -> Potential:
        """The potential of some data that a fit starts from."""
        return self.potential(self.basis(data), baseline)

    def unknowns(self, n_elements: int) -> int:
        """Unknowns of the largest core."""
        return count_unknowns(n_elements, dict(self))

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

    def run(
        self,
        model: Any,
        train: Dataset,
        *,
        valid: Dataset | None,
        record: Record,
        callbacks: Sequence[Callback] = (),
    ) -> FitReport[Any]:
        """Fit it on the record of a run folder."""
        state = State.load(record.path) if record.has_state else None
        stops = [self.early_stop()] if valid is not None else []
        keep = [_Opening(record), Checkpoint(record.path, note=record.note)]
        return self.fit_potential(
            model, train, valid=valid, callbacks=[*stops, *keep, *callbacks], resume=state
        )

    def figure(self, report: FitReport[Any]) -> Figure:
        """The course of a fit."""
        from etn.plot import convergence

        return convergence(report)

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


class _Opening(Callback):
    """Sets up the run folder once the first core is solved."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def on_step(self, step: Step[Sweepable]) -> None:
        self._record.open()


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
