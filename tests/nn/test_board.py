"""The course of a training for TensorBoard: every number where it belongs."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from etn.errors import SettingsError
from etn.nn.board import Board
from etn.nn.progress import Epoch

BOARD = "torch.utils.tensorboard"


@pytest.fixture
def written(monkeypatch):
    """What a writer is told, as the package may be missing."""
    told = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            told.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            told.append((name, value, step))

        def flush(self):
            pass

    module = ModuleType(BOARD)
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, BOARD, module)
    return told


def test_every_epoch_is_written_without_what_is_unknown(written, tmp_path):
    board = Board(tmp_path)
    board(Epoch(7, 1e-3, 2.0, None, float("nan"), 0.25, 1.0), None)
    board(Epoch(8, 5e-4, 1.0, 1.5, 0.5, 0.125, 1.0), None)
    assert written == [
        (str(tmp_path), 7),
        ("loss/training", 2.0, 7),
        ("rmse/forces (eV per Å)", 0.25, 7),
        ("learning rate", 1e-3, 7),
        ("loss/training", 1.0, 8),
        ("loss/validation", 1.5, 8),
        ("rmse/energy (eV per atom)", 0.5, 8),
        ("rmse/forces (eV per Å)", 0.125, 8),
        ("learning rate", 5e-4, 8),
    ]


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, BOARD, None)
    with pytest.raises(SettingsError, match="pip install tensorboard"):
        Board(tmp_path)


def test_what_is_written_is_read_by_tensorboard(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Board(tmp_path)(Epoch(3, 1e-3, 2.0, 1.0, 0.5, 0.25, 1.0), None)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    (found,) = events.Scalars("loss/validation")
    assert (found.step, found.value) == (3, 1.0)
