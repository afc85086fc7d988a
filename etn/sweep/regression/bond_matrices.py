"""Linear least squares for matrices of a bond: triangular factors, solutions of least norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.backend import Array, kind_of, to_numpy
from etn.o3 import Irrep
from etn.tensor.core import Core
from etn.tensor.factor import matricize, thin_svd


class Solved(NamedTuple):
    """Solution of linear least squares.

    Attributes
    ----------
    x : (columns,)
    loss : float
        Squared residuals with the ridge, without the proximal term.
    condition : float
        Ratio of the largest and the smallest singular value that counts, columns of norm one.
    gradient : float
        Norm of half the gradient of the loss at the start.
    """

    x: Array
    loss: float
    condition: float
    gradient: float


def least_squares(
    triangle: Array, start: Array, ridge: float = 0.0, proximal: float = 0.0
) -> Solved:
    r"""Minimize :math:`|\Phi x - y|^2 + \lambda |x|^2 + \mu |x - x_0|^2`.

    Where that leaves x open, the solution of least norm.

    Parameters
    ----------
    triangle : (n, columns + 1)
        Of [Phi, y]; see :meth:`Regression.triangle`.
    start : (columns,)
        x_0.
    ridge, proximal : float

    Examples
    --------
    >>> import numpy as np
    >>> least_squares(np.array([[1.0, 1.0, 2.0], [0.0, 0.0, 0.5]]), np.zeros(2)).x
    array([1., 1.])
    """
    kind = kind_of(triangle)
    xp = kind.xp
    phi, y = triangle[:, :-1], triangle[:, -1]
    columns = phi.shape[1]
    a, b = phi, y
    if ridge + proximal > 0:
        weight = math.sqrt(ridge + proximal)
        a = xp.concat([phi, weight * kind.eye(columns)])
        b = xp.concat([y, (proximal / weight) * start])
    # Singular values tell open directions from determined ones only among columns of one size.
    # A column that cancels to rounding is open too; it must not be scaled up.
    tolerance = max(1000, columns) * kind.eps
    norms = xp.linalg.vector_norm(a, axis=0)
    seen = norms > tolerance * xp.max(norms)
    a = xp.where(seen, a, xp.zeros_like(a))
    norms = xp.where(seen, norms, xp.ones_like(norms))
    u, s, vh = thin_svd(a / norms, kind)
    n = int((s > tolerance * s[0]).sum())
    x = (vh[:n].T @ ((u[:, :n].T @ b) / s[:n])) / norms
    if n < columns:
        # What spans the rows in the scaled unknowns, carried back, is orthogonal to all that is
        # open; the part of x in its span has the least norm.
        rows, _ = xp.linalg.qr((vh[:n] * norms).T)
        x = rows @ (rows.T @ x)
    rest = phi @ x - y
    slope = phi.T @ (phi @ start - y) + ridge * start
    loss = float(to_numpy((rest * rest).sum())) + ridge * float(to_numpy((x * x).sum()))
    condition = float(s[0] / s[n - 1]) if n else 1.0
    return Solved(x, loss, condition, float(to_numpy(xp.linalg.vector_norm(slope))))


def triangular(matrix: Array) -> Array:
    """R of the factorisation Q R of a matrix."""
    r = kind_of(matrix).xp.linalg.qr(matrix, mode="r")
    # torch hands back both factors, the first one empty.
    return r[1] if isinstance(r, tuple) else r


def to_vector(matrices: Mapping[Irrep, Array]) -> Array:
    """Entries of sqrt(2 j + 1) Theta_j, irrep after irrep, row after row."""
    xp = kind_of(*matrices.values()).xp
    ordered = [math.sqrt(ir.dim) * matrices[ir] for ir in sorted(matrices)]
    return xp.concat([xp.reshape(matrix, (-1,)) for matrix in ordered])


def from_vector(vector: Array, shapes: Mapping[Irrep, tuple[int, int]]) -> dict[Irrep, Array]:
    """Inverse of :func:`to_vector`, with the shapes in the order of the vector."""
    matrices, at = {}, 0
    for ir, (rows, columns) in shapes.items():
        part = vector[at : at + rows * columns]
        matrices[ir] = part.reshape(rows, columns) / math.sqrt(ir.dim)
        at += rows * columns
    return matrices


def matrix_entries(core: Core, leg: int) -> dict[Irrep, tuple[NDArray[np.int64], Array]]:
    """Where the matrices of a core on a leg have their entries from.

    Returns
    -------
    dict of Irrep to (indices, weights), each shaped as the matrix
        ``matricize(core, leg)[ir] == weights * core.to_vector()[indices]``.
    """
    n = core.n_parameters
    # Counted from 1: zero times a weight would say nothing.
    numbers = matricize(core.from_vector(np.arange(1.0, n + 1)), leg)
    weights = matricize(core.from_vector(np.ones(n)), leg)
    return {
        ir: (np.rint(numbers[ir] / weights[ir]).astype(np.int64) - 1, weights[ir]) for ir in numbers
    }
