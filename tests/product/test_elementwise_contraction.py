"""Weights for every path and channel, all paths of two terms at once, against einsum."""

from __future__ import annotations

import numpy as np
import pytest

from etn.o3 import Irreps
from etn.product import fused_cg
from etn.product.elementwise_contraction import ElementwisePathContraction
from etn.product.path_contraction import PathContraction

FUSED = fused_cg(ins=["0e+1o", "1o+2e"], out="0e+1o+1e+2o")
C = 3
LEGS = tuple(Irreps([(C, ir) for _, ir in leg]) for leg in (*FUSED.ins, FUSED.out))


def expected(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Path by path, from the tensors of the paths."""
    b, (d3, d1, d2) = len(x), FUSED.shape
    x, y, w = x.reshape(b, d1, C), y.reshape(b, d2, C), w.reshape(len(w), -1, C)
    z = np.zeros((b, d3, C))
    for n, path in enumerate(FUSED.paths):
        out, one, two = FUSED.slices(path)
        tensor = FUSED.coefficients[n] * FUSED.path_tensor(path)
        z[:, out] += np.einsum("kij,biu,bju->bku", tensor, x[:, one], y[:, two]) * w[:, n, None]
    return z.reshape(b, -1)


@pytest.mark.parametrize("form", [ElementwisePathContraction, PathContraction])
@pytest.mark.parametrize("sets", ["one set for all", "one an entry"])
def test_all_paths_with_weights(form: type[PathContraction], sets: str, rng) -> None:
    contraction = form(FUSED, LEGS, "uuu")
    _, d1, d2 = FUSED.shape
    x, y = rng.normal(size=(6, d1 * C)), rng.normal(size=(6, d2 * C))
    w = rng.normal(size=(1 if sets == "one set for all" else 6, contraction.plan.size))
    found = contraction.apply(np, contraction.constants, x, y, w)
    assert found == pytest.approx(expected(x, y, w), abs=1e-12)


def test_blocks_of_a_large_batch(rng, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etn.product.elementwise_contraction.BLOCK_BYTES", 1000)
    contraction = ElementwisePathContraction(FUSED, LEGS, "uuu")
    _, d1, d2 = FUSED.shape
    x, y = rng.normal(size=(23, d1 * C)), rng.normal(size=(23, d2 * C))
    w = rng.normal(size=(23, contraction.plan.size))
    found = contraction.apply(np, contraction.constants, x, y, w)
    assert found == pytest.approx(expected(x, y, w), abs=1e-12)
    assert contraction.apply(np, contraction.constants, x[:0], y[:0], w[:0]).shape[0] == 0


def test_what_fits() -> None:
    assert ElementwisePathContraction.fits(PathContraction(FUSED, LEGS, "uuu"))
    assert not ElementwisePathContraction.fits(PathContraction(FUSED, LEGS, "uvu"))
    unequal = (Irreps("2x0e+3x1o"), *LEGS[1:])
    assert not ElementwisePathContraction.fits(PathContraction(FUSED, unequal, "uuu"))
