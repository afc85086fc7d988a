"""The sweep engine: one loop for every local problem.

A sweep moves the orthogonality center through the chain, solves the local problem at every
site and puts the solution in place.  The engine knows neither atoms nor rows: it needs an
object with a ``solve(chain)`` method and hands back one :class:`Step` after another, so that
a progress bar, an early stop or a checkpoint is a plain ``for`` loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from etn.network import Chain
from etn.sweep.least_squares import LocalSolution
from etn.sweep.schedule import Schedule


class LocalProblem(Protocol):
    """Finds the best center core of a canonical chain, all other cores fixed."""

    def solve(self, chain: Chain) -> LocalSolution:
        """Solve at ``chain.center``."""
        ...


@dataclass(frozen=True)
class Step:
    """One local solve.

    Attributes
    ----------
    sweep : int
        Number of the sweep, from 0.
    site : int
        Where the problem was solved.
    direction : {1, -1}
        Way the center goes next: 1 to the right, -1 to the left.
    loss : float
        Objective after the solve.
    seconds : float
        Wall time of the solve.
    condition : float
        Condition estimate of the solved system.
    solver : str
        Which solver gave the result.
    index, n_steps : int
        Number of the step within its sweep, and how many a sweep has.
    chain : Chain
        With the solution in place, center at ``site``.
    """

    sweep: int
    site: int
    direction: int
    loss: float
    seconds: float
    condition: float
    solver: str
    index: int
    n_steps: int
    chain: Chain

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
    chain: Chain,
    problem: LocalProblem,
    schedule: Schedule,
    *,
    center: int | None = None,
    stage: int = 0,
    first: int = 0,
    loss: float = math.inf,
) -> Iterator[Step]:
    """Sweep until the schedule says that it is enough.

    Parameters
    ----------
    chain : Chain
    problem : LocalProblem
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
    stops = itinerary(len(chain), center)
    for number in range(first, schedule.sweeps(stage)):
        before = loss
        for index, (site, direction) in enumerate(stops):
            start = time.perf_counter()
            chain = chain.canonicalize(site)
            solution = problem.solve(chain)
            chain = chain.replace(site, solution.core)
            loss = solution.loss
            yield Step(
                sweep=number,
                site=site,
                direction=direction,
                loss=loss,
                seconds=time.perf_counter() - start,
                condition=solution.condition,
                solver=solution.solver,
                index=index,
                n_steps=len(stops),
                chain=chain,
            )
        if schedule.verdict(stage, number, before, loss):
            return
