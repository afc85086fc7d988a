"""The command ``etn select``: the frames that it writes, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from etn.potential import Dataset, load


def test_select_writes_the_frames_it_names(finished, data, tmp_path, invoke):
    out, pool = tmp_path / "chosen.xyz", data / "test.xyz"
    result = invoke("select", finished[0] / "model.etn", pool, "--n", "2", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["frame", "config_type", "atoms", "gamma", "gain"]
    named = [int(line.split()[0].partition(":")[2]) for line in lines[1:3]]
    assert f"2 of 3 frames written to {out}" in lines[-1]
    frames, chosen = Dataset.read(pool), Dataset.read(out)
    for index, frame in zip(named, chosen, strict=True):
        np.testing.assert_allclose(frame.positions, frames[index].positions, atol=1e-7)
        assert frame.energy == pytest.approx(frames[index].energy)


def test_select_takes_the_model_of_a_training(data, tmp_path, invoke):
    small = ("--channels", "4", "--layers", "1", "--n-max", "5", "--r-max", "3.6")
    run, out = tmp_path / "run", tmp_path / "chosen.xyz"
    options = (*small, "--max-epochs", "1", "-q", "--out")
    invoke("train", "tensornet", data / "train.xyz", *options, run)
    assert "error bars and grades, 2 unknowns" in invoke("info", run / "model.etn").output
    chosen = invoke("select", run / "model.etn", data / "test.xyz", "--n", "2", "--out", out)
    assert f"2 of 3 frames written to {out}" in chosen.stdout
    bars = invoke("evaluate", run / "model.etn", data / "test.xyz", "--out", tmp_path / "p.xyz")
    assert bars.exit_code == 0
    assert "forces_bar:R:3:gamma:R:1" in (tmp_path / "p.xyz").read_text()
    bare = tmp_path / "bare"
    invoke("train", "tensornet", data / "train.xyz", "--no-uncertainty", *options, bare)
    refused = invoke("select", bare / "model.etn", data / "test.xyz", "--n", "2", "--out", out)
    assert "etn.nn.with_uncertainty(model, train)" in refused.stderr


# Bad input. Each entry prepares files in a folder and returns the command and a part of the
# message; the folder holds data, a model and a finished run, and must stay as it is.


def select_more_than_there_are(folder):
    command = ["select", folder / "run" / "model.etn", folder / "test.xyz", "--n", "99"]
    return [*command, "--out", folder / "a.xyz"], "--n: expected a number from 1 to the 3 frames"


def select_unseen_element(folder):
    command = ["select", folder / "run" / "model.etn", "etn:NbMoTaW/test", "--n", "2"]
    return [*command, "--out", folder / "a.xyz"], "unknown to this potential"


def select_to_unknown_format(folder):
    command = ["select", folder / "run" / "model.etn", folder / "test.xyz", "--n", "2"]
    return [*command, "--out", folder / "a.pdf"], ".xyz or .extxyz"


def select_onto_the_pool(folder):
    command = ["select", folder / "run" / "model.etn", folder / "test.xyz", "--n", "2"]
    return [*command, "--out", folder / "test.xyz"], "is part of the pool"


def select_without_uncertainty(folder):
    model = load(folder / "run" / "model.etn")
    model.with_chain(model.chain).save(folder / "bare.etn")
    command = ["select", folder / "bare.etn", folder / "test.xyz", "--n", "2"]
    return [*command, "--out", folder / "a.xyz"], "with_uncertainty(model, train)"


BAD_INPUT = [
    select_more_than_there_are,
    select_unseen_element,
    select_to_unknown_format,
    select_onto_the_pool,
    select_without_uncertainty,
]


@pytest.mark.parametrize("prepare", BAD_INPUT, ids=lambda function: function.__name__)
def test_bad_input_gets_a_clear_error_and_touches_nothing(prepare, refused):
    refused(prepare)
