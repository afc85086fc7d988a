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

Matrices are stored such that this sum is one product for each j and one for each j': left blocks
as (a', a, w), right blocks as (b, w, b').
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from etn.backend import Array, Kind
from etn.network import Operator
from etn.network.operator import operator_elements
from etn.o3 import Irrep, Irreps, recoupling_4
from etn.tensor import Core
from etn.tensor.factor import stacking

SCALAR = Irrep(0, 1)
Key = tuple[Irrep, Irrep, Irrep]
BlockOperators = dict[Key, Array]
"""{(rank, ket j, bra j'): (a', a, w) for a left block, (b, w, b') for a right one}."""


class _Target(NamedTuple):
    """Where the coupled operator goes: irreps of the sites, the result, columns of the table."""

    ket: Irrep
    bra: Irrep
    key: Key
    columns: slice
    shape: tuple[int, int, int]  # (copies of bra, copies of ket, w)


class SiteTables:
    """Couples a site to a block: one table of coefficients for each pair of block irreps.

    The table of (l, l') has a row for each operator that takes irrep l of the block to l' and a
    column for each entry of the enlarged operators that come from it, so adding a site is one
    matrix product for each pair of block irreps.

    Parameters
    ----------
    w : Core
        Operator core of the site: (left operator bond, operators of the site, right one).
    site : Irreps
    side : {"left", "right"}
        Which block the site joins.
    """

    def __init__(self, w: Core, site: Irreps, side: str) -> None:
        self.kind = w.kind
        self.site = site
        self.side = side
        self.bond = w.legs[0 if side == "left" else 2]
        self.out = w.legs[2 if side == "left" else 0]
        self.elements = operator_elements(w, site)
        self._tables: dict[
            tuple[Irrep, Irrep], tuple[list[tuple[Irrep, int]], Array, list[_Target]]
        ]
        self._tables = {}

    def table(self, l: Irrep, l2: Irrep) -> tuple[list[tuple[Irrep, int]], Array, list[_Target]]:
        """Ranks of the block operators from l to l2 with their numbers, table and targets."""
        if (l, l2) not in self._tables:
            self._tables[l, l2] = self._build(l, l2)
        return self._tables[l, l2]

    def _build(self, l: Irrep, l2: Irrep) -> tuple[list[tuple[Irrep, int]], Array, list[_Target]]:
        ranks = [(k, self.bond.count(k)) for k in sorted(self.bond.unique) if l2 in l * k]
        first: dict[Irrep, int] = {}
        at = 0
        for k, n in ranks:
            first[k] = at
            at += n
        parts: dict[tuple[Irrep, Irrep, Key], Array] = {}
        for ((k1, k, k2), bra, ket), element in self.elements.items():
            inner, outer = (k1, k2) if self.side == "left" else (k2, k1)
            if inner not in first:
                continue
            for j in l * ket if self.side == "left" else ket * l:
                for j2 in l2 * bra:
                    if j2 not in j * outer:
                        continue
                    factor = self._factor(l, l2, bra, ket, (k1, k, k2), j, j2)
                    if factor == 0.0:
                        continue
                    found = parts.setdefault(
                        (ket, bra, (outer, j, j2)),
                        self.kind.zeros(
                            (at, self.site.count(bra), self.site.count(ket), self.out.count(outer))
                        ),
                    )
                    rows = slice(first[inner], first[inner] + self.bond.count(inner))
                    xp = self.kind.xp
                    moved = element if self.side == "left" else xp.moveaxis(element, (0, 3), (3, 0))
                    found[rows] += factor * moved
        targets, start = [], 0
        columns = []
        for (ket, bra, key), part in parts.items():
            shape = tuple(part.shape[1:])
            size = math.prod(shape)
            targets.append(_Target(ket, bra, key, slice(start, start + size), shape))
            columns.append(self.kind.xp.reshape(part, (at, -1)))
            start += size
        table = self.kind.xp.concat(columns, axis=1) if columns else self.kind.zeros((at, 0))
        return ranks, table, targets

    def _factor(
        self, l: Irrep, l2: Irrep, bra: Irrep, ket: Irrep, ranks: Key, j: Irrep, j2: Irrep
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
    block: BlockOperators, bond: Irreps, tables: SiteTables, allowed: Mapping[Irrep, object]
) -> BlockOperators:
    """Operators of a block with one more site, in the basis of all couplings of the two.

    Parameters
    ----------
    block : operators of the block
    bond : Irreps
        Irreps of the block.
    tables : SiteTables
        Of the site that joins.
    allowed : container of Irrep
        Irreps of the enlarged block that are wanted.

    Returns
    -------
    BlockOperators
        Basis of irrep j: the couplings in the order of :func:`etn.tensor.matricize`.
    """
    kind, left = tables.kind, tables.side == "left"
    xp = kind.xp
    legs = (bond, tables.site) if left else (tables.site, bond)
    stacks = stacking((*legs, Irreps([(1, ir) for ir in sorted(allowed)])), 2)
    at = {
        (row.path if left else (row.path[1], row.path[0], ir)): slice(row.start, row.stop)
        for ir, rows in stacks.items()
        for row in rows
    }
    dims = {ir: rows[-1].stop for ir, rows in stacks.items()}
    out: BlockOperators = {}
    for l in bond.unique:
        for l2 in bond.unique:
            ranks, table, targets = tables.table(l, l2)
            if not targets:
                continue
            ket_n, bra_n = bond.count(l), bond.count(l2)
            parts = []
            for k, n in ranks:
                found = block.get((k, l, l2))
                if found is None:
                    shape = (bra_n, ket_n, n) if left else (ket_n, n, bra_n)
                    found = kind.zeros(shape)
                parts.append(found if left else xp.permute_dims(found, (2, 0, 1)))
            stacked = parts[0] if len(parts) == 1 else xp.concat(parts, axis=2)
            products = xp.reshape(stacked, (bra_n * ket_n, -1)) @ table
            for ket, bra, key, columns, (bra_s, ket_s, w) in targets:
                _, j, j2 = key
                if j not in dims or j2 not in dims:
                    continue
                if key not in out:
                    shape = (dims[j2], dims[j], w) if left else (dims[j], w, dims[j2])
                    out[key] = kind.zeros(shape)
                part = xp.reshape(products[:, columns], (bra_n, ket_n, bra_s, ket_s, w))
                bras, kets = at[l2, bra, j2], at[l, ket, j]
                if left:
                    moved = xp.permute_dims(part, (0, 2, 1, 3, 4))
                    out[key][bras, kets] += xp.reshape(moved, (bra_n * bra_s, ket_n * ket_s, w))
                else:
                    moved = xp.permute_dims(part, (3, 1, 4, 2, 0))
                    out[key][kets, :, bras] += xp.reshape(moved, (ket_n * ket_s, w, bra_n * bra_s))
    return out


def project(enlarged: BlockOperators, isometry: Mapping[Irrep, Array], side: str) -> BlockOperators:
    """Operators in the basis that an isometry keeps: {j: (couplings, kept)}."""
    out: BlockOperators = {}
    for (rank, j, j2), m in enlarged.items():
        if j not in isometry or j2 not in isometry:
            continue
        ket, bra = isometry[j], isometry[j2]
        if side == "left":
            d2, d, w = m.shape
            half = (bra.T @ m.reshape(d2, d * w)).reshape(-1, d, w)
            out[rank, j, j2] = ket.T @ half
        else:
            d, w, d2 = m.shape
            half = (ket.T @ m.reshape(d, w * d2)).reshape(-1, w, d2)
            out[rank, j, j2] = half @ bra
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
        self.slices: dict[Irrep, slice] = {}
        at = 0
        for ir, (rows, columns) in self.shapes.items():
            self.slices[ir] = slice(at, at + rows * columns)
            at += rows * columns
        self.size = at
        xp = kind.xp
        terms = [
            key for key in left if key in right and key[1] in self.shapes and key[2] in self.shapes
        ]
        widths = dict.fromkeys(self.shapes, 0)
        heights = dict.fromkeys(self.shapes, 0)
        rights: dict[Irrep, list[Array]] = {ir: [] for ir in self.shapes}
        lefts: dict[Irrep, list[Array]] = {ir: [] for ir in self.shapes}
        # (j, columns of the first product, j2, rows of the buffer, w)
        self._moves: list[tuple[Irrep, slice, Irrep, slice, int]] = []
        for key in terms:
            _, j, j2 = key
            a, b = left[key], right[key]
            w = a.shape[2]
            columns = slice(widths[j], widths[j] + w * b.shape[2])
            rows = slice(heights[j2], heights[j2] + a.shape[1] * w)
            widths[j], heights[j2] = columns.stop, rows.stop
            self._moves.append((j, columns, j2, rows, w))
            rights[j].append(b.reshape(b.shape[0], -1))
            lefts[j2].append(a.reshape(a.shape[0], -1) * math.sqrt(j2.dim / j.dim))
        self._right = {ir: xp.concat(m, axis=1) for ir, m in rights.items() if m}
        self._left = {ir: xp.concat(m, axis=1) for ir, m in lefts.items() if m}
        self._buffers = {ir: kind.zeros((heights[ir], self.shapes[ir][1])) for ir in self._left}

    def __call__(self, vector: Array) -> Array:
        """H times the vector."""
        out = self.kind.zeros((self.size,))
        products = {
            ir: vector[self.slices[ir]].reshape(self.shapes[ir]) @ m
            for ir, m in self._right.items()
        }
        for j, columns, j2, rows, w in self._moves:
            d, e = self.shapes[j][0], self.shapes[j2][1]
            self._buffers[j2][rows].reshape(d, w, e)[...] = products[j][:, columns].reshape(d, w, e)
        for ir, m in self._left.items():
            out[self.slices[ir]] = (m @ self._buffers[ir]).reshape(-1)
        return out

    @property
    def flops(self) -> int:
        """Floating-point operations of one application."""
        total = 0
        for ir, m in self._right.items():
            total += 2 * self.shapes[ir][0] * m.shape[0] * m.shape[1]
        for ir, m in self._left.items():
            total += 2 * m.shape[0] * m.shape[1] * self.shapes[ir][1]
        return total

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


def end_block(irreps: Irreps, operator: Operator, side: str) -> BlockOperators:
    """Operators of a block without sites: the identity on the open leg."""
    kind = operator.chain.kind
    return {
        (SCALAR, ir, ir): kind.eye(irreps.count(ir))[
            (slice(None), slice(None), None) if side == "left" else (slice(None), None, slice(None))
        ]
        for ir in irreps.unique
    }
