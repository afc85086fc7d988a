"""Least squares without the Gram matrix, for cores of very many unknowns.

Forming the Gram matrix of P unknowns takes rows x P^2 / 2 multiply-adds and factorising it P^3 / 6,
in the memory of P^2 numbers.  A product with Phi^T Phi takes a few evaluations of the chain, as no
row is formed: the values of the chain with p in place of its core are Phi p, and their derivatives
by the core, weighted with r, are Phi^T r.  So from some number of rows and unknowns on some tens of
iterations of conjugate gradients on the normal equations

    (Phi^T Phi + D) a = Phi^T y

are cheaper than one Gram matrix; and where that does not fit in memory they are what is left.

The condition of these equations is 10^12 and more.  So they are preconditioned by the same
equations for a sample of the rows: with four sampled rows an unknown the loss is within a millionth
of its optimum after fifty to a hundred iterations.  What comes out is at least as good as by
Cholesky, which loses more digits to the condition.  Where there is no memory for the Gram matrix of
the sample, its diagonal blocks, as large as memory allows, do less.

The iteration starts from the present core and minimises the objective along every direction, so
the objective never rises, however early it stops; what is not reached yet is left to the next
sweep.  J. Nocedal, S. J. Wright, Numerical Optimization (2006), algorithm 5.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from etn.backend import FloatArray as Array
from etn.sweep.regression.core_rows import CoreRows
from etn.sweep.regression.preconditioner import BlockPreconditioner

# Iterations over which progress is judged: conjugate gradients stall before they go on.
WINDOW = 5
# Rows that are sampled for each column of a block, and the iterations that these take at most where
# one block holds all columns.
SAMPLED, ITERATIONS = 4.0, 100
# Unknowns below which a Gram matrix takes no time, and rows that are sampled at least.
LEAST = 1000


class NormalOperator(Protocol):
    """What conjugate gradients ask of weighted rows Phi and targets y."""

    def residual(self, a: Array) -> tuple[Array, float]:
        """Phi^T (y - Phi a), (columns,), and |y - Phi a|^2."""
        ...

    def product(self, p: Array) -> Array:
        """Phi^T Phi p, (columns,)."""
        ...


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


def is_cheaper(rows: CoreRows) -> bool:
    """Whether conjugate gradients take fewer operations than a Gram matrix of all rows."""
    columns = rows.design.columns
    if columns < LEAST:
        return False
    n_rows, product = rows.count()
    spared = max(n_rows - SAMPLED * columns, 0.0)
    return spared * columns**2 / 2 > ITERATIONS * product


def solve_core(
    rows: CoreRows, penalty: Array, start: Array, *, max_grams: float, tol: float
) -> IterativeSolution:
    """Solve for a core with blocks of a sample as the preconditioner.

    Parameters
    ----------
    rows : CoreRows
    penalty, start : (columns,)
    max_grams : float
        Memory for the blocks, bytes: large ones do more than many threads.
    tol : float
        See :func:`solve_matrix_free`.
    """
    columns = len(penalty)
    block = max(1, min(columns, int(max_grams / (8.0 * columns))))
    most = max(1, int(max_grams / (8.0 * columns * block)))
    sample = rows.sample(max(int(SAMPLED * block), LEAST))
    inverse = BlockPreconditioner(sample, penalty, block, most=most)
    return solve_matrix_free(rows, inverse, penalty, start, tol=tol)


def solve_matrix_free(
    operator: NormalOperator,
    precondition: Callable[[Array], Array],
    penalty: Array,
    start: Array,
    *,
    tol: float = 1e-6,
    max_iterations: int = 200,
) -> IterativeSolution:
    """Minimise ||Phi a - y||^2 + sum penalty a^2 by preconditioned conjugate gradients.

    Parameters
    ----------
    operator : NormalOperator
    precondition : callable
        Approximate inverse of Phi^T Phi + D, symmetric and positive.
    penalty : (columns,)
    start : (columns,)
        Where the iteration starts; the objective only falls from there.
    tol : float
        The iteration ends when five steps together lower the objective by less than this
        fraction, or when nothing is left to gain.
    max_iterations : int

    Returns
    -------
    IterativeSolution

    Examples
    --------
    >>> from etn.sweep.regression.batches import Batches
    >>> rng = np.random.default_rng(0)
    >>> rows, targets = rng.normal(size=(30, 4)), rng.normal(size=30)
    >>> class Dense:
    ...     def residual(self, a):
    ...         left = targets - rows @ a
    ...         return left @ rows, left @ left
    ...     def product(self, p):
    ...         return (rows @ p) @ rows
    >>> some = BlockPreconditioner(Batches([(rows[:9], targets[:9])]), np.zeros(4), 4)
    >>> found = solve_matrix_free(Dense(), some, np.zeros(4), np.zeros(4), tol=0.0)
    >>> bool(np.allclose(found.values, np.linalg.lstsq(rows, targets, rcond=None)[0]))
    True
    """
    a = start.copy()
    residual, loss = operator.residual(a)
    residual = residual - penalty * a
    loss += float(penalty @ a**2)
    gradient = float(np.linalg.norm(residual))
    z = precondition(residual)
    gamma = float(residual @ z)
    smallest = np.finfo(float).eps ** 2 * gamma
    p = z
    gains: list[float] = []
    while len(gains) < max_iterations and gamma > smallest:
        image = operator.product(p) + penalty * p
        curvature = float(p @ image)
        if curvature <= 0:
            break
        step = gamma / curvature
        a += step * p
        residual = residual - step * image
        # p^T residual = gamma: the objective falls by 2 step gamma - step^2 curvature.
        gains.append(step * gamma)
        loss -= gains[-1]
        if len(gains) >= WINDOW and sum(gains[-WINDOW:]) <= tol * loss:
            break
        z = precondition(residual)
        before, gamma = gamma, float(residual @ z)
        p = z + gamma / before * p
    return IterativeSolution(a, max(loss, 0.0), len(gains), gradient)
