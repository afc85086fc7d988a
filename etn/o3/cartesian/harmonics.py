r"""Irreducible Cartesian tensors of directions and their gradients.

Notes
-----
The orthonormal packing holds the spherical harmonics, up to a factor, so they come from
:mod:`etn.o3.solid`.

The packed monomials close under the recursion of the Legendre polynomials.  With
P_l(r·s) = T^l(r) · s^l as a polynomial of s,

.. math:: l\, T^l = (2l - 1)\, \mathrm{Sym}(r \otimes T^{l-1})
    - (l - 1)\, \mathrm{Sym}(I \otimes (r \cdot T^{l-1})), \qquad
    r \cdot T^{l-1} = |r|^2\, T^{l-2},

a component with c = 0 or 1 needs only such components: 2l+1 numbers a degree, none of the 3^l of
the full tensor.  It is a polynomial of x, y, z, so its derivatives are finite everywhere, at the
poles too.  The gradient is l times the same product, with the unit vectors in place of r.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any, Literal, TypeAlias

from etn.backend import Array, arange_like, library
from etn.o3.cartesian.constants import norm_constant
from etn.o3.cartesian.matrices import MAX_BYTES
from etn.o3.cartesian.packing import unpack
from etn.o3.directions import (
    Directions,
    ZeroPolicy,
    as_vectors,
    check_name,
    directions,
    over_length,
)
from etn.o3.solid import check_degree, gradient, solid_harmonics

Form: TypeAlias = Literal["packed", "full", "monomial"]


def _one_more_index(values: Array, x: Array, y: Array, pad: Array) -> Array:
    """Return a x A[a-1, b] + b y A[a, b-1] for the values A in order of b."""
    xp = library(values)
    n = values.shape[-1]
    up = arange_like(n, values) + 1
    by_x, by_y = (n + 1 - up) * values * x, up * values * y
    return xp.concatenate((by_x, pad), -1) + xp.concatenate((pad, by_y), -1)


def _one_more_pair(values: Array, pad: Array) -> Array:
    """Return a (a-1) A[a-2, b] + b (b-1) A[a, b-2] for the values A in order of b."""
    xp = library(values)
    n = values.shape[-1]
    up = arange_like(n, values) + 1
    down = n + 1 - up
    pairs = down * (down + 1) * values, up * (up + 1) * values
    return xp.concatenate((pairs[0], pad, pad), -1) + xp.concatenate((pad, pad, pairs[1]), -1)


def _times_vector(
    l: int, tensor: tuple[Array, Array], v: Array, dotted: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return the product of a tensor of degree l-1 and a vector to degree l >= 2.

    Tensors are pairs: the components without index z by the number of indices y, and those with
    one z.  `dotted` is the contraction of the tensor with the vector, of degree l-2.
    """
    x, y, z = v[..., :1], v[..., 1:2], v[..., 2:]
    flat, tilted = tensor
    pad = library(x).zeros_like(x * flat[..., :1])
    first = _one_more_index(flat, x, y, pad)
    second = _one_more_index(tilted, x, y, pad) + z * flat
    traces = [_one_more_pair(part, pad) for part in dotted]
    return ((2 * l - 1) * first - traces[0]) / l**2, ((2 * l - 1) * second - traces[1]) / l**2


def _solid_monomials(l: int, r: Array) -> list[tuple[Array, Array]]:
    """Return |r|^l T^l of degrees l-1 (if there is one) and l, each as a pair (flat, tilted)."""
    xp = library(r)
    square = (r * r).sum(-1)[..., None]
    one = xp.ones_like(square)
    found = [(one, one[..., :0]), (r[..., :2], r[..., 2:])]
    for d in range(2, l + 1):
        flat, tilted = found[-2]
        found.append(_times_vector(d, found[-1], r, (square * flat, square * tilted)))
    return found[max(l - 1, 0) : l + 1]


def _gradient_monomials(l: int, lower: tuple[Array, Array]) -> Array:
    """Return the gradients of the solid monomials of degree l >= 1 from those of degree l-1."""
    xp = library(lower[0])
    m = arange_like(3, lower[0])
    units = (m[:, None] == m) * xp.ones_like(m)
    flat, tilted = (part[..., None, :] for part in lower)
    if l == 1:
        return units * flat
    # The contractions with x, y and z, where zz is -(xx + yy).
    dotted = (
        xp.concatenate((flat[..., :-1], flat[..., 1:], tilted), -2),
        xp.concatenate((tilted[..., :-1], tilted[..., 1:], -flat[..., :-2] - flat[..., 2:]), -2),
    )
    return l * xp.concatenate(_times_vector(l, (flat, tilted), units, dotted), -1)


def _scale(l: int) -> float:
    """Return the orthonormal components of T^l over the harmonics orthonormal on the sphere."""
    return sqrt(4 * pi / (norm_constant(l) * (2 * l + 1)))


def _evaluate(
    l: int, r: Any, form: Form, normalize: bool, zero: ZeroPolicy, max_bytes: float, slopes: bool
) -> list[Array]:
    """Return the values and, if asked for, their gradients, in the form asked for."""
    check_name(form, Form, "form")
    check_name(zero, ZeroPolicy, "zero")
    r = as_vectors(r, "r")
    l = check_degree(l, r, "degree l")
    xp = library(r)
    known: Directions | None = None
    if normalize:
        known = directions(r, zero, "r", infinite_only=l == 0)
        r = known.unit
    slope = None
    if form == "packed" and l > 0:
        degrees = [_scale(l) * values for values in solid_harmonics(l, r, l - 1)]
        if slopes:
            slope = gradient(l, degrees[0])
    else:
        pairs = _solid_monomials(l, r)
        degrees = [xp.concatenate(pair, -1) for pair in pairs]
        if slopes and l:
            slope = _gradient_monomials(l, pairs[0])
    found = [degrees[-1]]
    if slopes and slope is None:
        found.append(xp.zeros_like(r)[..., None])
    elif slope is not None:
        if known is not None:
            slope = slope - l * r[..., None] * degrees[-1][..., None, :]
            slope = over_length(slope, known, "r")
        found.append(slope)
    if form == "full":
        found = [unpack(array, l, "monomial", max_bytes=max_bytes) for array in found]
    return found


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
        Degree: up to 1000, and up to 150 in float32.  (The full form reaches `max_bytes` at 17.)
    r
        Vectors, shape (..., 3); NumPy or torch, float32 or float64.  With `normalize` only their
        directions matter, at any length from the smallest to the largest float.
    form
        - "packed": orthonormal coordinates, shape (..., 2l+1).  They are the spherical harmonics
          of :func:`etn.o3.spherical_harmonics` times sqrt(4 pi (2l-1)!! / (l! (2l+1))).
        - "monomial": the components with at most one index z, shape (..., 2l+1).
        - "full": all components, shape (..., 3, ..., 3).
    normalize
        Take the directions.  Otherwise the result is |r|^l times that, polynomials of r.
    zero
        What vectors of length zero or not finite give: "error" raises; "zero" gives zero tensors
        with zero derivatives for l >= 1; "nan" gives NaN for l >= 1.  The tensor of degree 0 is 1,
        also of a vector of length zero.  Without `normalize` there is nothing to decide.  In code
        that torch compiles nothing can be raised, and "error" acts as "nan".
    max_bytes
        Largest full tensor that is made.

    Returns
    -------
    array
        Of the kind of `r`; torch can differentiate it, also twice, and compile it
        (``fullgraph=True``).

    Raises
    ------
    DataError
        Another shape, complex numbers or no numbers, or a vector without direction (with
        ``zero="error"``).
    IrrepsError
        `l` is negative or beyond the limit, an unknown form or policy, or a full tensor larger than
        `max_bytes`.

    Notes
    -----
    Source: Zaverkin et al., arXiv:2405.14253, Eq. 1.

    Examples
    --------
    >>> harmonics(2, [0.0, 0.0, 2.0], "full")
    array([[-0.5,  0. ,  0. ],
           [ 0. , -0.5,  0. ],
           [ 0. ,  0. ,  1. ]])
    >>> import numpy as np
    >>> bool(np.isclose((harmonics(3, [1.0, 2.0, 3.0]) ** 2).sum(), 5 / 2))
    True
    """
    return _evaluate(l, r, form, normalize, zero, max_bytes, False)[0]


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
        As in :func:`harmonics`; or a vector so short that its gradient is beyond the largest float
        (in torch the gradient is infinite then).
    IrrepsError
        As in :func:`harmonics`.

    Examples
    --------
    >>> _, gradients = harmonics_with_gradients(1, [0.0, 2.0, 0.0], "full")
    >>> gradients + 0.0
    array([[0.5, 0. , 0. ],
           [0. , 0. , 0. ],
           [0. , 0. , 0.5]])
    """
    values, gradients = _evaluate(l, r, form, normalize, zero, max_bytes, True)
    return values, gradients
