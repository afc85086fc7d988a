from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from sympy.physics import wigner as oracle

from etn.errors import IrrepsError
from etn.o3 import (
    clebsch_gordan,
    recoupling,
    recoupling_4,
    recoupling_matrix,
    wigner_6j,
    wigner_9j,
)

Symbol = tuple[Fraction, ...]


def between(*pairs: tuple[Fraction, Fraction]) -> list[Fraction]:
    """Every j that each of the pairs couples to."""
    first = max(abs(a - b) for a, b in pairs)
    last = min(a + b for a, b in pairs)
    return [first + n for n in range(int(last - first) + 1)]


def spins(doubled_max: int) -> list[Fraction]:
    return [Fraction(n, 2) for n in range(doubled_max + 1)]


def allowed_6j(j_max: int) -> Iterator[tuple[int, ...]]:
    """Every 6j symbol of integers up to j_max whose four triads obey the rules."""
    for a, b, d, e in itertools.product(range(j_max + 1), repeat=4):
        for c, f in itertools.product(between((a, b), (d, e)), between((a, e), (d, b))):
            if c <= j_max and f <= j_max:
                yield a, b, c, d, e, f


def random_6j(rng: np.random.Generator, low: int, high: int) -> Symbol:
    """An allowed 6j symbol of integers and half-integers, 2j from low to high where free."""
    while True:
        a, b, d, e = (Fraction(int(n), 2) for n in rng.integers(low, high, size=4))
        options = between((a, b), (d, e)), between((a, e), (d, b))
        if all(options) and (a + b + d + e).denominator == 1:
            c, f = (rng.choice(js) for js in options)
            return a, b, c, d, e, f


def random_9j(rng: np.random.Generator, low: int, high: int) -> Symbol:
    while True:
        a, b, d, e = (Fraction(int(n), 2) for n in rng.integers(low, high, size=4))
        c, f, g, h = (rng.choice(between(pair)) for pair in ((a, b), (d, e), (a, d), (b, e)))
        if options := between((c, f), (g, h)):
            return a, b, c, d, e, f, g, h, rng.choice(options)


def rationals(symbol: Symbol | tuple[int, ...]) -> list[sympy.Rational]:
    return [sympy.Rational(j.numerator, j.denominator) for j in symbol]


def equal(ours: sympy.Expr, theirs: sympy.Expr) -> bool:
    """Both are a rational number times a square root, so sign and square decide."""
    return sympy.sign(ours) == sympy.sign(theirs) and sympy.expand(ours**2 - theirs**2) == 0


def close(ours: float, theirs: float | Fraction | sympy.Expr) -> bool:
    """Equal up to two units in the last place."""
    exact = float(theirs.evalf(25)) if isinstance(theirs, sympy.Expr) else float(theirs)
    return abs(ours - exact) <= 4e-16 * abs(exact)


# Symbols against sympy


def test_6j_equals_sympy_up_to_degree_two() -> None:
    for symbol in itertools.product(range(3), repeat=6):
        assert equal(wigner_6j(*symbol, exact=True), oracle.wigner_6j(*symbol))


def test_6j_equals_sympy(rng: np.random.Generator) -> None:
    for _ in range(150):
        symbol = random_6j(rng, 0, 13)
        expected = oracle.wigner_6j(*rationals(symbol))
        assert equal(wigner_6j(*symbol, exact=True), expected)
        assert close(wigner_6j(*symbol), expected)


def test_9j_equals_sympy(rng: np.random.Generator) -> None:
    for _ in range(60):
        symbol = random_9j(rng, 0, 8)
        expected = oracle.wigner_9j(*rationals(symbol))
        assert equal(wigner_9j(*symbol, exact=True), expected)
        assert close(wigner_9j(*symbol), expected)


def test_large_degrees_equal_sympy(rng: np.random.Generator) -> None:
    for _ in range(20):
        symbol = random_6j(rng, 60, 121)
        assert close(wigner_6j(*symbol), oracle.wigner_6j(*rationals(symbol)))
    for _ in range(2):
        wide = random_9j(rng, 60, 81)
        assert close(wigner_9j(*wide), oracle.wigner_9j(*rationals(wide)))


@pytest.mark.parametrize("l", [1, 130, 200, 250])
def test_tiny_symbols_keep_their_digits(l: int) -> None:
    # The Racah sum of {l l 2l; l l 2l} has the one term 1.  From l = 130 on, the square of the
    # symbol is below the smallest float.
    exact = Fraction(math.factorial(2 * l) ** 2, math.factorial(4 * l + 1))
    assert close(wigner_6j(l, l, 2 * l, l, l, 2 * l), exact)


def test_symbols_beyond_the_range_of_floats() -> None:
    assert wigner_6j(800, 400, 400, 800, 400, 400) == 0.0
    assert wigner_6j(800, 400, 400, 800, 400, 400, exact=True) > 0
    # The Racah sum of this one is an integer that no float can hold.
    exact = oracle.wigner_6j(400, 400, 300, 400, 400, 350)
    assert close(wigner_6j(400, 400, 300, 400, 400, 350), exact)


# Algebra of the symbols


@st.composite
def symbols_6j(draw: st.DrawFn) -> Symbol:
    # Coupling a, b, d in turn to e makes both couplings of the three possible.
    a, b, d = (draw(st.sampled_from(spins(10))) for _ in range(3))
    c = draw(st.sampled_from(between((a, b))))
    e = draw(st.sampled_from(between((c, d))))
    return a, b, c, d, e, draw(st.sampled_from(between((b, d), (a, e))))


@given(symbols_6j(), st.permutations(range(3)), st.integers(0, 2))
def test_tetrahedral_symmetry(symbol: Symbol, order: list[int], kept: int) -> None:
    columns = [(symbol[n], symbol[n + 3]) for n in order]
    # Turning any two columns over leaves the symbol as it is.
    turned = [pair if n == kept else pair[::-1] for n, pair in enumerate(columns)]
    expected = wigner_6j(*symbol, exact=True)
    assert close(wigner_6j(*symbol), expected)
    for pairs in (columns, turned):
        upper, lower = zip(*pairs, strict=True)
        assert wigner_6j(*upper, *lower, exact=True) == expected
        assert wigner_6j(*upper, *lower) == wigner_6j(*symbol)


@pytest.mark.parametrize("seed", range(20))
def test_symmetry_of_9j(seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbol = np.array(random_9j(rng, 0, 9), dtype=object).reshape(3, 3)
    expected = wigner_9j(*symbol.flat)
    assert wigner_9j(*symbol.T.flat) == expected
    sign = (-1) ** int(symbol.sum())
    for order in itertools.permutations(range(3)):
        parity = round(np.linalg.det(np.eye(3)[list(order)]))
        signed = expected if parity == 1 else sign * expected
        assert wigner_9j(*symbol[list(order)].flat) == signed
        assert wigner_9j(*symbol[:, list(order)].flat) == signed


def test_some_9j_vanish_although_their_triads_are_allowed() -> None:
    # Two equal rows change places at the price of the sign (-1)^(sum), which is odd here.
    assert wigner_9j(2, 1, 2, 2, 1, 2, 2, 2, 2) != 0.0
    assert wigner_9j(2, 1, 2, 2, 1, 2, 2, 1, 2) == 0.0
    assert wigner_9j(2, 1, 2, 2, 1, 2, 2, 1, 2, exact=True) == 0


def elliott(
    j: tuple[int, ...], six: Callable[..., sympy.Expr | float]
) -> tuple[sympy.Expr | float, sympy.Expr | float]:
    """Both sides of the Biedenharn-Elliott identity: the pentagon of four irreps."""
    a, b, c, d, e, f, g, h, i = j
    left = sum(
        (-1) ** (sum(j) + x)
        * (2 * x + 1)
        * six(a, b, x, c, d, g)
        * six(c, d, x, e, f, h)
        * six(e, f, x, b, a, i)
        for x in range(abs(a - b), a + b + 1)
    )
    return left, six(g, h, i, e, a, d) * six(g, h, i, f, b, c)


def test_biedenharn_elliott(rng: np.random.Generator) -> None:
    nonzero = 0
    for j in rng.integers(0, 5, size=(4000, 9)).tolist():
        left, right = elliott(tuple(j), wigner_6j)
        assert left == pytest.approx(right, abs=1e-15)
        nonzero += right != 0
    assert nonzero > 100


@pytest.mark.parametrize(
    "j", [(1,) * 9, (2,) * 9, (1, 2, 2, 1, 2, 2, 2, 3, 3), (3, 2, 2, 2, 3, 1, 2, 2, 2)], ids=str
)
def test_biedenharn_elliott_exactly(j: tuple[int, ...]) -> None:
    left, right = elliott(j, lambda *symbol: wigner_6j(*symbol, exact=True))
    assert right != 0
    assert sympy.expand(left - right) == 0


def test_9j_with_a_zero_is_a_6j() -> None:
    for a, b, c, d, e, g in allowed_6j(3):
        # {a b c; e d g} has the triads abc, adg, ebg, edc.
        root = math.sqrt((2 * c + 1) * (2 * g + 1))
        expected = (-1) ** (b + c + e + g) * wigner_6j(a, b, c, d, e, g) / root
        assert wigner_9j(a, b, c, e, d, c, g, g, 0) == pytest.approx(expected, rel=2e-15, abs=0)


# Changes of the coupling scheme


@pytest.mark.parametrize("l1", range(7))
def test_recoupling_matrix_is_orthogonal(l1: int) -> None:
    for l2, l3, l in itertools.product(range(7), repeat=3):
        l12, l23, F = recoupling_matrix(l1, l2, l3, l)
        assert F.shape == (len(l12), len(l23))
        np.testing.assert_allclose(F @ F.T, np.eye(len(l12)), atol=1e-14)
        np.testing.assert_allclose(F.T @ F, np.eye(len(l23)), atol=1e-14)


def test_recoupling_matrix_is_orthogonal_for_half_integers() -> None:
    half = Fraction(1, 2)
    l1, l2, l3, l = half, 3 * half, Fraction(2), Fraction(3)
    F = np.array(
        [
            [recoupling(l1, l2, l12, l3, l, l23) for l23 in between((l2, l3), (l1, l))]
            for l12 in between((l1, l2), (l3, l))
        ]
    )
    assert F.shape == (2, 2)
    np.testing.assert_allclose(F @ F.T, np.eye(2), atol=1e-15)


@cache
def nested_left(l1: int, l2: int, l12: int, l3: int, l: int) -> npt.NDArray[np.float64]:
    """Dense tensor of ((l1 l2) l12, l3) l, shape (m1, m2, m3, m)."""
    return np.tensordot(clebsch_gordan(l1, l2, l12), clebsch_gordan(l12, l3, l), (2, 0))


@pytest.mark.parametrize("l1", range(4))
def test_recoupling_matrix_equals_dense_contraction(l1: int) -> None:
    for l2, l3 in itertools.product(range(4), repeat=2):
        for l in range(l1 + l2 + l3 + 1):
            l12, l23, F = recoupling_matrix(l1, l2, l3, l)
            if not l12:
                continue
            left = np.stack([nested_left(l1, l2, k, l3, l) for k in l12])
            right = np.stack(
                [
                    np.einsum("bck,akm->abcm", clebsch_gordan(l2, l3, k), clebsch_gordan(l1, k, l))
                    for k in l23
                ]
            )
            overlap = np.tensordot(left, right, ((1, 2, 3), (1, 2, 3)))  # (l12, m, l23, m)
            expected = np.multiply.outer(F, np.eye(2 * l + 1)).swapaxes(1, 2)
            np.testing.assert_allclose(overlap, expected, atol=1e-14)
            # The two bases span the same space: F says how each vector of one is made of the other.
            np.testing.assert_allclose(left, np.tensordot(F, right, 1), atol=1e-14)


def test_recoupling_4_equals_dense_contraction(rng: np.random.Generator) -> None:
    nonzero = 0
    for _ in range(60):
        l1, l2, l3, l4 = rng.integers(0, 4, size=4).tolist()
        pairs = ((l1, l2), (l3, l4), (l1, l3), (l2, l4))
        l12, l34, l13, l24 = (int(rng.choice(between(pair))) for pair in pairs)
        totals = between((l12, l34), (l13, l24))
        if not totals:
            continue
        l = int(rng.choice(totals))
        C = clebsch_gordan
        one = np.einsum("abx,cdy,xym->abcdm", C(l1, l2, l12), C(l3, l4, l34), C(l12, l34, l))
        other = np.einsum("acx,bdy,xym->abcdm", C(l1, l3, l13), C(l2, l4, l24), C(l13, l24, l))
        overlap = np.tensordot(one, other, ((0, 1, 2, 3), (0, 1, 2, 3)))
        coefficient = recoupling_4(l1, l2, l12, l3, l4, l34, l13, l24, l)
        np.testing.assert_allclose(overlap, coefficient * np.eye(2 * l + 1), atol=1e-14)
        nonzero += coefficient != 0
    assert nonzero > 30


@pytest.mark.parametrize("degrees", [(1, 1, 1, 1, 0), (2, 1, 3, 2, 2), (3, 3, 2, 4, 3)], ids=str)
def test_recoupling_4_is_orthogonal(degrees: tuple[int, ...]) -> None:
    l1, l2, l3, l4, l = degrees

    def paths(a: int, b: int, c: int, d: int) -> list[tuple[int, int]]:
        pairs = itertools.product(between((a, b)), between((c, d)))
        return [(x, y) for x, y in pairs if abs(x - y) <= l <= x + y]

    rows, columns = paths(l1, l2, l3, l4), paths(l1, l3, l2, l4)
    F = np.array(
        [
            [recoupling_4(l1, l2, l12, l3, l4, l34, l13, l24, l) for l13, l24 in columns]
            for l12, l34 in rows
        ]
    )
    np.testing.assert_allclose(F @ F.T, np.eye(len(rows)), atol=1e-14)
    np.testing.assert_allclose(F.T @ F, np.eye(len(columns)), atol=1e-14)


def test_two_moves_of_three_make_one_of_four() -> None:
    # (12)(34) -> ((12)3)4 -> ((13)2)4 -> (13)(24), the middle one a change of three irreps that
    # also swaps the first two; each path goes through one degree l123.
    l1, l2, l12, l3, l4, l34, l13, l24, l = 2, 1, 2, 1, 2, 2, 2, 1, 3
    total = 0.0
    for l123 in between((l12, l3), (l4, l)):
        middle = sum(
            recoupling(l1, l2, l12, l3, l123, k)
            * (-1) ** (l2 + l3 + k)
            * recoupling(l1, l3, l13, l2, l123, k)
            for k in between((l2, l3), (l1, l123))
        )
        outer = recoupling(l12, l3, l123, l4, l, l34) * recoupling(l13, l2, l123, l4, l, l24)
        total += outer * middle
    assert total != 0
    expected = recoupling_4(l1, l2, l12, l3, l4, l34, l13, l24, l)
    assert total == pytest.approx(expected, rel=1e-13)


def test_exact_recoupling_matrix() -> None:
    l12, l23, F = recoupling_matrix(2, 1, 2, 3, exact=True)
    assert (l12, l23) == ((1, 2, 3), (1, 2, 3))
    assert not F.has(sympy.Float)
    assert (F * F.T).applyfunc(sympy.expand) == sympy.eye(3)
    floats = np.array(F.evalf(25).tolist(), dtype=np.float64)
    np.testing.assert_allclose(recoupling_matrix(2, 1, 2, 3).matrix, floats, rtol=4e-16)


def test_recoupling_of_vectors() -> None:
    # (x . y) z in terms of x (y . z): the factor 1/3 of the Fierz identity.
    assert close(recoupling(1, 1, 0, 1, 1, 0), 1 / 3)
    # The triple product is the same whichever pair the cross product takes first.
    assert close(recoupling(1, 1, 1, 1, 0, 1), 1)


# The interface


@pytest.mark.parametrize(
    "symbol",
    [
        # One symbol turned four ways: the triad (1, 1, 3) in each of its places, the rest allowed.
        (1, 1, 3, 2, 1, 1),
        (1, 1, 1, 2, 1, 3),
        (2, 1, 1, 1, 1, 3),
        (2, 1, 3, 1, 1, 1),
        (1, 1, 0.5, 1, 1, 1),
        (0.5, 0.5, 0.5, 0.5, 0.5, 0.5),
    ],
    ids=str,
)
def test_forbidden_triads_give_zero(symbol: tuple[float, ...]) -> None:
    assert wigner_6j(*symbol) == 0.0
    assert wigner_6j(*symbol, exact=True) is sympy.S.Zero
    assert recoupling(*symbol) == 0.0


@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("transposed", [False, True])
def test_each_triad_of_a_9j_matters(column: int, transposed: bool) -> None:
    allowed = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0]])
    forbidden = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1]])  # in the last column only
    for square, zero in ((allowed, False), (forbidden, True)):
        turned = np.roll(square, column, axis=1)
        symbol = (turned.T if transposed else turned).flatten()
        assert (wigner_9j(*symbol) == 0.0) is zero
        assert (recoupling_4(*symbol) == 0.0) is zero
        assert (wigner_9j(*symbol, exact=True) is sympy.S.Zero) is zero


def test_recoupling_matrix_without_paths_is_empty() -> None:
    assert recoupling_matrix(1, 1, 1, 4)[:2] == ((), ())
    assert recoupling_matrix(1, 1, 1, 4).matrix.shape == (0, 0)
    assert recoupling_matrix(1, 1, 1, 4, exact=True).matrix.shape == (0, 0)


def test_recoupling_matrix_is_cached_and_read_only() -> None:
    matrix = recoupling_matrix(2, 1, 2, 1).matrix
    assert matrix is recoupling_matrix(np.int64(2), 1, 2, 1).matrix
    assert matrix.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 1.0


@pytest.mark.parametrize(
    "half", [0.5, Fraction(1, 2), sympy.Rational(1, 2), np.float32(0.5)], ids=repr
)
def test_kinds_of_numbers(half: object) -> None:
    assert wigner_6j(1, np.int8(1), sympy.Integer(1), half, half, half) == -1 / 3
    assert close(recoupling(half, half, 1, half, half, 1), 0.5)


def test_short_integers_do_not_overflow() -> None:
    assert wigner_6j(*map(np.int8, (80, 80, 80, 80, 80, 80))) == wigner_6j(*[80] * 6)


@pytest.mark.parametrize("bad", [-1, -0.5, 0.25, math.nan, math.inf, True, "1", None, 1j], ids=repr)
def test_wrong_arguments(bad: object) -> None:
    expected = r"expected integers and half-integers 0, 1/2, 1, 3/2, \.\.\., got "
    with pytest.raises(IrrepsError, match=rf"wigner_6j\(2, 2, 2, 2, 2, {bad}\): {expected}"):
        wigner_6j(2, 2, 2, 2, 2, bad)
    for function, count in ((wigner_9j, 9), (recoupling, 6), (recoupling_4, 9)):
        with pytest.raises(IrrepsError, match=rf"^{function.__name__}\(.*{expected}"):
            function(bad, *[2] * (count - 1))


@pytest.mark.parametrize("bad", [[1], {}, np.ones(2)], ids=repr)
def test_what_is_no_key_of_the_cache_is_refused(bad: object) -> None:
    for function, count in ((recoupling, 6), (recoupling_4, 9)):
        with pytest.raises(IrrepsError, match=rf"^{function.__name__}\(.*expected integers and"):
            function(bad, *[1] * (count - 1))
    assert recoupling(np.array(1), 1, 1, 1, 1, 1) == recoupling(1, 1, 1, 1, 1, 1)


def test_the_cache_does_not_take_true_for_one() -> None:
    recoupling(1, 1, 1, 1, 1, 1)
    with pytest.raises(IrrepsError, match=r"got True \(bool\)"):
        recoupling(True, 1, 1, 1, 1, 1)


def test_the_largest_degrees_are_right_and_larger_ones_refused() -> None:
    # {j j 0; j j f} = (-1)^(2j + f) / (2j + 1), and {j j j; ...; j j 0} of nine by way of a 6j.
    assert wigner_6j(5000, 5000, 0, 5000, 5000, 5000) == pytest.approx(1 / 10001, rel=1e-15)
    nine = wigner_9j(400, 400, 4, 400, 400, 4, 4, 4, 0)
    six = wigner_6j(400, 400, 4, 400, 400, 4)
    assert nine == pytest.approx(six / 9, rel=1e-14)
    for function, count, most in (
        (wigner_6j, 6, 5000),
        (wigner_9j, 9, 400),
        (recoupling_4, 9, 400),
    ):
        with pytest.raises(
            IrrepsError, match=f"{function.__name__}: expected angular momenta up to"
        ):
            function(most + 0.5, *[1] * (count - 1))
    with pytest.raises(IrrepsError, match="wigner_6j: expected angular momenta up to 5000"):
        wigner_6j(np.float16(50000), 1, 1, 1, 1, 1)
    with pytest.raises(IrrepsError, match="recoupling_matrix: expected angular momenta up to 5000"):
        recoupling_matrix(5001, 1, 1, 1)


def test_the_matrix_takes_degrees_only() -> None:
    with pytest.raises(IrrepsError, match=r"recoupling_matrix: degree: expected an integer"):
        recoupling_matrix(0.5, 0.5, 1, 1)
    with pytest.raises(IrrepsError, match=r"recoupling_matrix: degree: expected at least 0"):
        recoupling_matrix(1, 1, -1, 1)


def test_floats_need_no_sympy() -> None:
    code = (
        "import sys, etn.o3 as o3; o3.recoupling_matrix(2, 2, 2, 2); o3.wigner_9j(*[1] * 9);"
        "sys.exit(bool({'sympy', 'torch'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
