"""Products of e3nn computed by etn: the same values and gradients, or a reason why not."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from e3nn import o3

from etn.errors import SettingsError
from etn.interfaces.e3nn import (
    from_e3nn,
    replace_tensor_products,
)
from etn.product import TensorProduct
from etn.product.modes import MODES

CASES = [(mode, weighted) for mode in MODES for weighted in (True, False)]
CASES.remove(("uvw", False))  # e3nn has none


@pytest.mark.parametrize(("mode", "weighted"), CASES)
def test_every_mode(
    mode: str, weighted: bool, product: Any, operands: Any, assert_same: Any
) -> None:
    theirs = product(mode, weighted, internal_weights=False, shared_weights=False)
    ours = from_e3nn(theirs)
    assert isinstance(ours, TensorProduct)
    assert ours.mode == mode
    assert ours.weights == ("per_path" if weighted else "none")
    assert ours.weight_numel == theirs.weight_numel
    arrays = operands(theirs)
    assert_same(ours, theirs, arrays)
    # The same for NumPy.
    numpy = [a.detach().numpy() for a in arrays]
    torch.testing.assert_close(
        torch.from_numpy(ours(*numpy)), theirs(*arrays).detach(), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("irrep_normalization", ["component", "norm", "none"])
@pytest.mark.parametrize("path_normalization", ["element", "path", "none"])
def test_every_normalization(
    mode: str,
    irrep_normalization: str,
    path_normalization: str,
    product: Any,
    operands: Any,
    legs: Any,
) -> None:
    variances = [[0.5 + 0.3 * n for n in range(len(o3.Irreps(leg)))] for leg in legs[mode]]
    theirs = product(
        mode,
        irrep_normalization=irrep_normalization,
        path_normalization=path_normalization,
        in1_var=variances[0],
        in2_var=variances[1],
        out_var=variances[2],
        shared_weights=False,
    )
    with torch.no_grad():
        x, y, w = operands(theirs, (3,))
        torch.testing.assert_close(
            from_e3nn(theirs)(x, y, w), theirs(x, y, w), rtol=1e-12, atol=1e-11
        )


def test_component_coefficients_are_the_defaults_of_e3nn() -> None:
    legs = "3x0e+2x1o", "2x0e+1x1o", "2x0e+4x1o+1x1e"
    ours = from_e3nn(o3.FullyConnectedTensorProduct(*legs))
    same = TensorProduct(*legs, mode="uvw", weights="per_path", coefficients="component")
    named = dict(zip(same.paths, same.coefficients, strict=True))
    assert dict(zip(ours.paths, ours.coefficients, strict=True)) == pytest.approx(named)


@pytest.mark.parametrize(
    ("theirs", "mode"),
    [
        (lambda: o3.ElementwiseTensorProduct("5x1o+3x1e", "4x1e+4x2o"), "uuu"),
        (lambda: o3.FullTensorProduct("3x0e+2x1o", "1x0e+1x1o+1x2e"), "uvu"),
        (lambda: o3.FullTensorProduct("1x0e+1x1o", "3x0e+2x1o"), "uvv"),
        (lambda: o3.FullTensorProduct("0e+1o", "0e+1o"), "uvu"),
        (lambda: o3.FullTensorProduct("0e+1o", "0e+2x1o"), "uvv"),
        (lambda: o3.TensorProduct("2x1o", "2x1o", "0e", [(0, 0, 0, "uuw", False)]), "uuw"),
    ],
)
def test_products_without_weights(theirs: Any, mode: str, operands: Any, assert_same: Any) -> None:
    tp = theirs()
    ours = from_e3nn(tp)
    assert ours.mode == mode
    assert str(ours.irreps_out) == str(tp.irreps_out)
    for name in ours.schemes:
        assert_same(from_e3nn(tp, scheme=name), tp, operands(tp))


# Products that etn does not have


def test_instructions_that_are_refused() -> None:
    legs = "2x0e+2x1o", "2x0e+2x1o"
    cases = [
        ([(0, 0, 0, "uvuv", False)], r"instruction 0 \(2x0e x 2x0e -> 4x0e, uvuv\).*no such mode"),
        ([(1, 1, 1, "u<vw", True)], r"instruction 0 \(2x1o x 2x1o -> 2x0e, u<vw\).*no such mode"),
        ([(1, 1, 2, "uvu<v", False)], r"instruction 0 .*uvu<v\).*no such mode"),
        (
            [(0, 0, 1, "uvu", True), (1, 1, 1, "uuu", True)],
            r"instruction 1 \(2x1o x 2x1o -> 2x0e, uuu\): those before it have mode uvu",
        ),
        (
            [(0, 0, 1, "uuu", True), (1, 1, 1, "uuu", False)],
            "instruction 1 .*: it has no weights, unlike",
        ),
        ([], "no instruction"),
    ]
    for instructions, message in cases:
        with pytest.raises(SettingsError, match=message):
            from_e3nn(o3.TensorProduct(*legs, "4x0e+2x0e+1x0e", instructions))


def test_what_is_no_product(product: Any) -> None:
    with pytest.raises(SettingsError, match=r"expected an e3nn.o3.TensorProduct, got Linear"):
        from_e3nn(o3.Linear("0e", "0e"))
    with pytest.raises(SettingsError, match="scheme cp"):
        from_e3nn(product("uvw"), scheme="cp")


def test_without_e3nn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "e3nn", None)
    for function in (from_e3nn, replace_tensor_products):
        with pytest.raises(SettingsError, match="pip install e3nn"):
            function(torch.nn.Linear(2, 2))


# Whole models


def test_terms_of_multiplicity_zero_stay_in_the_irreps() -> None:
    theirs = o3.FullyConnectedTensorProduct("0x0e+2x1o", "0x1o+1x0e+1x1o", "2x1e+0x2e+3x0e")
    theirs = theirs.double()
    ours = from_e3nn(theirs)
    assert [str(leg) for leg in (ours.irreps_in1, ours.irreps_in2, ours.irreps_out)] == [
        "0x0e+2x1o",
        "0x1o+1x0e+1x1o",
        "2x1e+0x2e+3x0e",
    ]
    assert ours.weight_numel == theirs.weight_numel
    x, y = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 4, dtype=torch.float64)
    # Constants of e3nn are those of float32.
    torch.testing.assert_close(ours(x, y, theirs.weight), theirs(x, y), rtol=0, atol=1e-5)
