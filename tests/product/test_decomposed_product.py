"""Products in CP form: laws, and agreement with exact ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.product import (
    DecomposedProduct,
    SphericalProduct,
    TensorProduct,
    load_table,
)
from etn.testing import ProductLaws


class TestApproximateProduct(ProductLaws):
    """A scheme with an error keeps to it, and to equivariance within it."""

    seeds = (0,)
    error = 0.1

    def make_product(self, **changes: Any) -> TensorProduct:
        leg = "2x0e+2x1e+2x2e"
        return DecomposedProduct(leg, leg, leg, mode="uuu", cp="tdn", **changes)


@pytest.mark.parametrize("l_max", range(1, 7))
def test_the_schemes_agree_on_the_coefficients_of_an_exact_table(l_max: int) -> None:
    """Dense, y first and CP compute one function to rounding."""
    rng = np.random.default_rng(l_max)
    leg = "+".join(f"4x{l}e" for l in range(l_max + 1))
    cp = load_table(l_max, "exact")
    for mode, second in (("uuu", leg), ("uvu", leg.replace("4x", "1x"))):
        product = DecomposedProduct(leg, second, leg, mode=mode)
        x, y = (rng.normal(size=(6, p.dim)) for p in (product.irreps_in1, product.irreps_in2))
        w = rng.normal(size=(6, product.weight_numel))
        assert product.cp_rank == cp.cp_rank
        for scheme in ("dense", "y_first") if mode == "uvu" else ("dense",):
            other = SphericalProduct(
                leg, second, leg, mode=mode, scheme=scheme, coefficients=product.coefficients
            )
            z = other(x, y, w)
            assert np.abs(product(x, y, w) - z).max() <= 1e-12 * np.abs(z).max()


def test_degrees_beyond_a_table_are_named() -> None:
    with pytest.raises(SettingsError, match="l_max"):
        DecomposedProduct("2x7e", "2x0e", "2x7e", mode="uuu")


def test_scalars_take_the_smallest_table() -> None:
    """No table is made for l = 0: it is a row of that for l = 1."""
    x, y = np.array([[2.0, 3.0]]), np.array([[5.0, 7.0]])
    product = DecomposedProduct("2x0e", "2x0e", mode="uuu", weights="none")
    np.testing.assert_allclose(product(x, y), [[10.0, 21.0]], rtol=1e-12)


def test_what_couples_nothing_has_no_decomposition() -> None:
    product = DecomposedProduct("2x1o", "", "2x1o", mode="uuu")
    assert not product(np.ones((3, 6)), np.ones((3, 0))).any()
    with pytest.raises(SettingsError, match="nothing to decompose"):
        product.certificate()
