"""Real spherical harmonics of directions, and their gradients; NumPy or torch.

NumPy arrays go to sphericart up to the degree where it is reliable; beyond, and for torch tensors,
the recurrences of :mod:`etn.o3.solid` are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sphericart

from etn.backend import Array, FloatArray, is_torch, library
from etn.o3.directions import (
    Directions,
    ZeroPolicy,
    as_vectors,
    check_name,
    directions,
    over_length,
)
from etn.o3.solid import check_degree, gradient, solid_harmonics

# Factorials overflow in sphericart from l = 87 on (error 3e-10, without a word), far from it it is
# right to 1e-13.
_SPHERICART_DEGREE = 80

# Lengths whose squares, and the squares of whose inverses, are far from the ends of floats.
_ORDINARY = 1e-140, 1e140


def _sphericart(l_max: int, r: FloatArray, slopes: bool) -> list[FloatArray]:
    # A calculator owns work space sized for the number of OpenMP threads at its birth: sharing one
    # between Python threads, or across a change of that number, corrupts results and memory.  A
    # new one costs five microseconds.
    calculator = sphericart.SphericalHarmonics(l_max)
    found = calculator.compute_with_gradients(r) if slopes else (calculator.compute(r),)
    return [np.asarray(array, dtype=np.float64) for array in found]


def _by_recurrence(l_max: int, known: Directions, slopes: bool) -> list[Array]:
    xp = library(known.unit)
    degrees = solid_harmonics(l_max, known.unit)
    if not slopes:
        return [xp.concatenate(degrees, -1)]
    unit = known.unit[..., None]
    gradients = [xp.zeros_like(unit)]  # that of a constant, whatever the vector
    for l in range(1, l_max + 1):
        tangential = gradient(l, degrees[l - 1]) - l * unit * degrees[l][..., None, :]
        gradients.append(over_length(tangential, known, "vectors"))
    return [xp.concatenate(degrees, -1), xp.concatenate(gradients, -1)]


def _in_numpy(l_max: int, r: FloatArray, zero: ZeroPolicy, slopes: bool) -> list[FloatArray]:
    """Return what both ways give, each for the vectors that it is reliable for."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        length = np.linalg.norm(r, axis=1)
    ordinary = (length > _ORDINARY[0]) & (length < _ORDINARY[1])
    if l_max > _SPHERICART_DEGREE:
        ordinary[:] = False
    elif ordinary.all():
        return _sphericart(l_max, r, slopes)
    known = directions(r, zero, "vectors", infinite_only=l_max == 0)
    if not ordinary.any():
        return _by_recurrence(l_max, known, slopes)
    # A vector gets the same numbers in whatever company.
    rest = Directions(*(array[~ordinary] for array in known))
    found = []
    for mine, other in zip(
        _sphericart(l_max, r[ordinary], slopes), _by_recurrence(l_max, rest, slopes), strict=True
    ):
        joined = np.empty((len(r), *mine.shape[1:]))
        joined[ordinary], joined[~ordinary] = mine, other
        found.append(joined)
    return found


def _evaluate(l_max: int, vectors: Any, zero: ZeroPolicy, slopes: bool) -> list[Array]:
    """Return the values, shape (..., n), and if asked for the gradients, shape (..., 3, n)."""
    r = as_vectors(vectors, "vectors")
    if not is_torch(r):
        r = r.astype(np.float64, copy=False)
    l_max = check_degree(l_max, r, "l_max")
    check_name(zero, ZeroPolicy, "zero")
    if is_torch(r):
        known = directions(r, zero, "vectors", infinite_only=l_max == 0)
        return _by_recurrence(l_max, known, slopes)
    flat, shape = np.ascontiguousarray(r.reshape(-1, 3)), r.shape[:-1]
    found = _in_numpy(l_max, flat, zero, slopes)
    return [array.reshape(*shape, *array.shape[1:]) for array in found]


def spherical_harmonics(l_max: int, vectors: Array, *, zero: ZeroPolicy = "error") -> Array:
    r"""Return the real, orthonormal harmonics of the directions of some vectors.

    .. math:: \int Y_{lm} Y_{l'm'}\, d\Omega = \delta_{ll'} \delta_{mm'}, \qquad
        Y_1 = \sqrt{3 / 4\pi}\; (y, z, x) / |r|

    Parameters
    ----------
    l_max
        Largest degree: up to 1000, and up to 150 for torch tensors of float32.
    vectors
        Vectors r in any length unit, shape (..., 3); only their directions matter, at any length
        from the smallest to the largest float.  Torch tensors of float32 and float64 can be
        differentiated, twice as well, and the function compiles (``fullgraph=True``).
    zero
        What vectors of length zero or not finite give: "error" raises; "zero" gives zeros with zero
        derivatives for l >= 1; "nan" gives NaN for l >= 1.  The constant of degree 0 stays, and
        with ``l_max = 0`` vectors of length zero need no policy.  In code that torch compiles
        nothing can be raised, and "error" acts as "nan".

    Returns
    -------
    array, shape (..., (l_max+1)**2)
        Y_lm at position l*l + l + m; the irreps are ``Irreps.spherical_harmonics(l_max)``.  Float64
        from NumPy; tensors keep precision and device.

    Raises
    ------
    DataError
        Another shape, complex numbers or no numbers, or (with ``zero="error"``) a vector that is
        zero or not finite.
    IrrepsError
        `l_max` is negative or beyond the limit, or an unknown policy.

    Notes
    -----
    Errors are of the order 1e-15 l, near the poles 1e-16 l^2; checked to degree 1000.

    Examples
    --------
    >>> y = spherical_harmonics(1, [[0.0, 2.0, 0.0]]) * np.sqrt(4 * np.pi)
    >>> y.round(6) + 0.0
    array([[1.      , 1.732051, 0.      , 0.      ]])
    >>> (spherical_harmonics(1, np.zeros(3), zero="zero") * np.sqrt(4 * np.pi)).round(6)
    array([1., 0., 0., 0.])
    """
    return _evaluate(l_max, vectors, zero, False)[0]


def spherical_harmonics_with_gradients(
    l_max: int, vectors: Array, *, zero: ZeroPolicy = "error"
) -> tuple[Array, Array]:
    r"""Return the real, orthonormal harmonics and their gradients.

    The gradient is that of the harmonic on the unit sphere, by the Cartesian vector:

    .. math:: G_{\alpha, lm} = \partial Y_{lm}(r / |r|) / \partial r_\alpha,
        \qquad \sum_\alpha r_\alpha G_{\alpha, lm} = 0

    Parameters
    ----------
    l_max, vectors, zero
        As in :func:`spherical_harmonics`.

    Returns
    -------
    values : array, shape (..., (l_max+1)**2)
    gradients : array, shape (..., 3, (l_max+1)**2)
        In the inverse unit of `vectors`; the axis of length 3 is (x, y, z).

    Raises
    ------
    DataError
        As in :func:`spherical_harmonics`; or a vector so short that its gradient is beyond the
        largest float (in torch the gradient is infinite then).
    IrrepsError
        `l_max` is negative or beyond the limit, or an unknown policy.

    Examples
    --------
    >>> _, gradients = spherical_harmonics_with_gradients(1, [0.0, 2.0, 0.0])
    >>> gradients.shape
    (3, 4)
    >>> bool(np.allclose([0.0, 2.0, 0.0] @ gradients, 0.0))
    True
    """
    values, gradients = _evaluate(l_max, vectors, zero, True)
    return values, gradients
