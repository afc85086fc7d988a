from __future__ import annotations

import itertools
import subprocess
import sys
from functools import cache
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import sympy
from scipy.special import sph_harm_y
from sympy import flatten
from sympy.physics.wigner import clebsch_gordan as su2

from etn.errors import IrrepsError
from etn.o3 import (
    clebsch_gordan,
    complex_to_real,
    random_rotation,
    recoupling,
    spherical_harmonics,
    wigner_3j,
    wigner_d,
)
from etn.o3.coupling import root_of_ratio


def triples(l_max: int, l1: int | None = None) -> list[tuple[int, int, int]]:
    first = range(l_max + 1) if l1 is None else (l1,)
    return [
        (a, b, c)
        for a, b, c in itertools.product(first, range(l_max + 1), range(l_max + 1))
        if abs(a - b) <= c <= a + b
    ]


@cache
def real_from_complex(l: int) -> sympy.ImmutableMatrix:
    """Rows: the real harmonics as combinations of the complex ones with Condon-Shortley phase."""
    U = sympy.zeros(2 * l + 1)
    U[l, l] = 1
    for m in range(1, l + 1):
        U[l + m, l + m], U[l + m, l - m] = (-1) ** m, 1  # cosine
        U[l - m, l - m], U[l - m, l + m] = sympy.I, -sympy.I * (-1) ** m  # sine
        for row in (l + m, l - m):
            U[row, :] /= sympy.sqrt(2)
    return sympy.ImmutableMatrix(U)


def sympy_entry(l1: int, l2: int, l3: int, a: int, b: int, c: int) -> sympy.Expr:
    """Real coefficient <l1 a, l2 b | l3 c> from sympy's complex ones, phase (-i)^l per degree."""
    U1, U2, U3 = (real_from_complex(l) for l in (l1, l2, l3))
    total = sympy.S.Zero
    for m1, m2, m3 in itertools.product({a, -a}, {b, -b}, {c, -c}):
        if m1 + m2 == m3:
            phase = U1[l1 + a, l1 + m1].conjugate() * U2[l2 + b, l2 + m2].conjugate()
            total += phase * U3[l3 + c, l3 + m3] * su2(l1, l2, l3, m1, m2, m3)
    return sympy.expand(total * (-sympy.I) ** (l1 + l2 - l3))


def components(l: int) -> range:
    return range(-l, l + 1)


# Exact tensors


@pytest.mark.parametrize("triple", triples(2), ids=str)
def test_exact_equals_sympy(triple: tuple[int, int, int]) -> None:
    tensor = clebsch_gordan(*triple, exact=True)
    l1, l2, l3 = triple
    assert tensor.shape == (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)
    for a, b, c in itertools.product(*map(components, triple)):
        assert tensor[l1 + a, l2 + b, l3 + c] == sympy_entry(*triple, a, b, c)


@pytest.mark.parametrize("triple", [(3, 2, 4), (3, 3, 3), (5, 4, 6), (6, 6, 11)], ids=str)
def test_float_equals_sympy_at_larger_degree(
    triple: tuple[int, int, int], rng: np.random.Generator
) -> None:
    tensor = clebsch_gordan(*triple)
    places = np.argwhere(tensor)
    for place in places[rng.choice(len(places), size=12, replace=False)]:
        a, b, c = (int(i) - l for i, l in zip(place, triple, strict=True))
        expected = float(sympy_entry(*triple, a, b, c).evalf(20))
        assert tensor[tuple(place)] == pytest.approx(expected, rel=4e-16)


@pytest.mark.parametrize("triple", triples(3), ids=str)
def test_float_equals_exact(triple: tuple[int, int, int]) -> None:
    for function in (clebsch_gordan, wigner_3j):
        tensor = function(*triple)
        exact = function(*triple, exact=True)
        assert exact.shape == tensor.shape
        values = np.array([float(entry) for entry in flatten(exact.tolist())]).reshape(tensor.shape)
        np.testing.assert_allclose(tensor, values, rtol=6e-16, atol=0)


@pytest.mark.parametrize("triple", triples(3), ids=str)
def test_exact_norms(triple: tuple[int, int, int]) -> None:
    entries = flatten(clebsch_gordan(*triple, exact=True).tolist())
    assert not any(entry.has(sympy.Float) for entry in entries)
    assert sum(entry**2 for entry in entries) == 2 * triple[2] + 1
    assert sum(entry**2 for entry in flatten(wigner_3j(*triple, exact=True).tolist())) == 1


def test_exact_isometry() -> None:
    C = clebsch_gordan(2, 1, 2, exact=True)
    for c, d in itertools.product(range(5), repeat=2):
        total = sum(C[a, b, c] * C[a, b, d] for a in range(5) for b in range(3))
        assert sympy.simplify(total) == (c == d)


# Float tensors against e3nn and the harmonics


@pytest.mark.parametrize("l1", range(7))
def test_equals_e3nn_with_sign(l1: int, e3nn_o3: ModuleType) -> None:
    import torch

    for triple in triples(6, l1):
        theirs = e3nn_o3.wigner_3j(*triple, dtype=torch.float64).numpy()
        np.testing.assert_allclose(wigner_3j(*triple), theirs, rtol=0, atol=1e-14)


def scipy_harmonics(l: int, r: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    theta = np.arccos(r[:, 2] / np.linalg.norm(r, axis=1))
    phi = np.arctan2(r[:, 1], r[:, 0])
    m = np.abs(np.array(components(l)))
    y = sph_harm_y(l, m, theta[:, None], phi[:, None]) * (-1.0) ** m
    y = np.where(np.array(components(l)) < 0, y.imag, y.real)
    return y * np.where(m == 0, 1, np.sqrt(2))


@pytest.mark.parametrize("triple", [(1, 1, 2), (2, 2, 2), (2, 3, 5), (4, 4, 2), (6, 5, 7)], ids=str)
def test_couples_harmonics_to_harmonics(
    triple: tuple[int, int, int], rng: np.random.Generator
) -> None:
    # The Gaunt integral: a product of two harmonics of one direction is a sum of harmonics.
    l1, l2, l3 = triple
    y1, y2, y3 = (scipy_harmonics(l, r) for r in [rng.normal(size=(9, 3))] for l in triple)
    coupled = np.einsum("ra,rb,abc->rc", y1, y2, clebsch_gordan(*triple))
    factor = (2 * l1 + 1) * (2 * l2 + 1) / (4 * np.pi * (2 * l3 + 1))
    factor = np.sqrt(factor) * float(su2(l1, l2, l3, 0, 0, 0)) * (-1) ** ((l1 + l2 - l3) // 2)
    np.testing.assert_allclose(coupled, factor * y3, atol=1e-13)


def test_odd_coupling_of_two_vectors_is_the_cross_product(rng: np.random.Generator) -> None:
    u, v = rng.normal(size=(2, 3))
    yzx = [1, 2, 0]
    coupled = np.einsum("a,b,abc->c", u[yzx], v[yzx], clebsch_gordan(1, 1, 1))
    np.testing.assert_allclose(coupled, np.cross(u, v)[yzx] / np.sqrt(2), atol=1e-15)


# Laws up to l = 12


@pytest.mark.parametrize("l1", range(13))
def test_isometry_and_symmetry(l1: int) -> None:
    for l2 in range(l1 + 1):
        tensors = [clebsch_gordan(l1, l2, l3) for l3 in range(l1 - l2, l1 + l2 + 1)]
        # All l3 together are an orthogonal matrix: isometry and completeness in one.
        U = np.concatenate(tensors, axis=2).reshape((2 * l1 + 1) * (2 * l2 + 1), -1)
        np.testing.assert_allclose(U.T @ U, np.eye(len(U)), atol=1e-14)
        np.testing.assert_allclose(U @ U.T, np.eye(len(U)), atol=1e-14)
        for l3, C in zip(range(l1 - l2, l1 + l2 + 1), tensors, strict=True):
            swapped = clebsch_gordan(l2, l1, l3).swapaxes(0, 1)
            np.testing.assert_allclose(C, (-1) ** (l1 + l2 + l3) * swapped, rtol=4e-16)


@pytest.mark.parametrize("l1", range(13))
def test_equivariance(l1: int, rotation: npt.NDArray[np.float64]) -> None:
    D = [wigner_d(l, rotation) for l in range(13)]
    for _, l2, l3 in triples(12, l1):
        if l2 > l1:  # test_isometry_and_symmetry covers the swap
            continue
        C = clebsch_gordan(l1, l2, l3)
        rotated = np.tensordot(D[l1], np.tensordot(D[l2], C, (1, 1)), (1, 1))
        np.testing.assert_allclose(rotated, C @ D[l3], atol=1e-13)


@pytest.mark.parametrize("triple", triples(4)[::7], ids=str)
def test_wigner_3j_is_symmetric_under_cycles(triple: tuple[int, int, int]) -> None:
    l1, l2, l3 = triple
    cycled = wigner_3j(l2, l3, l1).transpose(2, 0, 1)
    np.testing.assert_allclose(wigner_3j(*triple), cycled, atol=1e-15)


# The interface


def test_cached_and_read_only() -> None:
    for function in (clebsch_gordan, wigner_3j):
        tensor = function(2, 1, 2)
        assert tensor is function(np.int64(2), 1, 2)
        assert tensor.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            tensor[0, 0, 0] = 1.0
    np.testing.assert_allclose(clebsch_gordan(2, 1, 2), np.sqrt(5) * wigner_3j(2, 1, 2), rtol=4e-16)


@pytest.mark.parametrize("function", [clebsch_gordan, wigner_3j])
def test_wrong_degrees(function: object) -> None:
    for exact in (False, True):
        with pytest.raises(IrrepsError, match=r"triangle rule .* from 0 to 2, got 3"):
            function(1, 1, 3, exact=exact)
    with pytest.raises(IrrepsError, match=r"\(1, -1, 1\): degree l2: expected at least 0, got -1"):
        function(1, -1, 1)
    with pytest.raises(IrrepsError, match=r"degree l1: expected an integer, got 0\.5"):
        function(0.5, 0.5, 1)


def test_floats_need_no_sympy() -> None:
    code = "import sys, etn.o3 as o3; o3.clebsch_gordan(2, 2, 2); sys.exit('sympy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Complex basis


@pytest.mark.parametrize("l", range(8))
def test_real_harmonics_are_the_complex_ones_of_scipy_in_another_basis(
    l: int, rng: np.random.Generator
) -> None:
    M = complex_to_real(l)
    np.testing.assert_allclose(M @ M.conj().T, np.eye(2 * l + 1), atol=1e-15)
    np.testing.assert_array_equal(complex_to_real(l, phase=True), M * 1j**l)
    r = rng.normal(size=(5, 3))
    theta, phi = np.arctan2(np.hypot(r[:, 0], r[:, 1]), r[:, 2]), np.arctan2(r[:, 1], r[:, 0])
    complex_ones = np.stack([sph_harm_y(l, m, theta, phi) for m in components(l)])
    found = M @ complex_ones
    np.testing.assert_allclose(found.imag, 0, atol=1e-14)
    np.testing.assert_allclose(found.T, spherical_harmonics(l, r)[:, l * l :], atol=1e-14)


def test_the_real_tensor_is_the_complex_one_of_sympy_times_three_unitary_matrices() -> None:
    for l1, l2, l3 in triples(3):
        complex_one = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
        for m1, m2 in itertools.product(components(l1), components(l2)):
            if abs(m1 + m2) <= l3:
                value = float(su2(l1, l2, l3, m1, m2, m1 + m2))
                complex_one[l1 + m1, l2 + m2, l3 + m1 + m2] = value
        for phase in (True, False):
            U1, U2, U3 = (complex_to_real(l, phase=phase) for l in (l1, l2, l3))
            found = np.einsum("ai,bj,ck,ijk->abc", U1.conj(), U2.conj(), U3, complex_one)
            if not phase:
                found = found * (-1j) ** (l1 + l2 - l3)
            np.testing.assert_allclose(found, clebsch_gordan(l1, l2, l3), atol=1e-15)


def test_degrees_of_the_complex_basis_are_checked() -> None:
    for bad, message in ((1001, "at most 1000, got 1001"), (-1, "at least 0"), (1.0, "an integer")):
        with pytest.raises(IrrepsError, match=f"degree l: expected {message}"):
            complex_to_real(bad)


def test_the_docstring_of_recoupling_names_this_matrix() -> None:
    assert "complex_to_real" in recoupling.__doc__
    assert "phase i^l" in recoupling.__doc__
    assert "(-i)^l" not in recoupling.__doc__


# High degrees


def test_tensors_of_high_degree_are_isometric_and_invariant(rng: np.random.Generator) -> None:
    l1, l2, l3 = 100, 2, 99
    C = clebsch_gordan(l1, l2, l3)
    np.testing.assert_allclose(np.einsum("abc,abd->cd", C, C), np.eye(2 * l3 + 1), atol=1e-14)
    R = random_rotation(rng)
    D1, D2, D3 = (wigner_d(l, R) for l in (l1, l2, l3))
    turned = np.einsum("ai,bj,ijk->abk", D1, D2, C)
    np.testing.assert_allclose(turned, np.einsum("abc,ck->abk", C, D3), atol=1e-13)


def test_entries_of_high_degree_equal_sympy() -> None:
    C = clebsch_gordan(60, 60, 60)
    assert C[60, 60, 60] == pytest.approx(float(su2(60, 60, 60, 0, 0, 0)), rel=1e-15)
    assert np.isfinite(C).all()


def test_entries_smaller_than_the_root_of_the_smallest_float_are_kept() -> None:
    # A square below 1e-308, such as those of stretched couplings of high degree.
    for exponent in (10, 300, 350, 600):
        assert root_of_ratio(9, 4 * 10**exponent) == pytest.approx(1.5 * 10 ** (-exponent / 2))


def test_tensors_beyond_two_gibibytes_are_refused() -> None:
    for function in (clebsch_gordan, wigner_3j):
        with pytest.raises(IrrepsError, match=r"5.1e\+08 entries \(3.8 GiB\), expected at most 2"):
            function(400, 400, 400)


@pytest.mark.parametrize("bad", [1.0, np.float64(1), True, "1", None])
def test_degrees_that_are_no_integers_are_named(bad: object) -> None:
    for function in (clebsch_gordan, wigner_3j):
        with pytest.raises(IrrepsError, match="degree l2: expected an integer"):
            function(1, bad, 2)
    assert clebsch_gordan(np.int8(1), np.uint8(1), np.array(2)) is clebsch_gordan(1, 1, 2)
