"""Fit a polynomial potential with DMRG sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, Literal, TypeVar

from etn.data.dataset import Dataset
from etn.data.robust import Doubt, describe_doubts, weighed_down, without_scales
from etn.data.weights import Weights, count_rows
from etn.errors import SettingsError
from etn.network import Chain
from etn.potential.base import Potential
from etn.potential.features.floor import Floor
from etn.potential.fitting.calibration import calibrate
from etn.potential.fitting.close_pairs import attractions
from etn.potential.fitting.memory import MemoryPlan
from etn.potential.fitting.objective import FIRST_RIDGE, Objective
from etn.potential.fitting.rows import Rows
from etn.potential.fitting.supervision import Supervision
from etn.potential.fitting.trial import judge_labels
from etn.potential.polynomial import PolynomialPotential
from etn.sweep import Callback, LeastSquares, Report, Schedule, State, grow, polish

__all__ = ["FitReport", "fit"]

Model = TypeVar("Model", bound=Potential)


@dataclass(frozen=True)
class FitReport(Report, Generic[Model]):
    """Report of a fit, with the fitted potential.

    Attributes
    ----------
    model : Potential
        Of the best sweep if there is a validation set, else of the last.
    doubts : tuple of Doubt
        Labels that a robust fit disbelieves, the worst first.
    ridge : float
        As it was given, or as the evidence chose it last.
    """

    model: Model
    doubts: tuple[Doubt, ...] = ()
    ridge: float = FIRST_RIDGE

    @property
    def facts(self) -> dict[str, float]:
        """What a model file and a report keep of it."""
        return {"ridge": self.ridge}

    @cached_property
    def warnings(self) -> list[str]:
        """What the fit says of the labels, and where its potential attracts below the data."""
        return [*describe_doubts(self.doubts), *attractions(self.model)]

    def __str__(self) -> str:
        counts = weighed_down(self.records[-1].measures) if self.records else ""
        reason = f"{self.reason}; weighed down: {counts}" if counts else self.reason
        records = tuple(replace(r, measures=without_scales(r.measures)) for r in self.records)
        table = str(Report(records, self.chain, self.converged, reason))
        return "\n".join([table, *self.warnings])


def fit(
    model: PolynomialPotential,
    train: Dataset,
    *,
    valid: float | Dataset | None = None,
    weights: Weights | Mapping[str, float] | None = None,
    robust: str | None = "huber",
    ridge: float | Literal["evidence"] = 1e-3,
    schedule: Schedule | None = None,
    refine: int = 0,
    callbacks: Sequence[Callback] = (),
    missing: str = "error",
    memory: float | None = None,
    seed: int = 0,
    resume: State | None = None,
    uncertainty: bool = True,
) -> FitReport[PolynomialPotential]:
    """Fit the chain of a potential to energies, forces and stress.

    Starts from two sites and grows in body order; every update is the exact least-squares
    solution for one core, all data rows and the gauge-invariant ridge included.

    Parameters
    ----------
    model : PolynomialPotential
        Basis, baseline, body order and bonds; its chain, if any, is not used.
    train : Dataset
    valid : float or Dataset, optional
        Fraction of the training set to hold out, or a data set: measured after each sweep,
        never fitted, and it picks the best sweep.
    weights : Weights or mapping
        See :class:`Weights`.
    robust : {"huber", None}
        "huber": labels far from the fit, by the scale of all of them, pull on it less, see
        :mod:`etn.data.robust`; the weights are taken anew after each sweep.
    ridge : float or "evidence"
        Weight of ||T||^2 in the loss, (eV/Å)^2 with the default weights. With "evidence" it is
        chosen anew after each sweep as what makes the labels most likely, see
        :mod:`etn.sweep.regression.evidence`; it starts with 1e-3, and the records have it as
        "ridge". The
        loss then does not rise within a sweep, but may between two.
    schedule : Schedule, optional
        Two-site updates may share out the multiplets of a bond among its irreps anew. Without a
        cap of their own they keep to the ``max_bond`` of the model.
    refine : int
        Steps of all cores together after the sweeps, see :func:`etn.sweep.refine`.
    callbacks : sequence of Callback
    missing : {"error", "skip"}
        What to do with a frame that lacks a label with a weight: refuse, or leave out that
        label of that frame.
    memory : float, optional
        Most memory of the process, GB; by default four fifths of what the machine has left.
        Features that do not fit are computed anew, and a core whose Gram matrix does not fit is
        solved without it.
    seed : int
        Of the random start and of the validation split.
    resume : State, optional
        Continue an interrupted fit; joint steps are taken anew.
    uncertainty : bool
        Whether to end with ``model.uncertainty``, error bars and extrapolation grades: takes
        about as long as two solves at an end of the chain.

    Returns
    -------
    FitReport

    Raises
    ------
    DataError
        If labels are missing, or atoms coincide.
    SettingsError
        If a setting is out of range.

    Examples
    --------
    >>> from etn.potential import Baseline, Basis, Dataset
    >>> train = Dataset.read("etn:Mo/train", index="::20")
    >>> model = PolynomialPotential(
    ...     Basis.for_dataset(train, r_max=4.0, n_max=4, l_max=1),
    ...     body_order=3, max_bond=2, baseline=Baseline.fit(train))
    >>> report = fit(model, train, schedule=Schedule(max_sweeps=1))
    >>> report.model
    PolynomialPotential(Mo, body order 3, bonds up to 2x0e+2x1o, 36 parameters)
    """
    if refine < 0:
        raise SettingsError(f"refine: expected zero or more, got {refine}")
    objective = Objective.of(weights, robust=robust, ridge=ridge, missing=missing)
    train, held_out = objective.hold_out(train, valid, seed)
    if model.basis.inner is None:
        model = model.with_chain(None, basis=model.basis.informed(train))
    start = model.initial_chain(seed=seed)
    plan = MemoryPlan.for_fit(
        memory, train, model.basis, unknowns=_most_unknowns(start, model.body_order - 1)
    )
    rows, checks = make_rows(model, objective, train, held_out, plan)
    problem = LeastSquares(
        rows.builders, ridge=objective.ridge, max_grams=plan.grams, threads=plan.threads,
        offset=lambda: rows.offset,
    )  # fmt: skip
    supervision = Supervision(objective, rows, checks, n_rows=count_rows(train, objective.weights))
    if resume is not None:
        supervision.restore(resume.records, resume.chain)
        problem.ridge = supervision.ridge
    else:
        judge_labels(rows, problem, start)

    def measure(chain: Chain) -> dict[str, float]:
        return supervision.measure(chain) | supervision.choose_ridge(problem, chain)

    report = grow(
        start, problem, n_sites=model.body_order - 1, callbacks=callbacks, measure=measure,
        schedule=_capped(schedule or Schedule(), model), select="valid loss", resume=resume,
    )  # fmt: skip
    if refine:
        report = polish(
            report, problem, max_steps=refine, callbacks=callbacks, measure=supervision.measure,
            select="valid loss",
        )  # fmt: skip
    model = model.with_chain(report.chain)
    floor = Floor.of(model, train)
    doubts = tuple(rows.doubts(report.chain))
    found = None
    if uncertainty:
        found = calibrate(model, rows, ridge=problem.ridge, valid=held_out)
    model = model.with_chain(report.chain, uncertainty=found, floor=floor)
    return FitReport(
        report.records, report.chain, report.converged, report.reason,
        model, doubts, problem.ridge,
    )  # fmt: skip


def make_rows(
    model: PolynomialPotential,
    objective: Objective,
    train: Dataset,
    held_out: Dataset | None,
    plan: MemoryPlan,
) -> tuple[Rows, Rows | None]:
    """Rows of the training and of the validation data, each with its part of the memory."""
    n_held_out = 0 if held_out is None else held_out.n_atoms
    fraction = train.n_atoms / (train.n_atoms + n_held_out)

    def rows(data: Dataset, part: float) -> Rows:
        return Rows(
            data, model.basis, model.baseline, objective.weights, objective.huber(),
            plan.part(part),
        )  # fmt: skip

    found = rows(train, fraction)
    if not len(found):
        raise SettingsError("weights: no label of the training set has a weight above zero")
    return found, None if held_out is None else rows(held_out, 1 - fraction)


def _capped(schedule: Schedule, model: PolynomialPotential) -> Schedule:
    """The schedule with the bonds of the model as its caps, if it has none."""
    caps = (schedule.max_bond, schedule.max_multiplets, schedule.max_parameters)
    return replace(schedule, max_bond=model.max_bond) if caps == ((None,),) * 3 else schedule


def _most_unknowns(chain: Chain, n_sites: int) -> int:
    """Unknowns of the largest core of a chain that grows to this length."""
    if n_sites > len(chain):  # all inner cores are alike, so one shows
        chain = chain.insert(1)
    return max(core.n_parameters for core in chain.cores)
