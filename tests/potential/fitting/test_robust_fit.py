"""Robust fits: wrong labels pull less, are named, and the objective never rises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.potential import Dataset, fit
from etn.sweep import Checkpoint, Schedule, State

SHIFT = 0.5  # eV/atom


SCHEDULE = Schedule(max_sweeps=4, rel_tol=0)


@pytest.fixture(scope="module")
def fits(mo, wrong, potential):
    """Robust fit to right labels, plain and robust fit to wrong ones; which ones are wrong."""
    dirty, energies, forces = wrong(mo, shift=SHIFT)
    model, options = potential(mo), {"schedule": SCHEDULE, "uncertainty": False}
    clean, robust = (fit(model, data, robust="huber", **options) for data in (mo, dirty))
    return clean, fit(model, dirty, robust=None, **options), robust, dirty, energies, forces


def test_a_robust_fit_recovers_from_wrong_labels(fits):
    test = Dataset.read("etn:Mo/test")
    clean, plain, robust = (report.model.evaluate(test) for report in fits[:3])
    assert robust.energy.mae < 1.2 * clean.energy.mae
    assert robust.forces.mae < 1.15 * clean.forces.mae
    assert plain.energy.mae > 1.15 * clean.energy.mae


def test_wrong_labels_are_named(fits):
    robust, dirty, energies, forces = fits[2:]
    doubted = [doubt for doubt in robust.doubts if doubt.label == "energy"]
    assert {doubt.frame for doubt in doubted} == set(energies)
    for doubt in doubted:
        assert doubt.residual == pytest.approx(SHIFT, rel=0.1)
    first = np.cumsum([0, *(frame.n_atoms for frame in dirty)])
    at = {frame.name: k for frame, k in zip(dirty, first, strict=False)}
    found = [at[d.frame] + d.atom for d in robust.doubts if d.label == "forces"]
    assert len(found) > 0.3 * forces.sum()
    assert np.mean(forces[found]) > 0.9
    text = "\n".join(robust.warnings)
    assert all(name in text for name in energies)
    assert text in str(robust)
    assert fits[1].doubts == ()


def test_right_labels_are_not_doubted(fits):
    assert fits[0].doubts == ()
    assert fits[0].warnings == []


def test_the_objective_never_rises_over_reweighings(fits):
    losses = np.concatenate([record.losses for record in fits[2].records])
    assert np.all(np.diff(losses) <= 1e-9 * losses[:-1])


def test_the_report_counts_what_was_weighed_down(fits):
    record = fits[2].records[-1]
    dirty, forces = fits[3], fits[5]
    assert len(fits[4]) <= record.measures["outliers E"] <= len(dirty) / 2
    assert forces.sum() / 2 < record.measures["outliers F"] < dirty.n_atoms / 2
    assert 0 < record.measures["scale E"] < 0.05
    counts = f"{record.measures['outliers E']:.0f} energies"
    assert f"; weighed down: {counts}, " in str(fits[2])
    assert "outliers" not in str(fits[2])


def test_other_robust_functions_are_refused(mo, potential):
    with pytest.raises(SettingsError, match="robust: expected None or \"huber\", got 'tukey'"):
        fit(potential(mo), mo, robust="tukey")


def test_a_continued_robust_fit_is_the_same_to_the_last_bit(
    mo, tmp_path, wrong, potential, stop_after
):
    dirty = wrong(mo[::4])[0]
    model = potential(dirty)
    options = {
        "robust": "huber",
        "valid": 0.3,
        "schedule": Schedule(max_sweeps=3, rel_tol=0),
        "uncertainty": False,
    }
    whole = fit(model, dirty, **options)
    path = tmp_path / "state.etn"
    with pytest.raises(KeyboardInterrupt):
        fit(model, dirty, callbacks=[Checkpoint(path), stop_after(2)], **options)
    resumed = fit(model, dirty, resume=State.load(path), **options)
    for one, two in zip(whole.records, resumed.records, strict=True):
        assert replace(one, seconds=0.0) == replace(two, seconds=0.0)
    assert whole.doubts == resumed.doubts
