"""A torch module in the place of a product of e3nn: what it takes, keeps and loads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from e3nn import o3

from etn.errors import SettingsError
from etn.interfaces.e3nn import (
    E3nnProduct,
    replace_tensor_products,
)


@pytest.mark.parametrize(
    "options",
    [
        {"shared_weights": False},
        {"shared_weights": True, "internal_weights": False},
        {"shared_weights": True, "internal_weights": True},
    ],
    ids=["unshared", "shared", "internal"],
)
@pytest.mark.parametrize("lead", [(5,), (2, 3), ()], ids=str)
def test_module_takes_what_e3nn_takes(
    options: dict[str, bool], lead: tuple[int, ...], product: Any, operands: Any, assert_same: Any
) -> None:
    theirs = product("uvu", **options)
    if not lead and not theirs.shared_weights:
        lead = (1,)
    ours = E3nnProduct(theirs)
    arrays = operands(theirs, lead)
    assert_same(ours, theirs, arrays)
    # One second operand for all rows, weights as a list, and no rows at all.
    x, y = arrays[0], arrays[1].detach().reshape(-1, arrays[1].shape[-1])[0]
    torch.testing.assert_close(
        ours(x, y, *arrays[2:]), theirs(x, y, *arrays[2:]), rtol=1e-12, atol=1e-12
    )
    if len(lead) == 1:  # e3nn flattens other batch axes of a list
        views = list(theirs.weight_views(*arrays[2:]))
        x, y = arrays[:2]
        torch.testing.assert_close(
            ours(x, y, weight=views), theirs(x, y, weight=views), rtol=1e-12, atol=1e-12
        )
    empty = [a[:0] if a.ndim > 1 else a for a in arrays]
    if lead:
        assert ours(*empty).shape == theirs(*empty).shape


def test_module_keeps_what_models_read() -> None:
    theirs = o3.FullyConnectedTensorProduct("3x0e+2x1o+1x2e", "1x0e+1x1o", "2x0e+3x1o+2x3o+1x5e")
    ours = E3nnProduct(theirs.eval())
    for name in (
        "irreps_in1",
        "irreps_in2",
        "irreps_out",
        "instructions",
        "weight_numel",
        "shared_weights",
        "internal_weights",
        "training",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.weight is theirs.weight
    torch.testing.assert_close(ours.output_mask, theirs.output_mask)
    assert 0 in ours.output_mask


def test_gradients_of_internal_weights(
    product: Any, operands: Any, values_and_gradients: Any
) -> None:
    theirs = product("uvw")
    ours = E3nnProduct(theirs)
    arrays = operands(theirs)
    one = values_and_gradients(ours, arrays, (ours.weight,))
    for a, b in zip(one, values_and_gradients(theirs, arrays, (theirs.weight,)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("options", [{}, {"shared_weights": False}], ids=["internal", "external"])
def test_checkpoints_of_e3nn_load(
    options: dict[str, bool], product: Any, operands: Any, assert_same: Any
) -> None:
    theirs, other = product("uvu", **options), product("uvu", **options)
    assert any("w3j" in key for key in theirs.state_dict())
    ours = E3nnProduct(other)
    holder = torch.nn.ModuleDict({"tp": ours})
    holder.load_state_dict(torch.nn.ModuleDict({"tp": theirs}).state_dict())
    arrays = operands(theirs)
    assert_same(ours, theirs, arrays)
    again = product("uvu", **options)
    again.load_state_dict(ours.state_dict(), strict=False)
    assert_same(again, theirs, arrays)
    wrong = {"tp.weights": torch.zeros(3)}
    with pytest.raises(RuntimeError, match="Unexpected"):
        holder.load_state_dict(holder.state_dict() | wrong)


def test_float32(product: Any, operands: Any, assert_same: Any) -> None:
    torch.set_default_dtype(torch.float32)
    theirs = product("uvu")
    ours = E3nnProduct(theirs)
    assert ours(*operands(theirs)).dtype == torch.float32
    assert_same(ours, theirs, operands(theirs), 1e-5)
    report = replace_tensor_products(torch.nn.ModuleDict({"tp": theirs}))
    assert 1e-9 < report.swaps[0].difference < 1e-5


def test_module_checks_weights(product: Any, operands: Any) -> None:
    external = E3nnProduct(product("uvu", shared_weights=False))
    internal = E3nnProduct(product("uvu"))
    x, y, w = operands(external)
    with pytest.raises(SettingsError, match="no internal weights, got None"):
        external(x, y)
    with pytest.raises(SettingsError, match="batch axis, for unshared"):
        external(x, y, w[0])
    with pytest.raises(SettingsError, match="one axis, for shared"):
        internal(x, y, w)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_swapped_products_are_exported(product: Any, operands: Any) -> None:
    tp = product("uvu", shared_weights=False)
    exported = torch.export.export(E3nnProduct(tp), tuple(a.detach() for a in operands(tp)))
    arrays = operands(tp)
    torch.testing.assert_close(exported.module()(*arrays), tp(*arrays), rtol=1e-12, atol=1e-12)
