"""Another state beside the one that a sweep moves through, in the bases of its free cores.

Excited states are found by keeping them orthogonal to lower ones.  The local problem knows its
cores in the bases of the bonds next to them; the overlaps of these bases with those of the other
state are carried along from both ends.
"""

from __future__ import annotations

from etn.backend import Array
from etn.network import Chain
from etn.o3 import Irrep, Irreps
from etn.sweep.bond_cache import Carried
from etn.tensor import Core, absorb, embed, matricize

Overlap = dict[Irrep, Array]
"""<my basis | other basis> of a bond: {ir: (my copies, copies of the other chain)}."""


class OtherState:
    """Another state, scaled to norm one, seen from the free cores of a chain.

    Parameters
    ----------
    other : Chain
    state : Chain
        Any chain with the legs of those that it will be seen from.

    Raises
    ------
    IrrepsError
        If the chains differ in length or in an open leg.
    CoreError
        If they are of different kinds.

    Examples
    --------
    >>> state = Chain.random(["1x1e"] * 3, max_bond=1, seed=0).canonicalize(1)
    >>> seen = OtherState(state, state).seen_from(state, 1, 1)
    >>> mine = matricize(state[1], 2)
    >>> overlap = sum(ir.dim * float((seen[ir] * m).sum()) for ir, m in mine.items())
    >>> abs(overlap - state.norm()) < 1e-12
    True
    """

    def __init__(self, other: Chain, state: Chain) -> None:
        other.check_same_legs(state)
        self.other = other.normalize()
        kind = state.kind
        self._left = Carried(
            {ir: kind.eye(state.start.count(ir)) for ir in state.start.unique}, self._step_left
        )
        self._right = Carried(
            {ir: kind.eye(state.out.count(ir)) for ir in state.out.unique}, self._step_right
        )

    def _step_left(self, site: int, core: Core, overlap: Overlap) -> Overlap:
        other = self.other[site]
        return _overlap(core, _seen(other, overlap, 0, core.legs[0]), 2)

    def _step_right(self, number: int, core: Core, overlap: Overlap) -> Overlap:
        other = self.other[-1 - number]
        return _overlap(core, _seen(other, overlap, 2, core.legs[2]), 0)

    def seen_from(self, chain: Chain, first: int, last: int) -> dict[Irrep, Array]:
        """The other state in the bases of one core (first = last) or a pair of cores.

        Returns
        -------
        dict of Irrep to array
            Shaped as ``matricize(core, 2)``, or as the matrices of a :class:`~etn.tensor.Pair`;
            irreps of which the other state has none may be missing.
        """
        left = self._left.after(chain.cores[:first])
        right = self._right.after(chain.cores[:last:-1])
        bonds = chain[first].legs[0], chain[last].legs[2]
        one = _seen(self.other[first], left, 0, bonds[0])
        if first == last:
            return matricize(_seen(one, right, 2, bonds[1]), 2)
        rows = matricize(one, 2)
        columns = matricize(_seen(self.other[last], right, 2, bonds[1]), 0)
        return {ir: rows[ir] @ columns[ir].T for ir in rows if ir in columns}


def _overlap(core: Core, other: Core, leg: int) -> Overlap:
    mine, moved = matricize(core, leg), matricize(other, leg)
    return {ir: mine[ir].T @ moved[ir] for ir in mine if ir in moved}


def _seen(other: Core, overlap: Overlap, leg: int, bond: Irreps) -> Core:
    """Core of another chain with one leg in the basis of a bond of this chain."""
    moved = absorb(other, overlap, leg)
    return embed(moved, (*moved.legs[:leg], bond, *moved.legs[leg + 1 :]))
