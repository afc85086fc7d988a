from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction
from math import sqrt
from time import process_time
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import sympy

from etn.errors import IrrepsError
from etn.o3 import clebsch_gordan, wigner_3j, wigner_d
from etn.o3.cartesian.basis import change_of_packing, packing_maps
from etn.o3.cartesian.coefficients import (
    coefficients,
    exact_coefficients,
    sparse_coefficients,
)
from etn.o3.cartesian.constants import bridge_squared, unity_constant
from etn.o3.cartesian.exact import SymmetricTensor, direction_tensor, monomials, product

Path = tuple[int, int, int]


def paths(l_max: int) -> list[Path]:
    triples = itertools.product(range(l_max + 1), repeat=3)
    return [(a, b, c) for a, b, c in triples if abs(a - b) <= c <= a + b]


def basis_tensor(l: int, place: int) -> SymmetricTensor:
    """Packed monomial basis tensor."""
    column = packing_maps(l, "monomial").lift[:, place]
    return SymmetricTensor.from_components(
        l, {e: Fraction(int(v)) for e, v in zip(monomials(l), column, strict=True)}
    )


@pytest.mark.parametrize("path", [*paths(4)[::3], (6, 5, 4), (5, 6, 4), (6, 6, 6)], ids=str)
def test_integers_equal_the_formula_of_the_paper(path: Path, rng: np.random.Generator) -> None:
    l1, l2, l3 = path
    integers, squares = exact_coefficients(l1, l2, l3, "monomial")
    assert {*squares[1], *squares[2]} == {1}
    scale = sympy.sqrt(sympy.Rational(*squares[0][0].as_integer_ratio()))
    scale = Fraction(int(scale.p), int(scale.q))
    pairs = list(itertools.product(range(2 * l1 + 1), range(2 * l2 + 1)))
    for a, b in (pairs[i] for i in rng.choice(len(pairs), size=min(6, len(pairs)), replace=False)):
        C = product(basis_tensor(l1, a), basis_tensor(l2, b), l3)
        found = [unity_constant(l1, l2, l3) * scale * int(v) for v in integers[:, a, b]]
        assert found == [C.component(e) for e in monomials(l3)[: 2 * l3 + 1]]


@pytest.mark.parametrize("path", paths(3), ids=str)
def test_exactly_proportional_to_the_3j_tensor(path: Path) -> None:
    integers, squares = exact_coefficients(*path)
    W = wigner_3j(*path, exact=True)
    c_squared = bridge_squared(*path)
    for c, a, b in np.ndindex(integers.shape):
        entry = int(integers[c, a, b])
        square = entry * abs(entry) * squares[0][c] * squares[1][a] * squares[2][b]
        other = W[a, b, c]
        signed = sympy.sign(other) * other**2
        assert square == c_squared * Fraction(int(signed.p), int(signed.q))


@pytest.mark.parametrize("l1", range(7))
def test_proportional_to_e3nn_with_the_closed_form(l1: int, e3nn_o3: ModuleType) -> None:
    import torch

    for path in (p for p in paths(6) if p[0] == l1):
        theirs = e3nn_o3.wigner_3j(*path, dtype=torch.float64).numpy().transpose(2, 0, 1)
        constants = {
            "unity": sqrt(bridge_squared(*path, constant=unity_constant(*path))),
            "cg": sqrt(2 * path[2] + 1),
            "component": sqrt(2 * path[2] + 1),
            "norm": sqrt((2 * path[0] + 1) * (2 * path[1] + 1)),
        }
        for name, constant in constants.items():
            np.testing.assert_allclose(coefficients(*path, name), constant * theirs, atol=1e-13)


@pytest.mark.parametrize("path", [(7, 6, 9), (8, 8, 7), (9, 4, 8)], ids=str)
def test_larger_degrees(path: Path) -> None:
    # Here integers pass 64 bits.
    expected = clebsch_gordan(*path).transpose(2, 0, 1)
    np.testing.assert_allclose(coefficients(*path, "cg"), expected, atol=1e-14)


@pytest.mark.parametrize("path", paths(4), ids=str)
def test_packings_agree(path: Path) -> None:
    l1, l2, l3 = path
    K1, K2 = (change_of_packing(l, "monomial", "orthonormal") for l in (l1, l2))
    back = change_of_packing(l3, "orthonormal", "monomial")
    for name in ("unity", "cg"):
        expected = np.einsum("dc,cab,ae,bf->def", back, coefficients(*path, name), K1, K2)
        found = coefficients(*path, name, "monomial")
        np.testing.assert_allclose(found, expected, atol=1e-13 * abs(expected).max())


@pytest.mark.parametrize("packing", ["orthonormal", "monomial"])
def test_unity_in_floats(packing: str) -> None:
    r = (Fraction(2, 7), Fraction(-3, 7), Fraction(6, 7))
    packed = []
    for l in range(7):
        T = direction_tensor(l, r)
        values = np.array([float(T.component(e)) for e in monomials(l)[: 2 * l + 1]])
        packed.append(change_of_packing(l, "monomial", packing) @ values)
    for l1, l2, l3 in paths(6):
        G = coefficients(l1, l2, l3, "unity", packing)
        expected = packed[l3] if (l1 + l2 + l3) % 2 == 0 else 0 * packed[l3]
        found = np.einsum("cab,a,b->c", G, packed[l1], packed[l2])
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("path", [(1, 1, 1), (2, 3, 4), (3, 2, 4), (3, 3, 3), (4, 6, 5)], ids=str)
def test_equivariance(path: Path, orthogonal: npt.NDArray[np.float64]) -> None:
    det = np.linalg.det(orthogonal)
    D1, D2, D3 = (wigner_d(l, orthogonal) for l in path)
    G = coefficients(*path)
    rotated = np.einsum("cab,ad,be->cde", G, D1, D2)
    sign = det if sum(path) % 2 else 1.0
    np.testing.assert_allclose(rotated, sign * np.einsum("cd,dab->cab", D3, G), atol=1e-12)


def test_normalizations_do_what_they_say(rng: np.random.Generator) -> None:
    for path in paths(4):
        d1, d2, d3 = (2 * l + 1 for l in path)
        variance = (coefficients(*path, "component") ** 2).sum(axis=(1, 2))
        np.testing.assert_allclose(variance, np.ones(d3), atol=1e-14)
        norm = (coefficients(*path, "norm") ** 2).sum() / (d1 * d2)
        assert norm == pytest.approx(1, abs=1e-14)


def test_sparse_equals_dense() -> None:
    for path in paths(4)[::5]:
        dense = coefficients(*path)
        places, values = sparse_coefficients(*path)
        rebuilt = np.zeros_like(dense)
        rebuilt[tuple(places.T)] = values
        np.testing.assert_array_equal(rebuilt, dense)
        assert np.count_nonzero(values) == len(values) == np.count_nonzero(wigner_3j(*path))


def test_vectors_in_monomials_are_the_dot_and_the_cross_product(rng: np.random.Generator) -> None:
    u, v = rng.normal(size=(2, 3))
    cross = np.einsum("cab,a,b->c", coefficients(1, 1, 1, packing="monomial"), u, v)
    np.testing.assert_allclose(cross, np.cross(u, v), atol=1e-15)
    dot = np.einsum("cab,a,b->c", coefficients(1, 1, 0, packing="monomial"), u, v)
    np.testing.assert_allclose(dot, [u @ v], atol=1e-15)


def test_cached_and_read_only() -> None:
    G = coefficients(2, 1, 2)
    assert G is coefficients(np.int64(2), 1, 2, "unity", "orthonormal")
    sparse = sparse_coefficients(2, 1, 2)
    assert sparse is sparse_coefficients(2, 1, 2)
    for array in (G, sparse.places, sparse.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_all_paths_are_built_in_seconds() -> None:
    code = (
        "import importlib; from time import process_time as t;"
        "m = importlib.import_module('etn.o3.cartesian.coefficients'); a = t();"
        "[m.coefficients(i, j, k) for i in range(7) for j in range(7) "
        "for k in range(abs(i - j), min(i + j, 6) + 1)]; print(t() - a)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 10
    for path in paths(6):
        coefficients(*path)
    start = process_time()
    for path in paths(6):
        coefficients(*path)
    assert process_time() - start < 0.1


def test_wrong_arguments() -> None:
    with pytest.raises(IrrepsError, match="triangle rule"):
        coefficients(1, 1, 3)
    with pytest.raises(IrrepsError, match=r"normalization: expected one of unity, .* got 'unit'"):
        coefficients(1, 1, 1, "unit")
    with pytest.raises(IrrepsError, match="packing: expected one of orthonormal, monomial, got"):
        sparse_coefficients(1, 1, 1, packing="full")
    with pytest.raises(IrrepsError, match="expected an integer"):
        coefficients(1.0, 1, 1)


@pytest.mark.parametrize("path", [*paths(4), (6, 5, 4), (8, 8, 8), (9, 1, 10)], ids=str)
@pytest.mark.parametrize("normalization", ["unity", "cg", "component", "norm"])
def test_floats_are_the_exact_coefficients(path: Path, normalization: str) -> None:
    integers, squares = exact_coefficients(*path)
    c, a, b = (np.sqrt([float(v) for v in s]) for s in squares)
    exact = integers.astype(float) * c[:, None, None] * a[:, None] * b
    bridge = float(bridge_squared(*path))
    constant = {
        "unity": float(unity_constant(*path)),
        "norm": sqrt((2 * path[0] + 1) * (2 * path[1] + 1) / bridge),
    }.get(normalization, sqrt((2 * path[2] + 1) / bridge))
    found = coefficients(*path, normalization)
    np.testing.assert_allclose(found, constant * exact, rtol=1e-13, atol=1e-15 * abs(found).max())


def test_orthonormal_coefficients_of_high_degree_are_quick() -> None:
    start = process_time()
    found = coefficients(30, 30, 30, "cg")  # 16 s at 20, when they were made of integers
    assert process_time() - start < 3
    np.testing.assert_array_equal(found, np.moveaxis(clebsch_gordan(30, 30, 30), 2, 0))


def test_monomials_that_outgrow_integers_or_memory_are_refused() -> None:
    for path in ((40, 40, 40), (40, 40, 80), (60, 60, 2)):
        with pytest.raises(IrrepsError, match=r"the product of exact Cartesian tensors takes .*"):
            coefficients(*path, packing="monomial")


@pytest.mark.parametrize("bad", ["unit", None, ["unity"], np.array(["a", "b"])])
def test_unknown_normalizations_are_refused(bad: object) -> None:
    for function in (coefficients, sparse_coefficients):
        with pytest.raises(IrrepsError, match="normalization: expected one of unity, component"):
            function(1, 1, 1, bad)
