"""Kernels against einsum."""

from __future__ import annotations

import numpy as np
import pytest

from etn.product.kernels import BLOCK_BYTES, CPKernel, DenseKernel, FirstKernel, Kernel

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("scheme", ["dense", "cp"])
def test_blocks_of_a_large_batch_give_what_einsum_gives(scheme):
    rng = np.random.default_rng(3)
    shape, channels = (4, 5, 6), 64
    factors = tuple(rng.normal(size=(d, 40)) for d in shape)
    dense = np.einsum("kr,ir,jr->kij", *factors)
    kernel = CPKernel.of(factors) if scheme == "cp" else DenseKernel.of(dense)
    step = BLOCK_BYTES // (kernel.width * 8 * channels)
    b = 2 * step + 3  # three blocks, the last one shorter
    c = {name: torch.tensor(value) for name, value in kernel.constants.items()}
    x, y, g = (torch.tensor(rng.normal(size=(b, d, channels))) for d in (5, 6, 4))
    m = torch.tensor(dense)
    close = {"rtol": 1e-11, "atol": 1e-11}
    found = kernel.contract(torch, c, x, y)
    torch.testing.assert_close(found, torch.einsum("kij,biu,bju->bku", m, x, y), **close)
    to_x, to_y = kernel.gradients(torch, c, g, x, y)
    torch.testing.assert_close(to_x, torch.einsum("kij,bku,bju->biu", m, g, y), **close)
    torch.testing.assert_close(to_y, torch.einsum("kij,bku,biu->bju", m, g, x), **close)
    torch.testing.assert_close(kernel.free(torch, c, g, y, 1), to_x, **close)
    torch.testing.assert_close(kernel.free(torch, c, g, x, 2), to_y, **close)


def forms(rng: np.random.Generator) -> dict[str, Kernel]:
    """Kernels of one tensor."""
    factors = tuple(rng.normal(size=(d, 7)) for d in (4, 5, 6))
    dense = np.einsum("kr,ir,jr->kij", *factors)
    return {
        "dense": DenseKernel.of(dense),
        "y_first": FirstKernel.of(dense),
        "cp": CPKernel.of(factors),
    }


@pytest.mark.parametrize("name", ["dense", "y_first", "cp"])
@pytest.mark.parametrize("batch", [0, 1, 9])
def test_one_channel_beside_many(name, batch, rng):
    kernels = forms(rng)
    dense = kernels["dense"].matrix.reshape(4, 5, 6)
    kernel = kernels[name]
    x, y = rng.normal(size=(batch, 5, 3)), rng.normal(size=(batch, 6, 1))
    if name == "dense":  # its operands have equal channels
        y = np.broadcast_to(y, (batch, 6, 3))
    found = kernel.contract(np, kernel.constants, x, y)
    assert found == pytest.approx(np.einsum("kij,biu,bj->bku", dense, x, y[..., 0]), abs=1e-12)
    assert (kernel.name, kernel.one_channel) == (name, name == "y_first")


def test_matrices_of_the_second_operand(rng):
    kernels = forms(rng)
    y = rng.normal(size=(8, 6))
    found = kernels["y_first"].fold(kernels["y_first"].constants, y)
    dense = kernels["dense"].matrix.reshape(4, 5, 6)
    assert found == pytest.approx(np.einsum("kij,bj->bki", dense, y), abs=1e-13)


def test_multiplications_are_counted(rng):
    """By hand for (4, 5, 6) and three channels: outer product and matrix; K and K x; R rows."""
    counts = {name: kernel.flops(3) for name, kernel in forms(rng).items()}
    assert counts == {
        "dense": 3 * (5 * 6 + 4 * 5 * 6),
        "y_first": 4 * 5 * 6 + 3 * 4 * 5,
        "cp": 3 * 7 * (4 + 5 + 6 + 1),
    }


def test_constants_are_read_only(rng):
    for kernel in forms(rng).values():
        for value in kernel.constants.values():
            assert not value.flags.writeable
            assert value.flags.c_contiguous
