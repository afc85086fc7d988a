"""Values on open legs and weights on results: axes, checks and what is said of a misfit."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import Kind
from etn.errors import CoreError
from etn.network.graphs.inputs import SAMPLES, check_open, checked, feed, feed_result, remaining
from etn.o3 import Irreps

LEGS = {"x": Irreps("1x0e+1x1o"), "y": Irreps("2x0e"), "b": Irreps("1x1o")}
OPEN = ("x", "y")


def test_axes_are_named():
    fed = feed({"x": np.ones((5, 4)), "y": [1.0, 2.0]}, LEGS, Kind())
    assert {label: operand.labels for label, operand in fed.items()} == {
        "x": (SAMPLES, "x"),
        "y": ("y",),
    }
    assert fed["y"].array.dtype == np.float64


def test_what_is_not_fed_remains_after_the_samples():
    vector = feed({"y": np.ones(2)}, LEGS, Kind())
    rows = feed({"y": np.ones((5, 2))}, LEGS, Kind())
    assert remaining(OPEN, {}) == ("x", "y")
    assert remaining(OPEN, vector) == ("x",)
    assert remaining(OPEN, rows) == (SAMPLES, "x")


def test_weights_have_the_shape_of_the_result():
    rows = feed({"y": np.ones((5, 2))}, LEGS, Kind())
    labels = remaining(OPEN, rows)
    assert feed_result(np.ones((5, 4)), labels, rows, LEGS, Kind()).labels == (SAMPLES, "x")
    message = (
        r"cotangent: expected the shape \(5, 4\) of the result, axes \(samples\) x; got \(4,\)"
    )
    with pytest.raises(CoreError, match=message):
        feed_result(np.ones(4), labels, rows, LEGS, Kind())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": np.ones(3)}, r"input x: expected shape \(4,\) or \(samples, 4\) .* got \(3,\)"),
        ({"x": 1.0}, r"input x: .* got \(\)"),
        (
            {"x": np.ones((3, 4)), "y": np.ones((2, 2))},
            "input y: expected 3 samples as of input x, got 2",
        ),
        ({"y": np.full(2, np.inf)}, "input y: expected finite values"),
        ({"y": np.ones(2, dtype=np.float32)}, "input y: expected numpy float64 on cpu"),
    ],
)
def test_inputs_that_do_not_fit(inputs, message):
    with pytest.raises(CoreError, match=message):
        feed(inputs, LEGS, Kind())


def test_checked_values_are_those_given():
    values = np.ones(3)
    assert checked("values", values, Kind()) is values


def test_only_open_legs_are_fed():
    check_open(OPEN, OPEN, LEGS)
    with pytest.raises(CoreError, match=r"leg 'b' is a contracted bond: expected .* x y"):
        check_open(["b"], OPEN, LEGS)
    with pytest.raises(CoreError, match="leg 'z' is unknown"):
        check_open(["z"], OPEN, LEGS)
