"""Least squares without the Gram matrix, for cores whose Gram matrix does not fit in memory.

The Gram matrix of P unknowns has P^2 numbers.  Keeping it on disk, or building it in several
passes over the data, does not help much: forming it takes rows x P^2 operations and factorising
it P^3, while building the rows themselves takes rows x P times a few hundred.  From some ten
thousand unknowns on a hundred passes of conjugate gradients are cheaper than one Gram matrix.

So the normal equations (Phi^T Phi + D) a = Phi^T y are solved by conjugate gradients, one pass
over the streamed rows an iteration: Phi^T (Phi p) is summed batch by batch while the rows of a
batch are there.  The diagonal blocks of Phi^T Phi, as large as memory allows, precondition them;
one block that holds all columns is the direct solution.

The iteration starts from the present core and minimises the objective along every direction, so
the objective never rises, however early it stops; what is not reached yet is left to the next
sweep.  J. Nocedal, S. J. Wright, Numerical Optimization (2006), algorithm 5.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.linalg as sl
from scipy.linalg import blas

from etn.backend import FloatArray as Array
from etn.sweep.regression.batches import Batches, WeightedRows

# Iterations over which progress is judged: conjugate gradients stall before they go on.
WINDOW = 5
# What the blocks of the preconditioner are lifted by, relative to their scaled diagonal.
JITTER = 1e-12


class IterativeSolution(NamedTuple):
    """What the iteration ended with.

    Attributes
    ----------
    values : (columns,)
    loss : float
        ||Phi a - y||^2 + sum penalty a^2.
    iterations : int
        Passes over the rows, the first one not counted.
    gradient : float
        Norm of half the gradient of the objective at the start.
    """

    values: Array
    loss: float
    iterations: int
    gradient: float


def solve_matrix_free(
    batches: Batches[WeightedRows],
    penalty: Array,
    start: Array,
    *,
    block: int,
    tol: float = 1e-3,
    max_iterations: int = 200,
) -> IterativeSolution:
    """Minimise ||Phi a - y||^2 + sum penalty a^2 by preconditioned conjugate gradients.

    Parameters
    ----------
    batches : Batches of (rows, targets)
        Both weighted; built once an iteration.
    penalty : (columns,)
    start : (columns,)
        Where the iteration starts; the objective only falls from there.
    block : int
        Columns of a block of the preconditioner; 1 is the diagonal.
    tol : float
        The iteration ends when five steps together lower the objective by less than this
        fraction, or when nothing is left to gain.
    max_iterations : int

    Returns
    -------
    IterativeSolution

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows, targets = rng.normal(size=(30, 4)), rng.normal(size=30)
    >>> batches = Batches([(rows[:20], targets[:20]), (rows[20:], targets[20:])])
    >>> found = solve_matrix_free(batches, np.zeros(4), np.zeros(4), block=2, tol=0.0)
    >>> bool(np.allclose(found.values, np.linalg.lstsq(rows, targets, rcond=None)[0]))
    True
    """
    block = min(block, len(penalty))
    first = batches.fold(partial(_first_pass, start, block))
    precondition = _Blocks(first.blocks, penalty, block)
    a = start.copy()
    residual = first.residual - penalty * a
    loss = first.loss + float(penalty @ a**2)
    gradient = float(np.linalg.norm(residual))
    z = precondition(residual)
    gamma = float(residual @ z)
    smallest = np.finfo(float).eps ** 2 * gamma
    p = z
    gains: list[float] = []
    while len(gains) < max_iterations and gamma > smallest:
        image = batches.map(partial(_normal_product, p)).sum(np.zeros(len(p))) + penalty * p
        curvature = float(p @ image)
        if curvature <= 0:
            break
        step = gamma / curvature
        a += step * p
        residual -= step * image
        # p^T residual = gamma: the objective falls by 2 step gamma - step^2 curvature.
        gains.append(step * gamma)
        loss -= gains[-1]
        if len(gains) >= WINDOW and sum(gains[-WINDOW:]) <= tol * loss:
            break
        z = precondition(residual)
        before, gamma = gamma, float(residual @ z)
        p = z + gamma / before * p
    return IterativeSolution(a, max(loss, 0.0), len(gains), gradient)


@dataclass
class _First:
    """Phi^T (y - Phi a), |y - Phi a|^2 and the diagonal blocks of Phi^T Phi, of some rows."""

    residual: Array
    loss: float
    blocks: list[Array]

    def __iadd__(self, other: _First) -> _First:
        self.residual += other.residual
        self.loss += other.loss
        for mine, theirs in zip(self.blocks, other.blocks, strict=True):
            np.add(mine, theirs, out=mine)
        return self


def _first_pass(start: Array, block: int, batches: Iterator[WeightedRows]) -> _First:
    columns = len(start)
    residual, loss = np.zeros(columns), 0.0
    blocks = [
        np.zeros((min(block, columns - at),) * 2, order="F") for at in range(0, columns, block)
    ]
    for rows, targets in batches:
        left = targets - rows @ start
        residual += left @ rows
        loss += float(left @ left)
        for k, gram in enumerate(blocks):
            part = rows[:, k * block : k * block + len(gram)]
            blocks[k] = blas.dsyrk(1.0, part.T, beta=1.0, c=gram, overwrite_c=True)
    return _First(residual, loss, blocks)


def _normal_product(p: Array, batch: WeightedRows) -> Array:
    """Phi^T (Phi p) of the rows of a batch."""
    rows, _ = batch
    return (rows @ p) @ rows


class _Blocks:
    """Inverse of the diagonal blocks of Phi^T Phi + penalty; the blocks are overwritten."""

    def __init__(self, blocks: list[Array], penalty: Array, block: int) -> None:
        self._block = block
        self._scale = np.empty(len(penalty))
        self._factors = []
        for k, gram in enumerate(blocks):
            part = slice(k * block, k * block + len(gram))
            diagonal = np.diagonal(gram) + penalty[part]
            # Columns that no data reach keep their values: their residual is zero.
            scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
            np.multiply(gram, np.outer(scale, scale), out=gram)
            np.fill_diagonal(gram, 1.0 + JITTER)
            self._scale[part] = scale
            self._factors.append(_cholesky(gram))

    def __call__(self, residual: Array) -> Array:
        z = self._scale * residual
        for k, factor in enumerate(self._factors):
            part = slice(k * self._block, k * self._block + len(factor))
            z[part] = sl.cho_solve((factor, False), z[part], check_finite=False)
        return self._scale * z


def _cholesky(gram: Array) -> Array:
    """Upper factor of a scaled Gram matrix, whose lower triangle is not read."""
    lift = JITTER
    while True:
        try:
            return sl.cholesky(gram, lower=False, check_finite=False)
        except sl.LinAlgError:
            # Rounding has made a dependent column negative: any definite matrix will do.
            lift *= 100
            np.fill_diagonal(gram, 1.0 + lift)
