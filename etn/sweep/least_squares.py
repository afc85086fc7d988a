"""Linear least squares on one core: the local problem of regression sweeps.

With all cores but one fixed the rows are linear in that core, so its optimum

    min_a  sum_rows w^2 (Phi a - y)^2 + ridge ||T||^2

is one linear solve.  In mixed-canonical gauge ||T||^2 = sum (2 l3 + 1) a^2 is the norm of the
whole tensor, so one ridge means the same at every site and the objective never rises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from etn.errors import CoreError
from etn.network import Chain, Samples, left_environment, right_environment
from etn.sweep.design import CoreDesign
from etn.sweep.problem import LocalSolution
from etn.sweep.workers import share

Array = NDArray[np.float64]

# Bound of all Gram matrices that threads accumulate at a time, bytes.
MAX_GRAMS = 4e9


class Batch(NamedTuple):
    """Samples with a target and a weight for each of their rows.

    Attributes
    ----------
    samples : Samples
    targets : (rows,)
    weights : (rows,)
        The square root of what multiplies the squared residual.
    """

    samples: Samples
    targets: Array
    weights: Array


class NormalEquations:
    """Gram matrix, right-hand side and squared target norm, accumulated over batches."""

    def __init__(self, columns: int) -> None:
        self.gram = np.zeros((columns, columns), order="F")
        self.rhs = np.zeros(columns)
        self.target = 0.0

    def add(self, rows: Array, targets: Array) -> None:
        """Add weighted rows; the lower triangle of the Gram matrix is not kept."""
        self.gram = blas.dsyrk(1.0, rows.T, beta=1.0, c=self.gram, overwrite_c=True)
        self.rhs += targets @ rows
        self.target += float(targets @ targets)

    def value(self, a: Array) -> float:
        """||Phi a - y||^2."""
        return float(self.target - 2 * self.rhs @ a + a @ blas.dsymv(1.0, self.gram, a))


class LeastSquares:
    """Least squares on one core of a chain over batches of samples.

    Parameters
    ----------
    batches : callable
        Returns a fresh iterable at every call: of :class:`Batch`, or of functions that build
        one.  The functions are called in several threads, one batch a thread is in memory at a
        time; batches that are handed over ready are all held together.
    ridge : float
        Weight of ||T||^2 in the objective.
    max_condition : float
        Above this estimate of the condition number of the scaled normal equations the
        solution is recomputed by a streamed QR of the rows, which does not square it.
    """

    def __init__(
        self,
        batches: Callable[[], Iterable[Batch | Callable[[], Batch]]],
        *,
        ridge: float = 0.0,
        max_condition: float = 1e15,
    ) -> None:
        self.batches = batches
        self.ridge = ridge
        self.max_condition = max_condition

    def solve(self, chain: Chain) -> LocalSolution:
        """Optimal center core, all others fixed.

        Parameters
        ----------
        chain : Chain
            Canonical around its center.

        Raises
        ------
        CoreError
            If the chain has no center.
        """
        if chain.center is None:
            raise CoreError("least squares needs a canonical chain: canonicalize(center) it first")
        design = CoreDesign(chain[chain.center])
        penalty = self.ridge * chain[chain.center].metric()[design.order]
        normal = self.normal_equations(chain, design)
        solution, condition = solve_normal(normal, penalty)
        solver = "cholesky"
        if solution is None or condition > self.max_condition:
            solution = solve_rows(self._rows(chain, design), penalty, columns=design.columns)
            solver = "qr"
        loss = max(normal.value(solution), 0.0) + float(penalty @ solution**2)
        return LocalSolution(design.to_core(solution), loss, condition, solver)

    def normal_equations(self, chain: Chain, design: CoreDesign) -> NormalEquations:
        """Gram matrix and right-hand side of the center core over all batches, without ridge."""

        def accumulate(batches: Iterator[Batch | Callable[[], Batch]]) -> NormalEquations:
            normal = NormalEquations(design.columns)
            for batch in batches:
                normal.add(*_weighted_rows(chain, design, batch))
            return normal

        most = max(1, int(MAX_GRAMS / (8.0 * design.columns**2)))
        first, *others = share(accumulate, list(self.batches()), most=most)
        for other in others:
            first.gram += other.gram
            first.rhs += other.rhs
            first.target += other.target
        return first

    def loss(self, chain: Chain) -> float:
        """Objective of a canonical chain."""
        if chain.center is None:
            raise CoreError("the loss needs a canonical chain: canonicalize(center) it first")
        design = CoreDesign(chain[chain.center])
        a = design.from_core(chain[chain.center])
        data = sum(
            float(np.sum((rows @ a - targets) ** 2)) for rows, targets in self._rows(chain, design)
        )
        return data + self.ridge * chain.norm() ** 2

    def _rows(self, chain: Chain, design: CoreDesign) -> Iterator[tuple[Array, Array]]:
        for batch in self.batches():
            yield _weighted_rows(chain, design, batch)


def _weighted_rows(
    chain: Chain, design: CoreDesign, batch: Batch | Callable[[], Batch]
) -> tuple[Array, Array]:
    assert chain.center is not None
    samples, targets, weights = batch() if callable(batch) else batch
    left = left_environment(chain.cores[: chain.center], samples, jacobian=True)
    right = right_environment(chain.cores[chain.center + 1 :], samples, jacobian=True)
    rows = design.rows(samples, left, right)
    rows *= weights[:, None]
    return rows, weights * targets


def solve_normal(normal: NormalEquations, penalty: Array) -> tuple[Array | None, float]:
    """Solve (Gram + diag(penalty)) a = rhs by Cholesky on the column-scaled matrix.

    Scaling to unit diagonal, one step of iterative refinement.

    Returns
    -------
    solution : (columns,) or None if the matrix is not positive definite
    condition : float
        Estimate of the 1-norm condition number of the scaled matrix; inf with None.
    """
    diagonal = np.diagonal(normal.gram) + penalty
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = normal.gram * scale[:, None]
    scaled *= scale
    np.fill_diagonal(scaled, np.where(diagonal > 0, 1.0, 0.0))
    norm = float(_symmetric_norm_1(scaled))
    factor, info = lapack.dpotrf(scaled, lower=False)
    if info != 0:
        return None, 1 / np.finfo(float).eps
    reciprocal, _ = lapack.dpocon(factor, norm)
    condition = 1 / max(reciprocal, np.finfo(float).eps)
    rhs = scale * normal.rhs
    x = sl.cho_solve((factor, False), rhs, check_finite=False)
    x += sl.cho_solve((factor, False), rhs - blas.dsymv(1.0, scaled, x), check_finite=False)
    return scale * x, condition


def _symmetric_norm_1(upper: Array) -> float:
    """1-norm of a symmetric matrix of which the upper triangle is given."""
    total = np.zeros(len(upper))
    for j in range(len(upper)):
        column = np.abs(upper[: j + 1, j])
        total[: j + 1] += column
        total[j] += column[:-1].sum()
    return float(total.max())


def solve_rows(blocks: Iterable[tuple[Array, Array]], penalty: Array, *, columns: int) -> Array:
    """Least squares by a QR factorisation of the rows, streamed in blocks.

    The triangular factor of all rows seen so far is kept and extended block by block, so the
    condition number is that of the rows, not its square, at the memory of one square matrix.

    Parameters
    ----------
    blocks : iterable of (rows, targets)
    penalty : (columns,)
        Added to the squared objective as sum penalty a^2.
    columns : int

    Returns
    -------
    (columns,): the minimum-norm solution of the scaled problem where it is rank deficient.
    """
    triangle = np.zeros((columns, columns + 1))
    triangle[:, :columns] = np.diag(np.sqrt(penalty))
    waiting: list[Array] = []

    def absorb() -> Array:
        stacked = np.concatenate([triangle, *waiting])
        waiting.clear()
        return sl.qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][:columns]

    for rows, targets in blocks:
        waiting.append(np.column_stack([rows, targets]))
        # Few, tall factorisations: each costs as much for the triangle as for as many rows.
        if sum(map(len, waiting)) >= 2 * columns:
            triangle = absorb()
    if waiting:
        triangle = absorb()
    scale = np.linalg.norm(triangle[:, :columns], axis=0)
    scale[scale == 0] = 1.0
    x = sl.lstsq(
        triangle[:, :columns] / scale,
        triangle[:, columns],
        cond=columns * np.finfo(float).eps,
        lapack_driver="gelsd",
        check_finite=False,
    )[0]
    return np.asarray(x / scale)
