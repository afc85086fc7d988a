"""The command ``etn fit``: run folders, options, resumption, and bad input."""

from __future__ import annotations

import bz2
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest

from etn.potential import Dataset, Frame, load
from etn.run.options import SIZED
from etn.run.record import OUTPUTS
from etn.run.settings import FitSettings


def test_fit_writes_a_run_folder_and_tells_about_it(finished):
    out, result = finished
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert sorted(path.name for path in out.iterdir()) == sorted(OUTPUTS)
    text = result.stdout
    assert "Dataset        train.xyz" in text
    assert "test           Dataset(3 frames" in text
    assert "sites  sweep         loss  train E  train F  valid E  valid F" in text
    assert (out / "errors.txt").read_text().strip() in text
    assert f"etn evaluate {out}/model.etn" in text
    report = json.loads((out / "report.json").read_text())
    rows = [line for line in text.splitlines() if line.split()[:2] in (["2", "1"], ["3", "1"])]
    assert len(rows) == len(report["fit"]["records"]) == 2
    assert "left" in rows[0]


def test_left_out_frames_are_told(data, tmp_path, invoke, small):
    arguments = [data / "train.xyz", "--max-force", "8", "--out", tmp_path / "run"]
    result = invoke("fit", *arguments, *small)
    assert result.exit_code == 0, result.output
    assert "max force" in result.stdout
    assert "frames of train have forces above 8 eV/Å and are left out (train.xyz:" in result.stdout
    assert "train, forces up to 8 eV/Å" in result.stdout
    described = invoke("info", tmp_path / "run" / "model.etn").stdout
    assert "forces up to 8 eV/Å: energy MAE" in described


def test_binary_files_and_compressed_ones_are_fitted(data, tmp_path, invoke, small, monkeypatch):
    """The same fit as from the text, in a folder that is called after the file."""
    monkeypatch.chdir(tmp_path)
    images = ase.io.read(data / "train.xyz", ":")
    ase.io.write("a.traj", images)
    Path("b.xyz.bz2").write_bytes(bz2.compress((data / "train.xyz").read_bytes()))
    for name in (data / "train.xyz", "a.traj", "b.xyz.bz2"):
        result = invoke("fit", name, *small)
        assert result.exit_code == 0, result.output
    frames = Dataset.read(data / "test.xyz")
    expected = load("runs/train/model.etn").predict(frames)
    for name in ("a", "b"):
        for one, other in zip(
            load(f"runs/{name}/model.etn").predict(frames), expected, strict=True
        ):
            np.testing.assert_allclose(one.forces, other.forces, atol=1e-6)


def test_options_are_the_settings(finished, data):
    out, _ = finished
    expected = FitSettings(
        train=data / "train.xyz",
        test=data / "test.xyz",
        valid=0.2,
        r_max=4,
        n_max=3,
        l_max=1,
        body_order=4,
        max_bond=2,
        max_sweeps=1,
    )
    assert FitSettings.load(out / "settings.yaml") == expected


def test_every_setting_is_an_option_with_its_default(run):
    text = " ".join(run("fit", "--help", env={**os.environ, "COLUMNS": "800"}).stdout.split())
    for name, field in FitSettings.model_fields.items():
        if name != "train":
            assert f"--{name.replace('_', '-')} " in text
            assert field.description in text
    assert f"Default: {FitSettings.model_fields['r_max'].default:g}." in text
    assert text.count("Default: of the size.") == len(SIZED)
    for option in ("--out", "--config", "--resume", "--force", "--quiet"):
        assert option in text


def test_the_plan_tells_the_size_and_what_may_be_wrong(data, tmp_path, invoke):
    text = invoke(
        "fit", data / "test.xyz", "--test", data / "test.xyz", "--r-max", "3.2", "--n-max", "7",
        "--max-sweeps", "1", "--out", tmp_path / "run",
    ).stdout  # fmt: skip
    text = " ".join(text.split())
    assert "warning test: 3 of 3 frames are in the training set too (test.xyz:0 is test" in text
    assert "size auto, less than small: medium has " in text
    assert "(given: n_max, max_sweeps) model body order 4" in text
    stored = FitSettings.load(tmp_path / "run" / "settings.yaml")
    assert (stored.n_max, stored.l_max, stored.max_bond) == (7, 2, (3, 2, 1))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert "training set too" in report["warnings"][0]


def test_size_on_the_command_line_wins_over_the_numbers_of_a_file(finished, tmp_path, invoke):
    out, _ = finished
    for options, expected in (([], (8, 3)), (["--l-max", "1"], (8, 1))):
        values = ["--size", "small", "--r-max", "2.9", "--body-order", "3", *options]
        folder = tmp_path / str(len(options))
        result = invoke(
            "fit", "--config", out / "settings.yaml", *values, "--out", folder, "--quiet"
        )
        assert (result.exit_code, result.output) == (0, "")
        stored = FitSettings.load(folder / "settings.yaml")
        assert (stored.n_max, stored.l_max) == expected


def test_settings_file_gives_the_same_fit_and_options_win(finished, data, tmp_path, invoke):
    out, _ = finished
    result = invoke("fit", "--config", out / "settings.yaml", "--out", tmp_path / "a", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    frames = Dataset.read(data / "test.xyz")
    one, other = (load(folder / "model.etn").predict(frames) for folder in (out, tmp_path / "a"))
    assert all(a.energy == b.energy for a, b in zip(one, other, strict=True))
    invoke(
        "fit", "--config", out / "settings.yaml", "--n-max", "2", "--zbl", "--test", "none",
        "--out", tmp_path / "b", "--quiet",
    )  # fmt: skip
    settings = FitSettings.load(tmp_path / "b" / "settings.yaml")
    assert (settings.n_max, settings.zbl, settings.test, settings.valid) == (2, True, None, 0.2)


def test_default_run_folder(data, tmp_path, monkeypatch, invoke):
    monkeypatch.chdir(tmp_path)
    arguments = ["--quiet", "--r-max", "3.5", "--n-max", "1", "--l-max", "0", "--body-order", "3"]
    assert invoke("fit", data / "train.xyz", *arguments).exit_code == 0
    assert invoke("fit", "etn:Mo/test", *arguments).exit_code == 0
    assert sorted(path.parent.name for path in tmp_path.rglob("model.etn")) == ["Mo", "train"]


def test_resume_of_a_finished_run_says_so(finished, invoke, contents):
    out, _ = finished
    before = contents(out)
    result = invoke("fit", "--resume", "--out", out)
    assert result.exit_code == 0
    assert "is finished; nothing was changed" in result.stdout
    assert contents(out) == before


def test_interrupted_fit_tells_how_to_go_on(data, tmp_path, invoke, small):
    """Ctrl-C in a real process: exit code 130, the last sweep is kept, resume finishes."""
    out = tmp_path / "run"
    arguments = [data / "train.xyz", "--out", out, *small, "--max-sweeps", "500", "--rel-tol", "0"]
    # A shell may have left the signal ignored for its background jobs.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from etn.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "fit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 40
    while not (out / "checkpoint.etn").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == (
        "etn: interrupted; the last complete sweep is kept; continue with: "
        f"etn fit --resume --out {out}\n"
    )
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.etn", "settings.yaml"]
    result = invoke("fit", "--resume", "--out", out, "--n-max", "4")
    assert result.exit_code == 2
    assert "--n-max: the run in" in result.stderr


def test_interruption_before_the_first_sweep(
    data, finished, tmp_path, monkeypatch, invoke, contents, small
):
    out = tmp_path / "run"
    out.mkdir()
    for path in finished[0].iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    (out / "checkpoint.etn").write_text("of an older run")
    before = contents(out)

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("etn.run.settings.fit", interrupt)
    result = invoke("fit", data / "train.xyz", "--out", out, "--force", *small)
    assert result.exit_code == 130
    assert "nothing to resume" in result.stderr
    assert contents(out) == before


def test_single_atoms_and_empty_space_are_no_error(folder, invoke, small):
    atom = Frame([42], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3, -4.5, np.zeros((1, 3)))
    apart = Frame(
        [42, 42], [[0, 0, 0], [300.0, 0, 0]], 900 * np.eye(3), [True] * 3, -9.0, np.zeros((2, 3))
    )
    Dataset([atom, apart]).write(folder / "atoms.xyz")
    arguments = [folder / "train.xyz", folder / "atoms.xyz", "--e0", "isolated", *small]
    result = invoke("fit", *arguments, "--out", folder / "new", "--test", folder / "atoms.xyz")
    assert result.exit_code == 0, result.output
    found = load(folder / "new" / "model.etn").predict([atom, apart])
    assert [p.energy for p in found] == [-4.5, -9.0]


# Bad input. Each entry prepares files in a folder and returns the command and a part of the
# message; the folder holds data, a model and a finished run, and must stay as it is.


def edit(path: Path, old: str, new: str, *, count: int = 1) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
    return path


def no_such_file(folder):
    return ["fit", folder / "none.xyz"], "none.xyz"


def empty_file(folder):
    (folder / "bad.xyz").write_text("")
    return ["fit", folder / "bad.xyz"], "bad.xyz"


def truncated_frame(folder):
    path = folder / "train.xyz"
    path.write_text("\n".join(path.read_text().splitlines()[:-3]) + "\n")
    return ["fit", path], "train.xyz"


def no_forces(folder):
    frame = Dataset.read(folder / "train.xyz")[0]
    bare = Frame(frame.numbers, frame.positions, frame.cell, frame.pbc, energy=frame.energy)
    Dataset([bare]).write(folder / "bad.xyz")
    return ["fit", folder / "train.xyz", folder / "bad.xyz"], "1 of 11 frames have no forces"


def not_a_number(folder):
    path = folder / "train.xyz"
    text = path.read_text()
    start = text.index("energy=")
    path.write_text(text[:start] + "energy=nan" + text[text.index(" ", start) :])
    return ["fit", path], "train.xyz:0"


def infinite_force(folder):
    path = folder / "train.xyz"
    lines = path.read_text().splitlines()
    lines[2] = " ".join([*lines[2].split()[:-1], "inf"])
    path.write_text("\n".join(lines) + "\n")
    return ["fit", path], "train.xyz:0"


def unseen_element(folder):
    return ["fit", folder / "train.xyz", "--test", "etn:NbMoTaW/test"], "element"


def two_labels(folder):
    path = folder / "train.xyz"
    return ["fit", edit(path, " energy=", " energy=-1.0 energy=")], "energy"


def negative_weight(folder):
    return ["fit", folder / "train.xyz", "--forces-weight", "-1"], "--forces-weight: expected"


def zero_weights(folder):
    weights = ["--forces-weight", "0", "--energy-weight", "0", "--stress-weight", "0"]
    return ["fit", folder / "train.xyz", *weights], "weights: all are zero"


def negative_r_max(folder):
    return [
        "fit",
        folder / "train.xyz",
        "--r-max",
        "-5",
    ], "--r-max: expected a value greater than 0"


def zero_r_max(folder):
    return ["fit", folder / "train.xyz", "--r-max", "0"], "--r-max: expected a value greater than 0"


def enormous_r_max(folder):
    return ["fit", folder / "train.xyz", "--r-max", "19"], "neighbours on average"


def tiny_r_max(folder):
    return ["fit", folder / "train.xyz", "--r-max", "0.5"], "no two atoms"


def unknown_option(folder):
    return ["fit", folder / "train.xyz", "--rmax", "5"], "--r"


def unknown_size(folder):
    return [
        "fit",
        folder / "train.xyz",
        "--size",
        "huge",
    ], "'small', 'medium', 'wide', 'large' or 'auto'"


def one_structure_with_two_energies(folder):
    frame = Dataset.read(folder / "train.xyz")[0]
    labels = {"forces": frame.forces, "stress": frame.stress}
    shape = (frame.numbers, frame.positions, frame.cell, frame.pbc)
    Dataset([Frame(*shape, energy=frame.energy + 100.0, **labels)]).write(folder / "bad.xyz")
    return ["fit", folder / "train.xyz", folder / "bad.xyz"], "is the same structure as train.xyz:0"


def unknown_setting(folder):
    (folder / "my.yaml").write_text("rmax: 5\n")
    return ["fit", folder / "train.xyz", "--config", folder / "my.yaml"], 'did you mean "r_max"?'


def missing_config(folder):
    return ["fit", folder / "train.xyz", "--config", folder / "my.yaml"], "no such settings file"


def no_training_data(folder):
    return ["fit"], "expected training data"


def unknown_embedded_set(folder):
    return ["fit", "etn:Moo"], "Did you mean etn:Mo/train?"


def folder_holds_a_run(folder):
    return ["fit", folder / "train.xyz", "--out", folder / "run"], "already holds a run"


def resume_without_a_run(folder):
    return ["fit", "--resume", "--out", folder], "no run to resume"


def resume_with_other_settings(folder):
    return ["fit", "--resume", "--out", folder / "run", "--seed", "7"], "seed: the run in"


def resume_and_force(folder):
    return ["fit", "--resume", "--force", "--out", folder / "run"], "resume, force"


def coincident_atoms(folder):
    frame = Dataset.read(folder / "train.xyz")[0]
    positions = np.array(frame.positions)
    positions[1] = positions[0]
    bad = Frame(
        frame.numbers, positions, frame.cell, frame.pbc, frame.energy, frame.forces, frame.stress
    )
    Dataset([bad]).write(folder / "bad.xyz")
    return ["fit", folder / "train.xyz", folder / "bad.xyz"], "bad.xyz:0: atoms 0 and 1 coincide"


def coincident_atoms_in_the_test_set(folder):
    _, message = coincident_atoms(folder)
    return ["fit", folder / "train.xyz", "--test", folder / "bad.xyz"], message


BAD_INPUT = [
    no_such_file,
    empty_file,
    truncated_frame,
    no_forces,
    not_a_number,
    infinite_force,
    unseen_element,
    two_labels,
    negative_weight,
    zero_weights,
    negative_r_max,
    zero_r_max,
    enormous_r_max,
    tiny_r_max,
    unknown_option,
    unknown_setting,
    unknown_size,
    one_structure_with_two_energies,
    missing_config,
    no_training_data,
    unknown_embedded_set,
    folder_holds_a_run,
    resume_without_a_run,
    resume_with_other_settings,
    resume_and_force,
    coincident_atoms,
    coincident_atoms_in_the_test_set,
]


@pytest.mark.parametrize("prepare", BAD_INPUT, ids=lambda function: function.__name__)
def test_bad_input_gets_a_clear_error_and_touches_nothing(prepare, refused):
    refused(prepare)


def test_too_little_memory_is_told_in_one_line(data, tmp_path, invoke, monkeypatch, small):
    def allocate(*arguments: object, **options: object) -> None:
        raise MemoryError("Unable to allocate 59.6 GiB")

    monkeypatch.setattr("etn.run.settings.fit", allocate)
    result = invoke("fit", data / "train.xyz", "--out", tmp_path / "run", *small)
    assert result.exit_code == 2
    expected = "etn: out of memory (Unable to allocate 59.6 GiB); choose smaller settings\n"
    assert result.stderr.endswith(expected)
