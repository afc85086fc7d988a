"""Layouts, modes and weights of products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.errors import CoreError, IrrepsError
from etn.o3 import Irreps
from etn.product import change_layout

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


def test_layouts_check_their_axis() -> None:
    with pytest.raises(IrrepsError, match="expected a last axis of 6"):
        change_layout(np.ones(5), "2x1o", "mul_ir", "ir_mul")


def test_a_list_is_no_array():
    with pytest.raises(CoreError, match="a NumPy array or a torch tensor, got list"):
        change_layout([0.0] * 6, "2x1o", "mul_ir", "ir_mul")
