r"""Rotation matrices and the real representation matrices of O(3).

Notes
-----
R is an ordinary 3x3 matrix that acts on (x, y, z).  The representation obeys
:math:`Y_l(R r) = D_l(R)\, Y_l(r)` with the real harmonics in the order m = -l..l, so D of ``1o`` is
R with rows and columns taken in the order (y, z, x).  e3nn calls its own first, second and third
Cartesian axis what its harmonics see as m = -1, 0, 1; its ``D_from_matrix(Q)`` therefore equals
``wigner_d(l, R)`` with ``Q = R[[1, 2, 0]][:, [1, 2, 0]]``.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from etn.backend import Array, arange_like, as_block, is_torch, library, to_numpy
from etn.errors import DataError, IrrepsError
from etn.o3.directions import directions, in_compiled_code
from etn.o3.irrep import Irrep, IrrepLike, as_int
from etn.o3.irreps import Irreps, IrrepsLike
from etn.o3.solid import MAX_DEGREE, gradient

# Largest accepted |R R^T - 1|: what a rotation matrix stored in single precision may miss.
_TOLERANCE = {"float64": 1e-6, "float32": 1e-5}


def check_rotations(R: Any) -> Array:
    """Return orthogonal matrices as float64 or float32, or raise a :class:`DataError`.

    Examples
    --------
    >>> check_rotations([[1, 0, 0], [0, 1, 0], [0, 0, 2]])
    Traceback (most recent call last):
    ...
    etn.errors.DataError: R: expected an orthogonal matrix, got max|R R^T - 1| = 3.00e+00 (at most \
1e-06); orthogonalise it first, for example by its polar factor
    """
    R = as_block(R, "R")
    shape = tuple(R.shape)
    if shape[-2:] != (3, 3):
        raise DataError(f"R: expected shape (..., 3, 3), got {shape}")
    if in_compiled_code(R):
        return R
    matrix = to_numpy(R)
    with np.errstate(over="ignore", invalid="ignore"):
        residual = np.abs(matrix @ np.swapaxes(matrix, -1, -2) - np.eye(3)).max(axis=(-2, -1))
    worst, most = float(residual.max(initial=0.0)), _TOLERANCE[matrix.dtype.name]
    if not worst <= most:  # also true of NaN
        where = ""
        if matrix.ndim > 2:
            at = np.unravel_index(int(np.argmax(residual)), residual.shape)
            where = f"[{', '.join(str(int(i)) for i in at)}]"
        raise DataError(
            f"R{where}: expected an orthogonal matrix, got max|R R^T - 1| = {worst:.2e} (at most "
            f"{most:.0e}); orthogonalise it first, for example by its polar factor"
        )
    return R


def polar_d(wanted: Collection[int], R: Array) -> dict[int, Array]:
    """Return the representation matrices of the natural parity (-1)^l, for some degrees l.

    Parameters
    ----------
    wanted
        Degrees, at most 1000.
    R
        Orthogonal matrices, checked before, shape (..., 3, 3).

    Returns
    -------
    dict
        Array of shape (..., 2l+1, 2l+1) for each degree.
    """
    l_max, most = max(wanted, default=0), MAX_DEGREE["float64"]
    if l_max > most:
        raise IrrepsError(f"degree l: expected at most {most} for a rotation, got {l_max}")
    xp = library(R)
    D = xp.roll(R, (-1, -1), (-2, -1))  # the components of 1o are (y, z, x)
    found = {0: xp.ones_like(R[..., :1, :1]), 1: D}
    for l in range(2, l_max + 1):
        # The coupling (l-1) x 1 -> l commutes with rotations: it goes on both sides of D_{l-1}.
        turned = R[..., None, :, :] @ gradient(l, D)
        joined = turned.reshape((*turned.shape[:-3], 3 * (2 * l - 1), 2 * l + 1))
        m = arange_like(2 * l - 1, R)
        coupling = gradient(l, (m[:, None] == m) * xp.ones_like(m)).reshape((-1, 2 * l + 1))
        D = coupling.T @ joined / (l * (2 * l + 1))
        if l in wanted:
            found[l] = D
    return found


def _handedness(R: Array) -> Array:
    """Return det(R) = ±1, shape (..., 1, 1)."""
    xp = library(R)
    return xp.sign(xp.linalg.det(R))[..., None, None]


def _double(R: Array) -> Array:
    """Return float64 from NumPy; tensors as they are."""
    return R if is_torch(R) else R.astype(np.float64, copy=False)


def _natural(l: int) -> Irrep:
    return Irrep(l, 1 if l % 2 == 0 else -1)


def wigner_d(ir: IrrepLike | int, R: Array) -> Array:
    r"""Return the real representation matrix D(R) of an irrep.

    .. math:: Y_l(R r) = D_l(R)\, Y_l(r), \qquad
        D_l = C^T (D_{l-1} \otimes D_1)\, C, \qquad D_{l,p}(-R) = p\, D_{l,p}(R)

    with C the isometric coupling of l-1 and 1 to l, three terms for each component.

    Parameters
    ----------
    ir
        The irrep, of degree 1000 at most; an integer l means the natural parity (-1)^l of the
        harmonics.
    R
        Orthogonal matrices acting on (x, y, z), shape (..., 3, 3); det -1 is allowed.  Torch
        tensors can be differentiated, and the function compiles (``fullgraph=True``; whether the
        matrices are orthogonal is not looked at then).  No angles are involved, so there is no
        orientation at which derivatives are singular.

    Returns
    -------
    array, shape (..., 2l+1, 2l+1)
        Float64 from NumPy; tensors keep precision and device.

    Raises
    ------
    DataError
        `R` has another shape, or misses orthogonality by more than 1e-6 (1e-5 in float32).
    IrrepsError
        `ir` is malformed, or its degree beyond the limit.

    Examples
    --------
    >>> R = rotation_matrix([0, 0, 1], np.pi / 2)  # x -> y
    >>> wigner_d("1o", R).round(12) + 0.0  # components (y, z, x)
    array([[ 0.,  0.,  1.],
           [ 0.,  1.,  0.],
           [-1.,  0.,  0.]])
    >>> wigner_d("0o", -R)
    array([[-1.]])
    """
    if isinstance(ir, Irrep | str | tuple):
        ir = Irrep(ir)
    else:
        ir = _natural(as_int(ir, "degree l", minimum=0))
    R = _double(check_rotations(R))
    d = polar_d([ir.l], R)[ir.l]
    return d if ir == _natural(ir.l) else _handedness(R) * d


def irreps_d(irreps: IrrepsLike, R: Array) -> Array:
    """Return the representation matrix of a direct sum: block diagonal, one block per copy.

    Parameters
    ----------
    irreps
        The direct sum, in the layout of :class:`~etn.o3.Irreps`.
    R
        Orthogonal matrices acting on (x, y, z), shape (..., 3, 3); NumPy or torch, as in
        :func:`wigner_d`.

    Returns
    -------
    array, shape (..., dim, dim)

    Raises
    ------
    DataError, IrrepsError
        As in :func:`wigner_d`.

    Examples
    --------
    >>> irreps_d("2x0e+1o", -np.eye(3)).diagonal()
    array([ 1.,  1., -1., -1., -1.])
    """
    irreps, R = Irreps(irreps), _double(check_rotations(R))
    degrees = polar_d({ir.l for ir in irreps.unique}, R)
    n = arange_like(irreps.dim, R)
    out = library(R).zeros_like(R[..., :1, :1]) + 0 * (n + n[:, None])
    for (mul, ir), part in zip(irreps, irreps.slices(), strict=True):
        if mul == 0:
            continue
        d = degrees[ir.l] if ir == _natural(ir.l) else _handedness(R) * degrees[ir.l]
        for start in range(part.start, part.stop, ir.dim):
            copy = slice(start, start + ir.dim)
            out[..., copy, copy] = d
    return out


def rotation_matrix(axis: npt.ArrayLike, angle: float) -> npt.NDArray[np.float64]:
    r"""Return the right-handed rotation about an axis (Rodrigues' formula).

    .. math:: R = 1 + \sin\varphi\, K + (1 - \cos\varphi)\, K^2, \qquad K v = n \times v

    Parameters
    ----------
    axis
        Direction of the axis, shape (3,), any length but zero, also subnormal ones.
    angle
        Angle in radians.

    Returns
    -------
    ndarray of float64, shape (3, 3)

    Raises
    ------
    DataError
        The axis has length zero or another shape, or the angle is no finite number.

    Examples
    --------
    >>> rotation_matrix([0, 0, 2], np.pi / 2).round(12) @ [1, 0, 0]
    array([0., 1., 0.])
    """
    direction = to_numpy(as_block(axis, "axis")).astype(np.float64)
    if direction.shape != (3,):
        raise DataError(f"axis: expected shape (3,), got {direction.shape}")
    if not (np.isfinite(direction).all() and direction.any()):
        raise DataError(f"axis: expected a finite vector of non-zero length, got {direction}")
    turn = to_numpy(as_block(angle, "angle"))
    if turn.shape != () or not np.isfinite(turn):
        raise DataError(f"angle: expected a finite number in radians, got {angle!r}")
    angle = float(turn)
    x, y, z = directions(direction, "error", "axis").unit
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    # 1 - cos(angle) without cancellation at small angles.
    R: npt.NDArray[np.float64]
    R = np.eye(3) + math.sin(angle) * K + 2 * math.sin(angle / 2) ** 2 * (K @ K)
    return R


def random_rotation(
    rng: np.random.Generator | int, *, reflect: bool = False
) -> npt.NDArray[np.float64]:
    """Draw a rotation matrix uniformly (Haar measure).

    The four components of a normal random vector are a quaternion in a uniform direction.

    Parameters
    ----------
    rng
        Source of randomness, or the seed of a new one.
    reflect
        Multiply by the inversion, which gives a random improper rotation (det -1).

    Returns
    -------
    ndarray of float64, shape (3, 3)

    Raises
    ------
    DataError
        `rng` is neither a generator of NumPy nor a seed.

    Examples
    --------
    >>> R = random_rotation(np.random.default_rng(0))
    >>> round(float(np.linalg.det(R)), 12)
    1.0
    >>> np.array_equal(random_rotation(0), R)
    True
    """
    if not isinstance(rng, np.random.Generator):
        try:
            rng = np.random.default_rng(as_int(rng, "rng", minimum=0))
        except IrrepsError as error:
            raise DataError(
                f"rng: expected numpy.random.default_rng(seed) or a seed >= 0, got {rng!r}"
            ) from error
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return -R if reflect else R
