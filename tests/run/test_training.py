"""Trainings from settings to a run folder: as fits, with the same files and the same rules."""

from __future__ import annotations

import json
from types import MappingProxyType

import numpy as np
import pytest

from etn.errors import RunFolderError, SettingsError
from etn.nn import trainer
from etn.potential import Dataset, load
from etn.run import training
from etn.run.folder import run_fit
from etn.run.networks import TensorNetSettings
from etn.run.record import CHECKPOINT, EPOCHS, OUTPUTS

TINY = MappingProxyType({"channels": 4, "layers": 1, "n_max": 6, "r_max": 3.6, "max_epochs": 4})


@pytest.fixture
def settings(mo_data):
    return TensorNetSettings(
        train=mo_data / "train.xyz", test=mo_data / "test.xyz", valid=0.3, **TINY
    )


def stop_after(number):
    def stop(epoch, progress):
        if epoch.number == number:
            raise KeyboardInterrupt

    return stop


def test_a_run_folder_with_all_files(settings, tmp_path, mo_data):
    result = run_fit(settings, tmp_path / "run")
    assert sorted(p.name for p in result.out.iterdir()) == sorted([*OUTPUTS, EPOCHS])
    lines = (result.out / EPOCHS).read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch", "1", "2", "3", "4"]
    report = json.loads((result.out / "report.json").read_text())
    assert len(report["fit"]["epochs"]) == 4
    assert report["epoch"] == result.report.best
    assert report["metrics"].keys() == {"train", "valid", "test"}
    model = load(result.out / "model.etn")
    test = Dataset.read(mo_data / "test.xyz")
    for one, two in zip(model.predict(test), result.model.predict(test), strict=True):
        np.testing.assert_array_equal(one.forces, two.forces)
    assert run_fit(None, result.out, resume=True).finished_before


@pytest.mark.parametrize("number", [1, 3])
def test_an_interrupted_training_ends_in_the_same_bits(settings, tmp_path, number):
    whole = run_fit(settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path / "cut", callbacks=[stop_after(number)])
    assert (tmp_path / "cut" / CHECKPOINT).exists()
    resumed = run_fit(None, tmp_path / "cut", resume=True)
    assert not (tmp_path / "cut" / CHECKPOINT).exists()
    for name, value in whole.model.model.state_dict().items():
        assert (value == resumed.model.model.state_dict()[name]).all(), name


def test_other_settings_do_not_continue_a_run(settings, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path, callbacks=[stop_after(1)])
    other = TensorNetSettings(**{**dict(settings), "channels": 8})
    with pytest.raises(SettingsError, match=r"channels: the run in .* was started with 4, got 8"):
        run_fit(other, tmp_path, resume=True)
    with pytest.raises(RunFolderError, match="already holds a run"):
        run_fit(settings, tmp_path)


def test_a_device_that_there_is_not(mo_data, tmp_path):
    settings = TensorNetSettings(train=mo_data / "train.xyz", device="quantum", **TINY)
    with pytest.raises(SettingsError, match="device: 'quantum' cannot be used here"):
        run_fit(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_share_of_nothing_is_refused(mo_data):
    with pytest.raises(SettingsError, match=r"share: expected a potential that it is of"):
        TensorNetSettings(train=mo_data / "train.xyz", share=0.5)


def test_data_on_disk_give_the_same_run(settings, tmp_path, monkeypatch):
    held = run_fit(settings, tmp_path / "held")
    for module in (training, trainer):
        monkeypatch.setattr(module, "memory_left", lambda memory: 1.0)
    plans = []
    capped = settings.model_copy(update={"max_force": 5.0})
    for one in (settings, capped):
        run_fit(one, tmp_path / str(one.max_force), announce=plans.append)
    assert all(data.on_disk for plan in plans for data in plan.evaluated.values())
    stored = load(tmp_path / "None" / "model.etn")
    for name, value in held.model.model.state_dict().items():
        assert (value == stored.model.state_dict()[name]).all(), name
    reports = [json.loads((tmp_path / n / "report.json").read_text()) for n in ("held", "None")]
    for key in ("metrics", "warnings", "data"):
        assert reports[0][key] == reports[1][key]
    assert (tmp_path / "5.0" / "errors.txt").exists()


def test_a_limit_below_what_the_program_holds_is_refused(settings, tmp_path):
    small = settings.model_copy(update={"memory": 0.01})
    with pytest.raises(SettingsError, match="memory: expected more than"):
        run_fit(small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_of_a_recipe_are_read_as_they_are_typed(mo_data):
    recipe = TensorNetSettings(
        train=mo_data / "train.xyz", final_weights="energy=300,forces=2", arithmetic="bfloat16"
    ).recipe()
    assert recipe.final_weights == {"energy": 300.0, "forces": 2.0}
    assert recipe.arithmetic == "bfloat16"
    for change, message in (
        ({"final_weights": "energy"}, "expected a number above zero for each label"),
        ({"final_weights": "energy=0"}, "expected a number above zero for each label"),
        ({"arithmetic": "int8"}, "arithmetic"),
    ):
        with pytest.raises(SettingsError, match=message):
            TensorNetSettings(train=mo_data / "train.xyz", **change)


def test_the_course_for_tensorboard_is_in_the_run_folder(settings, tmp_path, monkeypatch):
    written = []

    class Noted:
        def __init__(self, folder):
            self.folder = folder

        def __call__(self, epoch, progress):
            written.append((self.folder, epoch.number))

    monkeypatch.setattr(training, "Board", Noted)
    run_fit(settings.model_copy(update={"tensorboard": True}), tmp_path)
    assert written == [(tmp_path / "tensorboard", number) for number in range(1, 5)]
