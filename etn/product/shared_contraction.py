"""The contraction with weights that all paths share: a kernel, its mode and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etn.backend import Array, FloatArray
from etn.product.fused_tensor import FusedTensor
from etn.product.kernels import Constants, FirstKernel, Kernel
from etn.product.modes import Mode, weight_shape
from etn.product.weight_sharing import Sharing, WeightPlan

__all__ = ["SharedContraction"]


@dataclass(frozen=True, eq=False)
class SharedContraction:
    """All paths at once, with weights that they share.

    Parameters
    ----------
    fused : FusedTensor
    channels : (C1, C2, C3)
    mode : str
    sharing : {"shared", "per_l", "none"}
    kernel : Kernel
        A form of the dense tensor of ``fused``.
    """

    fused: FusedTensor
    channels: tuple[int, int, int]
    mode: Mode
    sharing: Sharing
    kernel: Kernel

    @property
    def name(self) -> str:
        """The scheme of the kernel."""
        return self.kernel.name

    @cached_property
    def constants(self) -> Mapping[str, FloatArray]:
        """Numbers that stay the same, by name."""
        return dict(self.kernel.constants)

    @cached_property
    def plan(self) -> WeightPlan:
        """Blocks of the weights."""
        if self.sharing == "none":
            return WeightPlan({})
        shapes: dict[str, tuple[int, ...]] = {"channels": weight_shape(self.mode, self.channels)}
        if self.sharing == "per_l":
            first, second = self.fused.ins
            shapes |= {"in1": (len(first),), "in2": (len(second),), "out": (len(self.fused.out),)}
        return WeightPlan(shapes)

    @cached_property
    def along_edges(self) -> bool:
        """Whether this is the product of messages: so small that steps around it would count."""
        plain = self.sharing in ("shared", "none")
        return plain and self.mode == "uvu" and isinstance(self.kernel, FirstKernel)

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        """Which term each component of a leg belongs to."""
        legs = dict(zip(("out", "in1", "in2"), self.fused.legs, strict=True))
        return {
            name: [t for t, term in enumerate(leg) for _ in range(term.ir.dim)]
            for name, leg in legs.items()
        }

    def apply(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        """Contract flat operands (b, dim1) and (b, dim2) to (b, dim3)."""
        d3, d1, d2 = self.fused.shape
        (c1, c2, c3), b = self.channels, x.shape[0]
        if self.along_edges:
            z = self.kernel.fold(c, y) @ x.reshape((b, d1, c1))  # type: ignore[attr-defined]
            return (z if w is None else z * w[:, None, :]).reshape((b, d3 * c3))
        x, y = x.reshape((b, d1, c1)), y.reshape((b, d2, c2))
        blocks = {} if w is None else self.plan.split(w)
        if self.sharing == "per_l" and blocks:
            x = x * blocks["in1"][:, self._rows["in1"], None]
            y = y * blocks["in2"][:, self._rows["in2"], None]
        z = self._mixed(xp, c, x, y, blocks.get("channels"))
        if self.sharing == "per_l" and blocks:
            z = z * blocks["out"][:, self._rows["out"], None]
        return z.reshape((b, d3 * c3))

    def _mixed(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        """Contract and mix channels, in the order that keeps the arrays small."""
        mode, (_, c2, c3) = self.mode, self.channels
        mixed = False
        if mode == "uvv" or (mode == "uvu" and c2 > 1):
            x, y, mixed = *self._mix_first(x, y, w), True
        elif mode == "uvw":
            x, y = self._pairs(xp, x, y)
        if x.shape[2] == 1 and y.shape[2] > 1:
            x = xp.broadcast_to(x, (*x.shape[:2], y.shape[2]))
        z = self._contract(xp, c, x, y)
        if mode[2] == "w":
            if w is None:
                # Times one for an array of its own: what is broadcast cannot be written to.
                return xp.broadcast_to(z.sum(2)[:, :, None], (*z.shape[:2], c3)) * 1.0
            return z @ w.reshape((w.shape[0], z.shape[2], c3))
        # Weights of one a channel: those of uuu, and of uvu with a one-channel operand.
        return z if mixed or w is None else z * w.reshape((w.shape[0], 1, z.shape[2]))

    def _mix_first(self, x: Array, y: Array, w: Array | None) -> tuple[Array, Array]:
        """Channels that the output does not keep, summed before the contraction."""
        if self.mode == "uvu":
            return x, y.sum(2)[:, :, None] if w is None else y @ w.swapaxes(1, 2)
        return x.sum(2)[:, :, None] if w is None else x @ w, y

    def _contract(self, xp: Any, c: Constants, x: Array, y: Array) -> Array:
        if xp is np:
            return self.kernel.contract(xp, c, x, y)
        from etn.product.autograd import contract

        return contract(self.kernel, c, x, y)

    def _pairs(self, xp: Any, x: Array, y: Array) -> tuple[Array, Array]:
        """Every channel of one operand beside every one of the other, as C1 C2 channels."""
        (b, d1, c1), (_, d2, c2) = x.shape, y.shape
        x = xp.broadcast_to(x[:, :, :, None], (b, d1, c1, c2)).reshape((b, d1, c1 * c2))
        if self.kernel.one_channel:
            return x, y  # c2 is 1
        y = xp.broadcast_to(y[:, :, None, :], (b, d2, c1, c2))
        return x, y.reshape((b, d2, c1 * c2))

    def flops(self) -> int:
        """Multiplications of one batch entry."""
        c1, c2, c3 = self.channels
        wide = {"uvw": c1 * c2, "uvv": c2}.get(self.mode, c1)
        mixing = {"uvw": c1 * c2 * c3, "uuw": c1 * c3}.get(self.mode, wide)
        d3, d1, d2 = self.fused.shape
        before = {"uvu": d2 * c1 * c2 if c2 > 1 else 0, "uvv": d1 * c1 * c2}.get(self.mode, 0)
        return self.kernel.flops(wide) + before + d3 * mixing
