"""Lowest eigenvector of a symmetric operator by the Lanczos method."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from etn.backend import Array, Kind, kind_of
from etn.errors import CoreError


class Eigenpair(NamedTuple):
    """An approximate eigenvalue, its unit vector and what they leave over.

    Attributes
    ----------
    value : float
    vector : array
    residual : float
        ||H v - E v||.
    products : int
        How often H was applied.
    first_residual : float
        ||H v - E v|| of the start vector with its own mean value E.
    """

    value: float
    vector: Array
    residual: float
    products: int
    first_residual: float


def lowest_eigenpair(
    apply: Callable[[Array], Array],
    start: Array,
    *,
    tol: float = 1e-8,
    max_products: int = 20,
    max_basis: int = 20,
) -> Eigenpair:
    """Lowest eigenpair of a symmetric operator in the Krylov space of a vector.

    The basis is kept orthogonal in full; when it is full the iteration starts again from the best
    vector so far.

    Parameters
    ----------
    apply : callable
        H times a vector.
    start : array of shape (n,)
    tol : float
        Residual norm, relative to the size of the eigenvalue, at which the iteration ends.
    max_products : int
        Most applications of H.
    max_basis : int
        Most vectors that are kept.

    Raises
    ------
    CoreError
        If the start vector is zero or a value is not finite.

    Examples
    --------
    >>> h = np.diag([3.0, -1.0, 2.0])
    >>> pair = lowest_eigenpair(lambda v: h @ v, np.ones(3))
    >>> round(pair.value, 12), pair.products
    (-1.0, 3)
    """
    kind = kind_of(start)
    xp = kind.xp
    norm = float(xp.linalg.vector_norm(start))
    if not 0 < norm < np.inf:
        raise CoreError(f"Lanczos: expected a start vector with a finite norm, got norm {norm}")
    vector = start / norm
    products, first = 0, None
    n = start.shape[0]
    while True:
        size = min(max_basis, max_products - products, n)
        pair = _krylov(apply, vector, kind, size, tol)
        products += pair.products
        first = pair.first_residual if first is None else first
        done = pair.residual <= tol * max(1.0, abs(pair.value))
        if done or products >= max_products or size == n:
            return pair._replace(products=products, first_residual=first)
        vector = pair.vector


def _krylov(
    apply: Callable[[Array], Array], vector: Array, kind: Kind, size: int, tol: float
) -> Eigenpair:
    basis = kind.zeros((size, vector.shape[0]))
    projected = np.zeros((size, size))
    norm = kind.xp.linalg.vector_norm
    beta = first = 0.0
    for m in range(size):
        basis[m] = vector
        vector = apply(vector)
        overlaps = basis[: m + 1] @ vector
        vector = vector - overlaps @ basis[: m + 1]
        # Twice is enough: rounding is then the only loss of orthogonality.
        vector = vector - (basis[: m + 1] @ vector) @ basis[: m + 1]
        beta = float(norm(vector))
        projected[m, m] = float(overlaps[m])
        first = beta if m == 0 else first
        if not np.isfinite(beta):
            raise CoreError("Lanczos: the operator returned values that are not finite")
        values, vectors = np.linalg.eigh(projected[: m + 1, : m + 1])
        residual = beta * abs(vectors[-1, 0])
        if residual <= tol * max(1.0, abs(values[0])) or m + 1 == size:
            break
        projected[m + 1, m] = projected[m, m + 1] = beta
        vector = vector / beta
    weights = kind.array(vectors[:, 0])
    best = weights @ basis[: m + 1]
    return Eigenpair(float(values[0]), best / float(norm(best)), float(residual), m + 1, first)
