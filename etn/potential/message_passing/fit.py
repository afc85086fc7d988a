"""Fit a two-layer potential: sweeps over one chain after another.

Each sweep over a chain is logged in one line at the level INFO once its cycle is complete.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from etn.data.dataset import Dataset
from etn.data.weights import Weights, count_rows
from etn.errors import SettingsError
from etn.network import Chain
from etn.potential.features.floor import Floor
from etn.potential.fitting.fit import FitReport, fit
from etn.potential.fitting.memory import MemoryPlan
from etn.potential.fitting.objective import Objective
from etn.potential.fitting.supervision import Supervision
from etn.potential.message_passing.layers import Layers
from etn.potential.message_passing.model import MessagePassingPotential
from etn.potential.message_passing.problem import LayerProblem
from etn.potential.message_passing.rows import LayerRows
from etn.potential.message_passing.start import first_layer, make_room
from etn.potential.polynomial import PolynomialPotential
from etn.sweep import Callback, Schedule, State, SweepRecord, sweep
from etn.sweep.grow import record_sweep

__all__ = ["LayersReport", "fit_layers"]

logger = logging.getLogger(__name__)

# The order in which a cycle goes through the chains: messages change nothing until the readout
# listens, and a query nothing until there is a key that is not constant.
ORDER = ("readout", "value", "key", "query")
# Under this name the state of a fit keeps the chain without messages that it started from.
ONE_LAYER = "one_layer"


@dataclass(frozen=True)
class LayersReport(FitReport[MessagePassingPotential]):
    """Report of a fit of two layers.

    Attributes
    ----------
    records : tuple of SweepRecord
        One for each sweep over a chain, which it names; cycle 0 is the potential of one layer
        that the fit starts from.  Errors are measured at the end of each cycle.
    model : MessagePassingPotential
        The fitted potential: of the best cycle if there is a validation set, else of the last.
    one_layer : PolynomialPotential
        The potential without messages from which the fit started.
    first_records : tuple of SweepRecord
        Of the fit of one layer.
    """

    one_layer: PolynomialPotential | None = None
    first_records: tuple[SweepRecord, ...] = ()

    @property
    def history(self) -> tuple[SweepRecord, ...]:
        """All sweeps, those of the fit of one layer included."""
        return (*self.first_records, *self.records)


def fit_layers(
    model: MessagePassingPotential,
    train: Dataset,
    *,
    valid: float | Dataset | None = None,
    weights: Weights | Mapping[str, float] | None = None,
    robust: str | None = "huber",
    ridge: float | Literal["evidence"] = 1e-3,
    schedule: Schedule | None = None,
    max_cycles: int = 6,
    rel_tol: float = 1e-2,
    callbacks: Sequence[Callback] = (),
    missing: str = "error",
    memory: float | None = None,
    seed: int = 0,
    resume: State | None = None,
) -> LayersReport:
    """Fit all chains of a two-layer potential to energies, forces and stress.

    Starts from the potential of one layer, which is the readout without messages; then goes
    through the chains in turn, with one sweep over each in a cycle.  Every update is the exact
    least-squares solution for one core, so the objective

        sum_rows w^2 (prediction - label)^2 + ridge sum_chains ||T||^2

    never rises within a cycle.

    Parameters
    ----------
    model : MessagePassingPotential
        Its chains, if any, are not used.
    train : Dataset
        Frames of up to some tens of atoms: derivatives are dense in the atoms of a frame.
    valid : float or Dataset, optional
        Fraction of the training set to hold out, or a data set: measured after each cycle, never
        fitted, and it picks the best cycle.
    weights, robust, ridge, missing, memory
        As in :func:`etn.potential.fit`; robust weights and a ridge by evidence are taken anew
        after each cycle.
    schedule : Schedule, optional
        Of the fit of one layer.
    max_cycles : int
    rel_tol : float
        The fit ends once a cycle lowers the loss by less than this fraction.
    callbacks : sequence of Callback
        ``on_sweep`` is called after each sweep of the fit of one layer, and after each cycle.
    seed : int
        Of the random start and of the validation split.
    resume : State, optional
        Continue an interrupted fit from its last complete sweep of one layer, or cycle.

    Returns
    -------
    LayersReport

    Raises
    ------
    DataError
        If labels are missing, atoms coincide or a frame is too large.
    SettingsError
        If a setting is out of range.

    Examples
    --------
    >>> from etn.potential import Baseline, Basis, MessagePassingPotential, Messages
    >>> train = Dataset.read("etn:NbMoTaW/train", index="::10")
    >>> train = Dataset([frame for frame in train if frame.n_atoms <= 16])
    >>> basis = Basis.for_dataset(train, r_max=3.4, n_max=2, l_max=1)
    >>> model = MessagePassingPotential(
    ...     basis, Messages("1x0e+1x1o", n_max=2, l_max=1, body_order=2),
    ...     body_order=3, max_bond=2, baseline=Baseline.fit(train))
    >>> report = fit_layers(model, train, max_cycles=1)
    >>> [record.chain for record in report.records]
    ['readout', 'readout', 'value']
    """
    if max_cycles < 1:
        raise SettingsError(f"max_cycles: expected at least 1, got {max_cycles}")
    objective = Objective.of(weights, robust=robust, ridge=ridge, missing=missing)
    train, held_out = objective.hold_out(train, valid, seed)
    if model.basis.inner is None:
        model = model.with_layers(None, basis=model.basis.informed(train))
    single = PolynomialPotential(
        model.basis, body_order=model.body_order, max_bond=model.max_bond, baseline=model.baseline
    )
    state, first = resume, None
    if state is None or not state.others:
        first = fit(
            single, train, valid=held_out, weights=objective.weights, robust=robust, ridge=ridge,
            schedule=schedule, callbacks=callbacks, missing=missing, memory=memory, seed=seed,
            resume=state, uncertainty=False,
        )  # fmt: skip
        readout = make_room(first.chain, model.basis, model.coupling)
        senders = first_layer(model.basis, model.messages, train, seed=seed)
        others = {**senders, ONE_LAYER: first.chain}
        state = State(readout, first.records, readout, others=others, best_others=others)
    plan = MemoryPlan.for_fit(memory, train, model.basis, unknowns=_most_unknowns(state))
    rows, checks = _make_rows(model, objective, train, held_out, plan)
    n_rows = count_rows(train, objective.weights)
    supervision = Supervision(objective, rows, checks, n_rows=n_rows)
    if first is not None:
        supervision.ridge = first.ridge
    else:
        supervision.restore(_of_cycles(state.records), _layers(state.chain, state.others))
    cycles = _Cycles(rows, supervision, callbacks)
    reason = cycles.verdict(state.records, max_cycles, rel_tol)
    while not reason:
        state = cycles.next(state)
        for callback in callbacks:
            callback.on_sweep(state)
        reason = cycles.verdict(state.records, max_cycles, rel_tol)
    best = _layers(state.best, state.best_others)
    fitted, bare = model.with_layers(best), single.with_chain(state.others[ONE_LAYER])
    return LayersReport(
        records=_of_cycles(state.records),
        chain=best.readout,
        converged=reason.startswith("settled"),
        reason=reason,
        model=model.with_layers(best, floor=Floor.of(fitted, train)),
        doubts=tuple(rows.doubts(best)),
        ridge=supervision.ridge,
        one_layer=bare.with_chain(bare.chain, floor=Floor.of(bare, train)),
        first_records=tuple(record for record in state.records if not record.chain),
    )


class _Cycles:
    """One sweep over each chain in turn, from one state to the next."""

    def __init__(
        self, rows: LayerRows, supervision: Supervision[Layers], callbacks: Sequence[Callback]
    ) -> None:
        self._rows, self._supervision, self._callbacks = rows, supervision, callbacks

    def next(self, state: State) -> State:
        """The state after another cycle; cycle 0 measures what the fit starts from."""
        layers = _layers(state.chain, state.others)
        done = _of_cycles(state.records)
        number = done[-1].cycle + 1 if done else 0
        records: list[SweepRecord] = []
        for name in ORDER if number else ():
            if name not in layers.chains():
                continue
            chain, record = self._sweep(layers, name)
            layers = layers.replace(name, chain)
            records.append(replace(record, cycle=number))
        readout = layers.readout
        if not records:
            readout = readout.canonicalize(len(readout) - 1)
            records.append(self._start(layers, readout))
        measures = self._supervision.measure(layers)
        problem = LayerProblem(self._rows, layers, "readout", ridge=self._supervision.ridge)
        measures |= self._supervision.choose_ridge(problem, readout)
        records[-1] = replace(records[-1], measures=measures)
        for record in records:
            logger.info("%s", record)
        earlier = [r.measures["valid loss"] for r in done if "valid loss" in r.measures]
        improves = measures.get("valid loss", -math.inf) < min(earlier, default=math.inf)
        others = {**layers.chains(), ONE_LAYER: state.others[ONE_LAYER]}
        del others["readout"]
        return State(
            layers.readout,
            (*state.records, *records),
            layers.readout if improves else state.best,
            others=others,
            best_others=others if improves else state.best_others,
        )

    def _sweep(self, layers: Layers, name: str) -> tuple[Chain, SweepRecord]:
        problem = LayerProblem(self._rows, layers, name, ridge=self._supervision.ridge)
        steps = []
        for step in sweep(layers.chains()[name], problem, Schedule(max_sweeps=1)):
            steps.append(step)
            for callback in self._callbacks:
                callback.on_step(step)
        record, _ = record_sweep(steps, [], {})
        return steps[-1].chain, replace(record, chain=name)

    def _start(self, layers: Layers, readout: Chain) -> SweepRecord:
        begin = time.perf_counter()
        problem = LayerProblem(self._rows, layers, "readout", ridge=self._supervision.ridge)
        loss = problem.loss(readout)
        return SweepRecord(
            n_sites=len(readout), sweep=0, loss=loss, losses=(loss,), condition=None, solver="",
            seconds=time.perf_counter() - begin, n_parameters=layers.n_parameters,
            bond=str(max(readout.bonds, key=lambda bond: bond.dim)), chain="readout",
        )  # fmt: skip

    def verdict(self, records: Sequence[SweepRecord], max_cycles: int, rel_tol: float) -> str:
        """Why the fit should end after these sweeps; empty if it should go on."""
        ends = [record for record in _of_cycles(records) if record.measures]
        if not ends:
            return ""
        number = ends[-1].cycle
        if number and ends[-2].loss - ends[-1].loss < rel_tol * ends[-2].loss:
            return f"settled: cycle {number} lowered the loss by less than {rel_tol:g} of it"
        if number >= max_cycles:
            return f"{max_cycles} cycles done"
        reasons = (callback.verdict(ends) for callback in self._callbacks)
        return next(filter(None, reasons), "") if number else ""


def _make_rows(
    model: MessagePassingPotential,
    objective: Objective,
    train: Dataset,
    held_out: Dataset | None,
    plan: MemoryPlan,
) -> tuple[LayerRows, LayerRows | None]:
    def rows(data: Dataset, plan: MemoryPlan) -> LayerRows:
        return LayerRows(
            data, model.basis, model.messages, model.coupling, model.baseline,
            objective.weights, objective.huber(), plan,
        )  # fmt: skip

    # Errors are found in reverse mode, which keeps nothing: the training data get all memory.
    return rows(train, plan), None if held_out is None else rows(held_out, plan.part(0.0))


def _layers(readout: Chain, others: Mapping[str, Chain]) -> Layers:
    return Layers(readout, **{name: c for name, c in others.items() if name != ONE_LAYER})


def _of_cycles(records: Sequence[SweepRecord]) -> tuple[SweepRecord, ...]:
    return tuple(record for record in records if record.chain)


def _most_unknowns(state: State) -> int:
    chains = (state.chain, *state.others.values())
    return max(core.n_parameters for chain in chains for core in chain.cores)
