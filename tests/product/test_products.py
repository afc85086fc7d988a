"""Every scheme, mode and way to share weights under the law suite of products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn.product import DecomposedProduct, SphericalProduct, TensorProduct, load_table
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


class TestUnequalChannels(ProductLaws):
    def make_product(self, **changes: Any) -> TensorProduct:
        return TensorProduct(
            "3x0e+2x1o", "1x0e+2x1o", "4x0e+1x1o", mode="uvw", weights="per_path", **changes
        )


class TestSelectedPaths(ProductLaws):
    """One output term for every path, as in e3nn's layers."""

    def make_product(self, **changes: Any) -> TensorProduct:
        paths = [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)]
        return TensorProduct(
            "2x0e+2x1o", "0e+1o", "2x0e+2x1o+2x1o+2x0e",
            weights="per_path", paths=paths, coefficients=[1.0, 2.0, 3.0, 4.0], **changes,
        )  # fmt: skip


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


def test_coefficients_component_give_unit_variance() -> None:
    """The variance of every output over random inputs and weights is one."""
    rng = np.random.default_rng(0)
    product = SphericalProduct("8x0e+8x1o+8x2e", "4x0e+4x1o", "5x0e+5x1o+5x2e", mode="uvw")
    x = rng.normal(size=(20000, product.irreps_in1.dim))
    y = rng.normal(size=(20000, product.irreps_in2.dim))
    draws = []
    for _ in range(20):
        z = product(x[:1000], y[:1000], rng.normal(size=product.weight_numel))
        draws.append((z**2).mean(axis=0))
        x, y = x[1000:], y[1000:]
    variance = np.mean(draws, axis=0)
    for part in product.irreps_out.slices():
        # 20 draws of 5 x 32 weights: a standard error of some three per cent.
        assert abs(variance[part].mean() - 1.0) < 0.15


def test_automatic_choice_takes_exact_schemes_only_unless_an_error_is_allowed() -> None:
    leg = "+".join(f"2x{l}e" for l in range(3))
    exact = TensorProduct(leg, leg, leg, mode="uuu")
    assert exact.schemes == ("dense", "cp")  # rank 31, unit coefficients
    small = "2x0e+2x1e"  # the exact table of rank 7 has coefficients of its own
    assert TensorProduct(small, small, small, mode="uuu").schemes == ("dense",)
    assert TensorProduct(small, small, small, mode="uuu", tol=0.05).schemes == ("dense", "cp")
    free = TensorProduct(small, small, small, mode="uuu", coefficients="free")
    assert free.schemes == ("dense", "cp")


def test_folded_operands_give_the_product() -> None:
    rng = np.random.default_rng(0)
    for layout in ("ir_mul", "mul_ir"):
        product = SphericalProduct(
            "4x0e+4x1o", "0e+1o", "4x0e+4x1o+4x1e", scheme="y_first", layout=layout
        )
        x, y, w = (rng.normal(size=(7, n)) for n in (16, 4, 4))
        z = product.apply_folded(x, product.fold(y), w)
        assert np.abs(z - product(x, y, w)).max() < 1e-14


def test_cost_names_every_scheme() -> None:
    product = TensorProduct("4x0e+4x1o", "0e+1o", mode="uvu")
    table = product.cost(batch=16).splitlines()
    assert [line.split()[0] for line in table[1:]] == list(product.schemes)
    # y first: d3 d1 (d2 + C) and one weight a channel and component.
    assert int(table[2].split()[1]) == 4 * 4 * (4 + 4) + 4 * 4


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
