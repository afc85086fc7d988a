"""Lowest states of operators: the eigenvalue problem of DMRG sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etn.backend import Array, Kind, to_numpy
from etn.errors import CoreError, SettingsError
from etn.network import Chain, Operator
from etn.o3 import Irrep, Irreps
from etn.sweep.callbacks import Callback
from etn.sweep.carried import Carried as Carried
from etn.sweep.carried import OtherState, embed
from etn.sweep.grow import grow
from etn.sweep.krylov import lowest_eigenpair
from etn.sweep.problem import LocalSolution
from etn.sweep.report import Report
from etn.sweep.schedule import Schedule
from etn.sweep.superblock import (
    BlockOperators,
    EffectiveHamiltonian,
    Side,
    SiteTables,
    end_block,
    enlarge,
    project,
)
from etn.tensor import Core, Pair, matricize, merge, tensorize
from etn.tensor.pair import couplings, pair_shapes


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
        if not _is_scalar(operator.chain.start) or not _is_scalar(operator.chain.out):
            raise CoreError(
                "an eigenvalue problem needs an operator whose ends are scalars 1x0e, got "
                f"{operator.chain.start} and {operator.chain.out}"
            )
        self.operator = operator
        self.tol = tol
        self.max_products = max_products
        self._tables: dict[Side, list[SiteTables]] = {
            "left": _site_tables(operator, "left"),
            "right": _site_tables(operator, "right"),
        }
        self._recent: dict[Side, tuple[BlockOperators, int, set[Irrep], BlockOperators]] = {}
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
        if recent and recent[0] is block and recent[1] == site and recent[2].issuperset(wanted):
            return recent[3]
        found = enlarge(block, bond, self._tables[side][site], wanted)
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
        others = [other.seen_from(chain, site, site) for other in self._others]
        start = matricize(core, 2)
        matrices, energy, gradient = self._lowest(
            EffectiveHamiltonian(enlarged, right, shapes, chain.kind), start, others
        )
        solved = tensorize(matrices, core.legs, 2, chain.kind)
        return LocalSolution(embed(solved, core.legs), energy, None, "lanczos", gradient)

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
        apply: Callable[[Array], Array] = hamiltonian
        vector = hamiltonian.to_vector(start)
        if others:
            remove = _remover([hamiltonian.to_vector(other) for other in others], hamiltonian.kind)
            norm = hamiltonian.kind.xp.linalg.vector_norm
            before, vector = float(norm(vector)), remove(vector)
            if not float(norm(vector)) > 1e3 * hamiltonian.kind.eps * before:
                raise CoreError(
                    f"DMRG: nothing of the state is orthogonal to the {len(others)} given states; "
                    "there is no further state, or start from another seed or with a wider bond"
                )

            def apply(v: Array) -> Array:
                return remove(hamiltonian(remove(v)))

        pair = lowest_eigenpair(apply, vector, tol=self.tol, max_products=self.max_products)
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
        side, block, behind, leg = (
            ("left", left, 0, 2) if direction > 0 else ("right", right, 2, 0)
        )
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


def _site_tables(operator: Operator, side: Side) -> list[SiteTables]:
    """Tables of each site; sites with equal operator cores share theirs."""
    known: dict[tuple[tuple[Irreps, ...], Irreps, bytes], SiteTables] = {}
    tables = []
    for core, site in zip(operator.chain, operator.sites, strict=True):
        values = b"".join(to_numpy(block).tobytes() for _, block in core)
        key = (core.legs, site, values)
        if key not in known:
            known[key] = SiteTables(core, site, side)
        tables.append(known[key])
    return tables


def _remover(vectors: Sequence[Array], kind: Kind) -> Callable[[Array], Array]:
    """Projection on what is orthogonal to some vectors, which may depend on each other."""
    basis, sizes, _ = kind.xp.linalg.svd(kind.xp.stack(vectors, axis=1), full_matrices=False)
    basis = basis[:, sizes > 1e2 * kind.eps]
    return lambda vector: vector - basis @ (basis.T @ vector)


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
