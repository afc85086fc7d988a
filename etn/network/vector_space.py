"""What follows from sums and multiples."""

from __future__ import annotations

from typing import Self

from etn.backend import is_torch
from etn.errors import CoreError
from etn.tensor.scale import as_number


class VectorSpace:
    """Vectors: a class that has ``+`` and ``* number`` inherits the rest.

    Examples
    --------
    >>> from etn.network import Chain
    >>> one = Chain.random(["1x0e+1x1o"] * 2, max_bond=1, seed=0)
    >>> (2 * one - one / 0.5).norm() < 1e-14
    True
    """

    __slots__ = ()

    # NumPy would take a chain for a sequence of cores: a number of NumPy leaves the product to it.
    __array_ufunc__ = None

    def __add__(self, other: Self) -> Self:
        raise NotImplementedError

    def __mul__(self, factor: float) -> Self:
        raise NotImplementedError

    def __rmul__(self, factor: float) -> Self:
        return self * factor

    def __radd__(self, other: object) -> Self:
        # sum() starts from the number zero.
        if isinstance(other, int) and other == 0:
            return self
        return NotImplemented

    def __neg__(self) -> Self:
        return self * -1.0

    def __sub__(self, other: Self) -> Self:
        return self + -other

    def __truediv__(self, divisor: float) -> Self:
        number = as_number(divisor, f"{type(self).__name__} divided by a number")
        if number == 0:
            raise CoreError(f"{type(self).__name__} divided by a number: got zero")
        return self * (1 / (divisor if is_torch(divisor) else number))
