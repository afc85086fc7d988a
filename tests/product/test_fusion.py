"""All couplings of given legs, counted."""

from __future__ import annotations

import numpy as np
import pytest

from etn.product import fused_cg

L_MAX = range(1, 7)


@pytest.mark.parametrize(("parity", "counts"), [
    ("none", [5, 15, 34, 65, 111, 175]),
    ("even", [4, 11, 23, 42, 69, 106]),
])  # fmt: skip
def test_path_counts_are_the_published_ones(parity: str, counts: list[int]) -> None:
    for l_max, count in zip(L_MAX, counts, strict=True):
        fused = fused_cg(l_max, parity=parity)  # type: ignore[arg-type]
        assert len(fused.paths) == count
        assert np.isclose((fused.dense() ** 2).sum(), count, rtol=1e-13)


def test_three_inputs_are_two_couplings() -> None:
    """With isometric coefficients, a product of three is the product of two, twice."""
    l_max = 2
    two = fused_cg(l_max, coefficients="cg").dense()
    three = fused_cg(l_max, inputs=3, coefficients="cg")
    twice = np.einsum("kaz,axy->kxyz", two, two)
    assert np.abs(three.dense() - twice).max() < 1e-14
    assert three.labels()[-1] == "2e x 2e x 2e -> 2e (by 2e)"
    gram = [np.vdot(three.path_tensor(three.paths[-1]), three.path_tensor(three.paths[-1]))]
    assert np.isclose(gram[0], 1.0)
