"""Methods that are not rounded where products of matrices are."""

from __future__ import annotations

import torch
from torch import nn

from etn.nn.rounding import unrounded


class Twice(nn.Module):
    @unrounded
    def forward(self, x, parts):
        return x @ x + parts[0]


def test_under_autocast_operands_and_products_are_of_full_precision(rng):
    x = torch.as_tensor(rng.normal(size=(8, 8)), dtype=torch.float32)
    expected = x @ x + x
    assert torch.equal(Twice()(x, (x,)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Twice()(x, (x,)), expected)
        assert not torch.equal((x @ x + x).float(), expected)
        halves = x.bfloat16()
        assert Twice()(halves, (halves,)).dtype == torch.float32
