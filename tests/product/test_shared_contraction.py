"""Modes and shared weights against one einsum over all channels."""

from __future__ import annotations

import numpy as np
import pytest

from etn.product import fused_cg
from etn.product.kernels import DenseKernel, FirstKernel
from etn.product.modes import MODES, Mode
from etn.product.shared_contraction import SharedContraction

FUSED = fused_cg(ins=["0e+1o", "0e+1o"], out="0e+1o+1e")
CHANNELS = {
    "uvw": (2, 3, 4),
    "uvu": (2, 3, 2),
    "uvv": (2, 3, 3),
    "uuw": (3, 3, 2),
    "uuu": (3, 3, 3),
}
# Weights w over the letters of the mode; t_{kuv} is the coupling of channels u and v.
SUMS = {
    "uvw": "kij,biu,bjv,buvw->bkw",
    "uvu": "kij,biu,bjv,buv->bku",
    "uvv": "kij,biu,bjv,buv->bkv",
    "uuw": "kij,biu,bju,buw->bkw",
    "uuu": "kij,biu,bju,bu->bku",
}
BATCH = 5


def operands(contraction: SharedContraction, rng: np.random.Generator) -> list[np.ndarray]:
    (_, d1, d2), (c1, c2, _) = FUSED.shape, contraction.channels
    sizes = (d1 * c1, d2 * c2, contraction.plan.size)
    return [rng.normal(size=(BATCH, size)) for size in sizes]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sharing", ["shared", "none"])
def test_one_sum_over_channels(mode: Mode, sharing: str, rng: np.random.Generator) -> None:
    channels = CHANNELS[mode]
    kernel = DenseKernel.of(FUSED.dense())
    contraction = SharedContraction(FUSED, channels, mode, sharing, kernel)  # type: ignore[arg-type]
    x, y, w = operands(contraction, rng)
    shape = tuple(dict(zip(mode, channels, strict=True)).values())
    weights = np.ones((BATCH, *shape)) if sharing == "none" else w.reshape(BATCH, *shape)
    _, d1, d2 = FUSED.shape
    parts = (x.reshape(BATCH, d1, channels[0]), y.reshape(BATCH, d2, channels[1]))
    expected = np.einsum(SUMS[mode], FUSED.dense(), *parts, weights).reshape(BATCH, -1)
    found = contraction.apply(np, contraction.constants, x, y, None if sharing == "none" else w)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_scales_of_the_degrees_multiply_rows(mode: Mode, rng: np.random.Generator) -> None:
    """Weights per l are those that are shared, with scaled operands and a scaled output."""
    kernel = DenseKernel.of(FUSED.dense())
    scaled = SharedContraction(FUSED, CHANNELS[mode], mode, "per_l", kernel)
    shared = SharedContraction(FUSED, CHANNELS[mode], mode, "shared", kernel)
    x, y, w = operands(scaled, rng)
    blocks = scaled.plan.split(w)
    dims = {"in1": [1, 3], "in2": [1, 3], "out": [1, 3, 3]}
    one, two, out = (
        np.repeat(np.repeat(blocks[name], dims[name], axis=1), c, axis=1)
        for name, c in zip(("in1", "in2", "out"), CHANNELS[mode], strict=True)
    )
    plain = blocks["channels"].reshape(BATCH, -1)
    expected = out * shared.apply(np, shared.constants, x * one, y * two, plain)
    found = scaled.apply(np, scaled.constants, x, y, w)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("mode", ["uvu", "uvw"])
def test_one_channel_first_is_the_same_sum(mode: Mode, rng: np.random.Generator) -> None:
    channels = (4, 1, 4 if mode == "uvu" else 3)
    dense, first = DenseKernel.of(FUSED.dense()), FirstKernel.of(FUSED.dense())
    one = SharedContraction(FUSED, channels, mode, "shared", dense)
    two = SharedContraction(FUSED, channels, mode, "shared", first)
    x, y, w = operands(one, rng)
    expected = one.apply(np, one.constants, x, y, w)
    assert two.apply(np, two.constants, x, y, w) == pytest.approx(expected, abs=1e-12)
    assert two.along_edges == (mode == "uvu")
    assert not one.along_edges
