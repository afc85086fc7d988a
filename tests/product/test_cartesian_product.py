"""Products of packed Cartesian tensors: laws, and agreement with spherical ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg as sl

from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps, cartesian
from etn.product import CartesianProduct, SphericalProduct, TensorProduct
from etn.testing import ProductLaws

LEGS = ("3x0e+3x1o+3x2e", "1x0e+1x1o+1x2e", "3x0e+3x1o+3x2e+3x1e+3x2o")


class CartesianLaws(ProductLaws):
    """Products whose components are packed Cartesian tensors."""

    seeds = (0,)
    packing: Any = "orthonormal"
    options: Any = {}

    def make_product(self, **changes: Any) -> TensorProduct:
        legs = self.options.get("legs", LEGS)
        options = {k: v for k, v in self.options.items() if k != "legs"}
        return CartesianProduct(*legs, packing=self.packing, **options, **changes)

    def representation(self, leg: Irreps, matrix: np.ndarray) -> np.ndarray:
        blocks = [
            cartesian.packed_d(ir.l, matrix, p=ir.p, packing=self.packing)
            for mul, ir in leg
            for _ in range(mul)
        ]
        return sl.block_diag(*blocks)


class TestOrthonormal(CartesianLaws):
    options = {"mode": "uvu", "scheme": "dense"}


class TestMonomial(CartesianLaws):
    packing = "monomial"
    options = {"mode": "uvu", "scheme": "y_first", "normalization": "unity"}


class TestMonomialPerPath(CartesianLaws):
    packing = "monomial"
    options = {"mode": "uvu", "weights": "per_path", "normalization": "cg"}


class TestFull(CartesianLaws):
    options = {"mode": "uvw", "legs": ("2x1o+2x2e", "3x1o+3x0e", "2x0e+2x2o+2x1e")}


class TestElementwise(CartesianLaws):
    packing = "monomial"
    options = {"mode": "uuu", "legs": ("2x1o+2x2e", "2x1o+2x3o", "2x1e+2x2e+2x1o+2x2o")}


@pytest.mark.parametrize("normalization", ["unity", "component", "norm", "cg"])
def test_same_function_as_the_spherical_product(normalization: Any) -> None:
    """To 1e-12 with the same coefficients, all paths to l = 4, even and odd."""
    rng = np.random.default_rng(0)
    leg = "+".join(f"2x{l}e" for l in range(5))
    ours = CartesianProduct(leg, leg, leg, mode="uuu", normalization=normalization)
    theirs = SphericalProduct(leg, leg, leg, mode="uuu", coefficients=ours.coefficients)
    x, y, w = (rng.normal(size=(7, n)) for n in (50, 50, 2))
    z = theirs(x, y, w)
    assert np.abs(ours(x, y, w) - z).max() <= 1e-12 * np.abs(z).max()


def test_packings_are_a_change_of_basis() -> None:
    rng = np.random.default_rng(0)
    legs = ("1x1o+1x2e+1x3o", "1x1o+1x2e", "1x0e+1x1o+1x2e+1x3o+1x2o")
    one, other = (
        CartesianProduct(*legs, mode="uuu", packing=p, normalization="unity")  # type: ignore[arg-type]
        for p in ("orthonormal", "monomial")
    )

    def monomial(x: np.ndarray, leg: Irreps) -> np.ndarray:
        parts = [
            cartesian.repack(x[:, part], term.ir.l, "orthonormal", "monomial")
            for term, part in zip(leg, leg.slices(), strict=True)
        ]
        return np.concatenate(parts, axis=1)

    x, y = (rng.normal(size=(5, leg.dim)) for leg in (one.irreps_in1, one.irreps_in2))
    expected = monomial(one(x, y), one.irreps_out)
    got = other(monomial(x, one.irreps_in1), monomial(y, one.irreps_in2))
    assert np.abs(got - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("packing", ["orthonormal", "monomial"])
def test_unity_multiplies_tensors_of_a_direction(packing: Any) -> None:
    """(T^l1(r) x T^l2(r))_l3 = T^l3(r) on every even path to l = 4."""
    rng = np.random.default_rng(0)
    r = rng.normal(size=(10, 3))
    form = "packed" if packing == "orthonormal" else "monomial"
    tensors = {l: cartesian.harmonics(l, r, form=form) for l in range(5)}
    for l1 in range(5):
        for l2 in range(5):
            for l3 in range(abs(l1 - l2), min(l1 + l2, 4) + 1, 2):
                one, two, out = (f"{l}{'eo'[l % 2]}" for l in (l1, l2, l3))
                product = CartesianProduct(
                    one, two, out, mode="uuu", packing=packing, normalization="unity"
                )
                assert np.abs(product(tensors[l1], tensors[l2]) - tensors[l3]).max() < 1e-12


def test_cross_and_dot_product() -> None:
    """1o x 1o holds the cross product, an axial vector, and the dot product."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 3))
    for out, expected in (("1e", np.cross(a, b)), ("0e", (a * b).sum(1, keepdims=True))):
        product = CartesianProduct(
            "1o", "1o", out, mode="uuu", packing="monomial", normalization="unity"
        )
        assert np.abs(product(a, b) - expected).max() < 1e-14
    with pytest.raises(IrrepsError, match="no path"):
        CartesianProduct("1o", "1o", "1o", mode="uuu")


def test_bad_input() -> None:
    with pytest.raises(SettingsError, match="normalization: expected one of unity"):
        CartesianProduct("1o", "1o", "0e", mode="uuu", normalization="one")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="normalization or coefficients, got both"):
        CartesianProduct("1o", "1o", "0e", mode="uuu", normalization="cg", coefficients="3j")
    with pytest.raises(IrrepsError, match="packing"):
        CartesianProduct("1o", "1o", "0e", mode="uuu", packing="dense")  # type: ignore[arg-type]
