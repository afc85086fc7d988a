r"""Joint refinement: all cores of a chain at once, by the method of Levenberg and Marquardt.

Sweeps change one or two cores at a time.  Where all sites read the same vector only the
symmetric part of the tensor is seen, the cores depend on each other strongly, and sweeps crawl or
stop early.  The Jacobian of the predictions with respect to all cores is the designs of the
single cores side by side; one linear solve moves them all.

Changes of a bond's basis change cores, but no prediction; they are left out, see
:mod:`etn.sweep.regression.tangent`.  How a step is solved for is the business of
:mod:`etn.sweep.regression.joint`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from etn.errors import SettingsError
from etn.network import Chain
from etn.sweep.callbacks import Callback
from etn.sweep.problem import JointProblem
from etn.sweep.report import Measure, Report, SweepRecord

logger = logging.getLogger(__name__)

# Damping at which a step is as short as rounding.
MAX_DAMPING = 1e12


@dataclass(frozen=True)
class Refinement:
    """What a joint refinement did.

    Attributes
    ----------
    chain : Chain
    losses : tuple of float
        Objective before the first step and after each one; falling.
    damping : tuple of float
        Damping with which each step was accepted.
    converged : bool
        Whether it ended because the loss settled.
    reason : str
        Why it ended.
    """

    chain: Chain
    losses: tuple[float, ...]
    damping: tuple[float, ...]
    converged: bool
    reason: str

    def __str__(self) -> str:
        first, last = self.losses[0], self.losses[-1]
        return f"loss {first:.6g} -> {last:.6g} in {len(self.damping)} joint steps: {self.reason}"


class Refined(NamedTuple):
    """The chain after a joint step.

    Attributes
    ----------
    chain : Chain
    loss : float
    damping : float
        With which the step was accepted.
    """

    chain: Chain
    loss: float
    damping: float


def refine(
    chain: Chain,
    problem: JointProblem,
    *,
    center: int | None = None,
    max_steps: int = 60,
    rel_tol: float = 1e-6,
    damping: float = 1e-2,
    exact: bool | None = None,
) -> Refinement:
    r"""Lower the loss of a chain by moving all its cores together.

    Each step minimizes the linearized loss with a damping term,

    .. math:: \min_\delta |J \delta - r|^2 + \lambda |C + \delta_C|^2
        + \mu \Bigl( \sum_{k \ne c} |\delta_k|^2 + |\delta_C|^2 / |C|^2 \Bigr),

    with r the residuals, C the center core and :math:`\lambda` the ridge.  A step that lowers the
    loss is taken, and :math:`\mu` follows the ratio of the gain to the predicted one (H. B.
    Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05); else it is tried again with
    more damping.  The bonds keep their irreps.  With N rows and P unknowns in all an exact step
    takes about 2 N P^2 + 4 P^3 flops for a :class:`Regression` and half of that for
    :class:`LeastSquares`; one by conjugate gradients a few evaluations of the chain with its
    gradient for each iteration.

    Parameters
    ----------
    chain : Chain
    problem : Regression or LeastSquares
    center : int, optional
        Core that carries the norm of the tensor; by default the middle one.
    max_steps : int
    rel_tol : float
        Ends once two steps in a row, each accepted at once, lower the loss by less than this
        fraction.
    damping : float
        To start with, relative to the mean squared column of J.
    exact : bool, optional
        For :class:`LeastSquares`: whether steps are solved through the matrix J^T J, or without
        it by conjugate gradients.  By default through the matrix where it is small.

    Returns
    -------
    Refinement

    Raises
    ------
    SettingsError
        If a number is out of range.
    IrrepsError, CoreError
        If the chain does not fit the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from etn.sweep import Regression
    >>> x = np.random.default_rng(0).normal(size=(100, 4))
    >>> problem = Regression(x, (x**2) @ [1, -2, -2, -2], sites="1x0e+1x1o")
    >>> found = refine(Chain.random(["1x0e+1x1o"] * 2, max_bond=1), problem)
    >>> found.converged, found.losses[-1] < 1e-20
    (True, True)
    """
    steps = joint_steps(
        chain,
        problem,
        center=center,
        max_steps=max_steps,
        rel_tol=rel_tol,
        damping=damping,
        exact=exact,
    )
    found = [next(steps)]
    while True:
        try:
            found.append(next(steps))
        except StopIteration as end:
            reason: str = end.value
            break
    return Refinement(
        found[-1].chain,
        tuple(step.loss for step in found),
        tuple(step.damping for step in found[1:]),
        not reason.startswith("reached"),
        reason,
    )


def joint_steps(
    chain: Chain,
    problem: JointProblem,
    *,
    center: int | None = None,
    max_steps: int = 60,
    rel_tol: float = 1e-6,
    damping: float = 1e-2,
    exact: bool | None = None,
) -> Generator[Refined, None, str]:
    """The steps of :func:`refine`, which has the parameters, one after another.

    Yields
    ------
    Refined
        Before the first step, and after each one.

    Returns
    -------
    str
        Why it ended.
    """
    if max_steps < 0 or not 0 <= rel_tol < math.inf or not 0 < damping < math.inf:
        raise SettingsError(
            "refine: expected max_steps >= 0, rel_tol >= 0 and damping > 0, got "
            f"{max_steps}, {rel_tol} and {damping}"
        )
    chain = chain.canonicalize(len(chain) // 2 if center is None else center)
    loss = problem.loss(chain)
    yield Refined(chain, loss, damping)
    # What rounding leaves of a perfect fit.
    floor = (1e3 * chain.kind.eps) ** 2 * problem.size
    growth, idle = 2.0, 0
    for number in range(max_steps):
        if number:
            # What is done with a step may change the loss, as the weights of a robust one do.
            loss = problem.loss(chain)
        if reason := _settled(loss, floor, idle, rel_tol):
            return reason
        model = problem.linearize(chain, exact=exact)
        at_once, before = True, loss
        while damping < MAX_DAMPING:
            step = model.step(damping)
            moved = model.move(step.x).canonicalize(model.center)
            loss = problem.loss(moved)
            ratio = (before - loss) / step.gain if step.gain > 0 else -1.0
            # Written such that a loss that is not a number fails.
            if ratio > 1e-4:
                break
            at_once = False
            damping *= growth
            growth *= 2
        else:
            return "settled: no joint step lowers the loss"
        chain = moved
        idle = idle + 1 if at_once and before - loss <= rel_tol * before else 0
        yield Refined(chain, loss, damping)
        damping = max(damping * max(1 / 3, 1 - (2 * ratio - 1) ** 3), chain.kind.eps)
        growth = 2.0
    return _settled(loss, floor, idle, rel_tol) or f"reached max_steps = {max_steps}"


def polish(
    report: Report,
    problem: JointProblem,
    *,
    max_steps: int,
    damping: float = 1e-5,
    callbacks: Sequence[Callback] = (),
    measure: Measure | None = None,
    select: str = "",
) -> Report:
    """Follow the sweeps of a report by joint steps.

    Parameters
    ----------
    report : Report
    problem : Regression or LeastSquares
    max_steps, damping
        See :func:`refine`.
    callbacks : sequence of Callback
        ``on_joint`` is called.  No state is saved on the way: a run that is continued takes the
        joint steps anew, from the sweeps that it has.
    measure, select
        As in :func:`~etn.sweep.grow`: the chain with the lowest measure is kept, that of the
        sweeps included.

    Returns
    -------
    Report
        With one record for each step.
    """
    records, best = list(report.records), report.chain
    lowest = min((r.measures[select] for r in records if select in r.measures), default=math.inf)
    steps = joint_steps(best, problem, max_steps=max_steps, damping=damping)
    next(steps)
    while True:
        start = time.perf_counter()
        try:
            chain, loss, _ = next(steps)
        except StopIteration as end:
            reason = f"{report.reason}; joint steps: {end.value}"
            return replace(report, records=tuple(records), chain=best, reason=reason)
        seconds = time.perf_counter() - start
        record = SweepRecord(
            n_sites=len(chain),
            sweep=records[-1].sweep + 1 if records else 1,
            loss=loss,
            losses=(loss,),
            condition=None,
            solver="joint",
            seconds=seconds,
            n_parameters=chain.n_parameters,
            bond=str(max(chain.bonds, key=lambda bond: bond.dim, default=chain.out)),
            measures=dict(measure(chain)) if measure else {},
        )
        records.append(record)
        logger.info("%s", record)
        value = record.measures.get(select)
        if value is None or value < lowest:
            best, lowest = chain, math.inf if value is None else value
        for callback in callbacks:
            callback.on_joint(record)


def _settled(loss: float, floor: float, idle: int, rel_tol: float) -> str:
    if loss <= floor:
        return "settled: the samples are met to rounding"
    if idle >= 2:
        return f"settled: two joint steps lowered the loss by less than {rel_tol:g}"
    return ""
