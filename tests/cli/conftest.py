"""Small data, a finished run of the command, and what it says of bad input.

============  ===================================================================================
fixture       value
============  ===================================================================================
``small``     options of a fit that takes a second
``data``      folder with train.xyz and test.xyz; not to be changed
``finished``  run folder of a fit to them, and what the command said; not to be changed
``folder``    copies of all of these in the working directory, to be worked on
``run``       function: run the command in a process of its own
``refused``   function: check that bad input gets a clear error and touches nothing
============  ===================================================================================
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from etn.potential import Dataset


@pytest.fixture(scope="session")
def small():
    return (
        *("--r-max", "4", "--n-max", "3", "--l-max", "1"),
        *("--body-order", "4", "--max-bond", "2", "--max-sweeps", "1"),
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    Dataset.read("etn:Mo/train", index="::20").write(folder / "train.xyz")
    Dataset.read("etn:Mo/test", index="::8").write(folder / "test.xyz")
    return folder


@pytest.fixture(scope="session")
def finished(data, invoke, small):
    """A run folder, not to be changed, and what the command said."""
    out = data / "run"
    arguments = [data / "train.xyz", "--test", data / "test.xyz", "--valid", "0.2", "--out", out]
    return out, invoke("fit", *arguments, *small)


@pytest.fixture
def folder(finished, tmp_path, monkeypatch) -> Path:
    """Data and a finished run, to be worked on."""
    out, _ = finished
    (tmp_path / "run").mkdir()
    for path in (*out.iterdir(), out.parent / "train.xyz", out.parent / "test.xyz"):
        target = tmp_path / "run" if path.parent == out else tmp_path
        (target / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-c", "from etn.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(scope="session")
def run():
    return run_process


@pytest.fixture
def refused(folder, invoke, contents):
    def check(prepare):
        command, message = prepare(folder)
        name = prepare.__name__
        if command[0] == "fit" and "--out" not in command:
            # A fit that would replace a run: the old one must survive.
            command = [*command, "--out", folder / "run", "--force"]
            if name == "no_training_data":
                command = command[:1]
        before = contents(folder)
        result = invoke(*command)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""
        if name != "unknown_option":  # whose message comes from typer
            assert result.stderr.startswith("etn: ")
            assert result.stderr.count("\n") == 1
        assert contents(folder) == before

    return check
