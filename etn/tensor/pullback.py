r"""Derivatives of factorisations, finite where singular values are equal or zero.

A matrix M = Q B with orthonormal columns Q has its factors up to a basis: what is made of the
tensor Q B alone does not change with Q -> Q O, B -> O^T B.  The usual derivatives by Q and B divide
by differences of squared singular values, and by the singular values themselves, also where a
function of the tensor has nothing to divide.  Here

.. math:: \bar M = Q \bar B + (1 - U U^T)\, \bar Q\, B^+ + U P V^T, \qquad
    P_{ij} = {W_{ij} s_j \over s_j^2 - s_i^2},\;
    P_{ji} = {W_{ij} s_i \over s_j^2 - s_i^2}, \qquad
    W = U^T (\bar Q + M \bar B^T)

with M = U s V^T, i over all left vectors and j over those that are kept.  Of W only what is
not symmetric counts between vectors that are kept, and it is zero for functions of the tensor:
what is at the level of rounding is taken as zero.  Elsewhere 1 / (s_j^2 - s_i^2) is kept finite.

The derivative is right

- of functions of the tensor Q B, for all singular values that are not zero, equal ones included;
- of functions of the factors themselves, where the singular values differ from each other;
- with a truncation, where the smallest value that is kept is larger than the largest that is not.

Where a singular value is zero, columns of Q are arbitrary: a change of M that leaves the span of Q
is not seen, and its derivative is left out.  Everything is made of differentiable functions, so
that second derivatives follow.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from etn.backend import Array, Kind, is_torch

Factorised = tuple[Array, Array]
"""Q and B."""


def needs_pullback(matrix: Array) -> bool:
    """Whether autograd follows a matrix."""
    return is_torch(matrix) and bool(matrix.requires_grad)


def kept(matrix: Array, u: Array, s: Array, vh: Array, n: int) -> Factorised:
    """The first n left vectors, and diag(s) V^T of them, with their derivatives by the matrix.

    Parameters
    ----------
    matrix : array of shape (rows, columns)
    u, s, vh : array
        Its thin singular value decomposition.
    n : int
    """
    if not needs_pullback(matrix):
        return u[:, :n], s[:n, None] * vh[:n]
    found: Factorised = _kept_function().apply(matrix, u.detach(), s.detach(), vh.detach(), n)
    return found


def spanned(matrix: Array, q: Array, r: Array) -> Factorised:
    """Q and R of a matrix without full rank, with derivatives of functions of Q R.

    The derivative of the factors of a matrix of full rank is that of the library.
    """
    found: Factorised = _spanned_function().apply(matrix, q.detach(), r.detach())
    return found


def nearest_isometry(matrix: Array, u: Array, s: Array, vh: Array) -> Array:
    r"""U V^T, the isometry next to a matrix, with its derivative; first derivatives only.

    .. math:: \bar M = U {X - X^T \over s_i + s_j} V^T + (1 - U U^T)\, \bar P\, V s^{-1} V^T,
        \qquad X = U^T \bar P V

    It divides by sums, so that equal singular values do no harm; zeros are left out.
    """
    return _nearest_function().apply(matrix, u.detach(), s.detach(), vh.detach())


def is_full(r: Array, kind: Kind) -> bool:
    """Whether the derivative of a QR decomposition divides by nothing small."""
    size = abs(kind.xp.linalg.diagonal(r))
    return bool(size.shape[0]) and float(size.min()) > kind.eps**0.5 * float(size.max())


@cache
def _kept_function() -> Any:
    import torch

    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, matrix: Any, u: Any, s: Any, vh: Any, n: int) -> Any:
            ctx.save_for_backward(matrix, u, s, vh)
            ctx.n = n
            return u[:, :n].clone(), s[:n, None] * vh[:n]

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            grad_q, grad_b = gradients
            matrix, u, s, vh = ctx.saved_tensors
            if torch.is_grad_enabled():
                # For second derivatives the factors must depend on the matrix as well.
                u, b = kept(matrix, u, s, vh, len(s))
                s = (b * vh).sum(1)
                there = s.detach() > 10 * torch.finfo(s.dtype).eps * s.detach().max()
                vh = torch.where(there[:, None], b / torch.where(there, s, 1.0)[:, None], vh)
            return _pull(matrix, u, s, vh, ctx.n, grad_q, grad_b), None, None, None, None

    return Kept


def _pull(matrix: Any, u: Any, s: Any, vh: Any, n: int, grad_q: Any, grad_b: Any) -> Any:
    import torch

    eps = torch.finfo(matrix.dtype).eps
    values, largest = s.detach(), float(s.detach().max()) if len(s) else 0.0
    if not largest:
        return u[:, :n] @ grad_b
    whole = grad_q + matrix @ grad_b.T
    w = u.T @ whole
    skew = w[:n] - w[:n].T
    noise = 1e2 * eps * float(w.detach().abs().max())
    skew = torch.where(skew.detach().abs() > noise, skew, torch.zeros_like(skew))
    # Pairs of two kept vectors come twice, once from each side.
    w = torch.cat([skew / 2, w[n:]])
    difference = (s[None, :n] - s[:, None]) * (s[None, :n] + s[:, None])
    floor = 10 * eps * largest * (values[None, :n] + values[:, None]) + eps * largest**2 * eps
    inverse = difference / (difference**2 + floor**2)
    one = w * inverse * s[None, :n]
    two = w * inverse * s[:, None]
    p = torch.zeros((len(s), len(s)), dtype=matrix.dtype, device=matrix.device)
    p = p + torch.nn.functional.pad(one, (0, len(s) - n))
    p = p + torch.nn.functional.pad(two.T, (0, 0, 0, len(s) - n))
    safe = values[:n] > 10 * eps * largest
    divided = torch.where(safe, 1 / torch.where(safe, s[:n], torch.ones_like(s[:n])), 0.0)
    outside = whole - u @ (u.T @ whole)
    noise = 16 * eps * float(whole.detach().abs().max())
    outside = torch.where(outside.detach().abs() > noise, outside, torch.zeros_like(outside))
    outside = outside * divided
    return u[:, :n] @ grad_b + outside @ vh[:n] + u @ p @ vh


@cache
def _spanned_function() -> Any:
    import torch

    class Spanned(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, matrix: Any, q: Any, r: Any) -> Any:
            ctx.save_for_backward(q, r)
            return q.clone(), r.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, grad_q: Any, grad_r: Any) -> Any:
            q, r = ctx.saved_tensors
            rcond = 10 * torch.finfo(r.dtype).eps
            outside = grad_q - q @ (q.T @ grad_q)
            return q @ grad_r + outside @ torch.linalg.pinv(r, rtol=rcond).T, None, None

    return Spanned


@cache
def _nearest_function() -> Any:
    import torch

    class Nearest(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, matrix: Any, u: Any, s: Any, vh: Any) -> Any:
            ctx.save_for_backward(u, s, vh)
            return u @ vh

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Any) -> Any:
            u, s, vh = ctx.saved_tensors
            floor = 10 * torch.finfo(s.dtype).eps * s.max() if len(s) else 0.0
            sums = s[:, None] + s[None, :]
            x = u.T @ gradient @ vh.T
            inside = torch.where(sums > floor, (x - x.T) / torch.where(sums > floor, sums, 1.0), 0)
            outside = (gradient - u @ (u.T @ gradient)) @ vh.T
            outside = torch.where(s > floor, outside / torch.where(s > floor, s, 1.0), 0)
            return (u @ inside + outside) @ vh, None, None, None

    return Nearest
