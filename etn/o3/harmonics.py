"""Real spherical harmonics of directions, and their gradients (evaluated by sphericart)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import sphericart

from etn.errors import DataError
from etn.o3.irrep import as_int


def _prepare(
    l_max: int, vectors: npt.ArrayLike
) -> tuple[sphericart.SphericalHarmonics, npt.NDArray[np.float64], tuple[int, ...]]:
    """Return the calculator, the vectors as (n, 3), and their leading shape."""
    l_max = as_int(l_max, "l_max", minimum=0)
    r = np.asarray(vectors, dtype=np.float64)
    if r.ndim == 0 or r.shape[-1] != 3:
        raise DataError(f"vectors: expected shape (..., 3), got {r.shape}")
    flat = np.ascontiguousarray(r.reshape(-1, 3))
    length = np.linalg.norm(flat, axis=1)
    bad = ~((length > 0) & np.isfinite(length))
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"vectors: {int(bad.sum())} of {len(flat)} have no direction; the first is number "
            f"{first} (from 0), {flat[first].tolist()}: expected finite vectors of non-zero length"
        )
    # A calculator owns work space sized for the number of OpenMP threads at its birth: sharing one
    # between Python threads, or across a change of that number, corrupts results and memory.  A
    # new one costs five microseconds.
    return sphericart.SphericalHarmonics(l_max), flat, r.shape[:-1]


def spherical_harmonics(l_max: int, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    r"""Return the real, orthonormal harmonics of the directions of some vectors.

    .. math:: \int Y_{lm} Y_{l'm'}\, d\Omega = \delta_{ll'} \delta_{mm'}, \qquad
        Y_1 = \sqrt{3 / 4\pi}\; (y, z, x) / |r|

    Parameters
    ----------
    l_max
        Largest degree.
    vectors
        Vectors r in any length unit, shape (..., 3); only their directions matter.

    Returns
    -------
    ndarray of float64, shape (..., (l_max+1)**2)
        Y_lm at position l*l + l + m; the irreps are ``Irreps.spherical_harmonics(l_max)``.

    Raises
    ------
    DataError
        Another shape, or a vector that is zero or not finite.
    IrrepsError
        ``l_max < 0``.

    Examples
    --------
    >>> y = spherical_harmonics(1, [[0.0, 2.0, 0.0]]) * np.sqrt(4 * np.pi)
    >>> y.round(6) + 0.0
    array([[1.      , 1.732051, 0.      , 0.      ]])
    """
    calculator, flat, shape = _prepare(l_max, vectors)
    values = calculator.compute(flat)
    return np.asarray(values, dtype=np.float64).reshape(*shape, (l_max + 1) ** 2)


def spherical_harmonics_with_gradients(
    l_max: int, vectors: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    r"""Return the real, orthonormal harmonics and their gradients.

    The gradient is that of the harmonic on the unit sphere, by the Cartesian vector:

    .. math:: G_{\alpha, lm} = \partial Y_{lm}(r / |r|) / \partial r_\alpha,
        \qquad \sum_\alpha r_\alpha G_{\alpha, lm} = 0

    Parameters
    ----------
    l_max
        Largest degree.
    vectors
        Vectors r, shape (..., 3).

    Returns
    -------
    values : ndarray of float64, shape (..., (l_max+1)**2)
    gradients : ndarray of float64, shape (..., 3, (l_max+1)**2)
        In the inverse unit of `vectors`; the axis of length 3 is (x, y, z).

    Raises
    ------
    DataError
        Another shape, or a vector that is zero or not finite.
    IrrepsError
        ``l_max < 0``.

    Examples
    --------
    >>> _, gradients = spherical_harmonics_with_gradients(1, [0.0, 2.0, 0.0])
    >>> gradients.shape
    (3, 4)
    >>> bool(np.allclose([0.0, 2.0, 0.0] @ gradients, 0.0))
    True
    """
    calculator, flat, shape = _prepare(l_max, vectors)
    values, gradients = calculator.compute_with_gradients(flat)
    n_harmonics = (l_max + 1) ** 2
    return (
        np.asarray(values, dtype=np.float64).reshape(*shape, n_harmonics),
        np.asarray(gradients, dtype=np.float64).reshape(*shape, 3, n_harmonics),
    )
