"""Layouts, modes and weights of products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps
from etn.product import change_layout
from etn.product.modes import MODES, fan_in, weight_shape
from etn.product.weight_sharing import WeightPlan

TERMS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["0e", "1o", "2e", "3o"])), max_size=4
)


@given(TERMS)
def test_there_and_back_is_the_identity(terms: list[tuple[int, str]]) -> None:
    irreps = Irreps(terms)
    if not irreps.dim:
        return
    x = np.arange(2 * irreps.dim).reshape(2, -1)
    there = change_layout(x, irreps, "mul_ir", "ir_mul")
    assert np.array_equal(change_layout(there, irreps, "ir_mul", "mul_ir"), x)
    for term, part in zip(irreps, irreps.slices(), strict=True):
        block = x[:, part].reshape(2, term.mul, term.ir.dim)
        assert np.array_equal(
            there[:, part].reshape(2, term.ir.dim, term.mul).swapaxes(1, 2), block
        )


def test_weights_are_split_and_joined() -> None:
    plan = WeightPlan({"channels": (2, 3), "out": (4,)})
    w = np.arange(20.0).reshape(2, 10)
    blocks = plan.split(w)
    assert {name: b.shape for name, b in blocks.items()} == {"channels": (2, 2, 3), "out": (2, 4)}
    assert np.array_equal(plan.join(np, blocks), w)
    with pytest.raises(SettingsError, match=r"weights out: expected \(\.\.\., \(4,\)\), got none"):
        plan.join(np, {"channels": blocks["channels"]})
    with pytest.raises(IrrepsError, match="last axis of 10"):
        plan.split(w[:, :3])


def test_fan_in_counts_the_sums_of_the_mode() -> None:
    sizes = {mode: (4, 4, 4) if mode == "uuu" else (4, 4, 5) for mode in MODES}
    sizes |= {"uvu": (4, 3, 4), "uvv": (4, 3, 3), "uvw": (4, 3, 5)}
    expected = {"uvw": 12, "uvu": 3, "uvv": 4, "uuw": 4, "uuu": 1}
    assert {mode: fan_in(mode, sizes[mode]) for mode in MODES} == expected
    shapes = {"uvw": (4, 3, 5), "uvu": (4, 3), "uvv": (4, 3), "uuw": (4, 5), "uuu": (4,)}
    assert {mode: weight_shape(mode, sizes[mode]) for mode in MODES} == shapes
