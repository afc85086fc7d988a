"""Runs of sweeps on a chain that grows in body order.

Each complete sweep is recorded, handed to the callbacks and logged in one line at the level INFO.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from etn.network import Chain
from etn.sweep.callbacks import Callback, State
from etn.sweep.engine import Step, sweep
from etn.sweep.problem import LocalProblem
from etn.sweep.report import Measure, Report, SweepRecord
from etn.sweep.schedule import Schedule
from etn.tensor import Spectrum

logger = logging.getLogger(__name__)


def grow(
    chain: Chain,
    problem: LocalProblem[Chain],
    *,
    n_sites: int | None = None,
    schedule: Schedule,
    callbacks: Sequence[Callback] = (),
    measure: Measure | None = None,
    select: str = "",
    channel: int = 0,
    resume: State | None = None,
) -> Report:
    """Sweep, insert a site, sweep again, until the chain has its length.

    A new site enters in the middle of the chain as the identity through the constant channel
    of its leg: each length starts from the function that the one before ended with, and the
    loss never rises.

    Parameters
    ----------
    chain : Chain
        To start with.
    problem : LocalProblem
    n_sites : int, optional
        Length of the final chain; that of the given chain by default.
    schedule : Schedule
        Stage 0 is the length of the given chain.
    callbacks : sequence of Callback
    measure : callable, optional
        Figures to record after each sweep.
    select : str
        Measure whose lowest value picks the resulting chain; the last chain if empty or
        not measured.
    channel : int
        Constant channel of the legs.
    resume : State, optional
        Continue a run from where its state was saved; the result is that of the
        uninterrupted run.

    Returns
    -------
    Report
    """
    schedule = schedule.for_problem(problem)
    shortest = len(chain)
    longest = shortest if n_sites is None else n_sites
    state = resume or State(chain.canonicalize(_home(len(chain))), (), chain)
    while True:
        stage = len(state.chain) - shortest
        reason = _verdict(state.records, len(state.chain), schedule, stage, callbacks)
        if not reason:
            sweeps = _stage(state, problem, schedule, stage, callbacks, measure, select)
            for state in sweeps:
                reason = _verdict(state.records, len(state.chain), schedule, stage, callbacks)
                if reason:
                    break
        if len(state.chain) >= longest:
            return Report(state.records, state.best, reason.startswith("settled"), reason)
        state = State(_longer(state.chain, channel), state.records, state.best)


def _home(n_sites: int) -> int:
    """Where the sweeps of a chain start; a chain grows by inserting this site."""
    return n_sites // 2 if n_sites > 2 else 0


def _longer(chain: Chain, channel: int) -> Chain:
    site = _home(len(chain) + 1)
    inserted = chain.canonicalize(min(site, len(chain) - 1)).insert(site, channel=channel)
    return inserted.canonicalize(site)


def _verdict(
    records: Sequence[SweepRecord],
    n_sites: int,
    schedule: Schedule,
    stage: int,
    callbacks: Sequence[Callback],
) -> str:
    at_stage = [record for record in records if record.n_sites == n_sites]
    if not at_stage:
        return ""
    before = at_stage[-2].loss if len(at_stage) > 1 else math.inf
    last = at_stage[-1]
    reason = schedule.verdict(stage, len(at_stage) - 1, before, last.loss, last.spectrum_change)
    for callback in callbacks:
        reason = reason or callback.verdict(records)
    return reason


def _stage(
    state: State,
    problem: LocalProblem[Chain],
    schedule: Schedule,
    stage: int,
    callbacks: Sequence[Callback],
    measure: Measure | None,
    select: str,
) -> Iterator[State]:
    """Sweep at one length; yields the state after each complete sweep."""
    chain = state.chain
    done = [record for record in state.records if record.n_sites == len(chain)]
    steps: list[Step[Chain]] = []
    spectra = chain.spectra() if done else []
    for step in sweep(
        chain,
        problem,
        schedule,
        center=_home(len(chain)),
        stage=stage,
        first=len(done),
        loss=done[-1].loss if done else math.inf,
    ):
        steps.append(step)
        for callback in callbacks:
            callback.on_step(step)
        if not step.completes_sweep:
            continue
        record, spectra = record_sweep(steps, spectra, dict(measure(step.chain)) if measure else {})
        steps = []
        earlier = [r.measures[select] for r in state.records if select in r.measures]
        improves = record.measures.get(select, -math.inf) < min(earlier, default=math.inf)
        logger.info("%s", record)
        state = State(step.chain, (*state.records, record), step.chain if improves else state.best)
        for callback in callbacks:
            callback.on_sweep(state)
        yield state


def record_sweep(
    steps: Sequence[Step[Chain]], before: list[Spectrum], measures: Mapping[str, float]
) -> tuple[SweepRecord, list[Spectrum]]:
    """Record of a sweep, and the spectra that the next one is compared with."""
    chain = steps[-1].chain
    spectra = chain.spectra()
    changes = [new.change(old) for new, old in zip(spectra, before, strict=False)]
    solvers = [step.solution.solver for step in steps]
    record = SweepRecord(
        n_sites=len(chain),
        sweep=steps[-1].sweep + 1,
        loss=steps[-1].loss,
        losses=tuple(step.loss for step in steps),
        condition=_largest(step.solution.condition for step in steps),
        solver=next((name for name in ("cg", "qr") if name in solvers), solvers[-1]),
        seconds=sum(step.seconds for step in steps),
        n_parameters=chain.n_parameters,
        bond=str(max(chain.bonds, key=lambda bond: bond.dim, default=chain.out)),
        measures=measures,
        discarded=max(step.discarded for step in steps),
        spectrum_change=_largest(changes),
        gradient=_largest(step.solution.gradient for step in steps),
    )
    return record, spectra


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
