"""A call of a product: checks, broadcasting and layouts around its contraction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from etn.backend import Array
from etn.errors import CoreError, IrrepsError
from etn.product.contraction import Contraction
from etn.product.layout import change_layout

if TYPE_CHECKING:
    from etn.product.base import TensorProduct

__all__ = ["batch_shape", "multiply", "refuse_infinite"]

_NAMES = ("first operand", "second operand", "weights")


def multiply(
    product: TensorProduct,
    contraction: Contraction,
    xp: Any,
    constants: Mapping[str, Array],
    x: Array,
    y: Array,
    w: Array | None,
) -> Array:
    """Broadcast, bring to the inner layout, contract, and back."""
    if _ready(product, x, y, w):
        return contraction.apply(xp, constants, x, y, w)
    lead = batch_shape(product, x, y, w)
    if product.layout != "ir_mul":
        x = change_layout(x, product.irreps_in1, product.layout, "ir_mul")
        y = change_layout(y, product.irreps_in2, product.layout, "ir_mul")
    x, y = _rows(xp, x, lead), _rows(xp, y, lead)
    if w is not None:
        # One set of weights for all stays one set.
        w = _rows(xp, w, (1,) if w.ndim == 1 else lead)
    z = contraction.apply(xp, constants, x, y, w)
    z = z.reshape((*lead, z.shape[-1]))
    if product.layout != "ir_mul":
        z = change_layout(z, product.irreps_out, "ir_mul", product.layout)
    return z


def _ready(product: TensorProduct, x: Array, y: Array, w: Array | None) -> bool:
    """Whether arrays are rows in the inner layout already; the checks of small products count."""
    size1, size2, size_w = product.sizes
    b = x.shape[0] if x.ndim == 2 else -1
    return (
        product.layout == "ir_mul"
        and x.shape == (b, size1)
        and y.shape == (b, size2)
        and (w is None or w.shape == (b, size_w))
    )


def _rows(xp: Any, array: Array, lead: tuple[int, ...]) -> Array:
    """The array broadcast to leading axes, and these joined to one."""
    size = array.shape[-1]
    if array.shape[:-1] != lead:
        array = xp.broadcast_to(array, (*lead, size))
    return array if len(lead) == 1 else array.reshape((-1, size))


def batch_shape(product: TensorProduct, x: Array, y: Array, w: Array | None) -> tuple[int, ...]:
    """Common leading axes of the operands, after a check of the last ones."""
    given = (x, y) if w is None else (x, y, w)
    for array, dim, name in zip(given, product.sizes, _NAMES, strict=False):
        if array.ndim == 0 or array.shape[-1] != dim:
            what = (product.irreps_in1, product.irreps_in2, product.weight_plan)[_NAMES.index(name)]
            raise IrrepsError(
                f"{name}: expected a last axis of {dim} ({what}), got shape {tuple(array.shape)}"
            )
    leads = [tuple(array.shape[:-1]) for array in given]
    if all(lead == leads[0] for lead in leads[1:]):
        return leads[0]
    try:
        return np.broadcast_shapes(*leads)
    except ValueError as error:
        raise IrrepsError(
            f"leading axes of the operands and weights do not fit together: {leads}"
        ) from error


def refuse_infinite(x: Array, y: Array, w: Array | None) -> None:
    """Name the operand, and the place in it, that is not finite."""
    for name, array in zip(_NAMES, (x, y, w), strict=True):
        if array is not None and not np.isfinite(array).all():
            place = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
            raise CoreError(f"{name}: expected finite numbers, got {array[place]} at {place}")
