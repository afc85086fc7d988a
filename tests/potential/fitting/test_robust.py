"""Robust fits: Huber's function, and wrong labels found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from etn.errors import SettingsError
from etn.potential import Dataset, fit
from etn.potential.fitting.robust import Doubt, Huber, describe_doubts
from etn.sweep import Checkpoint, Schedule, State


@pytest.mark.parametrize(("label", "components"), [("energy", 1), ("forces", 3), ("stress", 6)])
def test_the_scale_of_normal_residuals_is_their_standard_deviation(rng, label, components):
    norms = np.linalg.norm(0.3 * rng.normal(size=(20000, components)), axis=1)
    huber = Huber(energy_threshold=1.345)
    huber.update({label: norms})
    assert huber.scales[label] == pytest.approx(0.3, rel=0.03)
    # As many are down-weighted, whatever the number of components.
    expected = 2 * scipy.stats.norm.sf(1.345)
    assert np.mean(huber.weights(label, norms) < 1) == pytest.approx(expected, abs=0.02)


def test_energies_count_in_full_up_to_ten_scales():
    huber = Huber(scales={"energy": 0.2, "forces": 0.2, "stress": 0.2})
    assert huber.limit("energy") == pytest.approx(10 * 0.2, rel=1e-12)
    for label, components in (("forces", 3), ("stress", 6)):
        exceeded = scipy.stats.chi.sf(huber.limit(label) / 0.2, components)
        assert exceeded == pytest.approx(2 * scipy.stats.norm.sf(1.345), rel=1e-12)
    np.testing.assert_allclose(huber.weights("energy", np.array([1.9, 4.0])), [1.0, 0.5])
    assert np.all(huber.weights("forces", np.array([1.9, 4.0])) < 0.5)


def test_the_loss_is_that_of_scipy(rng):
    huber = Huber(scales={"energy": 0.05})
    norms = np.abs(rng.normal(size=50))
    limit = huber.limit("energy")
    assert 10 < np.sum(norms > limit) < 40
    expected = 2 * scipy.special.huber(limit, norms)
    np.testing.assert_allclose(huber.loss("energy", norms), expected, rtol=1e-12)
    # The weights are half the slope of the loss over the residual.
    step = 1e-6
    slope = huber.loss("energy", norms + step) - huber.loss("energy", norms - step)
    np.testing.assert_allclose(
        huber.weights("energy", norms), slope / (4 * step * norms), rtol=1e-6
    )


def test_scales_never_rise_and_exact_residuals_do_not_count():
    huber = Huber()
    huber.update({"energy": np.array([0.0, 0.0, 0.0, 0.1]), "forces": np.zeros(5)})
    assert huber.scales == {"energy": pytest.approx(0.1 * 1.4826, rel=1e-4)}
    assert huber.limit("forces") == np.inf
    np.testing.assert_array_equal(huber.weights("forces", np.ones(2)), 1.0)
    np.testing.assert_array_equal(huber.loss("forces", np.full(2, 3.0)), 9.0)
    before = dict(huber.scales)
    huber.update({"energy": np.array([7.0])})
    assert huber.scales == before


def test_a_threshold_must_be_positive():
    with pytest.raises(SettingsError, match="threshold: expected a positive number, got 0"):
        Huber(0)
    with pytest.raises(SettingsError, match="energy_threshold: expected a positive number, got -1"):
        Huber(energy_threshold=-1)


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


def test_messages_name_the_worst_frames_first():
    doubts = [Doubt(f"a.xyz:{k}", "forces", k, 0.1 * k, 10.0 * k) for k in range(2, 9)]
    (text,) = describe_doubts(doubts)
    assert text.startswith("train: 7 forces that the fit disbelieves: a.xyz:8 atom 8 (0.8 eV/Å, 80")
    assert "..., " not in text
    assert "a.xyz:2" not in text
    assert describe_doubts([]) == []
