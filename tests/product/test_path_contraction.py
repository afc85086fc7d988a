"""Weights of their own for every path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn.o3 import Irreps
from etn.product import TensorProduct, fused_cg
from etn.product.path_contraction import PathContraction
from etn.testing import ProductLaws


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


@pytest.mark.parametrize("mode", ["uvw", "uvu"])
@pytest.mark.parametrize("second", ["1x0e+1x1o", "2x0e+2x1o"])
def test_path_by_path_against_einsum(mode: Any, second: str, rng: np.random.Generator) -> None:
    """Both ways of computing: all paths of an input at once, and one by one."""
    legs = (Irreps("3x0e+3x1o"), Irreps(second), Irreps("3x0e+3x1o+3x1e"))
    fused = fused_cg(ins=("0e+1o", "0e+1o"), out="0e+1o+1e", coefficients="cg")
    contraction = PathContraction(fused, legs, mode)
    assert contraction.at_once == (mode == "uvu" and second == "1x0e+1x1o")
    x, y = (rng.normal(size=(5, leg.dim)) for leg in legs[:2])
    w = rng.normal(size=(5, contraction.plan.size))
    z, start = np.zeros((5, legs[2].dim)), 0
    for path, alpha in zip(fused.paths, fused.coefficients, strict=True):
        terms = (*path.ins, path.out)
        one, two = (
            a[:, leg.slices()[t]].reshape(5, leg[t].ir.dim, leg[t].mul)
            for a, leg, t in zip((x, y), legs, terms, strict=False)
        )
        shape = (3, legs[1][0].mul, 3) if mode == "uvw" else (3, legs[1][0].mul)
        stop = start + int(np.prod(shape))
        weights, start = w[:, start:stop].reshape(5, *shape), stop
        sums = "kij,biu,bjv,buvw->bkw" if mode == "uvw" else "kij,biu,bjv,buv->bku"
        part = np.einsum(sums, alpha * fused.path_tensor(path), one, two, weights)
        z[:, legs[2].slices()[path.out]] += part.reshape(5, -1)
    found = contraction.apply(np, contraction.constants, x, y, w)
    assert found == pytest.approx(z, abs=1e-12)
