from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import IrrepsError
from etn.o3.cartesian.constants import double_factorial, unity_constant
from etn.o3.cartesian.exact import (
    SymmetricTensor,
    direction_tensor,
    monomials,
    multiplicity,
    product,
    traceless,
)

# A rational point of the sphere in no special position.
UNIT = (Fraction(2, 7), Fraction(-3, 7), Fraction(6, 7))
OTHER = (Fraction(4, 9), Fraction(4, 9), Fraction(7, 9))

fractions = st.builds(Fraction, st.integers(-9, 9), st.sampled_from([1, 2, 3]))


def power(l: int, s: tuple[Fraction, ...]) -> SymmetricTensor:
    """The tensor s s ... s."""
    x, y, z = s
    return SymmetricTensor.from_components(
        l, {(a, b, c): x**a * y**b * z**c for a, b, c in monomials(l)}
    )


def tensors(l: int) -> st.SearchStrategy[SymmetricTensor]:
    values = st.lists(fractions, min_size=len(monomials(l)), max_size=len(monomials(l)))
    return values.map(
        lambda v: SymmetricTensor.from_components(l, dict(zip(monomials(l), v, strict=True)))
    )


def paths(l_max: int) -> list[tuple[int, int, int]]:
    triples = itertools.product(range(l_max + 1), repeat=3)
    return [(a, b, c) for a, b, c in triples if abs(a - b) <= c <= a + b]


@pytest.mark.parametrize("l", range(13))
def test_contracted_with_a_direction_it_is_the_legendre_polynomial(l: int) -> None:
    cosine = sum(a * b for a, b in zip(UNIT, OTHER, strict=True))
    expected = sympy.legendre(l, sympy.Rational(cosine.numerator, cosine.denominator))
    value = direction_tensor(l, UNIT).dot(power(l, OTHER))
    assert sympy.Rational(value.numerator, value.denominator) == expected


@pytest.mark.parametrize("l", range(13))
def test_norm_and_trace_of_the_tensor_of_a_direction(l: int) -> None:
    T = direction_tensor(l, UNIT)
    assert T.dot(T) == Fraction(double_factorial(2 * l - 1), sympy.factorial(l).p)
    assert not T.trace().polynomial
    assert traceless(T) == T


@pytest.mark.parametrize("l", range(1, 6))
def test_tensor_of_a_direction_is_a_derivative_of_the_coulomb_potential(l: int) -> None:
    # Maxwell: d^l (1/r) = (-1)^l l! T^l(r) / r^(2l+1).
    symbols = sympy.symbols("x y z")
    x, y, z = symbols
    potential = 1 / sympy.sqrt(x**2 + y**2 + z**2)
    at = {s: sympy.Rational(v.numerator, v.denominator) for s, v in zip(symbols, UNIT, strict=True)}
    T = direction_tensor(l, UNIT)
    for exponents in monomials(l)[:: 1 + l // 3]:
        derivative = sympy.diff(potential, *itertools.chain(*zip(symbols, exponents, strict=True)))
        value = derivative.subs(at) * (-1) ** l / sympy.factorial(l)
        component = T.component(exponents)
        assert (
            sympy.simplify(value - sympy.Rational(component.numerator, component.denominator)) == 0
        )


@pytest.mark.parametrize("l", [2, 3, 4])
@settings(max_examples=10)
@given(data=st.data())
def test_traceless_is_an_orthogonal_projection(l: int, data: st.DataObject) -> None:
    A, B = data.draw(tensors(l)), data.draw(tensors(l))
    P = traceless(A)
    assert not P.trace().polynomial
    assert traceless(P) == P
    assert P.dot(B) == A.dot(traceless(B))


def test_components_and_contraction() -> None:
    A = SymmetricTensor.from_components(2, {(1, 1, 0): Fraction(2), (0, 0, 2): Fraction(3)})
    # The full matrix is [[0, 2, 0], [2, 0, 0], [0, 0, 3]].
    assert A.component((1, 1, 0)) == 2
    assert A.dot(A) == 4 + 4 + 9
    assert A.trace() == SymmetricTensor(0, {(0, 0, 0): Fraction(3)})
    assert sum(multiplicity(e) for e in monomials(5)) == 3**5


@pytest.mark.parametrize("path", paths(6), ids=str)
def test_products_of_one_direction(path: tuple[int, int, int]) -> None:
    l1, l2, l3 = path
    expected = direction_tensor(l3, UNIT) if sum(path) % 2 == 0 else SymmetricTensor(l3, {})
    assert product(direction_tensor(l1, UNIT), direction_tensor(l2, UNIT), l3) == expected


@pytest.mark.parametrize("path", paths(4), ids=str)
def test_products_are_traceless(path: tuple[int, int, int]) -> None:
    l1, l2, l3 = path
    first = traceless(
        SymmetricTensor(l1, {e: Fraction(i + 1) for i, e in enumerate(monomials(l1))})
    )
    second = traceless(
        SymmetricTensor(l2, {e: Fraction(1, i + 2) for i, e in enumerate(monomials(l2))})
    )
    C = product(first, second, l3)
    assert C.polynomial
    assert not C.trace().polynomial
    swapped = product(second, first, l3)
    sign = (-1) ** (l1 + l2 + l3)
    assert C.polynomial == {e: sign * v for e, v in swapped.polynomial.items()}


def first_order(values: list[SymmetricTensor]) -> SymmetricTensor:
    """Derivative at 0 of a tensor that is a polynomial, from its values at 0, 1, 2, ..."""
    out = {}
    for exponents in monomials(values[0].l):
        row = [value.component(exponents) for value in values]
        slope = Fraction(0)
        for k in range(1, len(values)):
            # Newton: f'(0) is the alternating sum of the forward differences over their order.
            row = [b - a for a, b in itertools.pairwise(row)]
            slope += Fraction((-1) ** (k + 1), k) * row[0]
        out[exponents] = slope
    return SymmetricTensor.from_components(values[0].l, out)


@pytest.mark.parametrize("path", [p for p in paths(4) if sum(p) % 2], ids=str)
def test_odd_product_of_two_close_directions(path: tuple[int, int, int]) -> None:
    # r and s = r + e d with d perpendicular to r, to first order in e.
    l1, l2, l3 = path
    r, d = (0, 0, 1), (2, -3, 0)
    u = (3, 2, 0)  # r x d
    T1 = direction_tensor(l1, r)
    values = [
        product(T1, direction_tensor(l2, [a + e * b for a, b in zip(r, d, strict=True)]), l3)
        for e in range(l2 + 1)
    ]
    along = [
        direction_tensor(l3, [a + e * b for a, b in zip(r, u, strict=True)]) for e in range(l3 + 1)
    ]
    polarized = first_order(along)
    expected = {e: v / l3 for e, v in polarized.polynomial.items()}
    assert first_order(values).polynomial == expected


def test_product_of_two_vectors_and_of_two_matrices() -> None:
    a, b = direction_tensor(1, (1, 2, 3)), direction_tensor(1, (-2, 0, 5))
    cross = product(a, b, 1)
    assert [cross.component(e) for e in monomials(1)] == [10, -11, 4]
    assert product(a, b, 0).component((0, 0, 0)) == 13
    # The commutator of two symmetric matrices is skew; its vector is eps_iab (A B)_ab.
    A, B = (
        traceless(power(2, (Fraction(1), Fraction(2), Fraction(3)))),
        direction_tensor(2, (0, 1, 1)),
    )
    full = [
        [
            [T.component(tuple((i, j).count(k) for k in range(3))) for j in range(3)]
            for i in range(3)
        ]
        for T in (A, B)
    ]
    P = sympy.Matrix(full[0]) * sympy.Matrix(full[1])
    skew = [P[1, 2] - P[2, 1], P[2, 0] - P[0, 2], P[0, 1] - P[1, 0]]
    vector = product(A, B, 1)
    scale = unity_constant(2, 2, 1)
    assert [scale.denominator * vector.component(e) for e in monomials(1)] == [
        scale.numerator * s for s in skew
    ]


def test_wrong_arguments() -> None:
    with pytest.raises(IrrepsError, match="expected monomials of degree 2, got exponents"):
        SymmetricTensor(2, {(1, 0, 0): Fraction(1)})
    with pytest.raises(IrrepsError, match="degree l: expected at least 0, got -1"):
        monomials(-1)
    with pytest.raises(IrrepsError, match="triangle rule"):
        product(direction_tensor(1, UNIT), direction_tensor(1, UNIT), 3)
    with pytest.raises(IrrepsError, match="expected a tensor with 1 indices, got 2"):
        direction_tensor(1, UNIT).dot(direction_tensor(2, UNIT))
