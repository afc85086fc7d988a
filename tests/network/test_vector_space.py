"""What follows from sums and multiples."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network.vector_space import VectorSpace


class Arrow(VectorSpace):
    """Three numbers with nothing but a sum and a multiple of their own."""

    __slots__ = ("numbers",)

    def __init__(self, *numbers: float) -> None:
        self.numbers = np.array(numbers)

    def __add__(self, other):
        return Arrow(*(self.numbers + other.numbers))

    def __mul__(self, factor):
        return Arrow(*(self.numbers * factor))


def test_the_rest_follows_from_the_sum_and_the_multiple():
    one, two = Arrow(1.0, -2.0, 4.0), Arrow(0.5, 8.0, 0.0)
    np.testing.assert_array_equal((3 * one).numbers, [3, -6, 12])
    np.testing.assert_array_equal((-one).numbers, [-1, 2, -4])
    np.testing.assert_array_equal((one - two).numbers, [0.5, -10, 4])
    np.testing.assert_array_equal((one / 2).numbers, [0.5, -1, 2])


def test_sum_and_multiple_are_required():
    class Nothing(VectorSpace):
        __slots__ = ()

    for call in (lambda v: v + v, lambda v: 2 * v, lambda v: -v):
        with pytest.raises(NotImplementedError):
            call(Nothing())
