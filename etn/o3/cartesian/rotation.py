"""Rotations of packed irreducible Cartesian tensors, directly from rotation matrices."""

from __future__ import annotations

from etn.backend import Array, as_block, library, like, namespace
from etn.errors import IrrepsError
from etn.o3.cartesian.basis import Packing, change_of_packing, check_packing
from etn.o3.irrep import as_int
from etn.o3.rotation import check_rotations, polar_d


def _check_parity(p: int | None, l: int) -> bool:
    """Whether the tensors are pseudotensors: of the parity opposite to that of l vectors."""
    if p is None:
        return False
    p = as_int(p, "parity p")
    if p not in (1, -1):
        raise IrrepsError(f"parity p: expected 1 (even), -1 (odd) or None (natural), got {p!r}")
    return p != (-1) ** l


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
        ``l < 0`` or l > 1000, a parity other than 1 and -1, or an unknown packing.

    Examples
    --------
    >>> import numpy as np
    >>> packed_d(2, -np.eye(3)).diagonal()
    array([1., 1., 1., 1., 1.])
    >>> packed_d(2, -np.eye(3), p=-1).diagonal()
    array([-1., -1., -1., -1., -1.])
    """
    l = as_int(l, "degree l", minimum=0)
    check_packing(packing)
    pseudo = _check_parity(p, l)
    R = check_rotations(R)
    D = polar_d([l], R)[l]
    if pseudo:
        xp = library(R)
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
        ``l < 0`` or l > 1000, a parity other than 1 and -1, an unknown packing, or `packed` has
        another shape.

    Examples
    --------
    >>> import numpy as np
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
    D = packed_d(l, R, p=p, packing=packing)
    namespace(D, packed)  # of one library and precision
    return (D @ packed[..., None])[..., 0]
