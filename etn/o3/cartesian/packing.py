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

import numpy as np
import numpy.typing as npt

from etn.backend import Array, as_block, library, like, to_numpy
from etn.errors import IrrepsError
from etn.o3.cartesian.basis import Packing, change_of_packing, check_packing, packing_maps
from etn.o3.cartesian.matrices import MAX_BYTES, check_bytes, full_places, raising
from etn.o3.irrep import as_int


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


@cache
def _monomial_lift(l: int) -> npt.NDArray[np.float64]:
    lift = packing_maps(l, "monomial").lift.astype(np.float64)
    lift.setflags(write=False)
    return lift


def _check_irreducible(tensor: Array, rebuilt: Array, l: int, tolerance: float | None) -> None:
    """Raise an :class:`IrrepsError` if some tensor differs from its irreducible part."""
    full = to_numpy(tensor).reshape(-1, *(3,) * l)
    gaps = abs(full - to_numpy(rebuilt).reshape(full.shape)).reshape(len(full), -1).max(axis=1)
    sizes = abs(full).reshape(len(full), -1).max(axis=1)
    if tolerance is None:
        tolerance = float(np.finfo(full.dtype).eps) ** 0.5
    bad = ~(gaps <= tolerance * sizes)  # also true of NaN
    if not bad.any():
        return
    first = int(np.argmax(bad))
    if l == 1 or not np.isfinite(sizes[first]):
        raise IrrepsError(f"tensor {first} (from 0): expected finite entries, got others")
    worst = full[first]
    skew = max(float(abs(worst - worst.swapaxes(i, i + 1)).max()) for i in range(l - 1))
    trace = float(abs(np.trace(worst)).max())
    raise IrrepsError(
        f"tensor {first} (from 0): expected a symmetric traceless tensor of degree {l}, got one "
        f"that differs from its irreducible part by {gaps[first] / sizes[first]:.2e} of its "
        f"largest entry (tolerance {tolerance:.1e}): exchange of neighboring indices changes it "
        f"by up to {skew:.2e}, its trace over the first two is up to {trace:.2e}; check=False "
        "takes the irreducible part"
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
    packed = as_block(packed, "packed")
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
    etn.errors.IrrepsError: tensor 0 (from 0): expected a symmetric traceless tensor ...
    """
    l = as_int(l, "degree l", minimum=0)
    check_packing(packing)
    tensor = as_block(tensor, "tensor")
    shape = tuple(tensor.shape)
    if len(shape) < l or any(n != 3 for n in shape[len(shape) - l :]):
        raise IrrepsError(
            f"full tensors of degree {l}: expected {l} axes of length 3 at the end, got shape "
            f"{shape}"
        )
    packed = _project(tensor, l)
    if check and l > 0 and prod(shape):
        _check_irreducible(tensor, _expand(packed, l), l, tolerance)
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
    packed = as_block(packed, "packed")
    shape = _check_last(packed, l)
    itemsize = library(packed).finfo(packed.dtype).bits // 8
    check_bytes(prod(shape[:-1]) * 3**l, itemsize, max_bytes, f"a full tensor of degree {l}")
    if packing == "monomial":
        # Every entry is one of the packed numbers or a small integer combination of them.
        components = packed @ like(_monomial_lift(l), packed).T
        return components[..., full_places(l)].reshape((*shape[:-1], *(3,) * l))
    return _expand(packed, l)
