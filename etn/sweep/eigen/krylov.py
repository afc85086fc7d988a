"""Lowest eigenvectors of symmetric operators by the Lanczos method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from etn.backend import Array, Kind, kind_of, to_numpy
from etn.errors import CoreError, NothingLeftError, SettingsError
from etn.tensor.factor import thin_svd


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
    orthogonal_to: Sequence[Array] = (),
    seed: int = 0,
    scale: float = 0.0,
) -> Eigenpair:
    r"""Lowest eigenpair of a symmetric operator in the Krylov space of a vector.

    With an orthonormal basis V of span(v, H v, H^2 v, ...) the lowest pair (E, y) of the
    tridiagonal matrix V^T H V gives the vector V y, and

    .. math:: \|H V y - E V y\| = \beta_m |y_m|

    with the last off-diagonal element :math:`\beta_m`.  The basis is kept orthogonal in full; when
    it is full the iteration starts again from the best vector so far.

    Parameters
    ----------
    apply : callable
        H times a vector.
    start : array of shape (n,)
        Must not be orthogonal to the eigenvector that is looked for.  If it lies in the span of the
        vectors in ``orthogonal_to``, noise takes its place.
    tol : float
        Residual norm at which the iteration ends, relative to the largest modulus of an eigenvalue
        of V^T H V; no smaller than the rounding unit.
    max_products : int
        Most applications of H.
    max_basis : int
        Most vectors that are kept, at least 2.
    orthogonal_to : sequence of arrays of shape (n,)
        Vectors of norm one, or parts of such, to which the result is orthogonal.  They may depend
        on each other; directions of which they have at most 1.5e-7 (in float64) are free,
        and where others would take much of the start, those of which they have at most 1.5e-3.
    seed : int
        Of the noise.
    scale : float
        Size of the operator, if it is known: what is small beside it says nothing on its symmetry.

    Returns
    -------
    Eigenpair

    Raises
    ------
    SettingsError
        If a limit is too small.
    NothingLeftError
        If the given vectors span the whole space.
    CoreError
        If the start vector is zero, a value is not finite, or the operator is not symmetric: its
        elements between the vectors of the Krylov space say so.

    Notes
    -----
    Source: Lanczos, J. Res. Natl. Bur. Stand. 45, 255 (1950); Parlett, The Symmetric Eigenvalue
    Problem (1980), chapter 13.

    Examples
    --------
    >>> h = np.diag([3.0, -1.0, 2.0])
    >>> pair = lowest_eigenpair(lambda v: h @ v, np.ones(3))
    >>> round(pair.value, 12), pair.products
    (-1.0, 3)
    """
    if max_products < 1 or max_basis < 2:
        raise SettingsError(
            "Lanczos: expected max_products of at least 1 and max_basis of at least 2, got "
            f"{max_products} and {max_basis}"
        )
    kind = kind_of(start)
    norm = float(kind.xp.linalg.vector_norm(start))
    if not 0 < norm < math.inf:
        raise CoreError(f"Lanczos: expected a start vector with a finite norm, got norm {norm}")
    tol = max(tol, kind.eps)
    vector, others = _orthogonal_start(start / norm, orthogonal_to, kind, seed)
    size = min(max_basis, max_products)
    pair, done = _krylov(apply, vector, others, kind, size, tol, scale)
    while not done and pair.products < max_products:
        size = min(max_basis, max_products - pair.products)
        again, done = _krylov(apply, pair.vector, others, kind, size, tol, scale)
        pair = again._replace(
            products=pair.products + again.products, first_residual=pair.first_residual
        )
    return pair


def _orthogonal_start(
    start: Array, vectors: Sequence[Array], kind: Kind, seed: int
) -> tuple[Array, Array]:
    """A unit vector orthogonal to some vectors, and an orthonormal basis of these, as rows.

    A vector of which a cut bond has left next to nothing is no reason to give up the start: its
    direction is that of what was cut.  What lies in the span of the others altogether is of no use.
    """
    xp = kind.xp
    if not vectors:
        return start, kind.zeros((0, start.shape[0]))
    _, sizes, basis = thin_svd(kind.xp.stack(list(vectors)), kind)
    root = math.sqrt(kind.eps)
    cuts = [basis[sizes > min(size * root, 1e-2)] for size in (10, 1e3, 1e5)]
    noise = kind.array(np.random.default_rng(seed).standard_normal(start.shape[0]))
    noise = noise / xp.linalg.vector_norm(noise)
    tries = [(start, others, 0.99) for others in cuts]
    tries += [(vector, others, 1e-3) for vector in (start, noise) for others in cuts[:2]]
    for given, others, least in tries:
        vector = given - (others @ given) @ others
        left = float(xp.linalg.vector_norm(vector))
        if left > least:
            # What is left of a small rest is orthogonal to rounding.
            rest = vector - (others @ vector) @ others
            return rest / xp.linalg.vector_norm(rest), others
    raise NothingLeftError(
        f"Lanczos: nothing is orthogonal to the {len(vectors)} given states here; there is no "
        "further state, or start from another seed or with a wider bond"
    )


def _krylov(
    apply: Callable[[Array], Array],
    vector: Array,
    others: Array,
    kind: Kind,
    size: int,
    tol: float,
    scale: float,
) -> tuple[Eigenpair, bool]:
    """Lowest eigenpair in one Krylov space of a unit vector, and whether it has converged."""
    n_others, n = others.shape
    size = min(size, n - n_others)
    # The others are in the basis for the sake of orthogonality only.
    basis = kind.xp.concat([others, kind.zeros((size, n))])
    projected = np.zeros((size, size))
    norm = kind.xp.linalg.vector_norm
    first = beta = 0.0
    for m in range(size):
        basis[n_others + m] = vector
        known = basis[: n_others + m + 1]
        vector = apply(vector)
        if not math.isfinite(float(norm(vector))):
            raise CoreError("Lanczos: the operator returned values that are not finite")
        overlaps = known @ vector
        vector = vector - overlaps @ known
        # Twice is enough: rounding is then the only loss of orthogonality.
        vector = vector - (known @ vector) @ known
        below, beta = beta, float(norm(vector))
        projected[m, m] = float(overlaps[-1])
        first = beta if m == 0 else first
        values, vectors = np.linalg.eigh(projected[: m + 1, : m + 1])
        residual = beta * abs(float(vectors[m, 0]))
        largest = float(np.abs(values).max())
        if m:
            _check_symmetry(overlaps[n_others:-1], below, max(largest, beta, scale), kind)
        done = residual <= tol * largest
        if done or m + 1 == size:
            break
        projected[m + 1, m] = projected[m, m + 1] = beta
        vector = vector / beta
    best = kind.array(vectors[:, 0]) @ known[n_others:]
    pair = Eigenpair(float(values[0]), best / norm(best), residual, m + 1, first)
    return pair, done


def _check_symmetry(column: Array, below: float, size: float, kind: Kind) -> None:
    """Of a symmetric operator, H v_m has the part beta on the vector before and none on others."""
    expected = np.zeros(column.shape[0])
    expected[-1] = below
    error = float(np.abs(to_numpy(column) - expected).max())
    if error > 1e2 * math.sqrt(kind.eps) * size:
        raise CoreError(
            "Lanczos: expected a symmetric operator, got one whose elements <v|H|w> and <w|H|v> "
            f"differ by {error:.2g}, at energies of {size:.2g}"
        )
