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

import numpy as np
import numpy.typing as npt

from etn.errors import DataError
from etn.o3.coupling import clebsch_gordan
from etn.o3.irrep import Irrep
from etn.o3.irreps import Irreps, IrrepsLike

# The real components m = -1, 0, 1 are (y, z, x).
_YZX = np.array([1, 2, 0])

# Largest accepted |R R^T - 1|: what a rotation matrix stored in single precision may miss.
_TOLERANCE = 1e-6


def _split_parity(
    R: npt.ArrayLike,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the proper rotations det(R) R, and det(R) = ±1 with two trailing axes of length 1."""
    matrix = np.asarray(R, dtype=np.float64)
    if matrix.shape[-2:] != (3, 3):
        raise DataError(f"R: expected shape (..., 3, 3), got {matrix.shape}")
    residual = np.abs(matrix @ np.swapaxes(matrix, -1, -2) - np.eye(3)).max(axis=(-2, -1))
    worst = float(residual.max(initial=0.0))
    if not worst <= _TOLERANCE:  # also true of NaN
        where = ""
        if matrix.ndim > 2:
            at = np.unravel_index(int(np.argmax(residual)), residual.shape)
            where = f"[{', '.join(str(int(i)) for i in at)}]"
        raise DataError(
            f"R{where}: expected an orthogonal matrix, got max|R R^T - 1| = {worst:.2e} "
            f"(at most {_TOLERANCE:.0e}); orthogonalise it first, for example by its polar factor"
        )
    sign = np.sign(np.linalg.det(matrix))[..., None, None]
    return sign * matrix, sign


def _proper_d(l_max: int, matrix: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Return D_0 .. D_l_max of the proper rotations `matrix`, shape (..., 2l+1, 2l+1) each."""
    d1 = matrix[..., _YZX[:, None], _YZX]
    found = [np.ones((*matrix.shape[:-2], 1, 1)), d1]
    for degree in range(2, l_max + 1):
        # The coupling (l-1) x 1 -> l is an isometry that commutes with rotations.
        C = clebsch_gordan(degree - 1, 1, degree)
        half = np.einsum("...ab,bjc->...ajc", found[-1], C, optimize=True)
        half = np.einsum("...ij,...ajc->...aic", d1, half, optimize=True)
        found.append(np.einsum("aid,...aic->...dc", C, half, optimize=True))
    return found[: l_max + 1]


def wigner_d(ir: Irrep | str | int, R: npt.ArrayLike) -> npt.NDArray[np.float64]:
    r"""Return the real representation matrix D(R) of an irrep.

    .. math:: Y_l(R r) = D_l(R)\, Y_l(r), \qquad
        D_l = C^T (D_{l-1} \otimes D_1)\, C, \qquad D_{l,p}(-R) = p\, D_{l,p}(R)

    with C the isometric coupling of l-1 and 1 to l.

    Parameters
    ----------
    ir
        The irrep; an integer l means the natural parity (-1)^l of the harmonics.
    R
        Orthogonal matrices acting on (x, y, z), shape (..., 3, 3); det -1 is allowed.

    Returns
    -------
    ndarray of float64, shape (..., 2l+1, 2l+1)

    Raises
    ------
    DataError
        `R` has another shape, or misses orthogonality by more than 1e-6.
    IrrepsError
        `ir` is malformed.

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
    if isinstance(ir, int | np.integer):
        ir = Irrep(ir, 1 if ir % 2 == 0 else -1)
    ir = Irrep(ir)
    proper, sign = _split_parity(R)
    d = _proper_d(ir.l, proper)[ir.l]
    return d if ir.p == 1 else sign * d


def irreps_d(irreps: IrrepsLike, R: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the representation matrix of a direct sum: block diagonal, one block per copy.

    Parameters
    ----------
    irreps
        The direct sum, in the layout of :class:`~etn.o3.Irreps`.
    R
        Orthogonal matrices acting on (x, y, z), shape (..., 3, 3).

    Returns
    -------
    ndarray of float64, shape (..., dim, dim)

    Raises
    ------
    DataError
        `R` has another shape or is not orthogonal.

    Examples
    --------
    >>> irreps_d("2x0e+1o", -np.eye(3)).diagonal()
    array([ 1.,  1., -1., -1., -1.])
    """
    irreps = Irreps(irreps)
    proper, sign = _split_parity(R)
    degrees = _proper_d(irreps.l_max, proper) if irreps.unique else []
    out = np.zeros((*proper.shape[:-2], irreps.dim, irreps.dim))
    for ir in irreps.unique:
        d = degrees[ir.l] if ir.p == 1 else sign * degrees[ir.l]
        rows = irreps.indices(ir)
        out[..., rows[:, :, None], rows[:, None, :]] = d[..., None, :, :]
    return out


def rotation_matrix(axis: npt.ArrayLike, angle: float) -> npt.NDArray[np.float64]:
    r"""Return the right-handed rotation about an axis (Rodrigues' formula).

    .. math:: R = 1 + \sin\varphi\, K + (1 - \cos\varphi)\, K^2, \qquad K v = n \times v

    Parameters
    ----------
    axis
        Direction of the axis, shape (3,), any length but zero.
    angle
        Angle in radians.

    Returns
    -------
    ndarray of float64, shape (3, 3)

    Raises
    ------
    DataError
        The axis has length zero or another shape.

    Examples
    --------
    >>> rotation_matrix([0, 0, 2], np.pi / 2).round(12) @ [1, 0, 0]
    array([0., 1., 0.])
    """
    direction = np.asarray(axis, dtype=np.float64)
    if direction.shape != (3,):
        raise DataError(f"axis: expected shape (3,), got {direction.shape}")
    length = float(np.linalg.norm(direction))
    if not (0 < length < math.inf):
        raise DataError(f"axis: expected a finite vector of non-zero length, got {direction}")
    x, y, z = direction / length
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    # 1 - cos(angle) without cancellation at small angles.
    R: npt.NDArray[np.float64]
    R = np.eye(3) + math.sin(angle) * K + 2 * math.sin(angle / 2) ** 2 * (K @ K)
    return R


def random_rotation(rng: np.random.Generator, *, reflect: bool = False) -> npt.NDArray[np.float64]:
    """Draw a rotation matrix uniformly (Haar measure).

    The four components of a normal random vector are a quaternion in a uniform direction.

    Parameters
    ----------
    rng
        Source of randomness.
    reflect
        Multiply by the inversion, which gives a random improper rotation (det -1).

    Returns
    -------
    ndarray of float64, shape (3, 3)

    Examples
    --------
    >>> R = random_rotation(np.random.default_rng(0))
    >>> round(float(np.linalg.det(R)), 12)
    1.0
    """
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
