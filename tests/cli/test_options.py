"""What all commands share: version, help, errors and their exit codes, closed pipes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import etn
from etn.errors import SettingsError


def test_version_and_help(invoke):
    assert invoke("--version").stdout == f"etn {etn.__version__}\n"
    assert "fit" in invoke("--help").stdout


def test_importing_the_command_is_light():
    heavy = ("numpy", "scipy", "ase", "matplotlib", "pydantic", "torch", "etn.potential")
    code = f"import sys, etn.cli; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_closed_pipe_is_no_error(finished):
    out, _ = finished
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-c", "from etn.cli import main; main()", "info"]
        result = subprocess.run(
            [*command, out / "model.etn"], stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    assert result.stderr == ""
    assert result.returncode == 1


def test_errors_come_out_of_a_real_process(folder, run, contents):
    before = contents(folder)
    result = run("fit", folder / "none.xyz", "--out", folder / "run", "--force")
    assert result.returncode == 2
    assert result.stderr.startswith("etn: ")
    assert "Traceback" not in result.stderr
    debug = run("fit", folder / "none.xyz", "--debug")
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SettingsError("r_max: too far"), 2, "etn: r_max: too far\n"),
        (
            FileNotFoundError(2, "No such file", "a.xyz"),
            2,
            "etn: [Errno 2] No such file: 'a.xyz'\n",
        ),
        (KeyboardInterrupt(), 130, "etn: interrupted\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(monkeypatch, invoke, error, code, message):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("etn.potential.load", fail)
    result = invoke("info", "a.etn")
    assert (result.exit_code, result.stderr) == (code, message)
    assert result.stdout == ""


@pytest.mark.parametrize("where", [["--debug", "info"], ["info", "--debug"]])
def test_debug_shows_where_an_error_comes_from(monkeypatch, invoke, where):
    error = SettingsError("r_max: too far")

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("etn.potential.load", fail)
    assert invoke(*where, "a.etn").exception is error


def test_a_mistake_of_the_program_is_not_hidden(monkeypatch, invoke):
    def fail(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("etn.potential.load", fail)
    assert isinstance(invoke("info", "a.etn").exception, ZeroDivisionError)
