"""Several lowest states of one total irrep, degenerate ones included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.network import Chain, Operator
from etn.o3 import Irreps
from etn.sweep.eigen.dmrg import check_room, ground_state
from etn.sweep.eigen.eigen_problem import check_operator, check_states
from etn.sweep.eigen.sector import MAX_EXACT, sector_dimension, sector_energies
from etn.sweep.report import Report
from etn.tensor.scale import is_whole

# From the seed of one search to that of the next.
SEED_STEP = 7919


@dataclass(frozen=True)
class StateReport(Report):
    """The search for one of several states.

    Attributes
    ----------
    degenerate : tuple of int
        Numbers, in the list of states, of those with the energy of this one; with its own.
    more : bool or None
        Whether further states of this energy exist, that are not in the list; None where nobody
        has looked.
    counted : bool
        Whether the states were compared with the exact spectrum of this total irrep.
    """

    degenerate: tuple[int, ...] = ()
    more: bool | None = None
    counted: bool = False


def lowest_states(
    operator: Operator,
    n_states: int,
    target: Irreps | str = "0e",
    *,
    orthogonal_to: Sequence[Chain] = (),
    verify: bool = True,
    degenerate_tol: float = 1e-8,
    seed: int = 0,
    **options: Any,
) -> list[StateReport]:
    """Lowest states of an operator with a given total irrep, by rising energy.

    Each search starts from a seed of its own, orthogonal to what was found before, so that all
    members of a degenerate multiplet are found.

    Parameters
    ----------
    operator : Operator
    n_states : int
    target : Irrep, Irreps or str
    orthogonal_to : sequence of Chain
        States that were found before.
    verify : bool
        Look for what was missed: in a space of up to 400 states by its exact spectrum, in a larger
        one by one search more.  Where a state turns up below others it takes its place among them,
        its reason says so, and the search goes on.
    degenerate_tol : float
        Energies are equal that differ by less than this, relative to the largest modulus of them
        and of the root of the mean square of all.
    seed : int
        Of the first search; the others have seeds that follow from it.
    **options
        Of :func:`ground_state`, for every state.

    Returns
    -------
    list of StateReport
        Degenerate states are named in the reason, and in :attr:`StateReport.degenerate`.  A state
        whose energy is not that of the exact spectrum, where this is known, has not converged.

    Raises
    ------
    SettingsError
        If less than one state is asked for.
    CoreError
        As in :func:`ground_state`; also if there are fewer states.

    Notes
    -----
    The other states are projected out of each local problem.  A cut of a bond mixes a little of
    them in again, and what a lower state lacks it leaves to the next: excited energies are upper
    bounds only up to the errors of the states below.

    In a space too large for its exact spectrum a state can be missed by all searches: no method of
    this kind can exclude it.

    Examples
    --------
    >>> from etn.network import heisenberg
    >>> states = lowest_states(heisenberg(5), 5)
    >>> [round(state.energy, 8) for state in states]
    [-5.28356705, -4.0, -2.3365088, -1.0, -1.0]
    >>> states[3].degenerate
    (3, 4)
    """
    if not is_whole(n_states) or n_states < 1:
        raise SettingsError(f"lowest_states: expected at least one state, got {n_states!r}")
    check_operator(operator)
    given, total = check_states(orthogonal_to, "orthogonal_to"), Irreps(target)
    if total.num_irreps != 1:
        raise SettingsError(f'lowest_states: expected one irrep such as "0e", got {total}')
    room = check_room(operator, total, given, n_states)
    exact = None
    if verify and sector_dimension(operator.sites, total) <= MAX_EXACT:
        exact = sector_energies(operator, total, given)
    typical = operator.typical_energy()
    tol = max(degenerate_tol, 1e2 * operator.chain.kind.eps)
    found: list[Report] = []
    slack, settled = 0.0, False
    # A search beyond those asked for may show that one was missed; so may the next, but not
    # forever.
    for number in range(2 * n_states + 4):
        if len(found) >= n_states and (settled or not verify or len(found) >= room):
            break
        report = ground_state(
            operator,
            total,
            orthogonal_to=[*given, *(one.chain for one in found)],
            seed=seed + number * SEED_STEP,
            **options,
        )
        overlap = _overlap(report.chain, [*given, *(one.chain for one in found)])
        if overlap > max(1e-3, 1e3 * operator.chain.kind.eps):
            text = f"{report.reason}; but its overlap with a state before it is {overlap:.1g}"
            report = replace(report, converged=False, reason=text)
        slack = tol * max(typical, *(abs(one.energy) for one in (report, *found)))
        if any(report.energy < other.energy - slack for other in found):
            text = f"{report.reason}; found after states of higher energy, and put before them"
            report = replace(report, reason=text)
        found.append(report)
        found.sort(key=lambda one: one.energy)
        if len(found) < n_states:
            continue
        if exact is not None:
            settled = not any(
                _missed(one, exact[k], slack) for k, one in enumerate(found[:n_states])
            )
        elif len(found) > n_states:
            settled = report.energy >= found[n_states].energy - slack
    return [
        _described(found, number, n_states, slack, exact, complete=verify and len(found) >= room)
        for number in range(n_states)
    ]


def _overlap(state: Chain, others: Sequence[Chain]) -> float:
    """Largest product of a state and others, all of norm one."""
    unit = state.normalize()
    return max((abs(float(unit.inner(other.normalize()))) for other in others), default=0.0)


def _missed(report: Report, exact: float, slack: float) -> bool:
    """Whether an energy is not that of the exact spectrum, up to what the cuts of bonds explain."""
    cut = len(report.chain) * report.records[-1].discarded ** 2
    return abs(report.energy - exact) > slack + 10 * cut * abs(report.energy)


def _described(
    found: Sequence[Report],
    number: int,
    n_states: int,
    slack: float,
    exact: FloatArray | None,
    *,
    complete: bool,
) -> StateReport:
    """The report of a state with its place among the others."""
    report = found[number]
    energy, reason, converged = report.energy, report.reason, report.converged
    alike = [k for k, other in enumerate(found) if abs(other.energy - energy) <= slack]
    group = tuple(k for k in alike if k < n_states)
    more: bool | None = None
    if exact is not None:
        more = int((abs(exact - exact[number]) <= slack).sum()) > len(group)
    elif complete or len(found) > n_states:
        more = len(alike) > len(group)
    if len(group) > 1 or more:
        others = "states " + ", ".join(map(str, group)) if len(group) > 1 else f"state {number}"
        reason += f"; degenerate: {others} of this list" + (" and more" if more else "")
        reason += " have this energy"
    if exact is not None and _missed(report, exact[number], slack):
        converged = False
        reason += (
            f"; but the exact energy of state {number} is {exact[number]:.12g}, not {energy:.12g}: "
            "allow wider bonds or more sweeps, or try another seed"
        )
    return StateReport(
        report.records, report.chain, converged, reason, group, more, exact is not None
    )
