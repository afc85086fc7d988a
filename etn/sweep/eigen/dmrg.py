"""Lowest states of operators by DMRG: the eigenvalue problem of sweeps, and its driver.

The energy of a chain, all cores but one or two neighbouring ones fixed, is that of an effective
Hamiltonian in the space of the free blocks.  Its lowest state is found by the Lanczos method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etn.backend import Array
from etn.errors import CoreError, SettingsError
from etn.network import Chain, Operator
from etn.o3 import Irrep, Irreps
from etn.sweep.bond_cache import Carried
from etn.sweep.callbacks import Callback
from etn.sweep.eigen.block_operators import (
    BlockOperators,
    Side,
    end_block,
    enlarge,
    project,
    site_tables,
)
from etn.sweep.eigen.effective_hamiltonian import EffectiveHamiltonian
from etn.sweep.eigen.krylov import lowest_eigenpair
from etn.sweep.eigen.other_state import OtherState
from etn.sweep.grow import grow
from etn.sweep.problem import LocalSolution
from etn.sweep.report import Report
from etn.sweep.schedule import Schedule
from etn.tensor import Core, Pair, embed, matricize, merge, tensorize
from etn.tensor.pair import couplings, pair_shapes


class EigenProblem:
    """The lowest state of a scalar symmetric operator among chains of one total irrep.

    One-site and two-site updates by the Lanczos method, in the space of reduced blocks; see
    :mod:`etn.sweep.eigen.effective_hamiltonian`.

    Parameters
    ----------
    operator : Operator
    state : Chain
        Any chain with the legs of the states that are looked for.
    orthogonal_to : sequence of Chain
        States with the same legs to which the result stays orthogonal.
    tol : float
        Residual at which a local solve ends, relative to the largest modulus of the energies that
        it has met; see :func:`etn.sweep.eigen.krylov.lowest_eigenpair`.
    max_products : int
        Most applications of the effective Hamiltonian in a local solve.

    Raises
    ------
    CoreError
        If the ends of the operator are not scalars, or the operator or a state differs from the
        state in its kind of arrays.
    IrrepsError
        If the operator or a state lives on other sites, or a state has another total irrep.

    Examples
    --------
    >>> from etn.network import heisenberg
    >>> from etn.sweep import sweep
    >>> hamiltonian = heisenberg(6)
    >>> state = Chain.random(hamiltonian.sites, max_bond=2, seed=0)
    >>> problem = EigenProblem(hamiltonian, state)
    >>> for step in sweep(state, problem, Schedule(sites=2, max_sweeps=3)):
    ...     energy = step.loss
    >>> round(energy, 10)
    -7.3702749694
    """

    def __init__(
        self,
        operator: Operator,
        state: Chain,
        *,
        orthogonal_to: Sequence[Chain] = (),
        tol: float = 1e-9,
        max_products: int = 8,
    ) -> None:
        operator.check_state(state)
        if not _is_scalar(operator.chain.start) or not _is_scalar(operator.chain.out):
            raise CoreError(
                "an eigenvalue problem needs an operator whose ends are scalars 1x0e, got "
                f"{operator.chain.start} and {operator.chain.out}"
            )
        self.operator = operator
        self.tol = tol
        self.max_products = max_products
        sides: tuple[Side, Side] = ("left", "right")
        self._tables = {side: site_tables(operator, side) for side in sides}
        self._recent: dict[Side, tuple[BlockOperators, set[Irrep], BlockOperators]] = {}
        self._left = Carried(end_block(state.start, operator), self._step_left)
        self._right = Carried(end_block(state.out, operator), self._step_right)
        self._others = [OtherState(other, state) for other in orthogonal_to]

    def _step_left(self, site: int, core: Core, block: BlockOperators) -> BlockOperators:
        bond, new = core.legs[0], core.legs[2]
        return project(self._enlarged("left", site, block, bond, new.unique), matricize(core, 2))

    def _step_right(self, number: int, core: Core, block: BlockOperators) -> BlockOperators:
        site = len(self.operator) - 1 - number
        bond, new = core.legs[2], core.legs[0]
        return project(self._enlarged("right", site, block, bond, new.unique), matricize(core, 0))

    def _enlarged(
        self, side: Side, site: int, block: BlockOperators, bond: Irreps, wanted: Sequence[Irrep]
    ) -> BlockOperators:
        recent = self._recent.get(side)
        # The block that was enlarged to solve a site is the one that the center moves over next.
        if recent and recent[0] is block and recent[1].issuperset(wanted):
            return recent[2]
        found = enlarge(block, bond, self._tables[side][site], wanted)
        self._recent[side] = (block, set(wanted), found)
        return found

    def _blocks(self, chain: Chain, first: int, last: int) -> tuple[BlockOperators, BlockOperators]:
        left = self._left.after(chain.cores[:first])
        right = self._right.after(chain.cores[:last:-1])
        return left, right

    def solve(self, chain: Chain) -> LocalSolution[Core]:
        """Lowest state, one core free.

        Raises
        ------
        CoreError
            If the chain has no center.
        """
        if chain.center is None:
            raise CoreError("DMRG needs a canonical chain: canonicalize(center) it first")
        site = chain.center
        core = chain[site]
        left, right = self._blocks(chain, site, site)
        rows = couplings(core.legs[0], core.legs[1])
        bond = core.legs[2]
        shapes = {ir: (rows[ir], bond.count(ir)) for ir in sorted(bond.unique) if ir in rows}
        enlarged = self._enlarged("left", site, left, core.legs[0], list(shapes))
        others = [other.seen_from(chain, site, site) for other in self._others]
        start = matricize(core, 2)
        matrices, energy, gradient = self._lowest(
            EffectiveHamiltonian(enlarged, right, shapes, chain.kind), start, others
        )
        solved = tensorize(matrices, core.legs, 2, chain.kind)
        return LocalSolution(embed(solved, core.legs), energy, None, "lanczos", gradient)

    def solve_pair(self, chain: Chain, site: int) -> LocalSolution[Pair]:
        """Lowest state, two neighbouring cores free."""
        pair = merge(chain[site], chain[site + 1])
        left, right = self._blocks(chain, site, site + 1)
        bond0, *_, bond1 = pair.legs
        shapes = pair_shapes(pair.legs)
        enlarged = (
            self._enlarged("left", site, left, bond0, list(shapes)),
            self._enlarged("right", site + 1, right, bond1, list(shapes)),
        )
        others = [other.seen_from(chain, site, site + 1) for other in self._others]
        matrices, energy, gradient = self._lowest(
            EffectiveHamiltonian(*enlarged, shapes, chain.kind), pair.matrices, others
        )
        return LocalSolution(Pair(pair.legs, matrices), energy, None, "lanczos", gradient)

    def _lowest(
        self,
        hamiltonian: EffectiveHamiltonian,
        start: Mapping[Irrep, Array],
        others: Sequence[Mapping[Irrep, Array]],
    ) -> tuple[dict[Irrep, Array], float, float]:
        pair = lowest_eigenpair(
            hamiltonian,
            hamiltonian.to_vector(start),
            tol=self.tol,
            max_products=self.max_products,
            orthogonal_to=[hamiltonian.to_vector(other) for other in others],
        )
        return hamiltonian.from_vector(pair.vector), pair.value, pair.first_residual

    def enrichment(self, chain: Chain, direction: int) -> dict[Irrep, Array]:
        """Columns of H acting on the center and the block behind it, over the bond ahead.

        The state times the operator would carry (bond of the state) ⊗ (bond of the operator);
        these are the directions in which one update after another would move it.
        """
        assert chain.center is not None
        site = chain.center
        core = chain[site]
        xp = chain.kind.xp
        left, right = self._blocks(chain, site, site)
        side: Side
        side, block, behind, leg = ("left", left, 0, 2) if direction > 0 else ("right", right, 2, 0)
        wanted = list(couplings(core.legs[behind], core.legs[1]))
        enlarged = self._enlarged(side, site, block, core.legs[behind], wanted)
        columns: dict[Irrep, list[Array]] = {}
        matrices = matricize(core, leg)
        for (j, j2), operators in enlarged.items():
            if j in matrices:
                moved = xp.moveaxis(operators @ matrices[j], 0, 1)
                columns.setdefault(j2, []).append(moved.reshape(moved.shape[0], -1))
        return {ir: xp.concat(parts, axis=1) for ir, parts in columns.items()}


def _is_scalar(end: Irreps) -> bool:
    return end.regroup() == Irreps("1x0e")


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
        By default two-site sweeps that discard at most 1e-7 of the norm at each split, until the
        energy settles to eleven digits; less in single precision.
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
        Of the random start.

    Returns
    -------
    Report
        With ``.energy`` and ``.chain``.

    Raises
    ------
    SettingsError
        If the target is not one irrep, or the start has another one.
    CoreError
        If the ends of the operator are not scalars, the sites cannot couple to the target, or
        no state is left that is orthogonal to those given.
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
    total = Irreps(target)
    if total.num_irreps != 1:
        raise SettingsError(f'ground_state: expected one irrep such as "0e", got {total}')
    if start is None:
        start = _random_state(operator, total, 2 + len(orthogonal_to), seed)
    elif start.out != total:
        raise SettingsError(
            f"ground_state: the start has the total irrep {start.out}, the target is {total}"
        )
    problem = EigenProblem(
        operator, start, orthogonal_to=orthogonal_to, tol=tol, max_products=max_products
    )
    if schedule is None:
        eps = start.kind.eps
        schedule = Schedule(
            sites=2, max_sweeps=30, rel_tol=max(1e-11, eps), tol=max(1e-7, eps**0.5)
        )
    return grow(start, problem, schedule=schedule, callbacks=callbacks)


def _random_state(operator: Operator, total: Irreps, multiplets: int, seed: int) -> Chain:
    """A narrow chain whose bonds carry all irreps that a path to the total irrep may need."""
    open_legs = {ir for leg in (total, *operator.sites) for ir in leg.unique}
    l_max = max(total.l_max, *(2 * site.l_max for site in operator.sites))
    parities = sorted({1, *(ir.p for ir in open_legs)})
    widest = Irreps([(multiplets, Irrep(l, p)) for l in range(l_max + 1) for p in parities])
    try:
        chain = Chain.random(operator.sites, out=total, max_bond=widest, seed=seed)
    except CoreError as error:
        raise CoreError(f"the sites of {operator!r} cannot couple to {total}") from error
    return chain.to(**vars(operator.chain.kind))


def lowest_states(
    operator: Operator,
    n_states: int,
    target: Irreps | str = "0e",
    *,
    orthogonal_to: Sequence[Chain] = (),
    **options: Any,
) -> list[Report]:
    """Lowest states of an operator with a given total irrep, each orthogonal to those before.

    Parameters
    ----------
    operator : Operator
    n_states : int
    target : Irrep, Irreps or str
    orthogonal_to : sequence of Chain
        States that were found before.
    **options
        Of :func:`ground_state`, for every state.

    Returns
    -------
    list of Report
        In the order in which they were found, by rising energy if each search has converged.

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

    Examples
    --------
    >>> from etn.network import heisenberg
    >>> [round(report.energy, 8) for report in lowest_states(heisenberg(4), 3)]
    [-4.64575131, -2.0, 0.64575131]
    """
    if n_states < 1:
        raise SettingsError(f"lowest_states: expected at least one state, got {n_states}")
    reports: list[Report] = []
    for _ in range(n_states):
        lower = [*orthogonal_to, *(report.chain for report in reports)]
        reports.append(ground_state(operator, target, orthogonal_to=lower, **options))
    return reports
