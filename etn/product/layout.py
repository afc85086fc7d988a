"""How channels lie in memory: converters between the two layouts of a feature array.

A term ``8x1o`` holds 8 channels of 3 components.  ``"mul_ir"`` runs over components fastest, as
e3nn and the dense vectors of :class:`etn.Irreps` do; ``"ir_mul"`` over channels fastest, as
cuEquivariance does.  With equal multiplicities ``"ir_mul"`` is an array (components, channels),
and a product can work on it without a copy.
"""

from __future__ import annotations

from typing import Literal

from etn.backend import Array, library
from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps, IrrepsLike

__all__ = ["LAYOUTS", "Layout", "change_layout"]

Layout = Literal["ir_mul", "mul_ir"]
LAYOUTS: tuple[Layout, ...] = ("ir_mul", "mul_ir")


def change_layout(x: Array, irreps: IrrepsLike, source: Layout, target: Layout) -> Array:
    """Reorder the last axis of an array of features.

    Parameters
    ----------
    x : (..., irreps.dim) array
        NumPy or torch.
    irreps : irreps
    source, target : {"ir_mul", "mul_ir"}

    Returns
    -------
    (..., irreps.dim) array
        The array itself if nothing has to move.

    Raises
    ------
    IrrepsError
        If the last axis has another dimension.
    SettingsError
        If there is no such layout.
    CoreError
        If it is no array; one of any dtype can be reordered.

    Examples
    --------
    >>> import numpy as np
    >>> change_layout(np.arange(6), "2x1o", "mul_ir", "ir_mul")
    array([0, 3, 1, 4, 2, 5])
    """
    irreps, xp = Irreps(irreps), library(x)
    for name in (source, target):
        check_layout(name)
    if tuple(x.shape[-1:]) != (irreps.dim,):
        raise IrrepsError(f"{irreps}: expected a last axis of {irreps.dim}, got {tuple(x.shape)}")
    if source == target or all(term.mul <= 1 or term.ir.l == 0 for term in irreps):
        return x
    lead = tuple(x.shape[:-1])
    pieces = []
    for term, part in zip(irreps, irreps.slices(), strict=True):
        shape = (term.mul, term.ir.dim) if source == "mul_ir" else (term.ir.dim, term.mul)
        block = x[..., part].reshape((*lead, *shape))
        pieces.append(block.swapaxes(-1, -2).reshape((*lead, term.dim)))
    return xp.concat(pieces, axis=-1)


def check_layout(layout: str) -> None:
    """Refuse a layout that does not exist."""
    if layout not in LAYOUTS:
        raise SettingsError(f"layout: expected {' or '.join(LAYOUTS)}, got {layout!r}")
