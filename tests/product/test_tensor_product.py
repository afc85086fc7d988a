"""Every scheme, mode and way to share weights under the law suite of products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps, wigner_3j
from etn.product import (
    CartesianProduct,
    DecomposedProduct,
    SphericalProduct,
    TensorProduct,
    change_layout,
)
from etn.product.modes import MODES, fan_in, weight_shape
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


# Terms of multiplicity zero, and legs without irreps

EMPTY_TERMS = [
    # Each leg with empty terms, and without them.
    (("0x0e+3x1o+0x2e+3x0e", "2x0e+0x1e+2x1o", "0x1o+4x1o+4x0e+0x0e"), "uvw"),
    (("3x0e+0x3o+3x1o", "0x0e+2x1o", "3x1o+0x0o+3x0e"), "uvu"),
    (("2x1o+0x1o", "0x2e+3x0e+3x1o", "3x0e+3x1o"), "uvv"),
    (("0x0e+3x1o", "3x0e+0x0e+3x1o", "2x0e+0x2e"), "uuw"),
    (("3x0e+0x1e+3x1o", "3x1o+0x1o+3x0e", "0x2e+3x1o"), "uuu"),
]


@pytest.mark.parametrize("weights", ["shared", "per_l", "per_path", "none"])
@pytest.mark.parametrize(("legs", "mode"), EMPTY_TERMS)
@pytest.mark.parametrize("layout", ["ir_mul", "mul_ir"])
@pytest.mark.parametrize("cls", [TensorProduct, CartesianProduct])
def test_terms_of_multiplicity_zero_are_as_if_left_out(
    cls: type[TensorProduct], legs: tuple[str, ...], mode: Any, weights: Any, layout: Any
) -> None:
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"mode": mode, "weights": weights, "layout": layout}
    if cls is CartesianProduct:
        options["normalization"] = "unity"
    one = cls(*legs, **options)
    two = cls(*(Irreps(leg).filter(lambda term: term.mul > 0) for leg in legs), **options)
    assert one.irreps_in1 == Irreps(legs[0])
    assert (one.sizes, one.paths) == (two.sizes, two.paths)
    x, y, w = (rng.normal(size=(4, size)) for size in one.sizes)
    np.testing.assert_allclose(one(x, y, w), two(x, y, w), atol=1e-14)


def test_paths_keep_the_numbers_of_the_terms_as_they_were_given() -> None:
    rng = np.random.default_rng(0)
    legs = ("0x0e+3x1o", "0e+1o", "3x0e+3x1o")
    options: dict[str, Any] = {"weights": "per_path"}
    one = TensorProduct(
        *legs, paths=[(1, 1, 0), (0, 0, 0), (1, 0, 1)], coefficients=[2.0, 9.0, 3.0], **options
    )
    two = TensorProduct(
        "3x1o",
        "0e+1o",
        "3x0e+3x1o",
        paths=[(0, 1, 0), (0, 0, 1)],
        coefficients=[2.0, 3.0],
        **options,
    )
    assert one.coefficients.tolist() == [2.0, 3.0]
    x, y, w = (rng.normal(size=(4, size)) for size in two.sizes)
    np.testing.assert_array_equal(one(x, y, w), two(x, y, w))


@pytest.mark.parametrize(
    "legs",
    [
        ("2x0e+2x1e", "", "2x0e+2x1e"),
        ("", "0e+1o", "2x0e"),
        ("0x1o", "0x1o+1x1o", "3x0e"),
        ("2x1o", "1o", ""),
        ("2x1o", "1o", "0x0e"),
        ("", "", ""),
    ],
)
@pytest.mark.parametrize("weights", ["shared", "per_path", "none"])
@pytest.mark.parametrize("mode", ["uvw", "uvu", "uuu"])
def test_a_leg_without_irreps_gives_zeros(legs: tuple[str, ...], weights: Any, mode: Any) -> None:
    for cls in (TensorProduct, SphericalProduct, CartesianProduct, DecomposedProduct):
        if cls is DecomposedProduct and weights == "per_path":
            continue
        product = cls(*legs, mode=mode, weights=weights)
        assert product.weight_numel == 0
        for lead in ((5,), (2, 0, 3), ()):
            x = np.ones((*lead, product.irreps_in1.dim))
            z = product(x, np.ones((*lead, product.irreps_in2.dim)))
            assert z.shape == (*lead, product.irreps_out.dim)
            assert not z.any()


def test_zeros_belong_to_the_graph_of_the_operands() -> None:
    torch = pytest.importorskip("torch")
    for legs in (("2x0e", "", "2x0e"), ("5x0e", "5x0e", "5x0e+3x0o")):
        product = TensorProduct(*legs, mode="uvw", weights="per_path")
        x, y = (torch.ones(3, n, requires_grad=True) for n in product.sizes[:2])
        for function in (product, product.module(), product.module(own_weights=True)):
            gradients = torch.autograd.grad(function(x, y)[:, -1].sum(), [x, y])
            assert not any(g.any() for g in gradients)
    # What is not finite does not spread to where nothing leads.
    z = product(torch.full((1, 5), torch.inf), torch.ones(1, 5))
    assert not z[:, 5:].any()


IRS = ["0e", "0o", "1e", "1o", "2e"]
LEADS = [((), (), ()), ((4,), (4,), (4,)), ((4,), (), ()), ((2, 1), (3,), ()), ((0,), (1,), (0,))]


@st.composite
def calls(draw: st.DrawFn) -> tuple[Any, ...]:
    """A mode, legs that fit it and may have empty terms, leading axes, and how arrays lie."""
    mode, weights = draw(st.sampled_from(MODES)), draw(st.sampled_from(["shared", "per_path"]))
    counts: dict[str, int] = {}
    legs = []
    for letter in mode:
        count = counts.setdefault(letter, draw(st.integers(1, 3)))
        irs = draw(st.lists(st.sampled_from(IRS), max_size=3))
        legs.append("+".join(f"{count * draw(st.integers(0, 4).map(bool))}x{ir}" for ir in irs))
    return mode, weights, legs, draw(st.sampled_from(LEADS)), draw(st.booleans())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(calls())
def test_any_product_is_its_formula(call: tuple[Any, ...]) -> None:
    """Against one einsum a path over 3j symbols, whatever the legs and the leading axes."""
    mode, weights, legs, leads, strided = call
    try:
        product = TensorProduct(*legs, mode=mode, weights=weights)
    except IrrepsError:
        # Legs with channels between which nothing couples; those without give zeros.
        assert all(Irreps(leg).dim for leg in legs)
        return
    rng = np.random.default_rng(0)
    step = 2 if strided else 1
    x, y, w = (
        rng.normal(size=(*lead, step * size))[..., ::step]
        for lead, size in zip(leads, product.sizes, strict=True)
    )
    found, wanted = product(x, y, w), by_formula(product, x, y, w)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def by_formula(product: TensorProduct, *arrays: Any) -> Any:
    """One einsum for each path between terms with channels."""
    lead = np.broadcast_shapes(*(a.shape[:-1] for a in arrays))
    legs = (product.irreps_in1, product.irreps_in2, product.irreps_out)
    x, y, w = (np.broadcast_to(a, (*lead, a.shape[-1])) for a in arrays)
    x, y = (change_layout(a, leg, "ir_mul", "mul_ir") for a, leg in zip((x, y), legs, strict=False))
    one, two, out = legs
    paths = [
        (k, i, j)
        for k, c in enumerate(out)
        for i, a in enumerate(one)
        for j, b in enumerate(two)
        if a.mul * b.mul * c.mul and c.ir in list(a.ir * b.ir)
    ]
    z, start = np.zeros((*lead, out.dim)), 0
    letters = "".join(dict.fromkeys(product.mode))
    u, v, to = product.mode
    for k, i, j in paths:
        muls = one[i].mul, two[j].mul, out[k].mul
        shape = weight_shape(product.mode, muls)
        stop = start + math.prod(shape)
        weights = w[..., start:stop].reshape(*lead, *shape)
        start = stop if product.weights == "per_path" else 0
        fans = sum(fan_in(product.mode, (one[p].mul, two[q].mul, 1)) for n, p, q in paths if n == k)
        tensor = wigner_3j(one[i].ir.l, two[j].ir.l, out[k].ir.l) * np.sqrt(out[k].ir.dim / fans)
        part = np.einsum(
            f"...{letters},ABC,...{u}A,...{v}B->...{to}C",
            weights,
            tensor,
            x[..., one.slices()[i]].reshape(*lead, muls[0], one[i].ir.dim),
            y[..., two.slices()[j]].reshape(*lead, muls[1], two[j].ir.dim),
        )
        z[..., out.slices()[k]] += part.reshape(*lead, out[k].dim)
    return change_layout(z, out, "mul_ir", "ir_mul")
