r"""Operators of the blocks left and right of a bond, reduced to one matrix for a pair of irreps.

All sites left of a bond form a block with the irreps of the bond, and so do all sites right of
it.  By the Wigner-Eckart theorem an operator of rank k on a block is one matrix for each pair of
irreps,

.. math:: O_{kq} |j\, a\, m\rangle = \sum_{j' a' m'} A^{k}_{j' a', j a}\,
    C^{j' m'}_{j m, k q}\, |j'\, a'\, m'\rangle .

A block has one operator for each multiplet w of the bond of the operator.  They are kept as one
array (w, a', a) for each pair (j, j'), with w over all multiplets that couple j to j', the ranks
ascending; see :func:`multiplets`.

All angular momentum algebra of a sweep sits in one place, :class:`SiteTables`: the coupling of
block and site operators is a 9j symbol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, product
from typing import Literal, NamedTuple

from etn.backend import Array, to_numpy
from etn.network import Operator
from etn.network.operator import operator_elements
from etn.o3 import Irrep, Irreps, recoupling_4
from etn.tensor import Core
from etn.tensor.factor import stacking

Side = Literal["left", "right"]
BlockOperators = dict[tuple[Irrep, Irrep], Array]
"""{(ket j, bra j'): (w, copies of j', copies of j)}; what is missing is zero."""


@lru_cache(maxsize=4096)
def multiplets(bond: Irreps, ket: Irrep, bra: Irrep) -> dict[Irrep, slice]:
    """Where the ranks of an operator bond that couple two irreps stand among each other.

    Examples
    --------
    >>> multiplets(Irreps("2x0e+1x1e"), Irrep("1e"), Irrep("1e"))
    {0e: slice(0, 2, None), 1e: slice(2, 3, None)}
    """
    ranks = [k for k in sorted(bond.unique) if k in ket * bra]
    ends = list(accumulate((bond.count(k) for k in ranks), initial=0))
    return {k: slice(*ends[n : n + 2]) for n, k in enumerate(ranks)}


def end_block(irreps: Irreps, operator: Operator) -> BlockOperators:
    """Operators of a block without sites: the identity on the open leg of the states."""
    kind = operator.chain.kind
    return {(ir, ir): kind.eye(irreps.count(ir))[None] for ir in irreps.unique}


class _Entry(NamedTuple):
    """Where some rows of a table go: from one irrep and copy of the site to another."""

    ket: tuple[Irrep, int]
    bra: tuple[Irrep, int]
    out: tuple[Irrep, Irrep]
    rows: slice  # one for each multiplet of the outer operator bond


class _Plan(NamedTuple):
    """What to multiply and where it goes, for a block with any multiplicities."""

    # The couplings of the enlarged block as they are stacked: (number of j, number of the irrep
    # of the block, copies on the site).  Each copy is a slot.
    stack: list[tuple[int, int, int]]
    # Operators of the enlarged block: (j, j'), their numbers, multiplets of the operator bond.
    outs: dict[tuple[Irrep, Irrep], tuple[int, int, int]]
    # (l, l'), the table, and for some of its rows: (j, j'), slot of the ket, slot of the bra.
    products: list[
        tuple[tuple[Irrep, Irrep], Array, list[tuple[tuple[Irrep, Irrep], int, int, slice]]]
    ]


class SiteTables:
    """Couples a site to a block: one table of coefficients for each pair of block irreps.

    The table of (l, l') has a column for each operator that takes irrep l of the block to l', and
    rows for all operators of the enlarged block that come from it: adding a site is one matrix
    product for each pair of block irreps.

    Parameters
    ----------
    w : Core
        Operator core of the site: (left operator bond, operators of the site, right one).
    site : Irreps
    side : {"left", "right"}
        Which block the site joins.
    """

    def __init__(self, w: Core, site: Irreps, side: Side) -> None:
        self.kind = w.kind
        self.site = site
        self.side = side
        self.inner, self.outer = (
            (w.legs[0], w.legs[2]) if side == "left" else (w.legs[2], w.legs[0])
        )
        self._elements = operator_elements(w, site)
        self._tables: dict[tuple[Irrep, Irrep], tuple[Array, list[_Entry]]] = {}
        self._plans: dict[tuple[tuple[Irrep, ...], tuple[Irrep, ...]], _Plan] = {}

    def plan(self, irreps: tuple[Irrep, ...], wanted: tuple[Irrep, ...]) -> _Plan:
        """How to couple the site to a block of these irreps, for some irreps of the result."""
        if (irreps, wanted) not in self._plans:
            self._plans[irreps, wanted] = self._plan(irreps, wanted)
        return self._plans[irreps, wanted]

    def _plan(self, irreps: tuple[Irrep, ...], wanted: tuple[Irrep, ...]) -> _Plan:
        left = self.side == "left"
        block, result = (Irreps([(1, ir) for ir in some]) for some in (irreps, sorted(wanted)))
        stacks = stacking((block, self.site, result) if left else (self.site, block, result), 2)
        stack: list[tuple[int, int, int]] = []
        slots: dict[tuple[Irrep, Irrep, Irrep], int] = {}
        at = 0
        for number, (j, couplings) in enumerate(stacks.items()):
            for row in couplings:
                l, s = row.path[:2] if left else row.path[1::-1]
                slots[l, s, j] = at
                stack.append((number, irreps.index(l), self.site.count(s)))
                at += self.site.count(s)
        numbers = {j: number for number, j in enumerate(stacks)}
        plan = _Plan(stack, {}, [])
        for l, l2 in product(irreps, irreps):
            table, entries = self._table(l, l2)
            writes = []
            for (ket, c), (bra, c2), (j, j2), rows in entries:
                if j in numbers and j2 in numbers:
                    plan.outs[j, j2] = numbers[j], numbers[j2], rows.stop - rows.start
                    writes.append(((j, j2), slots[l, ket, j] + c, slots[l2, bra, j2] + c2, rows))
            if writes:
                plan.products.append(((l, l2), table, writes))
        return plan

    def _table(self, l: Irrep, l2: Irrep) -> tuple[Array, list[_Entry]]:
        if (l, l2) not in self._tables:
            self._tables[l, l2] = self._build(l, l2)
        return self._tables[l, l2]

    def _build(self, l: Irrep, l2: Irrep) -> tuple[Array, list[_Entry]]:
        xp, inner = self.kind.xp, multiplets(self.inner, l, l2)
        width = max((columns.stop for columns in inner.values()), default=0)
        parts: dict[tuple[Irrep, Irrep, Irrep, Irrep], Array] = {}
        for (ranks, bra, ket), element in self._elements.items():
            k_in, k_out = (ranks[0], ranks[2]) if self.side == "left" else (ranks[2], ranks[0])
            if k_in not in inner:
                continue
            # (outer multiplets, copies of bra, copies of ket, inner multiplets)
            turned = xp.moveaxis(element, (0, 3), (3, 0)) if self.side == "left" else element
            for j, j2 in product(l * ket, l2 * bra):
                outer = multiplets(self.outer, j, j2)
                factor = self._factor(l, l2, bra, ket, ranks, j, j2) if k_out in outer else 0.0
                if factor == 0.0:
                    continue
                if (ket, bra, j, j2) not in parts:
                    height = max(rows.stop for rows in outer.values())
                    shape = (height, self.site.count(bra), self.site.count(ket), width)
                    parts[ket, bra, j, j2] = self.kind.zeros(shape)
                parts[ket, bra, j, j2][outer[k_out], :, :, inner[k_in]] += factor * turned
        tables: list[Array] = []
        entries: list[_Entry] = []
        start = 0
        for (ket, bra, j, j2), part in parts.items():
            for c2, c in product(range(part.shape[1]), range(part.shape[2])):
                table = part[:, c2, c]
                if bool((table != 0).any()):
                    rows = slice(start, start + table.shape[0])
                    entries.append(_Entry((ket, c), (bra, c2), (j, j2), rows))
                    tables.append(table)
                    start = rows.stop
        return (xp.concat(tables) if tables else self.kind.zeros((0, width))), entries

    def _factor(
        self,
        l: Irrep,
        l2: Irrep,
        bra: Irrep,
        ket: Irrep,
        ranks: tuple[Irrep, ...],
        j: Irrep,
        j2: Irrep,
    ) -> float:
        """(block ⊗ its operator) ⊗ (site ⊗ its operator), recoupled."""
        k1, k, k2 = ranks
        if self.side == "left":
            order = (l, k1, l2, ket, k, bra, j, k2, j2)
            weight = 1.0
        else:
            order = (ket, k, bra, l, k2, l2, j, k1, j2)
            # C^{k2}_{k1 k} read as a coupling of k and k2 to k1.
            weight = math.sqrt(k2.dim / k1.dim)
        return weight * recoupling_4(*(ir.l for ir in order))


def enlarge(
    block: BlockOperators, bond: Irreps, tables: SiteTables, wanted: Sequence[Irrep]
) -> BlockOperators:
    """Operators of a block with one more site, in the basis of all couplings of the two.

    Parameters
    ----------
    block : operators of the block
    bond : Irreps
        Irreps of the block.
    tables : SiteTables
        Of the site that joins.
    wanted : sequence of Irrep
        Irreps of the enlarged block that are looked for.

    Returns
    -------
    BlockOperators
        Basis of irrep j: the couplings in the order of :func:`etn.tensor.matricize`.

    Examples
    --------
    The first spin of two carries the identity, its own Hamiltonian (zero) and the spin vector:

    >>> from etn.network import heisenberg
    >>> operator, bond, spin = heisenberg(2), Irreps("1x0e"), Irrep("1e")
    >>> first = site_tables(operator, "left")[0]
    >>> operators = enlarge(end_block(bond, operator), bond, first, [spin])
    >>> operators[spin, spin].shape
    (3, 1, 1)
    """
    irreps, left = bond.unique, tables.side == "left"
    plan = tables.plan(irreps, tuple(wanted))
    counts = [bond.count(ir) for ir in irreps]
    dims = [0] * len(wanted)
    slots: list[slice] = []
    for j, l, copies in plan.stack:
        n = counts[l]
        start, stop = dims[j], dims[j] + n * copies
        # The first leg of a coupling runs slowest: the block if it stands left, else the site.
        if left:
            slots += [slice(start + c, stop, copies) for c in range(copies)]
        else:
            slots += [slice(start + c * n, start + (c + 1) * n) for c in range(copies)]
        dims[j] = stop
    out = {key: tables.kind.zeros((w, dims[j2], dims[j])) for key, (j, j2, w) in plan.outs.items()}
    for key, table, writes in plan.products:
        if key in block:
            w, bras, kets = block[key].shape
            moved = table @ block[key].reshape(w, -1)
            # Each part of the result has one source: nothing needs to be added up.
            for name, ket, bra, rows in writes:
                out[name][:, slots[bra], slots[ket]] = moved[rows].reshape(-1, bras, kets)
    return out


def project(enlarged: BlockOperators, isometry: Mapping[Irrep, Array]) -> BlockOperators:
    """Operators in the basis that an isometry keeps: {j: (couplings, kept)}.

    Examples
    --------
    >>> import numpy as np
    >>> scalar = Irrep("0e")
    >>> energies = {(scalar, scalar): np.diag([1.0, 3.0])[None]}
    >>> project(energies, {scalar: np.array([[0.6], [0.8]])})[scalar, scalar]
    array([[[2.28]]])
    """
    out: BlockOperators = {}
    for (j, j2), m in enlarged.items():
        if j in isometry and j2 in isometry:
            w, rows, columns = m.shape
            half = m.reshape(w * rows, columns) @ isometry[j]
            out[j, j2] = isometry[j2].T @ half.reshape(w, rows, -1)
    return out


def site_tables(operator: Operator, side: Side) -> list[SiteTables]:
    """Tables of all sites; sites with equal operator cores share theirs."""
    known: dict[tuple[tuple[Irreps, ...], Irreps, bytes], SiteTables] = {}
    tables = []
    for core, site in zip(operator.chain, operator.sites, strict=True):
        key = (core.legs, site, b"".join(to_numpy(block).tobytes() for _, block in core))
        if key not in known:
            known[key] = SiteTables(core, site, side)
        tables.append(known[key])
    return tables
