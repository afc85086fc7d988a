"""Lowest states of operators: the eigenvalue problem of DMRG sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from etn.backend import Array
from etn.errors import CoreError, SettingsError
from etn.network import Chain, Operator
from etn.o3 import Irrep, Irreps
from etn.sweep.callbacks import Callback
from etn.sweep.grow import grow
from etn.sweep.krylov import lowest_eigenpair
from etn.sweep.problem import LocalSolution
from etn.sweep.report import Report
from etn.sweep.schedule import Schedule
from etn.sweep.superblock import (
    BlockOperators,
    EffectiveHamiltonian,
    SiteTables,
    end_block,
    enlarge,
    project,
)
from etn.tensor import Core, Pair, absorb, matricize, merge, tensorize
from etn.tensor.pair import couplings, pair_shapes

Value = TypeVar("Value")


class Carried(Generic[Value]):
    """Something carried over the cores of a chain from one end, remembered core by core.

    Parameters
    ----------
    start : Value
        At the end of the chain.
    step : callable
        ``step(number, core, value)``: the value after this core.
    """

    def __init__(self, start: Value, step: Callable[[int, Core, Value], Value]) -> None:
        self.step = step
        self.known: list[tuple[Core | None, Value]] = [(None, start)]

    def after(self, cores: Sequence[Core]) -> Value:
        """The value after these cores; only what has changed since the last call is computed."""
        keep = 1
        while keep < len(self.known) and keep <= len(cores):
            if self.known[keep][0] is not cores[keep - 1]:
                break
            keep += 1
        # What lies beyond the cores asked for may still be of use when the sweep comes back.
        if keep <= len(cores):
            del self.known[keep:]
        for number in range(keep, len(cores) + 1):
            core = cores[number - 1]
            self.known.append((core, self.step(number - 1, core, self.known[-1][1])))
        return self.known[len(cores)][1]


class EigenProblem:
    """The lowest state of a scalar symmetric operator among chains of one total irrep.

    One-site and two-site updates by the Lanczos method, in the space of reduced blocks; see
    :mod:`etn.sweep.superblock`.

    Parameters
    ----------
    operator : Operator
    state : Chain
        Any chain with the legs of the states that are looked for.
    orthogonal_to : sequence of Chain
        States with the same legs to which the result stays orthogonal.
    tol : float
        Residual, relative to the energy, at which a local solve ends.
    max_products : int
        Most applications of the effective Hamiltonian in a local solve.
    """

    def __init__(
        self,
        operator: Operator,
        state: Chain,
        *,
        orthogonal_to: Sequence[Chain] = (),
        tol: float = 1e-9,
        max_products: int = 12,
    ) -> None:
        operator.check_state(state)
        if str(operator.chain.start) != "1x0e" or str(operator.chain.out) != "1x0e":
            raise CoreError(
                "an eigenvalue problem needs an operator whose ends are scalars 1x0e, got "
                f"{operator.chain.start} and {operator.chain.out}"
            )
        self.operator = operator
        self.tol = tol
        self.max_products = max_products
        self._tables = {side: self._site_tables(side) for side in ("left", "right")}
        self._recent: dict[str, tuple[BlockOperators, int, set[Irrep], BlockOperators]] = {}
        self._left = Carried(end_block(state.start, operator, "left"), self._step_left)
        self._right = Carried(end_block(state.out, operator, "right"), self._step_right)
        self._others = [_Overlap(other, state) for other in orthogonal_to]

    def _site_tables(self, side: str) -> list[SiteTables]:
        """Tables of each site; sites with one operator core share theirs."""
        known: dict[tuple[int, Irreps], SiteTables] = {}
        tables = []
        for core, site in zip(self.operator.chain, self.operator.sites, strict=True):
            key = (id(core), site)
            if key not in known:
                known[key] = SiteTables(core, site, side)
            tables.append(known[key])
        return tables

    def _step_left(self, site: int, core: Core, block: BlockOperators) -> BlockOperators:
        enlarged = self._enlarged("left", site, block, core.legs[0], core.legs[2].unique)
        return project(enlarged, matricize(core, 2), "left")

    def _step_right(self, number: int, core: Core, block: BlockOperators) -> BlockOperators:
        site = len(self.operator) - 1 - number
        enlarged = self._enlarged("right", site, block, core.legs[2], core.legs[0].unique)
        return project(enlarged, matricize(core, 0), "right")

    def _enlarged(
        self, side: str, site: int, block: BlockOperators, bond: Irreps, wanted: Sequence[Irrep]
    ) -> BlockOperators:
        recent = self._recent.get(side)
        # The block that was enlarged to solve a site is the one that the center moves over next.
        if recent and recent[0] is block and recent[1] == site and recent[2].issuperset(wanted):
            return recent[3]
        found = enlarge(block, bond, self._tables[side][site], dict.fromkeys(wanted))
        self._recent[side] = (block, site, set(wanted), found)
        return found

    def _blocks(self, chain: Chain, first: int, last: int) -> tuple[BlockOperators, BlockOperators]:
        left = self._left.after(chain.cores[:first])
        right = self._right.after(chain.cores[:last:-1])
        return left, right

    def solve(self, chain: Chain) -> LocalSolution:
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
        others = [overlap.center(chain, site, site) for overlap in self._others]
        start = matricize(core, 2)
        matrices, energy, gradient = self._lowest(
            EffectiveHamiltonian(enlarged, right, shapes, chain.kind), start, others
        )
        solved = tensorize(matrices, core.legs, 2, chain.kind)
        return LocalSolution(_on_legs(solved, core.legs), energy, None, "lanczos", gradient)

    def solve_pair(self, chain: Chain, site: int) -> LocalSolution:
        """Lowest state, two neighbouring cores free."""
        pair = merge(chain[site], chain[site + 1])
        left, right = self._blocks(chain, site, site + 1)
        bond0, *_, bond1 = pair.legs
        shapes = pair_shapes(pair.legs)
        enlarged = (
            self._enlarged("left", site, left, bond0, list(shapes)),
            self._enlarged("right", site + 1, right, bond1, list(shapes)),
        )
        others = [overlap.center(chain, site, site + 1) for overlap in self._others]
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
        xp = hamiltonian.kind.xp
        vector = hamiltonian.to_vector(start)
        apply: Callable[[Array], Array] = hamiltonian
        if others:
            found = xp.stack([hamiltonian.to_vector(other) for other in others], axis=1)
            basis, weights = xp.linalg.qr(found)
            keep = abs(xp.linalg.diagonal(weights)) > 1e-12
            basis = basis[:, keep]

            def apply(v: Array) -> Array:
                moved = hamiltonian(v - basis @ (basis.T @ v))
                return moved - basis @ (basis.T @ moved)

            vector = vector - basis @ (basis.T @ vector)
        norm = float(xp.linalg.vector_norm(vector))
        if not norm > 0:
            raise CoreError(
                "DMRG: nothing of the state is orthogonal to the given states; "
                "start from another seed or with a wider bond"
            )
        pair = lowest_eigenpair(apply, vector / norm, tol=self.tol, max_products=self.max_products)
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
        behind, leg = (0, 2) if direction > 0 else (2, 0)
        wanted = [*couplings(core.legs[behind], core.legs[1])]
        side, block = ("left", left) if direction > 0 else ("right", right)
        enlarged = self._enlarged(side, site, block, core.legs[behind], wanted)
        columns: dict[Irrep, list[Array]] = {}
        matrices = matricize(core, leg)
        for (_, j, j2), m in enlarged.items():
            if j not in matrices:
                continue
            if side == "left":
                moved = xp.tensordot(m, matrices[j], axes=([1], [0]))  # (j2, w, bond)
            else:
                moved = xp.tensordot(m, matrices[j], axes=([0], [0]))  # (w, j2, bond)
                moved = xp.moveaxis(moved, 0, 1)
            columns.setdefault(j2, []).append(moved.reshape(moved.shape[0], -1))
        return {ir: xp.concat(parts, axis=1) for ir, parts in columns.items()}


class _Overlap:
    """Another state seen from the center of a chain."""

    def __init__(self, other: Chain, state: Chain) -> None:
        state._same_legs(other)
        self.other = other / other.norm()
        kind = state.kind
        self._left = Carried(
            {ir: kind.eye(state.start.count(ir)) for ir in state.start.unique}, self._step_left
        )
        self._right = Carried(
            {ir: kind.eye(state.out.count(ir)) for ir in state.out.unique}, self._step_right
        )

    def _step_left(self, site: int, core: Core, env: dict[Irrep, Array]) -> dict[Irrep, Array]:
        moved = matricize(absorb(self.other[site], env, 0), 2)
        mine = matricize(core, 2)
        return {ir: mine[ir].T @ moved[ir] for ir in mine if ir in moved}

    def _step_right(self, number: int, core: Core, env: dict[Irrep, Array]) -> dict[Irrep, Array]:
        moved = matricize(absorb(self.other[-1 - number], env, 2), 0)
        mine = matricize(core, 0)
        return {ir: mine[ir].T @ moved[ir] for ir in mine if ir in moved}

    def center(self, chain: Chain, first: int, last: int) -> dict[Irrep, Array]:
        """The other state in the bases of one core (first = last) or a pair of cores."""
        left = self._left.after(chain.cores[:first])
        right = self._right.after(chain.cores[:last:-1])
        if first == last:
            return matricize(absorb(absorb(self.other[first], left, 0), right, 2), 2)
        one, two = absorb(self.other[first], left, 0), absorb(self.other[last], right, 2)
        rows, columns = matricize(one, 2), matricize(two, 0)
        return {ir: rows[ir] @ columns[ir].T for ir in rows if ir in columns}


def _on_legs(core: Core, legs: tuple[Irreps, ...]) -> Core:
    """The core on legs that may carry irreps that it does not reach."""
    empty = Core(legs)
    blocks = {
        path: core.blocks[path] if path in core.blocks else core.kind.zeros(tuple(zero.shape))
        for path, zero in empty
    }
    return Core.trusted(empty.legs, blocks, core.kind)


def ground_state(
    operator: Operator,
    target: Irreps | str = "0e",
    *,
    schedule: Schedule | None = None,
    start: Chain | None = None,
    orthogonal_to: Sequence[Chain] = (),
    callbacks: Sequence[Callback] = (),
    tol: float = 1e-9,
    max_products: int = 12,
    seed: int = 0,
) -> Report:
    """Lowest state of an operator with a given total irrep, by DMRG.

    Parameters
    ----------
    operator : Operator
    target : Irreps
        Total irrep of the state: "0e" for spin 0, "1e" for spin 1.
    schedule : Schedule, optional
        By default two-site sweeps that discard at most 1e-7 of the norm at each split, until the
        energy settles to eleven digits.
    start : Chain, optional
        By default a random chain with two multiplets of each irrep of the sites on its bonds.
    orthogonal_to : sequence of Chain
        Lower states that were found before, for excited states.
    callbacks : sequence of Callback
    tol : float
        Residual of the local solves, relative to the energy.
    max_products : int
        Most applications of the effective Hamiltonian in a local solve.
    seed : int
        Of the random start.

    Returns
    -------
    Report
        With ``.energy`` and ``.chain``.

    Examples
    --------
    >>> from etn.network import aklt
    >>> report = ground_state(aklt(8))
    >>> round(report.energy, 10), report.converged
    (-4.6666666667, True)
    >>> report.chain.bonds[3]
    1x0e+1x1e
    """
    if start is None:
        start = Chain.random(operator.sites, out=target, max_bond=2, seed=seed)
        start = start.to(**vars(operator.chain.kind))
    elif start.out != Irreps(target):
        raise SettingsError(
            f"ground_state: the start has the total irrep {start.out}, the target is {target}"
        )
    problem = EigenProblem(
        operator, start, orthogonal_to=orthogonal_to, tol=tol, max_products=max_products
    )
    schedule = schedule or Schedule(sites=2, max_sweeps=30, rel_tol=1e-11, tol=1e-7)
    return grow(start, problem, schedule=schedule, callbacks=callbacks)
