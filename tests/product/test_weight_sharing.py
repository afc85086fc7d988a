"""Blocks of flat weights."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import IrrepsError, SettingsError
from etn.product.weight_sharing import WeightPlan


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
