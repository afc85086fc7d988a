"""Products of packed Cartesian tensors as a fused tensor."""

from __future__ import annotations

import numpy as np
import pytest

from etn.o3 import cartesian
from etn.product import fused_cg
from etn.product.packed import PackedTensor, path_coefficients

FUSED = fused_cg(ins=["0e+1o+2e", "1o"], out="0e+1o+2e+1e")


def test_the_orthonormal_packing_is_the_plain_tensor() -> None:
    packed = PackedTensor.of(FUSED, "orthonormal")
    assert packed.dense() == pytest.approx(FUSED.dense(), abs=1e-14)
    assert packed.norm == pytest.approx(FUSED.norm)


def test_the_monomial_packing_is_a_change_of_basis(rng: np.random.Generator) -> None:
    packed = PackedTensor.of(FUSED, "monomial")

    def monomial(x: np.ndarray, leg) -> np.ndarray:
        parts = [
            cartesian.repack(x[:, part], term.ir.l, "orthonormal", "monomial")
            for term, part in zip(leg, leg.slices(), strict=True)
        ]
        return np.concatenate(parts, axis=1)

    out, (first, second) = FUSED.out, FUSED.ins
    x, y = rng.normal(size=(5, first.dim)), rng.normal(size=(5, second.dim))
    expected = monomial(np.einsum("kij,bi,bj->bk", FUSED.dense(), x, y), out)
    found = np.einsum("kij,bi,bj->bk", packed.dense(), monomial(x, first), monomial(y, second))
    assert found == pytest.approx(expected, abs=1e-12)


def test_dot_and_cross_product_have_their_sizes() -> None:
    """Under "unity" a.b and a x b: the norms of the identity and of the Levi-Civita symbol."""
    pair = fused_cg(ins=["1o", "1o"], out="0e+1e")
    assert pair.labels() == ("1o x 1o -> 0e", "1o x 1o -> 1e")
    assert path_coefficients(pair, "unity") == pytest.approx([np.sqrt(3), np.sqrt(6)])
    assert path_coefficients(pair, "cg") == pytest.approx([1.0, np.sqrt(3)])
