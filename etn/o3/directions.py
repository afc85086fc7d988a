"""Vectors and their directions, from subnormal lengths up to overflow; NumPy or torch."""

from __future__ import annotations

import sys
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from etn.backend import Array, as_block, is_torch, library
from etn.errors import DataError, IrrepsError

ZeroPolicy: TypeAlias = Literal["error", "zero", "nan"]
"""What vectors that have no direction give."""


class Directions(NamedTuple):
    """Unit vectors, and the lengths in two factors, so that neither over- nor underflows.

    Attributes
    ----------
    unit : array, shape (..., 3)
    size : array, shape (..., 1)
        Largest component in modulus.
    stretch : array, shape (..., 1)
        Length over `size`, from 1 to sqrt(3).
    """

    unit: Array
    size: Array
    stretch: Array


def check_name(name: object, kind: Any, what: str) -> None:
    """Raise an :class:`IrrepsError` that lists the names if `name` is none of them."""
    if not isinstance(name, str) or name not in get_args(kind):
        raise IrrepsError(f"{what}: expected one of {', '.join(get_args(kind))}, got {name!r}")


def as_vectors(r: Any, what: str) -> Array:
    """Return vectors of shape (..., 3) in float64 or float32, or raise a :class:`DataError`."""
    r = as_block(r, what)
    if len(r.shape) == 0 or r.shape[-1] != 3:
        raise DataError(f"{what}: expected shape (..., 3), got {tuple(r.shape)}")
    return r


def in_compiled_code(array: Array) -> bool:
    """Whether torch is compiling this code: no value can be looked at, and no error depend on it.

    Examples
    --------
    >>> in_compiled_code(np.zeros(3))
    False
    """
    return is_torch(array) and bool(sys.modules["torch"].compiler.is_compiling())


def directions(r: Array, zero: ZeroPolicy, what: str, *, infinite_only: bool = False) -> Directions:
    r"""Return the directions of some vectors.

    .. math:: \hat r = \frac{r / s}{|r / s|}, \qquad s = \max_\alpha |r_\alpha|

    Parameters
    ----------
    r
        Vectors, shape (..., 3).
    zero
        What vectors of length zero or not finite give: "error" raises, "zero" gives the unit vector
        0 and an infinite length, "nan" gives NaN.  In code that torch compiles nothing can be
        raised, and "error" acts as "nan".
    what
        Name of the argument.
    infinite_only
        Let "error" pass vectors of length zero, for what does not depend on the direction.

    Raises
    ------
    DataError
        A vector without direction, with ``zero="error"``.

    Examples
    --------
    >>> directions(np.array([0.0, 3e-320, 4e-320]), "error", "r").unit
    array([0. , 0.6, 0.8])
    """
    xp = library(r)
    # The direction does not depend on the scale, so that none goes into its derivatives.
    size = xp.amax(abs(r.detach() if is_torch(r) else r), -1)[..., None]
    finite = xp.isfinite(size)
    good = (size > 0) & finite
    if zero == "error" and not in_compiled_code(r):
        bad = ~(finite if infinite_only else good).reshape(-1)
        if bool(bad.any()):
            first = int(xp.argmax(bad * 1))
            raise DataError(
                f"{what}: {int(bad.sum())} of {len(bad)} vectors have no direction; the first is "
                f"number {first} (from 0), {r.reshape(-1, 3)[first].tolist()}: expected finite "
                'vectors of non-zero length, or zero="zero" or zero="nan"'
            )
    one = xp.ones_like(size)
    # The root is taken of what is safe, so that the branch not taken has finite derivatives too.
    scaled = xp.where(good, r, xp.zeros_like(r)) / xp.where(good, size, one)
    stretch = xp.sqrt(xp.where(good, (scaled * scaled).sum(-1)[..., None], one))
    unit = scaled / stretch
    if zero != "zero":
        unit = xp.where(good, unit, xp.full_like(unit, float("nan")))
    lost = xp.full_like(size, float("inf" if zero == "zero" else "nan"))
    return Directions(unit, xp.where(good, size, lost), stretch)


def over_length(values: Array, known: Directions, what: str) -> Array:
    """Return gradients on the unit sphere, shape (..., 3, n), over the lengths of the vectors.

    Raises
    ------
    DataError
        NumPy only: a vector so short that its gradient is beyond the largest float.  In torch the
        gradient is infinite there.
    """
    stretch, size = known.stretch[..., None], known.size[..., None]
    if is_torch(values):
        return values / stretch / size
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return values / stretch / size
    except FloatingPointError as error:
        shortest = float(known.size[known.size > 0].min())
        raise DataError(
            f"{what}: the gradient by a vector of length {shortest:.1e} is beyond the range of "
            f"{values.dtype}; take the gradient by a multiple of the vectors"
        ) from error
