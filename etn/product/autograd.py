r"""Derivatives of trilinear kernels in torch, of any order, without stored intermediates.

The gradient of <g, M(x, y)> with respect to x is the same form with another leg free, so forward,
backward and double backward are one operation:

.. math:: z_k = \sum_{ij} M_{kij} x_i y_j, \qquad
    \partial_{x_i} = \sum_{kj} M_{kij} g_k y_j, \qquad
    \partial_{y_j} = \sum_{ki} M_{kij} g_k x_i

The outer products or the R terms of a CP form, many times larger than the operands, are computed
again rather than kept.
"""

from __future__ import annotations

from typing import Any

import torch

from etn.backend import Array
from etn.product.kernels import ColumnKernel, Constants, DenseKernel, Kernel

__all__ = ["contract"]


class _Trilinear(torch.autograd.Function):
    """Contraction of operands on two legs of a kernel to the third, differentiable to any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Any, b: Any, kernel: ColumnKernel, c: Constants, leg: int) -> Any:
        return kernel.free(torch, c, a, b, leg)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        a, b, ctx.kernel, ctx.c, ctx.leg = inputs
        ctx.save_for_backward(a, b)
        ctx.save_for_forward(a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (g,), (a, b) = grads, ctx.saved_tensors
        need_a, need_b = ctx.needs_input_grad[:2]
        nothing = (None, None, None)
        if ctx.leg == 0 and need_a and need_b and not torch.is_grad_enabled():
            # No derivative of this one is asked for: both at once share half of the work.
            return (*ctx.kernel.gradients(torch, ctx.c, g, a, b), *nothing)
        leg_a, leg_b = [leg for leg in range(3) if leg != ctx.leg]
        to_a = _apply(*_ordered(ctx.leg, g, leg_b, b), ctx.kernel, ctx.c, leg_a) if need_a else None
        to_b = _apply(*_ordered(ctx.leg, g, leg_a, a), ctx.kernel, ctx.c, leg_b) if need_b else None
        return (to_a, to_b, *nothing)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (a, b), (da, db) = ctx.saved_tensors, tangents[:2]
        along_a = None if da is None else _apply(da, b, ctx.kernel, ctx.c, ctx.leg)
        along_b = None if db is None else _apply(a, db, ctx.kernel, ctx.c, ctx.leg)
        if along_a is None or along_b is None:
            return along_b if along_a is None else along_a
        return along_a + along_b


def contract(kernel: Kernel, c: Constants, x: Array, y: Array) -> Array:
    """Contract torch tensors (b, d1, C) and (b, d2, C or 1) to (b, d3, C)."""
    # The compiler derives the backward pass itself, and fuses it.
    if not isinstance(kernel, ColumnKernel) or torch.compiler.is_compiling():
        return kernel.contract(torch, c, x, y)
    if x.shape[2] != y.shape[2]:
        if not isinstance(kernel, DenseKernel):
            return kernel.contract(torch, c, x, y)  # its terms are kept, one channel of them shared
        y = y.expand(*y.shape[:2], x.shape[2])
    return _apply(x, y, kernel, c, 0)


def _ordered(one: int, a: Array, two: int, b: Array) -> tuple[Array, Array]:
    """Operands in the order of their legs."""
    return (a, b) if one < two else (b, a)


def _apply(a: Array, b: Array, kernel: ColumnKernel, c: Constants, leg: int) -> Array:
    return _Trilinear.apply(a, b, kernel, c, leg)  # type: ignore[no-untyped-call]
