r"""Effective Hamiltonians of sweeps, from reduced operators of the blocks left and right.

All sites left of a bond form a block with the irreps of the bond, and so do all sites right of
it.  The Hamiltonian between the two is a sum of products O_w · O'_w of tensor operators, one for
each multiplet w of the bond of the operator.  By the Wigner-Eckart theorem an operator of rank k
on a block is one matrix for each pair of irreps,

.. math:: O_{kq} |j\, a\, m\rangle = \sum_{j' a' m'} A^{k}_{j' a', j a}\,
    C^{j' m'}_{j m, k q}\, |j'\, a'\, m'\rangle ,

and on a wave function Theta_j[a, b], a in the left and b in the right block, the product acts as

.. math:: \Theta'_{j'} = \sum_{k j w} A^{k w}_{j' j}\, \Theta_j\, (B^{k w}_{j' j})^T

without any further coefficient, because the Clebsch-Gordan tensors of both sides contract to the
identity.  All angular momentum algebra sits in one place: adding a site to a block, where the
coupling of block and site operators is a 9j symbol.

The operators of a block are one array (w, a', a) for each pair (j, j'), with w over all multiplets
of the operator bond that couple j to j', the ranks ascending; see :func:`multiplets`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, product
from typing import Literal, NamedTuple

from etn.backend import Array, Kind
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
        tuple[
            tuple[Irrep, Irrep], Array, list[tuple[tuple[Irrep, Irrep], int, int, slice]]
        ]
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
        self.inner, self.outer = (w.legs[0], w.legs[2]) if side == "left" else (w.legs[2], w.legs[0])
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
        for number, (j, rows) in enumerate(stacks.items()):
            for row in rows:
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
            if self.side == "left":
                element = xp.moveaxis(element, (0, 3), (3, 0))
            for j, j2 in product(l * ket, l2 * bra):
                outer = multiplets(self.outer, j, j2)
                factor = self._factor(l, l2, bra, ket, ranks, j, j2) if k_out in outer else 0.0
                if factor == 0.0:
                    continue
                if (ket, bra, j, j2) not in parts:
                    height = max(rows.stop for rows in outer.values())
                    shape = (height, self.site.count(bra), self.site.count(ket), width)
                    parts[ket, bra, j, j2] = self.kind.zeros(shape)
                parts[ket, bra, j, j2][outer[k_out], :, :, inner[k_in]] += factor * element
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
    """
    irreps, left = bond.unique, tables.side == "left"
    plan = tables.plan(irreps, tuple(wanted))
    counts = [bond.count(ir) for ir in irreps]
    dims = [0] * len(wanted)
    slots: list[slice] = []
    for j, l, copies in plan.stack:
        start, stop = dims[j], dims[j] + counts[l] * copies
        # The first leg of a coupling runs slowest: the block if it stands left, or the site.
        step = counts[l]
        slots += (
            [slice(start + c, stop, copies) for c in range(copies)]
            if left
            else [slice(at, at + step) for at in range(start, stop, step)]
        )
        dims[j] = stop
    out = {
        key: tables.kind.zeros((w, dims[j2], dims[j])) for key, (j, j2, w) in plan.outs.items()
    }
    for key, table, writes in plan.products:
        if key in block:
            w, bras, kets = block[key].shape
            moved = table @ block[key].reshape(w, -1)
            for name, ket, bra, rows in writes:
                out[name][:, slots[bra], slots[ket]] = moved[rows].reshape(-1, bras, kets)
    return out


def project(enlarged: BlockOperators, isometry: Mapping[Irrep, Array]) -> BlockOperators:
    """Operators in the basis that an isometry keeps: {j: (couplings, kept)}."""
    out: BlockOperators = {}
    for (j, j2), m in enlarged.items():
        if j in isometry and j2 in isometry:
            w, rows, columns = m.shape
            half = m.reshape(w * rows, columns) @ isometry[j]
            out[j, j2] = isometry[j2].T @ half.reshape(w, rows, -1)
    return out


class EffectiveHamiltonian:
    """H between two blocks, acting on all matrices Theta_j as one vector.

    The vector holds sqrt(2 j + 1) Theta_j, so its Euclidean product is that of the dense tensors
    and the action is a symmetric matrix.

    Parameters
    ----------
    left, right : BlockOperators
    shapes : {j: (dimension left, dimension right)}
    kind : Kind
    """

    def __init__(
        self,
        left: BlockOperators,
        right: BlockOperators,
        shapes: Mapping[Irrep, tuple[int, int]],
        kind: Kind,
    ) -> None:
        self.kind = kind
        self.shapes = dict(shapes)
        ends = list(accumulate((rows * n for rows, n in self.shapes.values()), initial=0))
        self.slices = {ir: slice(*ends[at : at + 2]) for at, ir in enumerate(self.shapes)}
        self.size = ends[-1]
        xp = kind.xp
        # Theta'_j' = sum over j of [A_j'j ...] [Theta_j B_j'j ...]: the products with the right
        # operators are written one below the other, those with the left ones are one product.
        self._right: list[tuple[Irrep, Array, Array]] = []
        self._left: list[tuple[Irrep, Array, Array]] = []
        for j2, (rows, columns) in self.shapes.items():
            terms = [(j, left[j, j2], right[j, j2]) for j in self.shapes if _joins(j, j2, left, right)]
            if not terms:
                continue
            lengths = [a.shape[0] * a.shape[2] for _, a, _ in terms]
            matrix, buffer = kind.zeros((rows, sum(lengths))), kind.zeros((sum(lengths), columns))
            at = 0
            for (j, a, b), length in zip(terms, lengths, strict=True):
                w, _, inner = a.shape
                part = matrix[:, at : at + length].reshape(rows, inner, w)
                part[...] = xp.permute_dims(a, (1, 2, 0)) * math.sqrt(j2.dim / j.dim)
                right_matrix = xp.permute_dims(b, (2, 0, 1)).reshape(b.shape[2], w * columns)
                view = buffer[at : at + length].reshape(inner, w * columns)
                self._right.append((j, right_matrix, view))
                at += length
            self._left.append((j2, matrix, buffer))

    def __call__(self, vector: Array) -> Array:
        """H times the vector."""
        matmul = self.kind.xp.matmul
        theta = {ir: vector[at].reshape(self.shapes[ir]) for ir, at in self.slices.items()}
        for ir, matrix, view in self._right:
            matmul(theta[ir], matrix, out=view)
        out = self.kind.zeros((self.size,))
        for ir, matrix, buffer in self._left:
            out[self.slices[ir]] = (matrix @ buffer).reshape(-1)
        return out

    @property
    def flops(self) -> int:
        """Floating-point operations of one application."""
        right = sum(2 * view.shape[0] * math.prod(m.shape) for _, m, view in self._right)
        return right + sum(2 * m.shape[0] * math.prod(buffer.shape) for _, m, buffer in self._left)

    def to_vector(self, matrices: Mapping[Irrep, Array]) -> Array:
        """Vector of the matrices Theta_j; those that are missing are zero."""
        vector = self.kind.zeros((self.size,))
        for ir, at in self.slices.items():
            if ir in matrices:
                vector[at] = (math.sqrt(ir.dim) * matrices[ir]).reshape(-1)
        return vector

    def from_vector(self, vector: Array) -> dict[Irrep, Array]:
        """Inverse of :meth:`to_vector`."""
        return {
            ir: vector[at].reshape(self.shapes[ir]) / math.sqrt(ir.dim)
            for ir, at in self.slices.items()
        }


def _joins(j: Irrep, j2: Irrep, left: BlockOperators, right: BlockOperators) -> bool:
    return (j, j2) in left and (j, j2) in right
