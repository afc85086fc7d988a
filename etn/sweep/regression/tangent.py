r"""Directions in which all cores of a chain can move at once, changes of gauge left out.

With the chain canonical around its center, every other core is an isometry A and moves to
A + Q X, with Q the orthonormal complement of its columns; the center moves freely.  So each X is
free, no direction is a change of a bond's basis, which would change cores but no prediction, and
to first order only the center changes the norm of the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg as sl

from etn.backend import Array, kind_of
from etn.network import Blocks, Chain
from etn.o3 import Irrep
from etn.sweep.regression.bond_matrices import from_vector, matrix_entries, to_vector
from etn.tensor import Core, matricize, tensorize


class Part(NamedTuple):
    """How a core may move: by complement · X on one of its legs.

    Attributes
    ----------
    leg : int
        Towards the center; the last one for the center itself.
    matrices : {ir: (couplings of the other legs, multiplicity)}
        Of the core.
    complement : {ir: (couplings, free)} or None
        None for the center, which is free in all directions.
    columns : slice
        Where its unknowns stand among those of all cores.
    shapes : {ir: shape of X}, rows on the left side
    """

    leg: int
    matrices: Blocks
    complement: Blocks | None
    columns: slice
    shapes: dict[Irrep, tuple[int, int]]

    def pull_back(self, gradient: Core) -> Array:
        """Derivatives by the unknowns from derivatives by the entries of the core."""
        # Matrices are blocks times sqrt((2 l3 + 1) / (2 l + 1)), l on the leg.
        scaled = {path: block / path[-1].dim for path, block in gradient}
        matrices = matricize(Core.trusted(gradient.legs, scaled, gradient.kind), self.leg)
        slopes = {}
        for ir, matrix in matrices.items():
            free = matrix if self.complement is None else self.complement[ir].T @ matrix
            slopes[ir] = free if self.leg == 2 else free.T
        return to_vector(slopes)

    def restrict(self, core: Core, rows: Array) -> Array:
        """Derivatives by the unknowns from those by the entries, of many rows; NumPy only.

        Parameters
        ----------
        core : Core
        rows : (n, entries of ``core.to_vector()``)

        Returns
        -------
        (n, unknowns of the core)
        """
        found = []
        for ir, (indices, weights) in sorted(matrix_entries(core, self.leg).items()):
            slopes = rows[:, indices.ravel()].reshape(len(rows), *indices.shape)
            slopes /= math.sqrt(ir.dim) * weights
            if self.complement is not None:
                slopes = self.complement[ir].T @ slopes
            if self.leg == 0:
                slopes = slopes.transpose(0, 2, 1)
            found.append(slopes.reshape(len(rows), -1))
        return np.concatenate(found, axis=1)


class Tangent:
    """Free directions of a chain that is canonical around its center.

    The unknowns x run over the cores, within a core over the entries of sqrt(2 l + 1) X, so that
    |x| is the norm of the change of a core.

    Parameters
    ----------
    chain : Chain
        With a center.
    channels : {ir: (multiplicity,)}, optional
        How much each channel of the site legs, which are all alike, does to the predictions: the
        weights with which changes of a core's entries are squared and summed.  Then |x| is that
        norm of the change.  Weights of channels do not depend on the bases of the bonds.

    Attributes
    ----------
    parts : list of Part
    columns : int
        Number of unknowns: parameters less those of the gauge.
    units : (columns,)
        1, and the norm of the tensor for the center: a change by as much is a change of order one.
        The center has its channels weighted here.

    Examples
    --------
    >>> chain = Chain.random(["1x0e+2x1o"] * 3, max_bond=2, seed=0).canonicalize(1)
    >>> tangent = Tangent(chain)
    >>> chain.n_parameters, tangent.columns
    (23, 13)
    """

    def __init__(self, chain: Chain, channels: Mapping[Irrep, Array] | None = None) -> None:
        assert chain.center is not None
        self.chain, self.kind, self.center = chain, chain.kind, chain.center
        self.parts: list[Part] = []
        at = 0
        for site, core in enumerate(chain):
            leg = 2 if site <= self.center else 0
            matrices = matricize(core, leg)
            complement = None if site == self.center else self._complement(matrices)
            weights = {} if channels is None else _row_weights(core, leg, channels)
            if complement is not None and weights:
                complement = {ir: _measured(q, weights[ir]) for ir, q in complement.items()}
            wide = matrices if complement is None else complement
            shapes = {}
            for ir in sorted(matrices):
                # Free rows by multiplicity; the left side of the bond counts first.
                rows = wide[ir].shape[0] if complement is None else wide[ir].shape[1]
                shape = rows, matrices[ir].shape[1]
                shapes[ir] = shape if leg == 2 else shape[::-1]
            n = sum(rows * columns for rows, columns in shapes.values())
            self.parts.append(Part(leg, matrices, complement, slice(at, at + n), shapes))
            at += n
            if complement is None:
                ones = {
                    ir: self.kind.ones(shape) / math.sqrt(ir.dim) for ir, shape in shapes.items()
                }
                for ir, w in weights.items():
                    ones[ir] = ones[ir] / np.sqrt(w)[:, None]
                own = to_vector(ones)
        self.columns = at
        self.units = self.kind.ones((at,))
        self.units[self.parts[self.center].columns] = own * (chain.norm() or 1.0)

    def _complement(self, matrices: Blocks) -> Blocks:
        xp = self.kind.xp
        return {
            ir: xp.linalg.qr(matrix, mode="complete")[0][:, matrix.shape[1] :]
            for ir, matrix in matrices.items()
        }

    @property
    def center_vector(self) -> Array:
        """The center core in its own unknowns."""
        return to_vector(self.parts[self.center].matrices)

    def changes(self, x: Array) -> list[Core]:
        """The change of each core."""
        found = []
        for core, part in zip(self.chain, self.parts, strict=True):
            new = {ir: 0.0 * matrix for ir, matrix in part.matrices.items()}
            for ir, change in from_vector(x[part.columns], part.shapes).items():
                free = change if part.leg == 2 else change.T
                new[ir] = free if part.complement is None else part.complement[ir] @ free
            blocks = tensorize(new, core.legs, part.leg, self.kind).blocks
            found.append(Core.trusted(core.legs, blocks, self.kind))
        return found

    def move(self, x: Array) -> Chain:
        """The chain with all cores changed."""
        cores = []
        for core, change in zip(self.chain, self.changes(x), strict=True):
            blocks = {path: block + change.blocks[path] for path, block in core}
            cores.append(Core.trusted(core.legs, blocks, self.kind))
        return Chain(cores)


def pull_back(parts: Sequence[Part], gradients: Sequence[Core]) -> Array:
    """Derivatives by x from derivatives by the entries of all cores: the adjoint of changes."""
    slopes = [part.pull_back(gradient) for part, gradient in zip(parts, gradients, strict=True)]
    return kind_of(*slopes).xp.concat(slopes)


def _row_weights(core: Core, leg: int, channels: Mapping[Irrep, Array]) -> Blocks:
    """Weight of each row of the matrices of a core: that of its channel of the site leg."""
    blocks = {
        path: np.broadcast_to(channels[path[1]][:, None], block.shape) for path, block in core
    }
    entries = np.concatenate([block.ravel() for block in blocks.values()])
    return {ir: entries[indices[:, 0]] for ir, (indices, _) in matrix_entries(core, leg).items()}


def _measured(basis: Array, weights: Array) -> Array:
    """Another basis of the same space, orthonormal under weights of the rows."""
    gram = basis.T @ (weights[:, None] * basis)
    root = np.linalg.cholesky(gram)
    return sl.solve_triangular(root, basis.T, lower=True).T
