r"""Irreducible Cartesian tensors of directions, their gradients, and vectors without direction.

Notes
-----
The packed monomials close under the recursion of the Legendre polynomials.  With
P_l(r·s) = T^l(r) · s^l as a polynomial of s,

.. math:: l\, T^l = (2l - 1)\, \mathrm{Sym}(r \otimes T^{l-1})
    - (l - 1)\, |r|^2\, \mathrm{Sym}(I \otimes T^{l-2}),

a component with c = 0 or 1 needs only such components: 2l+1 numbers a degree, none of the 3^l of
the full tensor.  It is a polynomial of x, y, z, so its derivatives are finite everywhere, at the
poles too.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from etn.backend import Array, as_block, library, like
from etn.errors import DataError, IrrepsError
from etn.o3.cartesian.coefficients import coefficients
from etn.o3.cartesian.matrices import MAX_BYTES
from etn.o3.cartesian.packing import repack, unpack
from etn.o3.irrep import as_int

Form: TypeAlias = Literal["packed", "full", "monomial"]
ZeroPolicy: TypeAlias = Literal["error", "zero", "nan"]


def _check_name(name: str, kind: Any, what: str) -> None:
    if name not in get_args(kind):
        raise IrrepsError(f"{what}: expected one of {', '.join(get_args(kind))}, got {name!r}")


def _vectors(r: Array) -> Array:
    r = as_block(r)
    if len(r.shape) == 0 or r.shape[-1] != 3:
        raise DataError(f"r: expected shape (..., 3), got {tuple(r.shape)}")
    return r


def _directions(r: Array, zero: ZeroPolicy) -> tuple[Array, Array]:
    """Return the directions and the inverse lengths, shape (..., 3) and (..., 1).

    Vectors without direction get what the policy says, in both.
    """
    xp = library(r)
    square = (r * r).sum(-1)[..., None]
    good = (square > 0) & xp.isfinite(square)
    if zero == "error" and not bool(good.all()):
        bad = ~good.reshape(-1)
        first = int(xp.argmax(bad * 1))
        raise DataError(
            f"r: {int(bad.sum())} of {len(bad)} vectors have no direction; the first is number "
            f"{first} (from 0), {r.reshape(-1, 3)[first].tolist()}: expected finite vectors of "
            'non-zero length, or zero="zero" or zero="nan"'
        )
    # The root is taken of what is safe, so that the branch not taken has finite derivatives too.
    inverse = 1 / xp.sqrt(xp.where(good, square, xp.ones_like(square)))
    fill = xp.zeros_like(inverse) if zero == "zero" else xp.full_like(inverse, float("nan"))
    inverse = xp.where(good, inverse, fill)
    known = xp.where(good, r, xp.zeros_like(r))
    return known * inverse, inverse


@cache
def _weights(n: int, pairs: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return j or (with `pairs`) j (j+1) for j = n..1 and for j = 1..n."""
    j = np.arange(1.0, n + 1)
    up = j * (j + 1) if pairs else j
    down = up[::-1].copy()
    for array in (down, up):
        array.setflags(write=False)
    return down, up


def _one_more_index(values: Array, x: Array, y: Array) -> Array:
    """Return a x A[a-1, b] + b y A[a, b-1] for the values A in order of b."""
    xp = library(values)
    down, up = (like(w, values) for w in _weights(values.shape[-1], False))
    pad = xp.zeros_like(x)
    return xp.concatenate((down * values * x, pad), -1) + xp.concatenate((pad, up * values * y), -1)


def _one_more_pair(values: Array, r: Array) -> Array:
    """Return a (a-1) A[a-2, b] + b (b-1) A[a, b-2] for the values A in order of b."""
    xp = library(values)
    down, up = (like(w, values) for w in _weights(values.shape[-1], True))
    pad = xp.zeros_like(r[..., :2])
    return xp.concatenate((down * values, pad), -1) + xp.concatenate((pad, up * values), -1)


def _solid(l: int, r: Array) -> tuple[Array, Array]:
    """Return |r|^l T^l of degrees l-1 and l in packed monomials (degree -1 is empty)."""
    xp = library(r)
    x, y, z = r[..., :1], r[..., 1:2], r[..., 2:]
    square = (r * r).sum(-1)[..., None]
    # flat: components without index z, by the number of indices y; tilted: with one z.
    flat, tilted = [xp.ones_like(x)], [x[..., :0]]
    if l > 0:
        flat.append(r[..., :2])
        tilted.append(z)
    for d in range(2, l + 1):
        first = _one_more_index(flat[-1], x, y)
        second = _one_more_index(tilted[-1], x, y) + z * flat[-1]
        trace = _one_more_pair(flat[-2], r), _one_more_pair(tilted[-2], r)
        flat.append(((2 * d - 1) * first - square * trace[0]) / d**2)
        tilted.append(((2 * d - 1) * second - square * trace[1]) / d**2)
    degrees = [xp.concatenate(pair, -1) for pair in zip(flat, tilted, strict=True)]
    return (degrees[l - 1] if l else degrees[0][..., :0]), degrees[l]


def _formed(values: Array, l: int, form: Form, max_bytes: float) -> Array:
    """Return packed monomials in the form asked for."""
    if form == "full":
        return unpack(values, l, "monomial", max_bytes=max_bytes)
    return values if form == "monomial" else repack(values, l, "monomial", "orthonormal")


def harmonics(
    l: int,
    r: Array,
    form: Form = "packed",
    *,
    normalize: bool = True,
    zero: ZeroPolicy = "error",
    max_bytes: float = MAX_BYTES,
) -> Array:
    r"""Return the irreducible Cartesian tensors of the directions of some vectors.

    .. math:: T^l(r) = \frac{(2l-1)!!}{l!}\, \bigl(\hat r^{\otimes l} - \mathrm{traces}\bigr),
        \qquad T^l(r) \cdot \hat s^{\otimes l} = P_l(\hat r \cdot \hat s), \qquad
        \|T^l\|^2 = \frac{(2l-1)!!}{l!}

    Parameters
    ----------
    l
        Degree.
    r
        Vectors, shape (..., 3); NumPy or torch, float32 or float64.
    form
        - "packed": orthonormal coordinates, shape (..., 2l+1).  They are the spherical harmonics
          of :func:`etn.o3.spherical_harmonics` times sqrt(4 pi (2l-1)!! / (l! (2l+1))).
        - "monomial": the components with at most one index z, shape (..., 2l+1).
        - "full": all components, shape (..., 3, ..., 3).
    normalize
        Take the directions.  Otherwise the result is |r|^l times that, polynomials of r.
    zero
        What vectors of length zero (in their precision) or not finite give: "error" raises;
        "zero" gives zero tensors with zero derivatives for l >= 1; "nan" gives NaN for l >= 1.
        The tensor of degree 0 is 1.  Without `normalize` there is nothing to decide.
    max_bytes
        Largest full tensor that is made.

    Returns
    -------
    array
        Of the kind of `r`; torch can differentiate it, also twice.

    Raises
    ------
    DataError
        Another shape, or a vector without direction (with ``zero="error"``).
    IrrepsError
        ``l < 0``, an unknown form or policy, or a full tensor larger than `max_bytes`.

    Notes
    -----
    Source: Zaverkin et al., arXiv:2405.14253, Eq. 1.

    Examples
    --------
    >>> harmonics(2, [0.0, 0.0, 2.0], "full")
    array([[-0.5,  0. ,  0. ],
           [ 0. , -0.5,  0. ],
           [ 0. ,  0. ,  1. ]])
    >>> bool(np.isclose((harmonics(3, [1.0, 2.0, 3.0]) ** 2).sum(), 5 / 2))
    True
    """
    l = as_int(l, "degree l", minimum=0)
    _check_name(form, Form, "form")
    _check_name(zero, ZeroPolicy, "zero")
    r = _vectors(r)
    if normalize:
        r, _ = _directions(r, zero)
    return _formed(_solid(l, r)[1], l, form, max_bytes)


def harmonics_with_gradients(
    l: int,
    r: Array,
    form: Form = "packed",
    *,
    normalize: bool = True,
    zero: ZeroPolicy = "error",
    max_bytes: float = MAX_BYTES,
) -> tuple[Array, Array]:
    r"""Return the tensors of :func:`harmonics` and their gradients by the vectors.

    .. math:: \nabla\, |r|^l T^l(r) = l\, (|r|^{l-1} T^{l-1}(r) \otimes e)_l, \qquad
        |r|\, \nabla\, T^l(\hat r) = l\, (T^{l-1}(\hat r) \otimes e)_l - l\, \hat r\, T^l(\hat r)

    with the product of normalization "unity" and e the unit vectors x, y, z.

    Parameters
    ----------
    l, r, form, normalize, zero, max_bytes
        As in :func:`harmonics`.

    Returns
    -------
    values : array, shape (..., 2l+1) or (..., 3, ..., 3)
    gradients : array, shape (..., 3, 2l+1) or (..., 3, 3, ..., 3)
        In the inverse unit of `r` (with `normalize`); the axis before those of the tensor is
        (x, y, z).

    Raises
    ------
    DataError
        Another shape, or a vector without direction (with ``zero="error"``).
    IrrepsError
        ``l < 0``, an unknown form or policy, or a full tensor larger than `max_bytes`.

    Examples
    --------
    >>> _, gradients = harmonics_with_gradients(1, [0.0, 2.0, 0.0], "full")
    >>> gradients + 0.0
    array([[0.5, 0. , 0. ],
           [0. , 0. , 0. ],
           [0. , 0. , 0.5]])
    """
    l = as_int(l, "degree l", minimum=0)
    _check_name(form, Form, "form")
    _check_name(zero, ZeroPolicy, "zero")
    r = _vectors(r)
    inverse = None
    if normalize:
        r, inverse = _directions(r, zero)
    lower, values = _solid(l, r)
    if l == 0:
        gradients = library(r).zeros_like(r)[..., None]
    else:
        # Packed monomials of degree 1 are (x, y, z).
        G = like(coefficients(l - 1, 1, l, "unity", "monomial"), r)
        gradients = l * library(r).einsum("cax,...a->...xc", G, lower)
        if inverse is not None:
            radial = l * r[..., None] * values[..., None, :]
            gradients = (gradients - radial) * inverse[..., None]
    formed = [_formed(array, l, form, max_bytes) for array in (values, gradients)]
    return formed[0], formed[1]
