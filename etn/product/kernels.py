r"""Contractions with one fixed tensor, channel by channel: what a product spends its time on.

.. math:: z_{b k u} = \sum_{ij} M_{kij}\, x_{b i u}\, y_{b j u}

for arrays (batch, components, channels).  A kernel is a form of M; its constants are NumPy arrays
by name, handed in again at every call in the kind of the operands, so that one kernel serves
NumPy, torch and a compiled module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from etn.backend import Array, FloatArray, frozen

__all__ = ["CPKernel", "ColumnKernel", "DenseKernel", "FirstKernel", "Kernel"]

Constants = Mapping[str, Array]

# Bytes of an intermediate that a block of columns may fill: what stays in the cache of a core.
BLOCK_BYTES = 1 << 20


class Kernel(Protocol):
    """A trilinear form M that can be contracted with two operands."""

    @property
    def name(self) -> str:
        """Name of the scheme."""
        ...

    @property
    def constants(self) -> Mapping[str, FloatArray]:
        """The numbers it needs."""
        ...

    @property
    def one_channel(self) -> bool:
        """Whether the second operand must have a single channel."""
        ...

    def contract(self, xp: Any, c: Constants, x: Array, y: Array) -> Array:
        """Contract (b, d1, C) and (b, d2, C or 1) to (b, d3, C)."""
        ...

    def flops(self, channels: int) -> int:
        """Multiplications of one batch entry."""
        ...


def in_one_block(xp: Any, array: Array) -> bool:
    """Whether not to cut a batch: the compiler makes its own blocks, a GPU wants all at once."""
    return xp is not np and (xp.compiler.is_compiling() or array.is_cuda)


class ColumnKernel:
    """A form whose (batch, channel) pairs are columns of large matrix products.

    In blocks whose intermediates stay in the cache: they are d^2 or R rows for d rows of operands,
    and memory would set the time otherwise.  Legs are 0 (output), 1 (first) and 2 (second
    operand); every leg can be the free one, which is what derivatives are made of.
    """

    one_channel: ClassVar[bool] = False

    @property
    def width(self) -> int:
        """Rows of the largest intermediate."""
        raise NotImplementedError

    def columns(self, c: Constants, a: Array, b: Array, free: int) -> Array:
        """Contract columns (d, n) on the other two legs, in their order, to the free leg."""
        raise NotImplementedError

    def both(self, c: Constants, g: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """Columns of both derivatives of <g, M(x, y)>, to x and to y."""
        raise NotImplementedError

    def contract(self, xp: Any, c: Constants, x: Array, y: Array) -> Array:
        """Contract (b, d1, C) and (b, d2, C or 1) to (b, d3, C)."""
        return self.free(xp, c, x, y, 0)

    def free(self, xp: Any, c: Constants, a: Array, b: Array, leg: int) -> Array:
        """Contract operands (b, d, C) on the other two legs, in their order, to one leg."""
        return self._blocks(xp, lambda one, two: (self.columns(c, one, two, leg),), a, b)[0]

    def gradients(self, xp: Any, c: Constants, g: Array, x: Array, y: Array) -> tuple[Array, ...]:
        """Both derivatives of <g, M(x, y)>, for less than twice the work of one."""
        return self._blocks(xp, lambda *block: self.both(c, *block), g, x, y)

    def _blocks(
        self, xp: Any, function: Callable[..., tuple[Array, ...]], *operands: Array
    ) -> tuple[Array, ...]:
        """Call a function of columns (d, n) with operands (b, d, C), a block of b at a time."""
        b = operands[0].shape[0]
        channels = max(array.shape[2] for array in operands)
        if in_one_block(xp, operands[0]):
            return self._block(xp, function, operands, channels)
        step = max(1, BLOCK_BYTES // (self.width * operands[0].itemsize * channels))
        if b <= step:
            return self._block(xp, function, operands, channels)
        pieces = [
            self._block(xp, function, [a[start : start + step] for a in operands], channels)
            for start in range(0, b, step)
        ]
        return tuple(xp.concat(parts) for parts in zip(*pieces, strict=True))

    @staticmethod
    def _block(
        xp: Any,
        function: Callable[..., tuple[Array, ...]],
        operands: Iterable[Array],
        channels: int,
    ) -> tuple[Array, ...]:
        columns = []
        for array in operands:
            b, d, mul = array.shape
            wide = array if mul == channels else xp.broadcast_to(array, (b, d, channels))
            columns.append(wide.swapaxes(0, 1).reshape((d, b * channels)))
        found = function(*columns)
        return tuple(array.reshape((array.shape[0], b, channels)).swapaxes(0, 1) for array in found)


@dataclass(frozen=True, eq=False)
class DenseKernel(ColumnKernel):
    """M as a matrix (d3, d1 d2) times the outer product of the operands."""

    matrix: FloatArray
    dims: tuple[int, int, int]
    name: str = "dense"

    @staticmethod
    def of(dense: FloatArray) -> DenseKernel:
        """Kernel of a tensor (output, first, second)."""
        d3, d1, d2 = dense.shape
        return DenseKernel(frozen(dense.reshape(d3, d1 * d2)), (d3, d1, d2))

    @property
    def constants(self) -> Mapping[str, FloatArray]:
        """Numbers that stay the same, by name."""
        return {"matrix": self.matrix}

    @property
    def width(self) -> int:
        """Rows of the largest intermediate."""
        return self.dims[1] * self.dims[2]

    def columns(self, c: Constants, a: Array, b: Array, free: int) -> Array:
        """Contract columns (d, n) on the other two legs, in their order, to the free leg."""
        if free == 0:
            return c["matrix"] @ (a[:, None, :] * b[None, :, :]).reshape((self.width, a.shape[1]))
        # From the output back, so that M is never copied in another order of its legs.
        back = self._back(c, a)
        return (back * b[None, :, :]).sum(1) if free == 1 else (back * b[:, None, :]).sum(0)

    def both(self, c: Constants, g: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """Columns of both derivatives of <g, M(x, y)>, to x and to y."""
        back = self._back(c, g)
        return (back * y[None, :, :]).sum(1), (back * x[:, None, :]).sum(0)

    def _back(self, c: Constants, g: Array) -> Array:
        return (c["matrix"].T @ g).reshape((self.dims[1], self.dims[2], g.shape[1]))

    def flops(self, channels: int) -> int:
        """Multiplications of one batch entry."""
        d3, d1, d2 = self.dims
        return channels * d1 * d2 * (d3 + 1)


@dataclass(frozen=True, eq=False)
class FirstKernel:
    """The one-channel operand first: K_b = M y_b, then K_b x_b.

    Exact, and with C channels d3 d1 (d2 + C) multiplications: fewer than any CP form of rank above
    the dimensions, because M meets no channel.  K depends on the second operand only, so that it
    can be kept where that stays the same, see :meth:`fold`.
    """

    matrix: FloatArray
    dims: tuple[int, int, int]
    name: str = "y_first"
    one_channel: ClassVar[bool] = True

    @staticmethod
    def of(dense: FloatArray) -> FirstKernel:
        """Kernel of a tensor (output, first, second)."""
        d3, d1, d2 = dense.shape
        return FirstKernel(frozen(dense.transpose(2, 0, 1).reshape(d2, d3 * d1)), (d3, d1, d2))

    @property
    def constants(self) -> Mapping[str, FloatArray]:
        """Numbers that stay the same, by name."""
        return {"matrix": self.matrix}

    def fold(self, c: Constants, y: Array) -> Array:
        """Matrices (b, d3, d1) of operands (b, d2)."""
        return (y @ c["matrix"]).reshape((-1, self.dims[0], self.dims[1]))

    def contract(self, xp: Any, c: Constants, x: Array, y: Array) -> Array:
        """Contract (b, d1, C) and (b, d2, C or 1) to (b, d3, C)."""
        return self.fold(c, y.reshape(y.shape[:2])) @ x

    def flops(self, channels: int) -> int:
        """Multiplications of one batch entry."""
        d3, d1, d2 = self.dims
        return d3 * d1 * (d2 + channels)


@dataclass(frozen=True, eq=False)
class CPKernel(ColumnKernel):
    """M as factors: A [(B^T x) o (C^T y)], R (d1 + d2 + d3) multiplications a channel."""

    out: FloatArray
    first: FloatArray
    second: FloatArray
    name: str = "cp"

    @staticmethod
    def of(factors: tuple[FloatArray, ...]) -> CPKernel:
        """Kernel of the factors (output, first, second), each (dim, cp_rank)."""
        out, first, second = map(frozen, factors)
        return CPKernel(out, first, second)

    @property
    def constants(self) -> Mapping[str, FloatArray]:
        """Numbers that stay the same, by name."""
        return {"out": self.out, "first": self.first, "second": self.second}

    @property
    def width(self) -> int:
        """Rows of the largest intermediate."""
        return 2 * self.out.shape[1]

    def contract(self, xp: Any, c: Constants, x: Array, y: Array) -> Array:
        """Contract (b, d1, C) and (b, d2, C or 1) to (b, d3, C)."""
        if y.shape[2] == 1 and x.shape[2] > 1:
            # What the single channel becomes is shared by all others.
            terms = (c["second"].T @ y) * (c["first"].T @ x)
            return c["out"] @ terms
        return self.free(xp, c, x, y, 0)

    def columns(self, c: Constants, a: Array, b: Array, free: int) -> Array:
        """Contract columns (d, n) on the other two legs, in their order, to the free leg."""
        names = ["out", "first", "second"]
        target = c[names.pop(free)]
        return target @ ((c[names[0]].T @ a) * (c[names[1]].T @ b))

    def both(self, c: Constants, g: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """Columns of both derivatives of <g, M(x, y)>, to x and to y."""
        back = c["out"].T @ g
        to_x = c["first"] @ (back * (c["second"].T @ y))
        return to_x, c["second"] @ (back * (c["first"].T @ x))

    def flops(self, channels: int) -> int:
        """Multiplications of one batch entry."""
        rows = self.out.shape[0] + self.first.shape[0] + self.second.shape[0]
        return channels * self.out.shape[1] * (rows + 1)
