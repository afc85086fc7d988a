"""The cap on forces: whose frames are within, and what errors they have."""

from __future__ import annotations

import numpy as np
import pytest

from etn.data import Dataset, Frame
from etn.data.force_cap import capped_metrics, describe_left_out, split_by_force, within_force
from etn.data.metrics import Prediction
from etn.errors import DataError


def frame(forces, name="") -> Frame:
    positions = 5.0 * np.arange(6).reshape(2, 3)
    return Frame([42, 42], positions, np.eye(3), [False] * 3, forces=forces, energy=1.0, name=name)


@pytest.fixture
def dataset():
    """Largest forces of 5 (as a vector; each component is less), 1, none, and 100 eV/Å."""
    forces = ([[3, 0, 4], [0, 0, 0]], [[1, 0, 0], [-1, 0, 0]], None, [[0, 0, 0], [0, 100, 0]])
    return Dataset([frame(f, f"a:{i}") for i, f in enumerate(forces)], source="a")


@pytest.mark.parametrize(
    ("cap", "expected"), [(5.0, [1, 1, 1, 0]), (4.9, [0, 1, 1, 0]), (0.5, [0, 0, 1, 0])]
)
def test_the_length_of_a_force_counts(dataset, cap, expected):
    np.testing.assert_array_equal(within_force(dataset, cap), np.array(expected, dtype=bool))
    kept, above = split_by_force(dataset, cap)
    assert [f.name for f in kept] == [f"a:{i}" for i in range(4) if expected[i]]
    assert [f.name for f in above] == [f"a:{i}" for i in range(4) if not expected[i]]


@pytest.mark.parametrize("cap", [None, 100.0, 1e3])
def test_nothing_is_left_out(dataset, cap):
    assert split_by_force(dataset, cap) == (dataset, None)


def test_a_cap_that_leaves_nothing_is_refused(dataset):
    with pytest.raises(DataError, match=r"a: all 2 frames .* above max_force=2\.0 eV/Å"):
        split_by_force(dataset[[0, 3]], 2.0)


def test_left_out_frames_are_named(dataset):
    kept, above = split_by_force(dataset, 2.0)
    assert describe_left_out(2.0, {"train": kept}, {"train": above}) == (
        "2 of 4 frames of train have forces above 2 eV/Å and are left out "
        "(a:0 5 eV/Å, a:3 100 eV/Å)"
    )


def test_errors_with_and_without(dataset):
    zero = [Prediction(0.0, np.zeros(2), np.zeros((2, 3))) for _ in dataset]
    found = capped_metrics("test", zero, dataset, 5.0)
    assert list(found) == ["test", "test, forces up to 5 eV/Å"]
    everything, within = found.values()
    assert (everything.n_frames, within.n_frames) == (4, 3)
    assert everything.forces.mae == pytest.approx((7 + 2 + 100) / 18)
    assert within.forces.mae == pytest.approx((7 + 2) / 12)
    assert within.energy.count == 3
    assert list(capped_metrics("test", zero, dataset, None)) == ["test"]
    assert list(capped_metrics("test", zero, dataset, 1e3)) == ["test"]
    assert list(capped_metrics("test", zero[:1], dataset[:1], 1.0)) == ["test"]
