"""Fits whose ridge the evidence chooses: objective, continued runs, settings."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.run.folder import run_fit
from etn.run.settings import FitSettings
from etn.sweep import Checkpoint, Schedule, State

OPTIONS = {"schedule": Schedule(max_sweeps=2, rel_tol=0), "uncertainty": False}


@pytest.fixture(scope="module")
def mo():
    return Dataset.read("etn:Mo/train", index="::20")


@pytest.fixture(scope="module")
def start(mo):
    basis = Basis.for_dataset(mo, r_max=4.0, n_max=4, l_max=1)
    return PolynomialPotential(basis, body_order=3, max_bond=2, baseline=Baseline.fit(mo))


@pytest.fixture(scope="module")
def whole(mo, start):
    return fit(start, mo, ridge="evidence", **OPTIONS)


def test_loss_never_rises_within_a_sweep(whole):
    assert len(whole.records) == 2
    for record in whole.records:
        assert len(record.losses) > 1
        assert np.all(np.diff(record.losses) <= 1e-9 * record.losses[0])
    ridges = [record.measures["ridge"] for record in whole.records]
    assert ridges[0] > 0
    assert ridges[0] != 1e-3
    assert whole.ridge == ridges[-1]
    assert "ridge" in str(whole).splitlines()[0]


def test_sweeps_use_the_ridge_of_the_record_before(mo, start, whole, tmp_path, stop_after):
    # The same second sweep with the number that the first one ended with.
    path = tmp_path / "state.etn"
    with pytest.raises(KeyboardInterrupt):
        fit(start, mo, ridge="evidence", callbacks=[Checkpoint(path), stop_after(1)], **OPTIONS)
    state = State.load(path)
    ridge = state.records[-1].measures["ridge"]
    number = fit(start, mo, ridge=ridge, resume=state, **OPTIONS)
    assert number.records[-1].losses == whole.records[-1].losses
    assert "ridge" not in number.records[-1].measures
    resumed = fit(start, mo, ridge="evidence", resume=state, **OPTIONS)
    for one, two in zip(whole.records, resumed.records, strict=True):
        assert replace(one, seconds=0.0) == replace(two, seconds=0.0)


def test_run_folder_tells_the_ridge(tmp_path):
    settings = FitSettings(
        train="etn:Mo/test", r_max=4, n_max=3, l_max=1, max_bond=2, body_order=3, max_sweeps=1,
        ridge="evidence", stress_weight=0,
    )  # fmt: skip
    report = run_fit(settings, tmp_path).report
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["settings"]["ridge"] == "evidence"
    assert stored["ridge"] == report.ridge == stored["fit"]["records"][-1]["measures"]["ridge"]
    assert FitSettings.load(tmp_path / "settings.yaml").ridge == "evidence"


def test_other_words_are_refused(mo, start):
    with pytest.raises(SettingsError, match="ridge: expected a number or \"evidence\", got 'auto'"):
        fit(start, mo, ridge="auto")
    for wrong in ("auto", "nan", True, None):
        with pytest.raises(SettingsError, match=r'ridge: expected a number greater .*"evidence"'):
            FitSettings(train="a.xyz", ridge=wrong)
