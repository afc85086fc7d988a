"""What a fit minimises: its arguments as values, their errors, and the split of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.data.weights import Weights
from etn.errors import DataError, SettingsError
from etn.potential import Dataset
from etn.potential.fitting.objective import FIRST_RIDGE, Objective


def objective(**changes):
    options = {"robust": None, "ridge": 0.1, "missing": "error", **changes}
    return Objective.of(options.pop("weights", None), **options)


def test_arguments_as_values():
    assert objective() == Objective(Weights(), False, 0.1, False, "error")
    assert objective(weights={"energy": 5.0}, missing="skip").weights == Weights(energy=5.0)
    chosen = objective(ridge="evidence")
    assert (chosen.ridge, chosen.by_evidence) == (FIRST_RIDGE, True)
    assert objective(ridge=0).ridge == 0


def test_every_set_of_rows_has_a_robust_function_of_its_own():
    assert objective().huber() is None
    robust = objective(robust="huber")
    one, two = robust.huber(), robust.huber()
    assert one is not two
    one.update({"energy": np.array([0.1])})
    assert two.scales == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "drop"}, 'missing: expected "error" or "skip", got \'drop\''),
        ({"ridge": -1e-9}, "ridge: expected zero or more, got -1e-09"),
        ({"ridge": np.nan}, "ridge: expected zero or more, got nan"),
        ({"ridge": "auto"}, "ridge: expected a number or \"evidence\", got 'auto'"),
        ({"robust": "tukey"}, "robust: expected None or \"huber\", got 'tukey'"),
        ({"weights": {"force": 1.0}}, "got force"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(SettingsError, match=message):
        objective(**options)


def test_a_fraction_or_a_data_set_is_held_out(data):
    train, valid = objective().hold_out(data, 0.5, seed=3)
    expected = data.split(0.5, 3)
    assert [f.name for f in train] == [f.name for f in expected[0]]
    assert [f.name for f in valid] == [f.name for f in expected[1]]
    assert len(train) == len(valid) == 2
    train, valid = objective().hold_out(data, data[:1], seed=3)
    assert train is data
    assert [f.name for f in valid] == [data[0].name]
    for nothing in (None, 0.0):
        assert objective().hold_out(data, nothing, seed=3) == (data, None)


def test_missing_labels_are_an_error_unless_they_may_be(data):
    bare = Dataset([replace(data[0], forces=None), *data[1:]])
    with pytest.raises(DataError, match="training set: 1 of 4 frames have no forces"):
        objective().hold_out(bare, None, seed=0)
    with pytest.raises(DataError, match="validation set: 1 of 4 frames have no forces"):
        objective().hold_out(data, bare, seed=0)
    assert objective(missing="skip").hold_out(bare, bare, seed=0) == (bare, bare)


def test_kinds_may_be_those_of_the_held_out_frames(data):
    slabs = Dataset([replace(frame, config_type="slab") for frame in data])
    chosen = objective(weights=Weights(kinds={"slab": 2.0}))
    assert chosen.hold_out(data, slabs, seed=0) == (data, slabs)
    with pytest.raises(SettingsError, match='no frame has the config_type "slab"'):
        chosen.hold_out(data, None, seed=0)
