"""What follows from sums and multiples."""

from __future__ import annotations

from typing import Self


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

    def __add__(self, other: Self) -> Self:
        raise NotImplementedError

    def __mul__(self, factor: float) -> Self:
        raise NotImplementedError

    def __rmul__(self, factor: float) -> Self:
        return self * factor

    def __neg__(self) -> Self:
        return self * -1.0

    def __sub__(self, other: Self) -> Self:
        return self + -other

    def __truediv__(self, divisor: float) -> Self:
        return self * (1 / divisor)
