r"""Cartesian tensors of rank 2, the 3x3 matrices of TensorNet, without Clebsch-Gordan tensors.

Notes
-----
A matrix is the sum X = I + A + S of a multiple of the identity, a skew part and a symmetric
traceless part, of dimensions 1, 3 and 5 and degrees l = 0, 1 and 2.  The product of two matrices
couples them with the coefficients

.. math:: (X Y)_{l_3} = \sum_{l_1 l_2} \kappa_{l_1 l_2 l_3}\, C^{l_3}_{l_1 l_2}(X_{l_1}, Y_{l_2}),
    \qquad \kappa_{l_1 l_2 l_3} = (-1)^{l_3} \sqrt{(2 l_1 + 1)(2 l_2 + 1)}
    \begin{Bmatrix} l_1 & l_2 & l_3 \\ 1 & 1 & 1 \end{Bmatrix}

in orthonormal coordinates.  The transpose multiplies degree l by (-1)^l, so Y X has the same
coefficients times (-1)^(l1+l2+l3), and the anticommutator keeps the paths with even l1 + l2 + l3.

Matrices turn into R X R^T, which leaves them as they are under the inversion.  TensorNet (Simeon
and De Fabritiis, arXiv:2306.06482) stores the polar vector r as the skew matrix [r]_x all the same,
so a matrix holds the irreps 0e+1o+2e, and an inversion of space transposes it.  X Y then belongs to
no irrep; X Y + Y X does, because it commutes with the transpose.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from etn.backend import Array, library, like
from etn.errors import IrrepsError, SettingsError
from etn.o3.cartesian.decomposition import decompose
from etn.o3.directions import floating
from etn.o3.recoupling import wigner_6j

Group: TypeAlias = Literal["O(3)", "SO(3)"]


class Parts(NamedTuple):
    """The three parts of 3x3 matrices, themselves matrices of shape (..., 3, 3).

    `scalar` is a multiple of the identity, `vector` skew, `tensor` symmetric and traceless; their
    sum is the matrix.
    """

    scalar: Array
    vector: Array
    tensor: Array


def _constant(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values.setflags(write=False)
    return values


_EYE = _constant(np.eye(3))

# Rows: the components of ij in 0e+1e+2e.
_PACK = _constant(np.concatenate(decompose("ij").matrices(), axis=1).T.copy())

# Row k: the matrix of the map v -> e_k x v.
_CROSS = _constant(np.cross(np.eye(3)[:, None], np.eye(3)[None]).swapaxes(1, 2).reshape(3, 9))


def _matrices(X: Array, name: str = "X") -> Array:
    X = floating(X, name)
    if tuple(X.shape[-2:]) != (3, 3):
        raise IrrepsError(f"{name}: expected shape (..., 3, 3), got {tuple(X.shape)}")
    return X


def _packed(x: Array, name: str = "packed") -> Array:
    x = floating(x, name)
    if x.ndim == 0 or x.shape[-1] != 9:
        raise IrrepsError(
            f"{name}: expected shape (..., 9), one scalar, one vector and five components of a "
            f"tensor, got {tuple(x.shape)}"
        )
    return x


def _vectors(r: Array) -> Array:
    r = floating(r, "r")
    if r.ndim == 0 or r.shape[-1] != 3:
        raise IrrepsError(f"r: expected shape (..., 3), got {tuple(r.shape)}")
    return r


def split(X: Array) -> Parts:
    r"""Split 3x3 matrices into their parts of degree 0, 1 and 2.

    .. math:: I = \tfrac13 \operatorname{tr}(X)\, 1, \qquad A = \tfrac12 (X - X^T), \qquad
        S = \tfrac12 (X + X^T) - I

    Parameters
    ----------
    X
        Shape (..., 3, 3); NumPy or torch.

    Returns
    -------
    Parts
        Named tuple (scalar, vector, tensor) = (I, A, S), shape (..., 3, 3) each.

    Raises
    ------
    IrrepsError
        Another shape.

    Examples
    --------
    >>> split([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).vector
    array([[ 0. ,  0.5,  0. ],
           [-0.5,  0. ,  0. ],
           [ 0. ,  0. ,  0. ]])
    """
    X = _matrices(X)
    trace = X[..., 0, 0] + X[..., 1, 1] + X[..., 2, 2]
    scalar = trace[..., None, None] * like(_EYE, X) / 3
    turned = X.swapaxes(-1, -2)
    return Parts(scalar, (X - turned) / 2, (X + turned) / 2 - scalar)


def squared_norms(X: Array) -> Array:
    r"""Return the squared Frobenius norms of the three parts: invariants of rotations.

    Their sum is :math:`\sum_{ij} X_{ij}^2`.

    Parameters
    ----------
    X
        Shape (..., 3, 3); NumPy or torch.

    Returns
    -------
    array, shape (..., 3)

    Raises
    ------
    IrrepsError
        Another shape.

    Examples
    --------
    >>> squared_norms([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    array([3. , 0.5, 6.5])
    """
    parts = split(X)
    return library(parts.scalar).stack([(part * part).sum((-2, -1)) for part in parts], -1)


def pack(X: Array) -> Array:
    r"""Return the 9 orthonormal coordinates 1 + 3 + 5 of 3x3 matrices.

    .. math:: x_0 = \tfrac{1}{\sqrt 3} \operatorname{tr} X, \qquad
        x_{1} = \tfrac{1}{\sqrt 2} (X_{zx} - X_{xz},\; X_{xy} - X_{yx},\; X_{yz} - X_{zy}),

    and the five components of S in the order of the harmonics.  They are those of
    ``decompose("ij")``, and :math:`|x|^2 = \sum_{ij} X_{ij}^2`.  The skew matrix of r,
    :func:`skew`, has :math:`x_1 = -\sqrt 2\, (y, z, x)`.

    Parameters
    ----------
    X
        Shape (..., 3, 3); NumPy or torch.

    Returns
    -------
    array, shape (..., 9)

    Raises
    ------
    IrrepsError
        Another shape.

    Examples
    --------
    >>> pack(skew([1.0, 2.0, 3.0]))[1:4] / np.sqrt(2)
    array([-2., -3., -1.])
    """
    X = _matrices(X)
    return X.reshape(*X.shape[:-2], 9) @ like(_PACK, X).T


def unpack(packed: Array) -> Array:
    """Return 3x3 matrices from their 9 coordinates: the inverse of :func:`pack`.

    Parameters
    ----------
    packed
        Shape (..., 9); NumPy or torch.

    Returns
    -------
    array, shape (..., 3, 3)

    Raises
    ------
    IrrepsError
        Another shape.

    Examples
    --------
    >>> unpack([np.sqrt(3), 0, 0, 0, 0, 0, 0, 0, 0]).round(12).diagonal()
    array([1., 1., 1.])
    """
    packed = _packed(packed)
    return (packed @ like(_PACK, packed)).reshape(*packed.shape[:-1], 3, 3)


def skew(r: Array) -> Array:
    r"""Return the matrices of the cross product, :math:`[r]_\times v = r \times v`.

    Parameters
    ----------
    r
        Shape (..., 3), components (x, y, z); NumPy or torch.

    Returns
    -------
    array, shape (..., 3, 3)

    Raises
    ------
    IrrepsError
        Another shape.

    Examples
    --------
    >>> skew([1.0, 2.0, 3.0]) + 0.0
    array([[ 0., -3.,  2.],
           [ 3.,  0., -1.],
           [-2.,  1.,  0.]])
    """
    r = _vectors(r)
    return (r @ like(_CROSS, r)).reshape(*r.shape[:-1], 3, 3)


def embed(r: Array) -> Parts:
    r"""Return the matrices of degree 0, 1 and 2 that TensorNet makes of a direction.

    .. math:: I = 1, \qquad A = [r]_\times, \qquad S = r r^T - \tfrac13 |r|^2\, 1

    Vectors are taken as they are: pass unit vectors for TensorNet.  Nothing is divided by their
    length, so all is smooth, also at r = 0.

    Parameters
    ----------
    r
        Shape (..., 3), components (x, y, z); NumPy or torch.

    Returns
    -------
    Parts
        Shape (..., 3, 3) each.

    Raises
    ------
    IrrepsError
        Another shape.

    Notes
    -----
    Source: Simeon and De Fabritiis, arXiv:2306.06482.

    Examples
    --------
    >>> embed([0.0, 0.0, 3.0]).tensor.diagonal()
    array([-3., -3.,  6.])
    """
    r = _vectors(r)
    eye = like(_EYE, r)
    square = (r * r).sum(-1)[..., None, None] * eye
    return Parts(
        library(r).broadcast_to(eye, square.shape),
        skew(r),
        r[..., :, None] * r[..., None, :] - square / 3,
    )


def product(X: Array, Y: Array, group: Group = "O(3)") -> Array:
    r"""Return TensorNet's product of 3x3 matrices.

    .. math:: X Y + Y X \;\text{ for O(3)}, \qquad 2 X Y \;\text{ for SO(3)}

    The first commutes with the transpose and keeps the parities 0e+1o+2e of matrices that hold a
    polar vector in their skew part.  The second has paths such as 1o x 1o -> 1e as well, which put
    an axial vector into the skew part: it is for rotations only.

    Parameters
    ----------
    X, Y
        Shapes (..., 3, 3) that broadcast; NumPy or torch.
    group
        "O(3)" or "SO(3)".

    Returns
    -------
    array, shape (..., 3, 3)

    Raises
    ------
    IrrepsError
        Another shape.
    SettingsError
        Another group.

    Notes
    -----
    Source: Simeon and De Fabritiis, arXiv:2306.06482.

    Examples
    --------
    >>> A, B = skew([1.0, 0.0, 0.0]), skew([0.0, 1.0, 0.0])
    >>> split(product(A, B)).vector.any(), split(product(A, B, "SO(3)")).vector.any()
    (np.False_, np.True_)
    """
    X, Y = _matrices(X), _matrices(Y, "Y")
    if group == "O(3)":
        return X @ Y + Y @ X
    if group == "SO(3)":
        return 2 * (X @ Y)
    raise SettingsError(f'group: expected "O(3)" or "SO(3)", got {group!r}')


def packed_product(x: Array, y: Array, group: Group = "O(3)") -> Array:
    """Return :func:`product` in the coordinates of :func:`pack`.

    Parameters
    ----------
    x, y
        Shapes (..., 9) that broadcast; NumPy or torch.
    group
        "O(3)" or "SO(3)".

    Returns
    -------
    array, shape (..., 9)

    Raises
    ------
    IrrepsError
        Another shape.
    SettingsError
        Another group.

    Examples
    --------
    >>> one = pack(np.eye(3))
    >>> bool(np.allclose(packed_product(one, one), 2 * one))
    True
    """
    # Two changes of basis and one product of matrices: far fewer multiplications than the sum
    # over Clebsch-Gordan tensors.
    return pack(product(unpack(_packed(x, "x")), unpack(_packed(y, "y")), group))


def product_coefficient(l1: int, l2: int, l3: int, group: Group = "O(3)") -> float:
    r"""Return the coefficient of a Clebsch-Gordan path in :func:`packed_product`.

    .. math:: 2 (-1)^{l_3} \sqrt{(2 l_1 + 1)(2 l_2 + 1)}
        \begin{Bmatrix} l_1 & l_2 & l_3 \\ 1 & 1 & 1 \end{Bmatrix}

    and zero for O(3) where l1 + l2 + l3 is odd.  It multiplies the isometric tensors of
    :func:`etn.o3.clebsch_gordan`.

    Parameters
    ----------
    l1, l2, l3
        Degrees, 0 to 2.
    group
        "O(3)" or "SO(3)".

    Returns
    -------
    float

    Raises
    ------
    IrrepsError
        A degree is negative.
    SettingsError
        Another group.

    Examples
    --------
    >>> round(product_coefficient(0, 0, 0) ** 2, 12)
    1.333333333333
    >>> product_coefficient(1, 1, 1)
    0.0
    """
    if group not in ("O(3)", "SO(3)"):
        raise SettingsError(f'group: expected "O(3)" or "SO(3)", got {group!r}')
    if group == "O(3)" and (l1 + l2 + l3) % 2:
        return 0.0
    value = 2 * math.sqrt((2 * l1 + 1) * (2 * l2 + 1)) * wigner_6j(l1, l2, l3, 1, 1, 1)
    return -value if l3 % 2 else value
