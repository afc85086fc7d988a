"""Which schemes can compute a product."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.product import (
    SphericalProduct,
    TensorProduct,
)


def test_automatic_choice_takes_exact_schemes_only_unless_an_error_is_allowed() -> None:
    leg = "+".join(f"2x{l}e" for l in range(3))
    exact = TensorProduct(leg, leg, leg, mode="uuu")
    assert exact.schemes == ("dense", "cp")  # rank 31, unit coefficients
    small = "2x0e+2x1e"  # the exact table of rank 7 has coefficients of its own
    assert TensorProduct(small, small, small, mode="uuu").schemes == ("dense",)
    assert TensorProduct(small, small, small, mode="uuu", tol=0.05).schemes == ("dense", "cp")
    free = TensorProduct(small, small, small, mode="uuu", coefficients="free")
    assert free.schemes == ("dense", "cp")


def test_all_paths_in_another_order_still_have_a_decomposition() -> None:
    """As products made from instructions name them, one by one."""
    leg = "3x0e+3x1e+3x2e"
    every = [(*p.ins, p.out) for p in SphericalProduct(leg, leg, leg, mode="uuu").fused.paths]
    product = TensorProduct(leg, leg, leg, mode="uuu", paths=every[::-1])
    assert product.schemes == ("dense", "cp")
    assert TensorProduct(leg, leg, leg, mode="uuu", paths=every[1:]).schemes == ("dense",)
    rng = np.random.default_rng(0)
    x, y, w = (rng.normal(size=(4, n)) for n in (27, 27, 3))
    both = [
        TensorProduct(leg, leg, leg, mode="uuu", paths=every[::-1], scheme=s)(x, y, w)
        for s in product.schemes
    ]
    assert np.abs(both[0] - both[1]).max() <= 1e-12 * np.abs(both[0]).max()


def test_weights_for_paths_need_the_scheme_paths():
    with pytest.raises(SettingsError, match="all paths share their weights"):
        TensorProduct(*["2x0e+2x1o"] * 3, mode="uuu", weights="per_path", scheme="dense")
