"""Bounds on new tensors."""

from __future__ import annotations

import pytest
import torch

from etn.errors import ModelFileError
from etn.nn.bounded import Bounded


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Linear(40, 40),
        lambda: torch.arange(2000),
        lambda: torch.linspace(0, 1, 2000),
        lambda: torch.randn(2, 1000, generator=torch.Generator()),
        lambda: [torch.zeros(10) for _ in range(200)],
    ],
)
def test_more_than_the_bound_is_refused(make):
    with pytest.raises(ModelFileError, match="expected at most 1000 numbers"), Bounded(1000):
        make()
    with Bounded(10_000):
        make()


def test_operations_on_tensors_are_free():
    x = torch.ones(100)
    with Bounded(10):
        assert (x[:, None] * x).sum() == 10_000
