"""Normal equations of linear least squares: added up over batches, and solved.

With rows Phi and targets y, both weighted, the solution of

    min_a  |Phi a - y|^2 + sum penalty a^2

needs of the data Phi^T Phi, Phi^T y and y^T y alone.  They are sums over the rows, which may be
added in any order and in parts, see :class:`NormalEquations`.  The price is the square of the
condition number: where it is too much, the rows are streamed once more through a QR
factorisation, see :func:`solve_direct`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import partial

import numpy as np
import scipy.linalg as sl
from scipy.linalg import blas, lapack

from etn.backend import FloatArray as Array
from etn.sweep.regression.batches import Batches, WeightedRows

# Bound of all Gram matrices at a time, bytes: those that threads accumulate, or that of a solve.
MAX_GRAMS = 4e9
# With more columns than this a second pass over the rows by QR takes longer than a sweep; what the
# diagonal of the scaled Gram matrix is raised by instead, one after the other.
MAX_QR = 1000
DAMPINGS = (1e-13, 1e-11, 1e-9, 1e-7)
# Columns of the Gram matrix that are updated together, and rows that are collected for it.
BLOCK = 512
ROWS_TOGETHER = 512
# Square matrices that a direct solution holds: Gram matrix, its scaled copy and the factor, or one
# for all three; the Gram matrix, the triangle, the rows that wait and their factorisation.
CHOLESKY, IN_PLACE, QR = 3, 1, 7


class NormalEquations:
    """Gram matrix, right-hand side and squared norm of the targets of some of the rows.

    Those of two sets of rows add up to those of both, up to rounding in any order.

    Parameters
    ----------
    columns : int
        Unknowns.

    Attributes
    ----------
    gram : (columns, columns)
        Phi^T Phi, in Fortran order; only the upper triangle counts.
    rhs : (columns,)
        Phi^T y.
    target : float
        y^T y.

    Examples
    --------
    >>> one, two = NormalEquations(1), NormalEquations(1)
    >>> one.add(np.array([[1.0], [2.0]]), np.array([0.0, 1.0]))
    >>> two.add(np.array([[3.0]]), np.array([1.0]))
    >>> both = one + two
    >>> both.gram, both.rhs, both.target
    (array([[14.]]), array([5.]), 2.0)
    """

    def __init__(self, columns: int) -> None:
        self.gram = np.zeros((columns, columns), order="F")
        self.rhs = np.zeros(columns)
        self.target = 0.0

    def add(self, rows: Array, targets: Array) -> None:
        """Add weighted rows; the lower triangle of the Gram matrix is not kept."""
        # By products of NumPy, which release the interpreter lock; SciPy's dsyrk does not, and
        # other threads would wait.  The transpose of the upper triangle is contiguous.
        lower = self.gram.T
        for first in range(0, rows.shape[1], BLOCK):
            block, last = rows[:, first : first + BLOCK], first + BLOCK
            lower[first:last, :first] += block.T @ rows[:, :first]
            # Of a matrix with itself NumPy computes one triangle.
            lower[first:last, first:last] += block.T @ block
        self.rhs += targets @ rows
        self.target += float(targets @ targets)

    def __iadd__(self, other: NormalEquations) -> NormalEquations:
        self.gram += other.gram
        self.rhs += other.rhs
        self.target += other.target
        return self

    def __add__(self, other: NormalEquations) -> NormalEquations:
        total = copy(self)
        total.gram = self.gram + other.gram
        total.rhs = self.rhs + other.rhs
        total.target = self.target + other.target
        return total

    def value(self, a: Array) -> float:
        """||Phi a - y||^2."""
        return float(self.target - 2 * self.rhs @ a + a @ blas.dsymv(1.0, self.gram, a))

    def shifted(self, a: Array) -> NormalEquations:
        """The equations for what is added to a; the Gram matrix is the same array."""
        moved = copy(self)
        moved.rhs = self.rhs - blas.dsymv(1.0, self.gram, a)
        moved.target = self.value(a)
        return moved


def accumulate(
    columns: int, batches: Batches[WeightedRows], *, most: int | None = None
) -> NormalEquations:
    """Normal equations of all rows.

    Parameters
    ----------
    columns : int
    batches : Batches of (rows, targets)
        Both weighted.
    most : int, optional
        Most threads to use: each has a Gram matrix of its own.
    """
    return batches.fold(partial(_accumulate, columns), most=most)


def _accumulate(columns: int, batches: Iterator[WeightedRows]) -> NormalEquations:
    normal = NormalEquations(columns)
    waiting: list[WeightedRows] = []
    for batch in batches:
        waiting.append(batch)
        # Nothing may hold the rows while the next ones are built.
        del batch
        # Each addition reads and writes the whole Gram matrix: let it be worth it.
        if sum(len(targets) for _, targets in waiting) >= ROWS_TOGETHER:
            normal.add(*_joined(waiting))
    if waiting:
        normal.add(*_joined(waiting))
    return normal


def _joined(waiting: list[WeightedRows]) -> WeightedRows:
    """The rows and targets that wait, as one block; none waits afterwards."""
    rows, targets = zip(*waiting, strict=True)
    waiting.clear()
    return (
        (rows[0], targets[0]) if len(rows) == 1 else (np.concatenate(rows), np.concatenate(targets))
    )


def solve_direct(
    normal: NormalEquations,
    penalty: Array,
    rows: Callable[[], Iterable[WeightedRows]] | None,
    *,
    max_condition: float,
    in_place: bool = False,
) -> tuple[Array | None, float, str]:
    """Solve by Cholesky, and where that loses too many digits by what loses fewer.

    Few unknowns are solved for anew by a streamed QR of the rows.  With many the diagonal of the
    scaled Gram matrix is raised, from near the rounding error of its entries on.

    Parameters
    ----------
    normal : NormalEquations
    penalty : (columns,)
    rows : callable, optional
        Returns blocks of (rows, targets); without it there is no QR.
    max_condition : float
        Estimate of the condition number of the scaled matrix up to which Cholesky is trusted.
    in_place : bool
        See :func:`solve_normal`.

    Returns
    -------
    solution : (columns,), or None where only QR would do and there are no rows
    condition : float
    solver : {"cholesky", "qr"}
    """
    many = len(penalty) > MAX_QR
    for damping in (0.0, *(DAMPINGS if many else ())):
        total = penalty if not damping else penalty + damping * (np.diagonal(normal.gram) + penalty)
        solution, condition = solve_normal(normal, total, in_place=in_place)
        if solution is not None and condition <= max_condition:
            return solution, condition, "cholesky"
    if rows is None:
        return None, condition, "qr"
    return solve_rows(rows(), penalty, columns=len(penalty)), condition, "qr"


def solve_normal(
    normal: NormalEquations, penalty: Array, *, in_place: bool = False
) -> tuple[Array | None, float]:
    """Solve (Gram + diag(penalty)) a = rhs by Cholesky on the column-scaled matrix.

    Scaling to unit diagonal, one step of iterative refinement.

    Parameters
    ----------
    normal : NormalEquations
    penalty : (columns,)
    in_place : bool
        Whether to work in the memory of the Gram matrix, which is restored unless there is no
        solution.

    Returns
    -------
    solution : (columns,) or None if the matrix is not positive definite
    condition : float
        Estimate of the 1-norm condition number of the scaled matrix; inf with None.
    """
    diagonal = np.diagonal(normal.gram).copy()
    total = diagonal + penalty
    scale = 1 / np.sqrt(np.where(total > 0, total, 1.0))
    unit = np.where(total > 0, 1.0, 0.0)
    scaled = normal.gram if in_place else normal.gram.copy(order="F")
    scaled *= scale[:, None]
    scaled *= scale
    np.fill_diagonal(scaled, unit)
    norm = float(_symmetric_norm_1(scaled))
    if in_place:
        # The factor takes the upper triangle; the lower one, not used before, keeps the matrix.
        for j in range(len(scaled) - 1):
            scaled[j + 1 :, j] = scaled[j, j + 1 :]
    factor, info = lapack.dpotrf(scaled, lower=False, clean=not in_place, overwrite_a=in_place)
    if info != 0:
        return None, 1 / np.finfo(float).eps
    reciprocal, _ = lapack.dpocon(factor, norm)
    condition = 1 / max(reciprocal, np.finfo(float).eps)
    rhs = scale * normal.rhs
    x = sl.cho_solve((factor, False), rhs, check_finite=False)
    if in_place:
        image = blas.dsymv(1.0, factor, x, lower=1) + (unit - np.diagonal(factor)) * x
    else:
        image = blas.dsymv(1.0, scaled, x)
    x += sl.cho_solve((factor, False), rhs - image, check_finite=False)
    if in_place:
        for j in range(len(scaled) - 1):
            factor[j, j + 1 :] = factor[j + 1 :, j]
        factor /= scale[:, None]
        factor /= scale
        np.fill_diagonal(factor, diagonal)
        normal.gram = factor
    return scale * x, condition


def _symmetric_norm_1(upper: Array) -> float:
    """1-norm of a symmetric matrix of which the upper triangle is given."""
    total = np.zeros(len(upper))
    for j in range(len(upper)):
        column = np.abs(upper[: j + 1, j])
        total[: j + 1] += column
        total[j] += column[:-1].sum()
    return float(total.max())


def solve_rows(blocks: Iterable[WeightedRows], penalty: Array, *, columns: int) -> Array:
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
    square, right = triangle[:, :columns] / scale, triangle[:, columns]
    rounding = columns * np.finfo(float).eps
    # Singular values are for rank deficient problems only: they cost twenty times the rest.
    if lapack.dtrcon(square)[0] > rounding:
        x = sl.solve_triangular(square, right, check_finite=False)
    else:
        x = sl.lstsq(square, right, cond=rounding, lapack_driver="gelsd", check_finite=False)[0]
    return np.asarray(x / scale)
