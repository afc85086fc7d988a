r"""Conversions between full Cartesian tensors and packed ones.

Notes
-----
A full tensor of degree l has 3^l entries for 2l+1 numbers.  The orthonormal packing matrix U_l is
applied as a chain of couplings (l-1) x 1 -> l, one index of the tensor after the other, so that no
matrix of 3^l columns is needed: each coupling is isometric, and what their chain leaves out is
what is not symmetric or not traceless.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from etn.backend import Array, as_block, library, like, to_numpy
from etn.errors import IrrepsError
from etn.o3.cartesian.basis import Packing, change_of_packing, check_packing, frame
from etn.o3.cartesian.coefficients import coefficients
from etn.o3.cartesian.constants import norm_constant
from etn.o3.irrep import as_int

if TYPE_CHECKING:
    from sympy import ImmutableDenseMatrix

MAX_BYTES = 2.0**31
"""Largest full tensor that is made without asking, in bytes."""

# Places of x, y, z among the orthonormal components of degree 1, which are (y, z, x).
_XYZ = [2, 0, 1]


@cache
def raising(l: int) -> npt.NDArray[np.float64]:
    """Return the isometric coupling of a packed tensor of degree l-1 and a vector to degree l.

    Parameters
    ----------
    l
        Degree of the result, at least 1.

    Returns
    -------
    ndarray of float64, shape (2l+1, 2l-1, 3)
        Orthonormal packing; the vector in the order (x, y, z).  Cached and read-only.

    Examples
    --------
    >>> raising(1)[:, 0]  # (y, z, x) of (x, y, z)
    array([[0., 1., 0.],
           [0., 0., 1.],
           [1., 0., 0.]])
    """
    l = as_int(l, "degree l", minimum=1)
    V = np.ascontiguousarray(coefficients(l - 1, 1, l, "cg")[:, :, _XYZ])
    V.setflags(write=False)
    return V


def _check_bytes(numbers: int, itemsize: int, max_bytes: float, what: str) -> None:
    needed = numbers * itemsize
    if needed > max_bytes:
        raise IrrepsError(
            f"{what} takes {needed / 2**30:.1f} GiB, more than max_bytes = "
            f"{max_bytes / 2**30:.1f} GiB; stay with packed tensors, or raise max_bytes"
        )


def _check_last(values: Array, l: int) -> tuple[int, ...]:
    shape = tuple(values.shape)
    if not shape or shape[-1] != 2 * l + 1:
        raise IrrepsError(
            f"packed tensors of degree {l}: expected {2 * l + 1} numbers along the last axis, got "
            f"shape {shape}"
        )
    return shape


def _project(tensor: Array, l: int) -> Array:
    """Return the orthonormal coordinates of the irreducible part, shape (..., 2l+1)."""
    batch = tuple(tensor.shape)[: len(tensor.shape) - l]
    out = tensor.reshape((*batch, 1, 3**l))
    for degree in range(1, l + 1):
        V = like(raising(degree), out)
        out = out.reshape((*batch, 3 * (2 * degree - 1), 3 ** (l - degree)))
        out = V.reshape((2 * degree + 1, -1)) @ out
    return out[..., 0]


def _expand(packed: Array, l: int) -> Array:
    """Return the full tensor of orthonormal coordinates, shape (..., 3, ..., 3)."""
    batch = tuple(packed.shape)[:-1]
    out = packed[..., None]
    for degree in range(l, 0, -1):
        V = like(raising(degree), out)
        out = V.reshape((2 * degree + 1, -1)).T @ out
        out = out.reshape((*batch, 2 * degree - 1, 3 ** (l - degree + 1)))
    return out.reshape((*batch, *(3,) * l))


def _refuse(full: npt.NDArray[Any], l: int, residual: float, tolerance: float) -> None:
    """Raise the error that says in what way a tensor is not irreducible."""
    axes = range(full.ndim - l, full.ndim)
    skew = max((float(abs(full - full.swapaxes(i, i + 1)).max()) for i in axes[:-1]), default=0.0)
    trace = float(abs(np.trace(full, axis1=axes[0], axis2=axes[1])).max())
    raise IrrepsError(
        f"tensor: expected a symmetric traceless tensor of degree {l}, got one that differs from "
        f"its irreducible part by {residual:.2e} of its largest entry (tolerance "
        f"{tolerance:.1e}); exchange of two indices changes it by up to {skew:.2e}, its first "
        f"trace is up to {trace:.2e}; check=False takes the irreducible part"
    )


def repack(packed: Array, l: int, source: Packing, target: Packing) -> Array:
    """Return packed tensors in the other packed basis.

    Parameters
    ----------
    packed
        Numbers in the basis `source`, shape (..., 2l+1); NumPy or torch.
    l
        Degree.
    source, target
        "orthonormal" or "monomial".

    Returns
    -------
    array, shape (..., 2l+1)

    Raises
    ------
    IrrepsError
        Another shape, or an unknown packing.

    Examples
    --------
    >>> repack(np.array([1.0, 2.0, 3.0]), 1, "monomial", "orthonormal")
    array([2., 3., 1.])
    """
    l = as_int(l, "degree l", minimum=0)
    packed = as_block(packed)
    _check_last(packed, l)
    if check_packing(source) == check_packing(target):
        return packed
    return packed @ like(change_of_packing(l, source, target), packed).T


def pack(
    tensor: Array,
    l: int,
    packing: Packing = "orthonormal",
    *,
    check: bool = True,
    tolerance: float | None = None,
) -> Array:
    r"""Return the 2l+1 numbers of full symmetric traceless tensors.

    .. math:: p = U_l\, \mathrm{vec}\, T, \qquad \sum_m p_m^2 = \|T\|^2 \quad (orthonormal)

    Parameters
    ----------
    tensor
        Full tensors, l axes of length 3 at the end: shape (..., 3, ..., 3); NumPy or torch.
    l
        Degree, the number of axes that belong to the tensor.
    packing
        Basis of the result.
    check
        Refuse tensors that are not symmetric and traceless.  Without the check the result is that
        of the irreducible part, the orthogonal projection.
    tolerance
        Largest accepted distance from the irreducible part, entry by entry and relative to the
        largest entry; by default the square root of the precision.

    Returns
    -------
    array, shape (..., 2l+1)

    Raises
    ------
    IrrepsError
        Another shape, or (with `check`) a tensor that is not symmetric or not traceless.

    Examples
    --------
    >>> pack(np.diag([1.0, 1.0, -2.0]), 2).round(6) + 0.0  # m = 0 is (2 zz - xx - yy) / sqrt(6)
    array([ 0.     ,  0.     , -2.449490,  0.     ,  0.     ])
    >>> pack(np.eye(3), 2)
    Traceback (most recent call last):
    ...
    etn.errors.IrrepsError: tensor: expected a symmetric traceless tensor of degree 2, got one ...
    """
    l = as_int(l, "degree l", minimum=0)
    check_packing(packing)
    tensor = as_block(tensor)
    shape = tuple(tensor.shape)
    if len(shape) < l or any(n != 3 for n in shape[len(shape) - l :]):
        raise IrrepsError(
            f"full tensors of degree {l}: expected {l} axes of length 3 at the end, got shape "
            f"{shape}"
        )
    packed = _project(tensor, l)
    if check and l > 0 and prod(shape):
        full, rebuilt = to_numpy(tensor), to_numpy(_expand(packed, l))
        if tolerance is None:
            tolerance = float(np.finfo(full.dtype).eps) ** 0.5
        residual = float(abs(full - rebuilt).max())
        largest = float(abs(full).max())
        if not residual <= tolerance * largest:  # also true of NaN
            if l == 1:
                raise IrrepsError("tensor: expected finite vectors, got one that is not")
            _refuse(full, l, residual / largest, tolerance)
    return repack(packed, l, "orthonormal", packing)


def unpack(
    packed: Array,
    l: int,
    packing: Packing = "orthonormal",
    *,
    max_bytes: float = MAX_BYTES,
) -> Array:
    """Return full symmetric traceless tensors from their 2l+1 numbers; the inverse of pack.

    Parameters
    ----------
    packed
        Numbers in the basis `packing`, shape (..., 2l+1); NumPy or torch.
    l
        Degree.
    packing
        Basis of `packed`.
    max_bytes
        Largest result that is made, 2 GiB by default.

    Returns
    -------
    array, shape (..., 3, ..., 3)
        l axes of length 3.

    Raises
    ------
    IrrepsError
        Another shape, or a result larger than `max_bytes`; nothing is allocated then.

    Examples
    --------
    >>> unpack(np.array([1.0, 0.0, 0.0, 0.0, 0.0]), 2, "monomial")  # zz = -xx - yy
    array([[ 1.,  0.,  0.],
           [ 0.,  0.,  0.],
           [ 0.,  0., -1.]])
    """
    l = as_int(l, "degree l", minimum=0)
    check_packing(packing)
    packed = as_block(packed)
    shape = _check_last(packed, l)
    itemsize = library(packed).finfo(packed.dtype).bits // 8
    _check_bytes(prod(shape[:-1]) * 3**l, itemsize, max_bytes, f"a full tensor of degree {l}")
    if packing == "monomial":
        # Its entries are the components themselves, with integer weights: no rounding.
        return _spread(packed, l)
    return _expand(packed, l)


@cache
def _places(l: int) -> npt.NDArray[np.int64]:
    """Return, for each entry of the full tensor, the place of its monomial."""
    indices = np.indices((3,) * l, dtype=np.int8).reshape(l, 3**l)
    b, c = (indices == 1).sum(axis=0), (indices == 2).sum(axis=0)
    return c * (l + 1) - c * (c - 1) // 2 + b


def _spread(packed: Array, l: int) -> Array:
    lift = frame(l, "monomial").lift.astype(np.float64)
    components = packed @ like(lift, packed).T
    return components[..., _places(l)].reshape((*tuple(packed.shape)[:-1], *(3,) * l))


@overload
def packing_matrix(
    l: int, *, scaled: bool = False, exact: Literal[False] = False, max_bytes: float = MAX_BYTES
) -> npt.NDArray[np.float64]: ...
@overload
def packing_matrix(
    l: int, *, scaled: bool = False, exact: Literal[True], max_bytes: float = MAX_BYTES
) -> ImmutableDenseMatrix: ...
def packing_matrix(
    l: int, *, scaled: bool = False, exact: bool = False, max_bytes: float = MAX_BYTES
) -> npt.NDArray[np.float64] | ImmutableDenseMatrix:
    r"""Return the orthonormal packing matrix U_l, or S_l that gives harmonics of unit norm.

    .. math:: U_l U_l^T = 1, \qquad S_l = \sqrt{s_l}\, U_l, \qquad
        Y^{norm}_l(r) = S_l\, \mathrm{vec}\, T^l(r), \qquad s_l = \frac{l!}{(2l-1)!!}

    :func:`pack` and :func:`unpack` do without this matrix.

    Parameters
    ----------
    l
        Degree.
    scaled
        Return S_l instead of U_l.
    exact
        Give the entries exactly, as square roots of rational numbers (loads sympy).
    max_bytes
        Largest result that is made.

    Returns
    -------
    ndarray of float64, or sympy.ImmutableDenseMatrix
        Shape (2l+1, 3^l); the columns are the indices of the full tensor, the last one fastest.

    Raises
    ------
    IrrepsError
        ``l < 0``, or a result larger than `max_bytes`.

    Examples
    --------
    >>> packing_matrix(2, exact=True)[2, :]
    Matrix([[-sqrt(6)/6, 0, 0, 0, -sqrt(6)/6, 0, 0, 0, sqrt(6)/3]])
    >>> packing_matrix(1)  # (y, z, x)
    array([[0., 1., 0.],
           [0., 0., 1.],
           [1., 0., 0.]])
    """
    l = as_int(l, "degree l", minimum=0)
    _check_bytes((2 * l + 1) * 3**l, 8, max_bytes, f"the packing matrix of degree {l}")
    lift, squares = frame(l)[:2]
    if scaled:
        squares = tuple(square * norm_constant(l) for square in squares)
    places = _places(l)
    if exact:
        from sympy import ImmutableDenseMatrix, Rational, sqrt

        roots = [sqrt(Rational(s.numerator, s.denominator)) for s in squares]
        components = [
            [int(v) * root for v in column] for column, root in zip(lift.T, roots, strict=True)
        ]
        return ImmutableDenseMatrix([[row[i] for i in places] for row in components])
    matrix: npt.NDArray[np.float64] = (
        lift.T.astype(np.float64) * np.sqrt([float(s) for s in squares])[:, None]
    )
    return matrix[:, places]
