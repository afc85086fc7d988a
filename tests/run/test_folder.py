"""Run folders: what a fit leaves behind, and how it goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import etn
from etn.errors import DataError, EtnError, RunFolderError, SettingsError
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.run.folder import run_fit
from etn.run.record import OUTPUTS, REPLACED
from etn.run.settings import FitSettings
from etn.sweep import EarlyStop


@pytest.fixture
def settings(mo_data, small):
    return FitSettings(train=mo_data / "train.xyz", test=mo_data / "test.xyz", valid=0.2, **small)


@pytest.fixture(scope="module")
def finished(mo_data, tmp_path_factory, small):
    """A run that was not interrupted; not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    values = {"train": mo_data / "train.xyz", "test": mo_data / "test.xyz", "valid": 0.2, **small}
    run_fit(FitSettings(**values), out)
    return out


def predictions(path: Path) -> Iterator[np.ndarray]:
    for found in etn.load(path).predict(Dataset.read("etn:Mo/test", index="::4")):
        yield found.energies
        yield found.forces
        yield found.stress


def assert_same_model(one: Path, other: Path) -> None:
    for a, b in zip(predictions(one), predictions(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_folder_of_a_finished_run(finished, settings):
    assert sorted(path.name for path in finished.iterdir()) == sorted(OUTPUTS)
    assert FitSettings.load(finished / "settings.yaml") == settings.resolved()
    report = json.loads((finished / "report.json").read_text())
    assert set(report["metrics"]) == {"train", "valid", "test"}
    assert [r["n_sites"] for r in report["fit"]["records"]] == [2, 2, 3, 3]
    assert report["seconds"]["total"] > report["seconds"]["fit"] > 0
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["etn"] == etn.__version__
    assert report["settings"]["r_max"] == 4.0
    for name in ("parity.png", "convergence.png"):
        assert (finished / name).read_bytes().startswith(b"\x89PNG")
    text = (finished / "errors.txt").read_text()
    assert f"{report['metrics']['test']['forces']['mae']:.4f}" in text


def test_frames_above_the_cap_on_forces_are_not_fitted(mo_data, small, tmp_path):
    """The same model as from files in which they do not stand, and errors with and without."""
    cap, parts = 8.0, {}
    for name in ("train", "test"):
        data = Dataset.read(mo_data / f"{name}.xyz")
        largest = np.array([np.linalg.norm(frame.forces, axis=1).max() for frame in data])
        parts[name] = [data, data[largest <= cap], data[largest > cap]]
        parts[name][1].write(tmp_path / f"{name}.xyz")
    files = {"train": mo_data / "train.xyz", "test": mo_data / "test.xyz"}
    # The validation data hold frames above the cap, too, which do not choose the sweep.
    valid = {"valid": str(mo_data / "test.xyz")}
    result = run_fit(FitSettings(**files, **valid, max_force=cap, **small), tmp_path / "capped")
    by_hand = {"train": tmp_path / "train.xyz", "valid": str(tmp_path / "test.xyz")}
    run_fit(FitSettings(**by_hand, **small), tmp_path / "by hand")
    assert_same_model(tmp_path / "capped" / "model.etn", tmp_path / "by hand" / "model.etn")
    report = json.loads((tmp_path / "capped" / "report.json").read_text())
    assert report["settings"]["max_force"] == cap
    assert report["left_out"] == {
        "train": [frame.name for frame in parts["train"][2]],
        "valid": [frame.name for frame in parts["test"][2]],
    }
    text = (tmp_path / "capped" / "errors.txt").read_text()
    for name in ("train", "valid", "test"):
        everything, within, _ = parts["train" if name == "train" else "test"]
        title = f"{name}, forces up to 8 eV/Å"
        assert f"{name}\n" in text
        assert f"{title}\n" in text
        for found, expected in ((name, everything), (title, within)):
            assert result.metrics[found].n_frames == len(expected)
            mae = result.model.evaluate(expected).forces.mae
            assert result.metrics[found].forces.mae == pytest.approx(mae, rel=1e-9)
    assert FitSettings.load(tmp_path / "capped" / "settings.yaml").max_force == cap


def test_run_is_the_fit_of_the_python_interface(finished, settings):
    everything = Dataset.read(settings.train)
    model = PolynomialPotential(
        Basis.for_dataset(everything, r_max=4.0, n_max=3, l_max=1),
        body_order=4,
        max_bond=2,
        baseline=Baseline.fit(everything),
    )
    report = fit(
        model, everything, valid=0.2, schedule=settings.schedule(), callbacks=[EarlyStop()]
    )
    frames = Dataset.read(settings.test)
    one = etn.load(finished / "model.etn").predict(frames)
    for a, b in zip(one, report.model.predict(frames), strict=True):
        np.testing.assert_array_equal(a.forces, b.forces)
        assert a.energy == b.energy
    metrics = json.loads((finished / "report.json").read_text())["metrics"]["test"]
    labels = np.concatenate([f.forces for f in frames])
    found = np.concatenate([p.forces for p in one])
    assert metrics["forces"]["mae"] == pytest.approx(np.abs(found - labels).mean(), rel=1e-9)


@pytest.mark.parametrize("sweeps", [1, 2, 3, 4])
def test_resumed_run_ends_where_the_uninterrupted_one_does(
    finished, settings, tmp_path, sweeps, stop_after
):
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path, callbacks=[stop_after(sweeps)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.etn", "settings.yaml"]
    result = run_fit(None, tmp_path, resume=True)
    assert not result.finished_before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OUTPUTS)
    assert_same_model(tmp_path / "model.etn", finished / "model.etn")
    losses = [
        [r["losses"] for r in json.loads((folder / "report.json").read_text())["fit"]["records"]]
        for folder in (tmp_path, finished)
    ]
    assert losses[0] == losses[1]


def test_interruption_within_a_sweep_keeps_the_sweep_before(
    finished, settings, tmp_path, stop_after
):
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path, callbacks=[stop_after(5, within=True)])
    with pytest.raises(KeyboardInterrupt):
        run_fit(None, tmp_path, resume=True, callbacks=[stop_after(1, within=True)])
    run_fit(settings, tmp_path, resume=True)
    assert_same_model(tmp_path / "model.etn", finished / "model.etn")


def test_interruption_before_the_first_sweep_starts_over(finished, settings, tmp_path, stop_after):
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path, callbacks=[stop_after(0, within=True)])
    assert [path.name for path in tmp_path.iterdir()] == ["settings.yaml"]
    run_fit(None, tmp_path, resume=True)
    assert_same_model(tmp_path / "model.etn", finished / "model.etn")


def test_resuming_a_finished_run_changes_nothing(finished, contents):
    before = contents(finished)
    times = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    result = run_fit(None, finished, resume=True)
    assert result.finished_before
    assert result.model.chain is not None
    assert contents(finished) == before
    assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == times


def test_resume_refuses_other_settings(finished, mo_data, contents):
    before = contents(finished)
    other = FitSettings(train=mo_data / "train.xyz", r_max=5.0)
    with pytest.raises(SettingsError, match=r"^r_max: the run in .* was started with 4\.0, got 5"):
        run_fit(other, finished, resume=True)
    assert contents(finished) == before


def test_resume_refuses_other_data(settings, mo_data, tmp_path, stop_after):
    train = tmp_path / "train.xyz"
    train.write_bytes((mo_data / "train.xyz").read_bytes())
    changed = FitSettings(**{**dict(settings), "train": train})
    with pytest.raises(KeyboardInterrupt):
        run_fit(changed, tmp_path / "run", callbacks=[stop_after(1)])
    Dataset.read("etn:Mo/train", index="1::16").write(train)
    with pytest.raises(RunFolderError, match="data have changed"):
        run_fit(None, tmp_path / "run", resume=True)


def test_resume_needs_a_run(tmp_path, settings):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunFolderError, match="no run to resume"):
            run_fit(settings, folder, resume=True)
    with pytest.raises(SettingsError, match="resume, force"):
        run_fit(settings, tmp_path, resume=True, force=True)


def test_damaged_checkpoint_is_reported(settings, tmp_path, contents, stop_after):
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path, callbacks=[stop_after(1)])
    path = tmp_path / "checkpoint.etn"
    path.write_bytes(path.read_bytes()[:-7])
    before = contents(tmp_path)
    with pytest.raises(EtnError, match=r"checkpoint\.etn"):
        run_fit(None, tmp_path, resume=True)
    assert contents(tmp_path) == before


def test_a_run_is_not_overwritten(finished, settings, contents):
    before = contents(finished)
    with pytest.raises(RunFolderError, match=r"already holds a run .*resume=True.*force=True"):
        run_fit(settings, finished)
    assert contents(finished) == before


def test_force_replaces_the_run_and_nothing_else(settings, tmp_path, stop_after):
    (tmp_path / "notes.txt").write_text("mine")
    for name in (*OUTPUTS, "checkpoint.etn"):
        (tmp_path / name).write_text("old")
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path, force=True, callbacks=[stop_after(0, within=True)])
    # What is left of the old run cannot be taken for the new one.
    here = sorted(path.name for path in tmp_path.iterdir())
    assert here == ["notes.txt", REPLACED, "settings.yaml"]
    assert {path.read_text() for path in (tmp_path / REPLACED).iterdir()} == {"old"}
    run_fit(settings, tmp_path, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*OUTPUTS, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "wrong",
    [
        {"r_max": 15.0},
        {"train": "etn:NbMoTaW/train", "test": None, "e0": {"Mo": -10.0}},
        {"test": "etn:NbMoTaW/test"},
        {"valid": "etn:NbMoTaW/test"},
        {"train": "none.xyz"},
        {"stress_key": None, "stress_weight": 1.0},
        {"energy_key": "dft_energy"},
        {"valid": 0.01},
    ],
)
def test_bad_input_touches_nothing(settings, tmp_path, wrong, contents):
    for name in (*OUTPUTS, "checkpoint.etn"):
        (tmp_path / name).write_text("old")
    before = contents(tmp_path)
    bad = FitSettings(**{**dict(settings), **wrong})
    with pytest.raises((DataError, SettingsError)):
        run_fit(bad, tmp_path, force=True)
    assert contents(tmp_path) == before
    with pytest.raises((DataError, SettingsError)):
        run_fit(bad, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_run_folder_that_is_a_file(settings, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunFolderError, match="this is a file"):
        run_fit(settings, tmp_path / "run")
    with pytest.raises(RunFolderError, match="cannot be written"):
        run_fit(settings, tmp_path / "run" / "inner")
    assert (tmp_path / "run").read_text() == "mine"
