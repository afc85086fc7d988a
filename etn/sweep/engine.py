"""The sweep engine: one loop for every local problem.

A sweep moves the orthogonality center through the chain, solves the local problem at every
site and puts the solution in place.  The engine knows neither atoms nor rows: it needs a
:class:`~etn.sweep.LocalProblem`, for two-site updates a :class:`~etn.sweep.PairProblem`, and hands
back one :class:`Step` after another, so that a progress bar, an early stop or a checkpoint is a
plain ``for`` loop.  One-site updates work on anything :class:`~etn.sweep.Sweepable`, two-site
updates and those that widen a bond on chains.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from etn.backend import Array
from etn.errors import SettingsError
from etn.network import Chain
from etn.o3 import Irrep, Irreps
from etn.sweep.problem import (
    EnrichedProblem,
    LocalProblem,
    LocalSolution,
    PairProblem,
    Sweepable,
    SweepableT,
)
from etn.sweep.schedule import Rule, Schedule
from etn.tensor import Core, absorb, embed, matricize, tensorize
from etn.tensor.factor import cut, thin_svd

SweepableT_co = TypeVar("SweepableT_co", bound=Sweepable, covariant=True)


@dataclass(frozen=True)
class Step(Generic[SweepableT_co]):
    """One local solve.

    Attributes
    ----------
    sweep : int
        Number of the sweep, from 0.
    site : int
        Where the problem was solved; the left one of two sites.
    direction : {1, -1}
        Way the center goes next: 1 to the right, -1 to the left.
    loss : float
        Objective after the solve.
    seconds : float
        Wall time of the solve.
    solution : LocalSolution
        What the problem returned, before any truncation.
    sites : int
        Cores that were updated together.
    discarded : float
        Norm of what the split of the bond dropped.
    index, n_steps : int
        Number of the step within its sweep, and how many a sweep has.
    chain : Chain, or what else is swept
        With the solution in place.
    """

    sweep: int
    site: int
    direction: int
    loss: float
    seconds: float
    solution: LocalSolution[object]
    sites: int
    discarded: float
    index: int
    n_steps: int
    chain: SweepableT_co

    @property
    def completes_sweep(self) -> bool:
        """Whether this is the last step of a sweep."""
        return self.index == self.n_steps - 1


def itinerary(n_sites: int, center: int) -> list[tuple[int, int]]:
    """Sites and directions of one sweep: from the center to the right end, to the left end, back.

    Examples
    --------
    >>> itinerary(3, center=1)
    [(1, 1), (2, -1), (1, -1), (0, 1)]
    >>> itinerary(1, center=0)
    [(0, 1)]
    """
    if n_sites == 1:
        return [(0, 1)]
    cycle = [(site, 1) for site in range(n_sites - 1)]
    cycle += [(site, -1) for site in range(n_sites - 1, 0, -1)]
    at = center if center < n_sites - 1 else n_sites - 1
    return cycle[at:] + cycle[:at]


def sweep(
    chain: SweepableT,
    problem: LocalProblem[SweepableT],
    schedule: Schedule,
    *,
    center: int | None = None,
    stage: int = 0,
    first: int = 0,
    loss: float = math.inf,
) -> Iterator[Step[SweepableT]]:
    """Sweep until the schedule says that it is enough.

    Parameters
    ----------
    chain : Chain, or anything else that is :class:`~etn.sweep.Sweepable`
    problem : LocalProblem
        Also a :class:`~etn.sweep.PairProblem` for two-site updates, an
        :class:`~etn.sweep.EnrichedProblem` for one-site updates with noise.
    schedule : Schedule
    center : int, optional
        Where each sweep starts; by default at the center of the chain, or in its middle.
    stage : int
        Which entry of the schedule's lists holds.
    first : int
        Number of the first sweep, larger than zero when a run is continued.
    loss : float
        Loss before the first sweep, if known.

    Yields
    ------
    Step
        After each local solve.

    Raises
    ------
    SettingsError
        If the schedule has updates that the problem cannot do, or that need a chain.

    Examples
    --------
    >>> from etn.sweep import Batch, LeastSquares, Schedule, sweep
    >>> from etn.testing import random_batch
    >>> chain = Chain.random(["1x0e+2x0e+2x1o"] * 2, max_bond=2, seed=0)
    >>> problem = LeastSquares(lambda: [random_batch(chain, seed=1)], ridge=1e-3)
    >>> steps = list(sweep(chain, problem, Schedule(max_sweeps=2, rel_tol=0)))
    >>> len(steps), steps[-1].loss <= steps[0].loss
    (4, True)
    """
    if center is None:
        center = len(chain) // 2 if chain.center is None else chain.center
    schedule = schedule.for_problem(problem)
    for number in range(first, schedule.sweeps(stage)):
        before = loss
        rule = schedule.at(number)
        if len(chain) == 1:
            rule = rule._replace(sites=1)
        _check(chain, problem, rule)
        update = _update_pair if rule.sites == 2 else _update
        stops = itinerary(len(chain) + 1 - rule.sites, center)
        for index, (site, direction) in enumerate(stops):
            start = time.perf_counter()
            chain, solution, discarded = update(chain, problem, site, direction, rule)
            loss = solution.loss
            yield Step(
                sweep=number,
                site=site,
                direction=direction,
                loss=loss,
                seconds=time.perf_counter() - start,
                solution=solution,
                sites=rule.sites,
                discarded=discarded,
                index=index,
                n_steps=len(stops),
                chain=chain,
            )
        if schedule.verdict(stage, number, before, loss):
            return


def _check(chain: Sweepable, problem: object, rule: Rule) -> None:
    """Refuse updates that the problem cannot do, or that what is swept has not the bonds for."""
    if rule.sites == 2:
        able, method, what = isinstance(problem, PairProblem), "solve_pair", "two-site updates"
    elif rule.noise > 0:
        able = isinstance(problem, EnrichedProblem)
        method, what = "enrichment", "one-site updates with noise"
    else:
        return
    if not able:
        raise SettingsError(f"{type(problem).__name__} has no {method}(): no {what}")
    if not isinstance(chain, Chain):
        raise SettingsError(f"{type(chain).__name__} is no chain: no {what}")


def _update(
    chain: SweepableT, problem: LocalProblem[SweepableT], site: int, direction: int, rule: Rule
) -> tuple[SweepableT, LocalSolution[object], float]:
    """Solve at a site; where the rule says so, widen the bond ahead."""
    chain = chain.canonicalize(site)
    solution = problem.solve(chain)
    chain = chain.replace(site, solution.core)
    if rule.noise == 0.0 or not 0 <= site + direction < len(chain):
        return chain, solution, 0.0
    assert isinstance(chain, Chain)
    assert isinstance(problem, EnrichedProblem)
    enriched, discarded = _enrich(chain, problem, direction, rule)
    assert isinstance(enriched, type(chain))
    return enriched, solution, discarded


def _update_pair(
    chain: SweepableT, problem: LocalProblem[SweepableT], site: int, direction: int, rule: Rule
) -> tuple[SweepableT, LocalSolution[object], float]:
    """Solve at a site and its right neighbour, and cut the bond between them."""
    if chain.center not in (site, site + 1):
        chain = chain.canonicalize(site)
    assert isinstance(chain, Chain)
    assert isinstance(problem, PairProblem)
    to_right = direction > 0
    split, solution = problem.solve_pair(chain, site).split(
        rule.truncation, center="right" if to_right else "left"
    )
    cores = [*chain.cores[:site], split.left, split.right, *chain.cores[site + 2 :]]
    updated = Chain(cores, center=site + 1 if to_right else site)
    assert isinstance(updated, type(chain))
    return updated, solution, split.discarded


def _enrich(
    chain: Chain, problem: EnrichedProblem, direction: int, rule: Rule
) -> tuple[Chain, float]:
    """Move the center over a bond that is widened by what the problem proposes.

    The isometry that stays behind spans the old columns and the proposed ones, scaled by the
    noise, as well as the truncation allows; the state itself has weight on the old ones only.
    """
    assert chain.center is not None
    site, leg = chain.center, 2 if direction > 0 else 0
    core = chain[site]
    xp = core.kind.xp
    old = matricize(core, leg)
    extra = problem.enrichment(chain, direction)
    wide = {ir: extra[ir] * rule.noise for ir in extra}
    wide |= {ir: xp.concat([m, wide[ir]], axis=1) if ir in wide else m for ir, m in old.items()}
    factors = {ir: thin_svd(m, core.kind) for ir, m in wide.items()}
    kept, _ = cut({ir: s for ir, (_, s, _) in factors.items()}, rule.truncation)
    isometries = {ir: factors[ir][0][:, :n] for ir, n in kept.items()}
    bond = {
        ir: u.T @ old[ir] if ir in old else core.kind.zeros((u.shape[1], 0))
        for ir, u in isometries.items()
    }
    total, stays = core.norm(), tensorize(isometries, core.legs, leg, core.kind)
    neighbour = _widen(chain[site + direction], bond, 2 - leg)
    cores = list(chain.cores)
    cores[site], cores[site + direction] = stays, neighbour
    discarded = math.sqrt(max(total**2 - neighbour.norm() ** 2, 0.0))
    return Chain(cores, center=site + direction), discarded


def _widen(core: Core, bond: Mapping[Irrep, Array], leg: int) -> Core:
    """Absorb a bond matrix on a leg; new irreps of the leg get blocks of zeros."""
    known = {ir: m for ir, m in bond.items() if m.shape[1]}
    narrow = absorb(core, known, leg)
    wide = Irreps([(len(bond[ir]), ir) for ir in sorted(bond)])
    return embed(narrow, (*narrow.legs[:leg], wide, *narrow.legs[leg + 1 :]))
