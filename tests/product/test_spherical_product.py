"""Operands that are folded once and used again."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.product import (
    SphericalProduct,
)


def test_folded_operands_give_the_product() -> None:
    rng = np.random.default_rng(0)
    for layout in ("ir_mul", "mul_ir"):
        product = SphericalProduct(
            "4x0e+4x1o", "0e+1o", "4x0e+4x1o+4x1e", scheme="y_first", layout=layout
        )
        x, y, w = (rng.normal(size=(7, n)) for n in (16, 4, 4))
        z = product.apply_folded(x, product.fold(y), w)
        assert np.abs(z - product(x, y, w)).max() < 1e-14


def test_folding_needs_one_channel_and_uvu() -> None:
    with pytest.raises(SettingsError, match="folding"):
        SphericalProduct("2x0e", "2x0e", mode="uuu").fold(np.ones(2))
    product = SphericalProduct("2x0e+2x1o", "0e+1o")
    with pytest.raises(IrrepsError, match="second operand"):
        product.fold(np.ones((3, 3)))
    with pytest.raises(IrrepsError, match="folded matrices"):
        product.apply_folded(np.ones((3, 8)), np.ones((3, 4, 3)))


def test_folded_operands_of_another_kind_or_shape_are_refused() -> None:
    product = SphericalProduct("0x2e+2x0e+2x1o", "0e+1o")
    x, folded, w = np.ones((3, 8)), product.fold(np.ones((3, 4))), np.ones((3, 2))
    np.testing.assert_allclose(
        product.apply_folded(x, folded, w), product(x, np.ones((3, 4)), w), atol=1e-14
    )
    with pytest.raises(CoreError, match="expected float32 or float64, got int64"):
        product.apply_folded(x.astype(int), folded, w)
    with pytest.raises(CoreError, match="arrays of one kind"):
        product.apply_folded(x, folded.astype(np.float32), w)
    with pytest.raises(IrrepsError, match="weights: expected a last axis of 2"):
        product.apply_folded(x, folded, w[:, :1])
