from __future__ import annotations

import itertools
from fractions import Fraction
from math import factorial, sqrt

import pytest
import sympy
from sympy.physics.wigner import wigner_3j as su2_3j

from etn.errors import IrrepsError
from etn.o3.cartesian.constants import (
    bridge_squared,
    double_factorial,
    free_indices,
    norm_constant,
    odd_ratio,
    unity_constant,
)

Path = tuple[int, int, int]

# Found by fitting float products to 3j tensors, before there was a closed form.
Q = {
    (2, 2, 1): "1/8", (2, 2, 3): "3/5", (2, 3, 2): "1/6", (2, 3, 4): "5/7", (2, 4, 3): "3/16",
    (2, 4, 5): "5/6", (3, 3, 1): "5/72", (3, 3, 3): "1/4", (3, 3, 5): "125/126",
    (3, 4, 2): "5/48", (3, 4, 4): "9/28", (3, 4, 6): "175/132", (4, 4, 1): "7/128",
    (4, 4, 3): "27/160", (4, 4, 5): "15/32",
}  # fmt: skip


def paths(l_max: int, odd: int) -> list[Path]:
    triples = itertools.product(range(l_max + 1), repeat=3)
    return [(a, b, c) for a, b, c in triples if abs(a - b) <= c <= a + b and (a + b + c) % 2 == odd]


def squared(value: sympy.Expr) -> Fraction:
    square = sympy.Rational(value**2)
    return Fraction(int(square.p), int(square.q))


@pytest.mark.parametrize("l1", range(9))
def test_even_bridge_is_the_ratio_of_norms_over_the_3j_symbol(l1: int) -> None:
    for l1_, l2, l3 in paths(8, odd=0):
        if l1_ == l1:
            symbol = squared(su2_3j(l1, l2, l3, 0, 0, 0))
            expected = norm_constant(l1) * norm_constant(l2) / norm_constant(l3) / symbol
            constant = unity_constant(l1, l2, l3)
            assert bridge_squared(l1, l2, l3, constant=constant) == expected


@pytest.mark.parametrize("l1", range(1, 9))
def test_odd_bridge_and_its_ratio(l1: int) -> None:
    for l1_, l2, l3 in paths(8, odd=1):
        if l1_ == l1:
            q = odd_ratio(l1, l2, l3)
            symbol = squared(su2_3j(l1, l2, l3, 1, -1, 0))
            ratio = norm_constant(l1) * norm_constant(l2) / norm_constant(l3)
            expected = q**2 * ratio * l1 * (l1 + 1) * l2 * (l2 + 1) / symbol
            assert bridge_squared(l1, l2, l3) == expected
            assert unity_constant(l1, l2, l3) * q * l1 * (l1 + 1) * l2 * (l2 + 1) == l3 + 1


@pytest.mark.slow
def test_symbol_of_odd_paths_up_to_l_12() -> None:
    for l1, l2, l3 in paths(12, odd=1):
        if l1 <= l2:
            n1, n2, k, _ = free_indices(l1, l2, l3)
            total = l1 + l2 + l3
            root = 2 * Fraction(factorial((total + 1) // 2))
            root /= factorial(n1) * factorial(n2) * factorial(k)
            square = root**2 / (factorial(total + 1) * l1 * (l1 + 1) * l2 * (l2 + 1))
            for l in (l1, l2, l3):
                square *= factorial(total - 2 * l)
            assert squared(su2_3j(l1, l2, l3, 1, -1, 0)) == square


@pytest.mark.parametrize("path", Q, ids=str)
def test_known_ratios(path: Path) -> None:
    l1, l2, l3 = path
    assert odd_ratio(l1, l2, l3) == odd_ratio(l2, l1, l3) == Fraction(Q[path])


@pytest.mark.parametrize("l", range(1, 10))
def test_ratio_of_a_vector_with_a_tensor(l: int) -> None:
    assert odd_ratio(1, l, l) == Fraction(1, 2)


def test_known_bridges() -> None:
    known = {(1, 1, 1): "6", (1, 2, 2): "30", (2, 2, 1): "15/2", (2, 2, 3): "252"}
    for path, square in known.items():
        assert bridge_squared(*path) == Fraction(square)
    assert bridge_squared(3, 3, 3, constant=2) == Fraction(4 * 756, 5)


def test_even_constant_as_published() -> None:
    for l1, l2, l3 in paths(7, odd=0):
        total = l1 + l2 + l3
        half = total // 2
        expected = Fraction(
            factorial(l1) * factorial(l2) * double_factorial(2 * l3 - 1)
            * factorial(half - l1) * factorial(half - l2),
            factorial(l3) * double_factorial(total - 2 * l1 - 1)
            * double_factorial(total - 2 * l2 - 1) * double_factorial(total - 2 * l3 - 1)
            * factorial(half),
        )  # fmt: skip
        assert unity_constant(l1, l2, l3) == expected


def test_double_factorial_and_norms() -> None:
    for n in range(-1, 12):
        assert double_factorial(n) == sympy.factorial2(n)
    assert [norm_constant(l) for l in range(4)] == [1, 1, Fraction(2, 3), Fraction(2, 5)]
    assert sqrt(norm_constant(2)) == pytest.approx(sqrt(2 / 3))


def test_wrong_arguments() -> None:
    with pytest.raises(IrrepsError, match=r"\(1, 1, 2\): expected an odd path"):
        odd_ratio(1, 1, 2)
    for function in (unity_constant, bridge_squared, odd_ratio, free_indices):
        with pytest.raises(IrrepsError, match="triangle rule"):
            function(1, 1, 3)
    with pytest.raises(IrrepsError, match="degree l: expected at least 0, got -2"):
        norm_constant(-2)
