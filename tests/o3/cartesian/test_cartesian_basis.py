from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import sympy

from etn.errors import IrrepsError
from etn.o3.cartesian.basis import change_of_packing, harmonic_polynomials, packing_maps
from etn.o3.cartesian.exact import SymmetricTensor, monomials, traceless
from etn.o3.cartesian.harmonics import harmonics


@pytest.mark.parametrize("l", range(6))
def test_polynomials_are_the_real_harmonics(l: int) -> None:
    # sympy's complex harmonics on the unit sphere, Condon-Shortley phase removed.
    theta, phi = 0.7, 1.9
    x, y, z = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)
    values = np.array([x**a * y**b * z**c for a, b, c in monomials(l)])
    rows, _ = harmonic_polynomials(l)
    found = rows.astype(float) @ values
    for m in range(-l, l + 1):
        Y = complex(sympy.Ynm(l, abs(m), theta, phi).expand(func=True).evalf()) * (-1) ** m
        part = Y.imag if m < 0 else Y.real
        # Integers without a common factor leave a positive scale free.
        scale = found[l + m] / part
        assert scale > 0
        other = 0.4
        at = np.array(
            [
                (np.sin(other) * np.cos(phi)) ** a * (np.sin(other) * np.sin(phi)) ** b
                * np.cos(other) ** c
                for a, b, c in monomials(l)
            ]
        )  # fmt: skip
        Y = complex(sympy.Ynm(l, abs(m), other, phi).expand(func=True).evalf()) * (-1) ** m
        part = Y.imag if m < 0 else Y.real
        assert rows[l + m].astype(float) @ at == pytest.approx(scale * part, abs=1e-12)


@pytest.mark.parametrize("l", range(9))
@pytest.mark.parametrize("packing", ["orthonormal", "monomial"])
def test_project_undoes_lift_exactly(l: int, packing: str) -> None:
    lift, lift_squares, project, project_squares = packing_maps(l, packing)
    integers = project @ lift
    for i, j in np.ndindex(integers.shape):
        value = int(integers[i, j]) ** 2 * project_squares[i] * lift_squares[j]
        assert value == (i == j)
        assert integers[i, j] >= 0


@pytest.mark.parametrize("l", [2, 3, 5])
def test_monomial_projection_is_the_traceless_part(l: int) -> None:
    _, _, project, squares = packing_maps(l, "monomial")
    assert len(set(squares)) == 1
    root = sympy.sqrt(sympy.Rational(*squares[0].as_integer_ratio()))
    scale = Fraction(int(root.p), int(root.q))
    for column, exponents in enumerate(monomials(l)):
        part = traceless(SymmetricTensor.from_components(l, {exponents: Fraction(1)}))
        expected = [part.component(e) for e in monomials(l)[: 2 * l + 1]]
        assert [scale * int(v) for v in project[:, column]] == expected


@pytest.mark.parametrize("packing", ["orthonormal", "monomial"])
def test_basis_tensors_are_traceless(packing: str) -> None:
    for l in range(7):
        for column in packing_maps(l, packing).lift.T:
            components = {e: Fraction(int(v)) for e, v in zip(monomials(l), column, strict=True)}
            assert not SymmetricTensor.from_components(l, components).trace().polynomial


def test_change_of_packing() -> None:
    np.testing.assert_allclose(
        change_of_packing(2, "monomial", "orthonormal"),
        # (xx, xy, yy, xz, yz) to (xy, yz, zz - (xx + yy) / 2, xz, xx - yy)
        [
            [0, sqrt(2), 0, 0, 0],
            [0, 0, 0, 0, sqrt(2)],
            [-sqrt(3 / 2), 0, -sqrt(3 / 2), 0, 0],
            [0, 0, 0, sqrt(2), 0],
            [sqrt(1 / 2), 0, -sqrt(1 / 2), 0, 0],
        ],
        atol=1e-15,
    )
    for l in range(13):
        to = change_of_packing(l, "monomial", "orthonormal")
        back = change_of_packing(l, "orthonormal", "monomial")
        np.testing.assert_allclose(to @ back, np.eye(2 * l + 1), atol=2e-13)
        with pytest.raises(ValueError, match="read-only"):
            to[0, 0] = 1


def test_wrong_arguments() -> None:
    with pytest.raises(IrrepsError, match="packing: expected one of orthonormal, monomial, got"):
        packing_maps(2, "packed")
    with pytest.raises(IrrepsError, match="degree l: expected at least 0, got -1"):
        packing_maps(-1)


def test_a_change_of_packing_is_right_to_the_largest_degree() -> None:
    r = np.array([0.3, -0.5, 0.8])
    for l, error in ((20, 1e-11), (40, 1e-9)):
        packed, monomial = (harmonics(l, r, form) for form in ("packed", "monomial"))
        to = change_of_packing(l, "monomial", "orthonormal")
        np.testing.assert_allclose(to @ monomial, packed, atol=error * abs(packed).max())
        back = change_of_packing(l, "orthonormal", "monomial")
        np.testing.assert_allclose(back @ packed, monomial, atol=1e-14 * l)
    with pytest.raises(IrrepsError, match="degree l: expected at most 40 for a change of packing"):
        change_of_packing(41, "monomial", "orthonormal")


def test_a_change_of_packing_checks_before_it_looks_up() -> None:
    known = change_of_packing(1, "monomial", "orthonormal")
    assert change_of_packing(np.int64(1), "monomial", "orthonormal") is known
    for bad in (1.0, True, [1], "1"):
        with pytest.raises(IrrepsError, match="degree l: expected an integer"):
            change_of_packing(bad, "monomial", "orthonormal")
    for bad in (["monomial"], np.array(["a", "b"]), None):
        with pytest.raises(IrrepsError, match="packing: expected one of"):
            change_of_packing(1, bad, "orthonormal")
