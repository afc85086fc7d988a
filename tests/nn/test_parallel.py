"""Two processes make the steps of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from etn.errors import LostProcessError, SettingsError
from etn.nn.parallel import Processes, launched, session
from etn.nn.progress import Progress
from etn.run.record import CHECKPOINT

COMMAND = (
    "train", "tensornet", "--valid", "0.3", "--channels", "4", "--layers", "1", "--n-max", "5",
    "--r-max", "3.6", "--max-epochs", "3", "--batch-size", "3", "--dtype", "float64",
)  # fmt: skip


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(data, out, size, *, code="from etn.cli import main; main()", **changes):
    """The command in several processes, as torchrun starts them."""
    port = str(free_port())
    arguments = [*COMMAND, str(data), "--out", str(out)]
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank),
                              "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                              "OMP_NUM_THREADS": "1"} | changes,
        )
        for rank in range(size)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from etn.potential import Dataset

    path = tmp_path_factory.mktemp("data") / "train.xyz"
    Dataset.read("etn:Mo/train", index="::24").write(path)
    return path


def test_two_processes_end_where_one_does(data, tmp_path):
    from etn.potential import load

    models = {}
    for size in (1, 2):
        out = tmp_path / str(size)
        said = [process.communicate(timeout=100)[0] for process in start(data, out, size)]
        assert "done: 3 epochs" in said[0], said[0]
        assert said[1:] == [""] * (size - 1)
        models[size] = load(out / "model.etn").model.state_dict()
    for name, value in models[1].items():
        torch.testing.assert_close(models[2][name], value, rtol=1e-6, atol=1e-9)


DIES = """
import os, sys
import etn.nn.trainer as trainer
before = trainer._Training._epoch
def epoch(self):
    if len(self.epochs) == 1 and os.environ["RANK"] == "1":
        os._exit(9)
    return before(self)
trainer._Training._epoch = epoch
from etn.cli import main
main()
"""


def test_a_process_that_dies_is_told_and_loses_no_epoch(data, tmp_path):
    one, two = start(data, tmp_path / "run", 2, code=DIES)
    said = one.communicate(timeout=100)[0]
    two.communicate(timeout=100)
    assert one.returncode == 2
    assert "another process of this training has ended" in said
    kept = Progress.load(tmp_path / "run" / CHECKPOINT)
    assert len(kept.epochs) == 1


def test_alone_nothing_happens():
    assert Processes.now() == launched() == Processes(0, 1)
    with session() as who:
        assert who.leads
    values = torch.arange(3.0)
    assert who.add_up(values) is values
    assert who.from_first(2.5) == 2.5
    shares = [Processes(rank, 3).share(range(8)) for rank in range(3)]
    assert sorted(np.concatenate(shares)) == list(range(8))


def test_what_torchrun_cannot_have_said(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(SettingsError, match="RANK, WORLD_SIZE: expected the numbers"):
        launched()
    assert issubclass(LostProcessError, ValueError)
