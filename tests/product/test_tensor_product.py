"""Every scheme, mode and way to share weights under the law suite of products."""

from __future__ import annotations

from typing import Any

import pytest

from etn.errors import IrrepsError, SettingsError
from etn.product import DecomposedProduct, SphericalProduct, TensorProduct
from etn.testing import ProductLaws

# Operands and output by mode; parities mixed, and one output that nothing reaches.
LEGS = {
    "uvw": ("3x0e+3x1o+3x1e", "2x0e+2x1o", "4x0e+4x1o+4x2e"),
    "uvu": ("3x0e+3x1o+3x2e", "2x0e+2x1o", "3x0e+3x1o+3x1e"),
    "uvv": ("2x0e+2x1o", "3x0e+3x1o+3x2e", "3x0o+3x1o+3x1e"),
    "uuw": ("3x0e+3x1o", "3x0e+3x1o+3x2e", "2x1o+2x3o"),
    "uuu": ("3x0e+3x1o", "3x0e+3x1o+3x2e", "3x0e+3x1o+3x1e"),
}


def _suite(name: str, **options: Any) -> type[ProductLaws]:
    """A law suite for one configuration."""
    legs, cls = options.pop("legs"), options.pop("cls", SphericalProduct)

    def make_product(self: ProductLaws, **changes: Any) -> TensorProduct:
        return cls(*legs, **options, **changes)

    return type(f"Test{name}", (ProductLaws,), {"make_product": make_product, "seeds": (0,)})


for mode, legs in LEGS.items():
    for weights in ("shared", "per_l", "none"):
        name = f"Dense_{mode}_{weights}"
        globals()[f"Test{name}"] = _suite(
            name, legs=legs, mode=mode, weights=weights, scheme="dense"
        )
        name = f"CP_{mode}_{weights}"
        globals()[f"Test{name}"] = _suite(
            name, legs=legs, mode=mode, weights=weights, cls=DecomposedProduct
        )
    globals()[f"TestPaths_{mode}"] = _suite(
        f"Paths_{mode}", legs=legs, mode=mode, weights="per_path"
    )

for mode, first, out in (("uvu", "4x0e+4x1o+4x2e", "4x0e+4x1o+4x1e"), ("uvw", "2x1o", "3x0e+3x1e")):
    for weights in ("shared", "per_l", "none"):
        name = f"First_{mode}_{weights}"
        globals()[f"Test{name}"] = _suite(
            name, legs=(first, "0e+1o+2e", out), mode=mode, weights=weights, scheme="y_first"
        )
    globals()[f"TestPathsFirst_{mode}"] = _suite(
        f"PathsFirst_{mode}", legs=(first, "0e+1o+2e", out), mode=mode, weights="per_path"
    )


def test_cost_names_every_scheme() -> None:
    product = TensorProduct("4x0e+4x1o", "0e+1o", mode="uvu")
    table = product.cost(batch=16).splitlines()
    assert [line.split()[0] for line in table[1:]] == list(product.schemes)
    # y first: d3 d1 (d2 + C) and one weight a channel and component.
    assert int(table[2].split()[1]) == 4 * 4 * (4 + 4) + 4 * 4


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("4x0e", "1o", "4x0e"), {}, "no path"),
        (("4x0e", "0e", "3x0e"), {}, "equal channels of first operand and output, got 4 and 3"),
        (("4x0e+2x1o", "0e", "4x0e"), {}, "got 2 and 4; pad the smaller"),
        (("4x0e+4x3o", "1o"), {}, "no coupling of .* name the output, irreps_out"),
        (("4x0e", "0e"), {"mode": "uvw"}, "irreps_out is needed"),
        (("4x0e", "0e"), {"mode": "uxu"}, "mode: expected one of uvw"),
        (("4x0e", "0e"), {"weights": "all"}, "weights: expected one of shared"),
        (("4x0e", "0e"), {"scheme": "fast"}, "scheme: expected one of auto, dense"),
        (("4x0e", "0e"), {"layout": "ir"}, "layout: expected ir_mul or mul_ir"),
        (("4x0e", "0e"), {"tol": -1.0}, "tol: expected a relative error"),
        (("4x0e", "0e"), {"coefficients": [1.0, 2.0]}, "expected 1 finite numbers"),
        (("4x0e", "0e"), {"coefficients": {"0o x 0e -> 0o": 1.0}}, "no path '0o x 0e -> 0o'"),
        (("4x0e", "0e"), {"paths": [(0, 1, 0)]}, r"\(0, 1, 0\) .* couples nothing"),
        (("4x0e", "0e"), {"paths": [(0, -1, 0)]}, r"\(0, -1, 0\) .* couples nothing"),
        (("4x0e", "1o+0e"), {"paths": [(0, 0, 0)]}, r"\(0, 0, 0\) .* couples nothing"),
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
