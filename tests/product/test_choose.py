"""The choice of a scheme by its measured time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from etn.backend import Kind
from etn.product.choose import fastest
from etn.product.weight_sharing import WeightPlan


class Waiting:
    """A contraction that takes a known time."""

    constants = {"matrix": np.eye(2)}

    def __init__(self, seconds: float, n_weights: int) -> None:
        self.seconds, self.calls = seconds, []
        self.plan = WeightPlan({"channels": (n_weights,)} if n_weights else {})

    def apply(self, xp, c, x, y, w):
        self.calls.append((x.shape, y.shape, None if w is None else w.shape, c["matrix"].dtype))
        time.sleep(self.seconds)
        return x


@pytest.mark.parametrize("n_weights", [0, 4])
def test_the_one_that_takes_least_time_is_chosen(n_weights: int) -> None:
    schemes = {"slow": Waiting(4e-3, n_weights), "fast": Waiting(1e-3, n_weights)}
    choice = fastest(schemes, Kind(dtype="float32"), 6, (3, 5))
    assert choice.scheme == "fast"
    assert choice.microseconds["slow"] > choice.microseconds["fast"] > 900
    weights = (6, n_weights) if n_weights else None
    for scheme in schemes.values():
        # Once to warm up, and three times at least to be measured.
        assert len(scheme.calls) >= 4
        assert set(scheme.calls) == {((6, 3), (6, 5), weights, np.dtype("float32"))}
