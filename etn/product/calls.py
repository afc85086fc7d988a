"""A call of a product: its signature, and the checks and layouts around its contraction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from etn.backend import Array, FloatArray
from etn.errors import CoreError, IrrepsError
from etn.o3 import Irreps
from etn.product.layout import Layout, change_layout
from etn.product.weight_sharing import WeightPlan

__all__ = [
    "Contraction",
    "Signature",
    "batch_shape",
    "broadcast_lead",
    "multiply",
    "refuse_infinite",
]

_NAMES = ("first operand", "second operand", "weights")


class Contraction(Protocol):
    """A bilinear map of flat arrays whose channels run fastest: a product by one scheme."""

    @property
    def name(self) -> str:
        """Scheme it follows."""
        ...

    @property
    def constants(self) -> Mapping[str, FloatArray]:
        """Numbers that stay the same from call to call."""
        ...

    @property
    def plan(self) -> WeightPlan:
        """The weights it takes."""
        ...

    def apply(self, xp: Any, c: Mapping[str, Array], x: Array, y: Array, w: Array | None) -> Array:
        """Contract (b, dim1) and (b, dim2), with weights (b or 1, size), to (b, dim3)."""
        ...

    def flops(self) -> int:
        """Multiplications of one batch entry."""
        ...


@dataclass(frozen=True)
class Signature:
    """What a product takes and gives.

    Parameters
    ----------
    legs : (first operand, second operand, output)
    layout : {"ir_mul", "mul_ir"}
        Of all three arrays.
    plan : WeightPlan

    Attributes
    ----------
    sizes : (int, int, int)
        Last axes of the operands and the weights.

    Examples
    --------
    >>> leg = Irreps("2x0e+2x1o")
    >>> Signature((leg, Irreps("1o"), leg), "ir_mul", WeightPlan({"channels": (2, 1)})).sizes
    (8, 3, 2)
    """

    legs: tuple[Irreps, Irreps, Irreps]
    layout: Layout
    plan: WeightPlan
    # Kept, because small products are called so often that counting anew would show.
    sizes: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        sizes = (self.legs[0].dim, self.legs[1].dim, self.plan.size)
        object.__setattr__(self, "sizes", sizes)


def multiply(
    signature: Signature,
    contraction: Contraction,
    xp: Any,
    constants: Mapping[str, Array],
    x: Array,
    y: Array,
    w: Array | None,
) -> Array:
    """Broadcast, bring to the inner layout, contract, and back."""
    if _ready(signature, x, y, w):
        return contraction.apply(xp, constants, x, y, w)
    lead = batch_shape(signature, x, y, w)
    first, second, out = signature.legs
    if signature.layout != "ir_mul":
        x = change_layout(x, first, signature.layout, "ir_mul")
        y = change_layout(y, second, signature.layout, "ir_mul")
    x, y = _rows(xp, x, lead), _rows(xp, y, lead)
    if w is not None:
        # One set of weights for all stays one set; a set of none is none.
        w = _rows(xp, w, (1,) if w.ndim == 1 else lead) if signature.sizes[2] else None
    z = contraction.apply(xp, constants, x, y, w)
    z = z.reshape((*lead, z.shape[-1]))
    if signature.layout != "ir_mul":
        z = change_layout(z, out, "ir_mul", signature.layout)
    return z


def _ready(signature: Signature, x: Array, y: Array, w: Array | None) -> bool:
    """Whether arrays are rows in the inner layout already; the checks of small products count."""
    size1, size2, size_w = signature.sizes
    if signature.layout != "ir_mul" or x.ndim != 2 or y.ndim != 2:
        return False
    b = x.shape[0]
    if x.shape[1] != size1 or y.shape != (b, size2):
        return False
    # The number of axes first: a compiler would compare the batch with the size of the weights.
    return w is None or (w.ndim == 2 and size_w > 0 and w.shape == (b, size_w))


def _rows(xp: Any, array: Array, lead: tuple[int, ...]) -> Array:
    """The array broadcast to leading axes, and these joined to one."""
    size = array.shape[-1]
    if array.shape[:-1] != lead:
        array = xp.broadcast_to(array, (*lead, size))
    # Not -1: an operand without components has any number of rows.
    return array if len(lead) == 1 else array.reshape((math.prod(lead), size))


def batch_shape(signature: Signature, x: Array, y: Array, w: Array | None) -> tuple[int, ...]:
    """Common leading axes of the operands, after a check of the last ones.

    Raises
    ------
    IrrepsError
        If a last axis, or the leading axes, do not fit.
    """
    given = (x, y) if w is None else (x, y, w)
    for array, dim, name in zip(given, signature.sizes, _NAMES, strict=False):
        if array.ndim == 0 or array.shape[-1] != dim:
            what = (*signature.legs[:2], signature.plan)[_NAMES.index(name)]
            raise IrrepsError(
                f"{name}: expected a last axis of {dim} ({what}), got shape {tuple(array.shape)}"
            )
    return broadcast_lead([tuple(array.shape[:-1]) for array in given], "operands and weights")


def broadcast_lead(shapes: Sequence[tuple[int, ...]], what: str) -> tuple[int, ...]:
    """Common shape of leading axes; sizes may be symbols, of which a compiler learns no value.

    Raises
    ------
    IrrepsError
        If they do not fit together.

    Examples
    --------
    >>> broadcast_lead([(5, 1), (3,), ()], "operands and weights")
    (5, 3)
    """
    if all(len(shape) == len(shapes[0]) and shape == shapes[0] for shape in shapes[1:]):
        return shapes[0]
    common = [1] * max(map(len, shapes))
    for shape in shapes:
        for axis, size in enumerate(shape, start=len(common) - len(shape)):
            # A symbol is compared with others and with 1, and never turned into a number.
            if size != 1 and common[axis] != size:
                if common[axis] != 1:
                    raise IrrepsError(f"leading axes of {what} do not fit together: {list(shapes)}")
                common[axis] = size
    return tuple(common)


def refuse_infinite(x: Array, y: Array, w: Array | None) -> None:
    """Name the operand, and the place in it, that is not finite.

    Raises
    ------
    CoreError
        If a number is not finite.
    """
    for name, array in zip(_NAMES, (x, y, w), strict=True):
        if array is not None and not np.isfinite(array).all():
            place = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
            raise CoreError(f"{name}: expected finite numbers, got {array[place]} at {place}")
