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

from dataclasses import dataclass, replace
from typing import Any

import torch

from etn.backend import Array
from etn.product.kernels import ColumnKernel, Constants, DenseKernel

__all__ = ["contract"]


@dataclass(frozen=True, eq=False)
class _Form:
    """A kernel with its constants and free leg: one argument that torch does not look into."""

    kernel: ColumnKernel
    constants: Constants
    leg: int = 0

    def __call__(self, a: Array, b: Array) -> Array:
        """Contract operands on the other two legs, in their order."""
        return _Trilinear.apply(a, b, self)  # type: ignore[no-untyped-call]

    def plain(self, a: Array, b: Array) -> Array:
        """The same out of sight of autograd."""
        return self.kernel.free(torch, self.constants, a, b, self.leg)

    def derivative(self, to: int, g: Array, other: Array) -> Array:
        """Derivative of <g, form> to the operand on a leg, from that on the remaining leg."""
        remaining = 3 - self.leg - to
        operands = (g, other) if self.leg < remaining else (other, g)
        return replace(self, leg=to)(*operands)


class _Trilinear(torch.autograd.Function):
    """Contraction of operands on two legs of a kernel to the third, differentiable to any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Any, b: Any, form: _Form) -> Any:
        return form.plain(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        a, b, ctx.form = inputs
        ctx.save_for_backward(a, b)
        ctx.save_for_forward(a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (g,), (a, b), form = grads, ctx.saved_tensors, ctx.form
        need_a, need_b = ctx.needs_input_grad[:2]
        if form.leg == 0 and need_a and need_b and not torch.is_grad_enabled():
            # No derivative of this one is asked for: both at once share half of the work.
            return (*form.kernel.gradients(torch, form.constants, g, a, b), None)
        leg_a, leg_b = (leg for leg in range(3) if leg != form.leg)
        to_a = form.derivative(leg_a, g, b) if need_a else None
        to_b = form.derivative(leg_b, g, a) if need_b else None
        return to_a, to_b, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (a, b), (along_a, along_b, _) = ctx.saved_tensors, tangents
        parts = []
        if along_a is not None:
            parts.append(ctx.form(along_a, b))
        if along_b is not None:
            parts.append(ctx.form(a, along_b))
        return sum(parts[1:], parts[0])


def contract(kernel: Any, c: Constants, x: Array, y: Array) -> Array:
    """Contract torch tensors (b, d1, C) and (b, d2, C or 1) to (b, d3, C)."""
    # The compiler derives the backward pass itself, and fuses it.
    if not isinstance(kernel, ColumnKernel) or torch.compiler.is_compiling():
        return kernel.contract(torch, c, x, y)
    if x.shape[2] != y.shape[2]:
        if not isinstance(kernel, DenseKernel):
            return kernel.contract(torch, c, x, y)  # its terms are kept, one channel of them shared
        y = y.expand(*y.shape[:2], x.shape[2])
    return _Form(kernel, c)(x, y)
