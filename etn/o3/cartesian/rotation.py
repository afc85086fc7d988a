"""Rotations of packed irreducible Cartesian tensors, directly from rotation matrices."""

from __future__ import annotations

import numpy as np

from etn.backend import Array, as_block, kind_of, library, like, to_numpy
from etn.errors import DataError, IrrepsError
from etn.o3.cartesian.basis import Packing, change_of_packing, check_packing
from etn.o3.cartesian.matrices import raising
from etn.o3.irrep import as_int

# Largest accepted |R R^T - 1|: what a rotation matrix stored in single precision may miss.
_TOLERANCE = {"float64": 1e-6, "float32": 1e-5}


def _orthogonal(R: Array) -> Array:
    R = as_block(R, "R")
    if tuple(R.shape)[-2:] != (3, 3):
        raise DataError(f"R: expected shape (..., 3, 3), got {tuple(R.shape)}")
    matrix = to_numpy(R)
    worst = float(abs(matrix @ matrix.swapaxes(-1, -2) - np.eye(3)).max(initial=0.0))
    tolerance = _TOLERANCE.get(matrix.dtype.name, 1e-6)
    if not worst <= tolerance:  # also true of NaN
        raise DataError(
            f"R: expected orthogonal matrices, got max|R R^T - 1| = {worst:.2e} (at most "
            f"{tolerance:.0e}); orthogonalise it first, for example by its polar factor"
        )
    return R


def _check_parity(p: int | None, l: int) -> bool:
    """Whether the tensors are pseudotensors: of the parity opposite to that of l vectors."""
    if p not in (None, 1, -1):
        raise IrrepsError(f"parity p: expected 1 (even), -1 (odd) or None (natural), got {p!r}")
    return p is not None and p != (-1) ** l


def packed_d(l: int, R: Array, *, p: int | None = None, packing: Packing = "orthonormal") -> Array:
    r"""Return the matrices that rotate packed tensors of degree l.

    .. math:: D_l = V_l\, (D_{l-1} \otimes R)\, V_l^T, \qquad U_l\, R^{\otimes l} = D_l\, U_l

    with V_l the isometric coupling of degrees l-1 and 1 to l.  No angles are involved, so there is
    no orientation at which the derivatives by R are singular.

    Parameters
    ----------
    l
        Degree.
    R
        Orthogonal matrices acting on (x, y, z), shape (..., 3, 3); det -1 is allowed.  NumPy or
        torch.
    p
        Parity: tensors of the parity opposite to (-1)^l take a factor det R.  By default (-1)^l,
        the parity of tensors made of polar vectors.
    packing
        Basis of the packed tensors.

    Returns
    -------
    array, shape (..., 2l+1, 2l+1)
        In the orthonormal packing this is :func:`etn.o3.wigner_d` of the irrep (l, p).

    Raises
    ------
    DataError
        `R` has another shape or is not orthogonal.
    IrrepsError
        ``l < 0``, a parity other than 1 and -1, or an unknown packing.

    Examples
    --------
    >>> packed_d(2, -np.eye(3)).diagonal()
    array([1., 1., 1., 1., 1.])
    >>> packed_d(2, -np.eye(3), p=-1).diagonal()
    array([-1., -1., -1., -1., -1.])
    """
    l = as_int(l, "degree l", minimum=0)
    check_packing(packing)
    pseudo = _check_parity(p, l)
    R = _orthogonal(R)
    xp = library(R)
    D = xp.ones_like(R[..., :1, :1])
    for degree in range(1, l + 1):
        V = like(raising(degree), R)
        half = xp.einsum("...ab,cbx->...acx", D, V)
        half = xp.einsum("...yx,...acx->...acy", R, half)
        D = xp.einsum("day,...acy->...dc", V, half)
    if pseudo:
        D = D * xp.sign(xp.linalg.det(R))[..., None, None]
    if packing == "monomial":
        to = like(change_of_packing(l, "orthonormal", "monomial"), R)
        D = to @ D @ like(change_of_packing(l, "monomial", "orthonormal"), R)
    return D


def rotate(
    packed: Array, l: int, R: Array, *, p: int | None = None, packing: Packing = "orthonormal"
) -> Array:
    """Return packed tensors rotated by R: every index of the full tensor is multiplied by R.

    Parameters
    ----------
    packed
        Packed tensors, shape (..., 2l+1); NumPy or torch, as `R`.
    l
        Degree.
    R
        Orthogonal matrices, shape (..., 3, 3); its leading axes broadcast against those of
        `packed`.
    p
        Parity, by default (-1)^l; see :func:`packed_d`.
    packing
        Basis of `packed` and of the result.

    Returns
    -------
    array, shape (..., 2l+1)

    Raises
    ------
    DataError
        `R` has another shape or is not orthogonal.
    IrrepsError
        ``l < 0``, a parity other than 1 and -1, an unknown packing, or `packed` has another shape.
    CoreError
        `packed` and `R` are of different kinds.

    Examples
    --------
    >>> quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # x -> y
    >>> rotate(np.array([1.0, 0.0, 0.0]), 1, quarter, packing="monomial")
    array([0., 1., 0.])
    """
    packed = as_block(packed, "packed")
    l = as_int(l, "degree l", minimum=0)
    if tuple(packed.shape)[-1:] != (2 * l + 1,):
        raise IrrepsError(
            f"packed tensors of degree {l}: expected {2 * l + 1} numbers along the last axis, got "
            f"shape {tuple(packed.shape)}"
        )
    R = as_block(R, "R")
    kind_of(packed, R)
    return (packed_d(l, R, p=p, packing=packing) @ packed[..., None])[..., 0]
