r"""Effective Hamiltonians of sweeps: a block left, a block right, and H between them.

The Hamiltonian is a sum of products O_w · O'_w of tensor operators of the two blocks, one for each
multiplet w of the bond of the operator.  With their reduced matrices A and B
(:mod:`etn.sweep.eigen.block_operators`) it acts on a wave function Theta_j[a, b], a in the left
and b in the right block, as

.. math:: \Theta'_{j'} = \sum_{k j w} A^{k w}_{j' j}\, \Theta_j\, (B^{k w}_{j' j})^T

without any further coefficient, because the Clebsch-Gordan tensors of both sides contract to the
identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate

from etn.backend import Array, Kind
from etn.o3 import Irrep
from etn.sweep.eigen.block_operators import BlockOperators


class EffectiveHamiltonian:
    """H between two blocks, acting on all matrices Theta_j as one vector.

    The vector holds sqrt(2 j + 1) Theta_j, so its Euclidean product is that of the dense tensors
    and the action is a symmetric matrix.

    Parameters
    ----------
    left, right : BlockOperators
    shapes : {j: (dimension left, dimension right)}
    kind : Kind

    Examples
    --------
    Two spins, coupled to zero:

    >>> import numpy as np
    >>> from etn.network import heisenberg
    >>> from etn.o3 import Irreps
    >>> from etn.sweep.eigen.block_operators import end_block, enlarge, site_tables
    >>> operator, bond, spin = heisenberg(2), Irreps("1x0e"), Irrep("1e")
    >>> left, right = (
    ...     enlarge(end_block(bond, operator), bond, site_tables(operator, side)[site], [spin])
    ...     for site, side in enumerate(("left", "right"))
    ... )
    >>> EffectiveHamiltonian(left, right, {spin: (1, 1)}, operator.chain.kind)(np.ones(1))
    array([-2.])
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
            terms = [
                (j, left[j, j2], right[j, j2]) for j in self.shapes if _joins(j, j2, left, right)
            ]
            if not terms:
                continue
            lengths = [a.shape[0] * a.shape[2] for _, a, _ in terms]
            matrix, buffer = kind.zeros((rows, sum(lengths))), kind.zeros((sum(lengths), columns))
            at = 0
            for (j, a, b), length in zip(terms, lengths, strict=True):
                w, _, inner = a.shape
                # To split an axis never copies: both are views.
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
