"""What is kept of a training, and how it is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn import io
from etn.errors import ModelFileError
from etn.nn.progress import HEAD, Epoch, Progress, TrainingReport, line

EPOCHS = (
    Epoch(1, 1e-3, 2.0, None, math.nan, 0.1, 0.25),
    Epoch(2, 5e-4, 1.0, None, math.nan, 0.05, 0.25),
    Epoch(3, 2e-4, 0.5, 0.75, math.nan, 0.03, 12.5),
)


def test_what_is_saved_is_loaded(tmp_path):
    arrays = {"a.weight": np.arange(6.0).reshape(2, 3), "b": np.float32([1.5])}
    before = Progress(EPOCHS, arrays, arrays, arrays, {"0.step": np.array(3.0)}, 0.25, 4.5)
    before.save(tmp_path / "p.etn", note={"data": "x"})
    after = Progress.load(tmp_path / "p.etn")
    assert str(after.epochs) == str(EPOCHS)
    assert (after.factor, after.start) == (0.25, 4.5)
    assert after.note == {"data": "x"}
    for group in ("weights", "averaged", "best"):
        for name, array in arrays.items():
            found = getattr(after, group)[name]
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype
    assert float(after.optimizer["0.step"]) == 3.0


def test_lines_stand_under_their_heads():
    assert len(HEAD) == len(line(EPOCHS[0])) == len(line(EPOCHS[2]))
    report = TrainingReport(None, EPOCHS, "done: 3 epochs", best=2)
    assert str(report).splitlines() == [HEAD, *map(line, EPOCHS), "done: 3 epochs"]
    assert report.to_dict()["best"] == 2
    assert report.facts == {"epoch": 2}
    assert report.warnings == []


def test_damaged_progress_is_refused(tmp_path):
    io.save(tmp_path / "p.etn", kind="training", header={"epochs": 3}, arrays={})
    with pytest.raises(ModelFileError, match=r"p\.etn"):
        Progress.load(tmp_path / "p.etn")
