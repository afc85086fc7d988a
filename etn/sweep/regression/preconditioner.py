"""Preconditioner of normal equations: diagonal blocks of those of a sample of the rows.

The equations of four random rows for each unknown differ from those of all rows by a matrix whose
eigenvalues lie within a factor of ten or so, whatever the condition of either.  One block that
holds all columns takes the memory of a Gram matrix; of smaller ones, as large as memory allows,
nothing is known, but they do far more than a diagonal does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.linalg as sl

from etn.backend import FloatArray as Array
from etn.sweep.regression.batches import Batches, WeightedRows
from etn.sweep.regression.normal_equations import NormalEquations

# What the blocks are lifted by, relative to their diagonal: no more than by rounding, since what is
# lifted converges slowly.
LIFT = 1e-13


class BlockPreconditioner:
    """Inverse of the diagonal blocks of S^T S + D, of a sample of the rows.

    Parameters
    ----------
    rows : Batches of (rows, targets)
        Weighted, and scaled as if they were all.
    penalty : (columns,)
    block : int
        Columns of a block.
    most : int, optional
        Most threads to use: each adds up blocks of its own.

    Examples
    --------
    >>> rows, penalty = np.random.default_rng(0).normal(size=(3, 2)), np.full(2, 0.1)
    >>> inverse = BlockPreconditioner(Batches([(rows, np.ones(3))]), penalty, 2)
    >>> np.allclose((rows.T @ rows + np.diag(penalty)) @ inverse(np.ones(2)), 1, atol=1e-6)
    True
    """

    def __init__(
        self, rows: Batches[WeightedRows], penalty: Array, block: int, *, most: int | None = None
    ) -> None:
        columns = len(penalty)
        self._parts = [slice(at, min(at + block, columns)) for at in range(0, columns, block)]
        blocks = rows.fold(partial(_add_blocks, self._parts), most=most)
        diagonal = np.concatenate([np.diagonal(normal.gram) for normal in blocks.normals])
        # Columns that the sample does not reach are taken for usual ones.
        reached = diagonal > 0
        usual = float(np.median(diagonal[reached])) if reached.any() else 1.0
        total = penalty + np.where(reached, diagonal, usual)
        self._scale = 1 / np.sqrt(total)
        self._factors = []
        for part, normal in zip(self._parts, blocks.normals, strict=True):
            scale = self._scale[part]
            normal.gram *= scale[:, None]
            normal.gram *= scale
            self._factors.append(_factor(normal.gram))

    def __call__(self, residual: Array) -> Array:
        """M^-1 r, (columns,)."""
        z = self._scale * residual
        for part, factor in zip(self._parts, self._factors, strict=True):
            z[part] = sl.cho_solve((factor, False), z[part], check_finite=False)
        return self._scale * z


@dataclass
class _Blocks:
    """Normal equations of some of the columns each, which can be added to."""

    normals: list[NormalEquations]

    def __iadd__(self, other: _Blocks) -> _Blocks:
        for k, normal in enumerate(other.normals):
            self.normals[k] += normal
        return self


def _add_blocks(parts: Sequence[slice], batches: Iterator[WeightedRows]) -> _Blocks:
    normals = [NormalEquations(part.stop - part.start) for part in parts]
    for rows, targets in batches:
        for part, normal in zip(parts, normals, strict=True):
            normal.add(rows[:, part], targets)
    return _Blocks(normals)


def _factor(gram: Array) -> Array:
    """Upper factor of a scaled Gram matrix, in its memory; the lower triangle is not read."""
    lift = LIFT
    while True:
        np.fill_diagonal(gram, 1.0 + lift)
        try:
            return sl.cholesky(gram, lower=False, check_finite=False)
        except sl.LinAlgError:
            # Rounding has made a dependent column negative: any definite matrix will do.
            lift *= 100
