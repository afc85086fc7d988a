"""Lowest states of operators by DMRG: the driver of its sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from etn.errors import CoreError, NothingLeftError, SettingsError
from etn.network import Chain, Operator
from etn.o3 import Irrep, Irreps
from etn.sweep.callbacks import Callback
from etn.sweep.eigen.eigen_problem import EigenProblem, check_operator, check_states
from etn.sweep.eigen.sector import sector_dimension
from etn.sweep.grow import grow
from etn.sweep.report import Report
from etn.sweep.schedule import Schedule

# How often a search starts again, each time with twice the multiplets and higher irreps on the
# bonds, where those that it had are full of the states that it shall be orthogonal to.
STARTS = 5


def ground_state(
    operator: Operator,
    target: Irreps | str = "0e",
    *,
    schedule: Schedule | None = None,
    start: Chain | None = None,
    orthogonal_to: Sequence[Chain] = (),
    callbacks: Sequence[Callback] = (),
    tol: float = 1e-9,
    max_products: int = 8,
    seed: int = 0,
) -> Report:
    """Lowest state of an operator with a given total irrep, by DMRG.

    Parameters
    ----------
    operator : Operator
        Symmetric, with scalar ends.
    target : Irrep, Irreps or str
        Total irrep of the state: "0e" for spin 0, "1e" for spin 1.
    schedule : Schedule, optional
        What it leaves out is as in :attr:`EigenProblem.schedule_defaults`: two-site sweeps that
        discard at most 1e-7 of the norm at each split, until the energy settles to eleven digits;
        less in single precision.
    start : Chain, optional
        By default a random chain with a few multiplets of each low irrep on its bonds.
    orthogonal_to : sequence of Chain
        Lower states that were found before, for excited states; see :func:`lowest_states`.
    callbacks : sequence of Callback
    tol : float
        Residual of the local solves, relative to the energy; see :class:`EigenProblem`.
    max_products : int
        Most applications of the effective Hamiltonian in a local solve.
    seed : int
        Of the random start, which is another one for each number of lower states, and of the noise
        that replaces a start in their span.

    Returns
    -------
    Report
        With ``.energy`` and ``.chain``.  Sweeps that cannot widen a bond (one-site updates without
        noise) have not converged if two-site updates lower the energy within the same caps; the
        reason says by how much.

    Raises
    ------
    SettingsError
        If the target is not one irrep, or the start has another one.
    CoreError
        If the ends of the operator are not scalars, it is not symmetric, the sites cannot couple to
        the target, or no state is left that is orthogonal to those given.
    IrrepsError
        If a given state lives on other sites or has another total irrep.

    Notes
    -----
    In two-site updates the energies of :attr:`Report.records` are those before the bond is cut, so
    they are upper bounds of the exact energy in any case.

    Source: White, Phys. Rev. Lett. 69, 2863 (1992); with all states of a multiplet as one:
    McCulloch and Gulácsi, Europhys. Lett. 57, 852 (2002).

    Examples
    --------
    >>> from etn.network import aklt
    >>> report = ground_state(aklt(8))
    >>> round(report.energy, 10), report.converged
    (-4.6666666667, True)
    >>> report.chain.bonds[3]
    1x0e+1x1e
    """
    check_operator(operator)
    others = check_states(orthogonal_to, "orthogonal_to")
    total = Irreps(target)
    if total.num_irreps != 1:
        raise SettingsError(f'ground_state: expected one irrep such as "0e", got {total}')
    if start is not None and start.out != total:
        raise SettingsError(
            f"ground_state: the start has the total irrep {start.out}, the target is {total}"
        )
    for attempt in range(1 if start is not None else STARTS):
        multiplets = (2 + len(others)) * 2**attempt
        # From one random state all searches would see the same part of a degenerate space.
        key = [seed, attempt, len(others)] if attempt or others else seed
        rng = np.random.default_rng(key)
        chain = start or _random_state(operator, total, multiplets, rng, attempt)
        problem = EigenProblem(
            operator,
            chain,
            orthogonal_to=others,
            tol=tol,
            max_products=max_products,
            seed=seed + attempt + len(others),
        )
        if not attempt and chain.start == Irreps("1x0e"):
            check_room(operator, total, others)
        planned = (schedule or Schedule()).for_problem(problem)
        try:
            report = grow(chain, problem, schedule=planned, callbacks=callbacks)
        except NothingLeftError as error:
            failed = error
            continue
        return _checked(report, problem, planned)
    raise CoreError(f"ground_state: {failed}") from failed


def _random_state(
    operator: Operator, total: Irreps, multiplets: int, rng: np.random.Generator, attempt: int
) -> Chain:
    """A narrow chain whose bonds carry all irreps that a path to the total irrep may need."""
    open_legs = {ir for leg in (total, *operator.sites) for ir in leg.unique}
    l_max = max(total.l_max, *(2 * (1 + attempt) * site.l_max for site in operator.sites))
    parities = sorted({1, *(ir.p for ir in open_legs)})
    widest = Irreps([(multiplets, Irrep(l, p)) for l in range(l_max + 1) for p in parities])
    try:
        chain = Chain.random(operator.sites, out=total, max_bond=widest, seed=rng)
    except CoreError as error:
        raise CoreError(f"the sites of {operator!r} cannot couple to {total}") from error
    return chain.to(**vars(operator.chain.kind))


def check_room(operator: Operator, total: Irreps, others: Sequence[Chain], wanted: int = 1) -> int:
    """How many states there are beside some others.

    Raises
    ------
    CoreError
        If those are fewer than are wanted.
    """
    dimension, taken = sector_dimension(operator.sites, total), _independent(others)
    if dimension - taken < wanted:
        raise CoreError(
            f"{operator!r} has {dimension} states of total irrep {total}, of which "
            f"{dimension - taken} are orthogonal to the {len(others)} given states; there is no "
            "further state" + (f", {wanted} were asked for" if wanted > 1 else "")
        )
    return dimension - taken


def _independent(states: Sequence[Chain]) -> int:
    """How many of some states are linearly independent."""
    if len(states) < 2:
        return len(states)
    units = [state.normalize() for state in states]
    gram = np.eye(len(units))
    for i, one in enumerate(units):
        for j, two in enumerate(units[:i]):
            gram[i, j] = gram[j, i] = float(one.inner(two))
    return int((np.linalg.eigvalsh(gram) > 1e-6).sum())


def _rise(report: Report, scale: float) -> float:
    """By how much the last sweep raised the energy, beyond what the cuts of bonds explain."""
    if not report.converged or len(report.records) < 2:
        return 0.0
    before, last = report.records[-2:]
    size = max(abs(before.loss), abs(last.loss), scale)
    cut = 10 * len(report.chain) * max(before.discarded, last.discarded) ** 2
    slack = (1e-9 + 1e3 * report.chain.kind.eps + cut) * size
    return last.loss - before.loss if last.loss - before.loss > slack else 0.0


def _checked(report: Report, problem: EigenProblem, schedule: Schedule) -> Report:
    """The report, unless its bonds are those of the start and wider ones are better."""
    if (rise := _rise(report, problem.scale)) > 0:
        reason = f"{report.reason}; but it raised the energy by {rise:.1e}: allow more sweeps"
        return replace(report, converged=False, reason=reason)
    rules = [schedule.at(record.sweep - 1) for record in report.records]
    chain = report.chain
    if not report.converged or len(chain) == 1 or any(r.sites == 2 or r.noise for r in rules):
        return report
    found = []
    for site in range(len(chain) - 1):
        chain = chain.canonicalize(site)
        found.append((problem.solve_pair(chain, site).loss, site))
    energy, site = min(found)
    scale = problem.scale
    slack = 1e3 * max(1e-12, chain.kind.eps) * max(scale, abs(energy))
    if report.energy - energy <= slack:
        return report
    # What is left of it within the caps of the schedule.
    chain = chain.canonicalize(site)
    split = problem.solve_pair(chain, site).core.split(rules[-1].truncation)
    cores = [*chain.cores[:site], split.left, split.right, *chain.cores[site + 2 :]]
    gain = report.energy - problem.operator.expectation(Chain(cores, center=site + 1))
    if gain <= slack:
        return report
    reason = (
        f"{report.reason}; but one-site updates without noise keep the bonds of the start, and "
        f"{split.left.legs[2]} instead of {chain.bonds[site]} on bond {site} alone lowers the "
        f"energy by {gain:.1e}: use Schedule(sites=2) or noise"
    )
    return replace(report, converged=False, reason=reason)
