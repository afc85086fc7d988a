"""Matrices between full Cartesian tensors and the orthonormal packing."""

from __future__ import annotations

from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from etn.errors import IrrepsError
from etn.o3.cartesian.basis import packing_maps, square_roots
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


def check_bytes(numbers: int, itemsize: int, max_bytes: Any, what: str) -> None:
    """Raise an :class:`IrrepsError` if so many numbers are more than `max_bytes`."""
    if not isinstance(max_bytes, Real):
        raise IrrepsError(f"max_bytes: expected a number, got {max_bytes!r}")
    needed = numbers * itemsize
    if needed > max_bytes:
        # The quotient of integers beyond the floats cannot be written as a decimal.
        size = f"{needed / 2**30:.1f}" if needed < 2**1000 else f"2^{needed.bit_length() - 31}"
        raise IrrepsError(
            f"{what} takes {size} GiB, more than max_bytes = "
            f"{float(max_bytes) / 2**30:.1f} GiB; stay with packed tensors, or raise max_bytes"
        )


@cache
def full_places(l: int) -> npt.NDArray[np.int64]:
    """Return, for each entry of the full tensor, the place of its monomial."""
    indices = np.indices((3,) * l, dtype=np.int8).reshape(l, 3**l)
    b, c = (indices == 1).sum(axis=0), (indices == 2).sum(axis=0)
    return c * (l + 1) - c * (c - 1) // 2 + b


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

    Packing and unpacking do without this matrix.

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
    check_bytes((2 * l + 1) * 3 ** min(l, 1000), 8, max_bytes, f"the packing matrix of degree {l}")
    lift, squares = packing_maps(l)[:2]
    if scaled:
        squares = tuple(square * norm_constant(l) for square in squares)
    places = full_places(l)
    if exact:
        from sympy import ImmutableDenseMatrix, Rational, sqrt

        roots = [sqrt(Rational(s.numerator, s.denominator)) for s in squares]
        components = [
            [int(v) * root for v in column] for column, root in zip(lift.T, roots, strict=True)
        ]
        return ImmutableDenseMatrix([[row[i] for i in places] for row in components])
    matrix: npt.NDArray[np.float64] = lift.T.astype(np.float64) * square_roots(squares)[:, None]
    return matrix[:, places]
