r"""Weights of a product: which are shared between paths, and how they lie in one flat array.

=============  =====================================================  =================
sharing        coefficient of path p = (l1, l2, l3)                   numbers
=============  =====================================================  =================
``shared``     alpha_p w                                              n
``per_l``      alpha_p s1(l1) s2(l2) s3(l3) w                         n + terms of legs
``per_path``   alpha_p w_p                                            n a path
``none``       alpha_p                                                0
=============  =====================================================  =================

with w of the n numbers of a mode, see :func:`etn.product.modes.weight_shape`, and fixed alpha.
Scales per l keep the rank of a CP form: they multiply rows of its factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from etn.backend import Array
from etn.errors import IrrepsError, SettingsError

__all__ = ["SHARING", "Sharing", "WeightPlan"]

Sharing = Literal["shared", "per_l", "per_path", "none"]
SHARING: tuple[Sharing, ...] = ("shared", "per_l", "per_path", "none")


@dataclass(frozen=True)
class WeightPlan:
    """Names and shapes of the blocks of a flat weight array, in order.

    Examples
    --------
    >>> plan = WeightPlan({"channels": (8, 1), "out": (3,)})
    >>> plan.size
    11
    >>> import numpy as np
    >>> {name: block.shape for name, block in plan.split(np.zeros((5, 11))).items()}
    {'channels': (5, 8, 1), 'out': (5, 3)}
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Numbers of one set of weights."""
        return sum(map(math.prod, self.shapes.values()))

    def split(self, weights: Array) -> dict[str, Array]:
        """Views of the blocks, each ``(..., *shape)``.

        Raises
        ------
        IrrepsError
            If the last axis has another size.
        """
        if tuple(weights.shape[-1:]) != (self.size,):
            raise IrrepsError(
                f"weights: expected a last axis of {self.size} ({self}), got shape "
                f"{tuple(weights.shape)}"
            )
        if len(self.shapes) == 1:
            ((name, shape),) = self.shapes.items()
            return {name: weights.reshape((*weights.shape[:-1], *shape))}
        blocks, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            blocks[name] = weights[..., start:stop].reshape((*weights.shape[:-1], *shape))
            start = stop
        return blocks

    def join(self, xp: Any, blocks: Mapping[str, Array]) -> Array:
        """The flat array of blocks; the inverse of :meth:`split`.

        Raises
        ------
        SettingsError
            If a block is missing or has another shape.
        """
        flat = []
        for name, shape in self.shapes.items():
            block = blocks.get(name)
            if block is None or tuple(block.shape[block.ndim - len(shape) :]) != shape:
                found = "none" if block is None else str(tuple(block.shape))
                raise SettingsError(f"weights {name}: expected (..., {shape}), got {found}")
            flat.append(block.reshape((*block.shape[: block.ndim - len(shape)], math.prod(shape))))
        return xp.concat(flat, axis=-1)

    def __str__(self) -> str:
        """Return the blocks and shapes."""
        return ", ".join(f"{name} {shape}" for name, shape in self.shapes.items()) or "none"
