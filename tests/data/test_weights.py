"""Weights of labels, frames and kinds: defaults, checks, and the rows that they leave."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.data.weights import Weights, count_rows
from etn.errors import DataError, SettingsError
from etn.potential import Dataset


def test_weights_from_a_mapping():
    assert Weights.of(None) == Weights()
    assert Weights.of({"energy": 5}) == Weights(energy=5)
    w = Weights(forces=2.0)
    assert Weights.of(w) is w


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"energy": -1.0}, "energy must be a finite number, zero or more, got -1.0"),
        ({"forces": np.nan}, "forces must be a finite number"),
        ({"stress": np.inf}, "stress must be a finite number"),
        ({"energy": 0, "forces": 0, "stress": 0}, "all are zero"),
        ({"kinds": {"slab": -1.0}}, 'that of kind "slab" must be a finite number'),
        ({"force": 1.0}, "expected energy, forces, stress and kinds, got force"),
    ],
)
def test_malformed_weights(given, message):
    with pytest.raises(SettingsError, match=message):
        Weights.of(given)


def test_missing_labels_are_named(rng, make_frame):
    frames = [replace(make_frame(rng, n), forces=None) for n in (2, 3, 4, 5)]
    data = Dataset([*frames, make_frame(rng, 6)])
    with pytest.raises(
        DataError, match=r"train: 4 of 5 frames have no forces \(made:2, .*\.\.\.; key \"forces\"\)"
    ):
        Weights().require(data, what="train")
    Weights(forces=0.0).require(data, what="train")
    Weights().require(Dataset([make_frame(rng, 6)]), what="train")
    no_stress = Dataset([replace(make_frame(rng, 6), stress=None)])
    Weights().require(no_stress, what="train")
    with pytest.raises(DataError, match="has a stress"):
        Weights(stress=1.0).require(no_stress, what="train")


def test_labels_that_were_left_out_in_reading_are_not_missed(rng, make_frame):
    image = replace(make_frame(rng, 4), forces=None).to_atoms()
    Weights().require(Dataset.from_atoms([image], forces=None), what="train")
    bare = Dataset.from_atoms([image], forces=None, stress=None)
    Weights().require(bare, what="train")
    # The weight of a stress has no default: a number is a wish.
    with pytest.raises(DataError, match=r"left out \(stress=None\), but weights=.* demands one"):
        Weights(stress=1.0).require(bare, what="train")
    with pytest.raises(DataError, match=r'none of the 1 frames has forces \(key "forces"\)'):
        Weights().require(Dataset.from_atoms([image]), what="train")


def test_a_stress_is_asked_of_crystals_alone(rng, make_frame):
    whole = make_frame(rng, 4)
    cluster = replace(whole, cell=np.zeros((3, 3)), pbc=np.zeros(3, bool), stress=None)
    Weights(stress=1.0).require(Dataset([whole, cluster]), what="train")


def test_an_unknown_kind_is_named_with_those_that_there_are(rng, make_frame):
    data = Dataset([make_frame(rng, n) for n in (3, 9, 5, 1)])
    kinds = Dataset([replace(frame, config_type="slab") for frame in data])
    Weights(kinds={"slab": 2.0}).check_kinds(kinds)
    Weights(kinds={"": 2.0}).check_kinds(kinds, data)
    message = r'no frame has the config_type "slap", expected one of "slab" \(4 frames\)'
    with pytest.raises(SettingsError, match=message):
        Weights(kinds={"slap": 2.0}).check_kinds(kinds)


def test_rows_are_counted_label_by_label(make_frame, rng):
    frames = [make_frame(rng, n) for n in (3, 5, 4)]
    bare = replace(frames[1], energy=None, stress=None)
    flat = replace(frames[2], cell=np.zeros((3, 3)), pbc=np.zeros(3, bool), stress=None)
    data = Dataset([frames[0], bare, flat])
    # 1 + 9 + 6, 15 forces, and 1 + 12 where a stress has no volume.
    assert count_rows(data, Weights()) == 16 + 15 + 13
    assert count_rows(data, Weights(forces=0.0)) == 7 + 0 + 1
    assert count_rows(data, Weights(energy=0.0, stress=0.0)) == 9 + 15 + 12
    none = Dataset([replace(frames[0], weight=0.0), bare])
    assert count_rows(none, Weights()) == 15


def test_a_frame_counts_by_its_weight_and_that_of_its_kind(make_frame, rng):
    frame = replace(make_frame(rng, 3), weight=1.5, config_type="slab")
    assert Weights().count(frame) == 1.5
    assert Weights(kinds={"slab": 3.0, "bulk": 7.0}).count(frame) == 4.5
