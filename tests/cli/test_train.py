"""The command ``etn train``: run folders, what it prints, help, and bad input."""

from __future__ import annotations

import pytest

from etn.cli.train import NETWORKS
from etn.run.networks import KINDS
from etn.run.record import EPOCHS, OUTPUTS

TINY = ("--channels", "4", "--layers", "1", "--n-max", "5", "--r-max", "3.6", "--max-epochs", "2")


def test_all_networks_have_a_command():
    assert NETWORKS.keys() == KINDS.keys()


def test_a_training_writes_a_run_folder_and_tells_about_it(data, tmp_path, invoke):
    out = tmp_path / "run"
    done = invoke(
        "train", "tensornet", data / "train.xyz", "--test", data / "test.xyz", "--out", out, *TINY
    )
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == sorted([*OUTPUTS, EPOCHS])
    for text in ("TensorNet, 4 channels", "epoch", "done: 2 epochs", "etn info", "valid"):
        assert text in done.output
    again = invoke("train", "tensornet", "--resume", "--out", out)
    assert "is finished; nothing was changed" in again.output
    shown = invoke("info", out / "model.etn")
    assert "TensorNet, 4 channels, 1 interactions, O(3)" in shown.output
    judged = invoke("evaluate", out / "model.etn", data / "test.xyz")
    assert judged.exit_code == 0
    assert "forces MAE" in judged.output


def test_help_names_the_networks_and_their_options(invoke):
    assert all(name in invoke("train", "--help").output for name in NETWORKS)
    shown = invoke("train", "tdn", "--help").output
    assert "--products" in shown
    assert "--learning-rate" in shown
    assert "train" in invoke("--help").output


def test_settings_of_a_run_serve_for_another(data, tmp_path, invoke):
    first = tmp_path / "one"
    assert (
        invoke("train", "tensornet", data / "train.xyz", "--out", first, "-q", *TINY).exit_code == 0
    )
    config = ("--config", first / "settings.yaml")
    done = invoke("train", "tensornet", *config, "--max-epochs", "1", "--out", tmp_path / "two")
    assert done.exit_code == 0
    assert "done: 1 epochs" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tensornet",), "expected training data, such as etn train tensornet train.xyz"),
        (("tensornet", "none.xyz"), "none.xyz"),
        (("tensornet", "train.xyz", "--channels", "3"), "--channels: expected an even number"),
        (("tensornet", "train.xyz", "--batch-size", "0"), "--batch-size: expected a value"),
        (("tdn", "train.xyz", "--products", "quick"), "--products: expected exact, cp, cp:RANK"),
        (("ictp", "train.xyz", "--order", "many"), "--order: expected a valid integer"),
        (("mace", "train.xyz"), "No such command 'mace'"),
    ],
)
def test_bad_input(arguments, message, data, tmp_path, monkeypatch, invoke):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.xyz").write_bytes((data / "train.xyz").read_bytes())
    done = invoke("train", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["train.xyz"]
