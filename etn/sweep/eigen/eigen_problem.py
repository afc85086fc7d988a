"""The eigenvalue problem of sweeps: the lowest state of an operator, one or two cores free.

The energy of a chain, all cores but one or two neighbouring ones fixed, is that of an effective
Hamiltonian in the space of the free blocks.  Its lowest state is found by the Lanczos method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etn.backend import Array
from etn.errors import CoreError
from etn.network import Chain, Operator
from etn.o3 import Irrep, Irreps
from etn.sweep.bond_cache import Carried
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
from etn.sweep.problem import LocalSolution
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
    seed : int
        Of the noise that takes the place of a local start in the span of ``orthogonal_to``.

    Attributes
    ----------
    schedule_defaults : dict
        Of a :class:`~etn.sweep.Schedule`: two-site sweeps that discard at most 1e-7 of the norm at
        each split, at most 30, until the energy settles to eleven digits; less in single precision.

    Raises
    ------
    CoreError
        If the ends of the operator are not scalars, it is not symmetric, the operator or a state
        differs from the state in its kind of arrays, or a given state is zero.
    IrrepsError
        If the operator or a state lives on other sites, or a state has another total irrep.

    Examples
    --------
    >>> from etn.network import heisenberg
    >>> from etn.sweep import Schedule, sweep
    >>> hamiltonian = heisenberg(6)
    >>> state = Chain.random(hamiltonian.sites, max_bond=2, seed=0)
    >>> problem = EigenProblem(hamiltonian, state)
    >>> for step in sweep(state, problem, Schedule(max_sweeps=3)):
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
        seed: int = 0,
    ) -> None:
        check_operator(operator)
        operator.check_state(state)
        if not _is_scalar(operator.chain.start) or not _is_scalar(operator.chain.out):
            raise CoreError(
                "an eigenvalue problem needs an operator whose ends are scalars 1x0e, got "
                f"{operator.chain.start} and {operator.chain.out}"
            )
        eps = state.kind.eps
        asymmetry = operator.asymmetry()
        if not asymmetry <= 10 * math.sqrt(eps):
            raise CoreError(
                "an eigenvalue problem needs a symmetric operator, got one that differs from its "
                f"transpose by {asymmetry:.2g} of its norm; (operator + operator.transpose()) / 2 "
                "is its symmetric part"
            )
        self.schedule_defaults: dict[str, Any] = {
            "sites": 2,
            "max_sweeps": 30,
            "rel_tol": max(1e-11, eps),
            "tol": max(1e-7, math.sqrt(eps)),
        }
        self.seed = seed
        self.scale = operator.typical_energy()
        self.operator = operator
        self.tol = tol
        self.max_products = max_products
        sides: tuple[Side, Side] = ("left", "right")
        self._tables = {side: site_tables(operator, side) for side in sides}
        self._recent: dict[Side, tuple[BlockOperators, set[Irrep], BlockOperators]] = {}
        self._left = Carried(end_block(state.start, operator), self._step_left)
        self._right = Carried(end_block(state.out, operator), self._step_right)
        self._others = [
            OtherState(other, state) for other in check_states(orthogonal_to, "orthogonal_to")
        ]

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
        core = chain[chain.center]
        hamiltonian, others = self.at_center(chain)
        matrices, energy, gradient = self._lowest(hamiltonian, matricize(core, 2), others)
        solved = tensorize(matrices, core.legs, 2, chain.kind)
        return LocalSolution(embed(solved, core.legs), energy, None, "lanczos", gradient)

    def at_center(self, chain: Chain) -> tuple[EffectiveHamiltonian, list[dict[Irrep, Array]]]:
        """The effective Hamiltonian of the center, and the other states as seen there.

        Both in the bases of ``matricize(core, 2)``.
        """
        assert chain.center is not None
        site = chain.center
        core = chain[site]
        left, right = self._blocks(chain, site, site)
        rows = couplings(core.legs[0], core.legs[1])
        bond = core.legs[2]
        shapes = {ir: (rows[ir], bond.count(ir)) for ir in sorted(bond.unique) if ir in rows}
        enlarged = self._enlarged("left", site, left, core.legs[0], list(shapes))
        others = [other.seen_from(chain, site, site) for other in self._others]
        return EffectiveHamiltonian(enlarged, right, shapes, chain.kind), others

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
            seed=self.seed,
            scale=self.scale,
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


def check_states(states: object, name: str) -> list[Chain]:
    """The states, if they are a sequence of chains.

    Raises
    ------
    CoreError
        If they are something else, such as one chain; that is a sequence of cores.
    """
    if isinstance(states, Chain) or not isinstance(states, Iterable):
        raise CoreError(f"{name}: expected a list of chains, got {states!r}; write [chain] for one")
    found = list(states)
    for number, state in enumerate(found):
        if not isinstance(state, Chain):
            raise CoreError(
                f"{name}: expected chains, entry {number} is {state!r}; of a report take .chain"
            )
        if state.log_norm() == -math.inf:
            raise CoreError(f"{name}: expected states with a norm, entry {number} is zero")
    return found


def check_operator(operator: object) -> None:
    """Raise unless it is an operator."""
    if not isinstance(operator, Operator):
        raise CoreError(f"operator: expected an Operator, got {operator!r}")


def _is_scalar(end: Irreps) -> bool:
    return end.regroup() == Irreps("1x0e")
