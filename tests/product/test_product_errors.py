"""Bad input of products: what the messages say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.product import DecomposedProduct, SphericalProduct, TensorProduct, change_layout, fused_cg


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("4x0e", "1o", "4x0e"), {}, "no path"),
        (("4x0e", "0e", "3x0e"), {}, "equal channels of first operand and output, got 4 and 3"),
        (("4x0e+2x1o", "0e", "4x0e"), {}, "got 2 and 4; pad the smaller"),
        (("", "0e", "4x0e"), {}, "first operand: expected irreps"),
        (("4x0e", "0e"), {"mode": "uvw"}, "irreps_out is needed"),
        (("4x0e", "0e"), {"mode": "uxu"}, "mode: expected one of uvw"),
        (("4x0e", "0e"), {"weights": "all"}, "weights: expected one of shared"),
        (("4x0e", "0e"), {"scheme": "fast"}, "scheme: expected one of auto, dense"),
        (("4x0e", "0e"), {"layout": "ir"}, "layout: expected ir_mul or mul_ir"),
        (("4x0e", "0e"), {"tol": -1.0}, "tol: expected a relative error"),
        (("4x0e", "0e"), {"coefficients": [1.0, 2.0]}, "expected 1 finite numbers"),
        (("4x0e", "0e"), {"coefficients": {"0o x 0e -> 0o": 1.0}}, "no path '0o x 0e -> 0o'"),
        (("4x0e", "0e"), {"paths": [(0, 1, 0)]}, r"\(0, 1, 0\) .* couples nothing"),
        (("4x0e", "2x0e"), {"scheme": "y_first"}, "second operand of one channel"),
        (("4x0e", "0e"), {"scheme": "cp", "weights": "per_path"}, "take scheme paths"),
        (("4x0e", "0e"), {"scheme": "paths"}, 'expected weights "per_path"'),
        (("1x0e+1x1e",) * 3, {"scheme": "cp", "mode": "uuu"}, "no shipped table"),
    ],
)
def test_what_cannot_be_built_says_why(
    arguments: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((IrrepsError, SettingsError), match=message):
        TensorProduct(*arguments, **options)


def test_operands_that_do_not_fit() -> None:
    product = TensorProduct("2x0e+2x1o", "0e+1o")
    x, y, w = np.ones((3, 8)), np.ones((3, 4)), np.ones((3, 2))
    with pytest.raises(IrrepsError, match=r"first operand: expected a last axis of 8 .* \(3, 7\)"):
        product(x[:, :7], y, w)
    with pytest.raises(IrrepsError, match="second operand: expected a last axis of 4"):
        product(x, y[:, :3], w)
    with pytest.raises(IrrepsError, match="weights: expected a last axis of 2"):
        product(x, y, w[:, :1])
    with pytest.raises(IrrepsError, match="leading axes"):
        product(x, y[:2], w)
    with pytest.raises(CoreError, match="arrays of one kind"):
        product(x.astype(np.float32), y, w)


def test_numbers_that_are_not_finite_are_refused() -> None:
    product = TensorProduct("2x0e+2x1o", "0e+1o")
    x, y = np.ones((3, 8)), np.ones((3, 4))
    x[1, 2] = np.nan
    with pytest.raises(CoreError, match="first operand: expected finite numbers"):
        product(x, y)


def test_folding_needs_one_channel_and_uvu() -> None:
    with pytest.raises(SettingsError, match="folding"):
        SphericalProduct("2x0e", "2x0e", mode="uuu").fold(np.ones(2))
    product = SphericalProduct("2x0e+2x1o", "0e+1o")
    with pytest.raises(IrrepsError, match="second operand"):
        product.fold(np.ones((3, 3)))
    with pytest.raises(IrrepsError, match="folded matrices"):
        product.apply_folded(np.ones((3, 8)), np.ones((3, 4, 3)))


def test_degrees_beyond_a_table_are_named() -> None:
    with pytest.raises(SettingsError, match="l_max"):
        DecomposedProduct("2x7e", "2x0e", "2x7e", mode="uuu")


def test_a_dense_tensor_beyond_memory_is_refused_before_it_is_made() -> None:
    with pytest.raises(SettingsError, match=r"it would take .* GB"):
        fused_cg(ins=["300e", "300e"], out="+".join(f"{l}e" for l in range(100))).dense()


def test_layouts_check_their_axis() -> None:
    with pytest.raises(IrrepsError, match="expected a last axis of 6"):
        change_layout(np.ones(5), "2x1o", "mul_ir", "ir_mul")
