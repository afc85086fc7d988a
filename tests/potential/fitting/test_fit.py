"""Fits: falling loss, honest figures, planted potentials, continued runs, errors."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from etn.data.metrics import compute_metrics
from etn.errors import DataError, SettingsError
from etn.network import Chain
from etn.potential import Baseline, Basis, Dataset, Frame, PolynomialPotential, Weights, fit
from etn.sweep import Callback, Checkpoint, EarlyStop, Schedule, State


@pytest.fixture(scope="module")
def mo():
    return Dataset.read("etn:Mo/train", index="5::48")


def potential(data, *, body_order=4, l_max=2, zbl=False):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=4, l_max=l_max)
    return PolynomialPotential(
        basis, body_order=body_order, max_bond=2, baseline=Baseline.fit(data, zbl=zbl)
    )


SCHEDULE = Schedule(max_sweeps=2, rel_tol=0)


class Chains(Callback):
    """The chains after every sweep."""

    def __init__(self):
        self.found = []

    def on_sweep(self, state):
        self.found.append(state.chain)


@pytest.fixture(scope="module")
def swept():
    return Chains()


@pytest.fixture(scope="module")
def fitted(mo, swept):
    return fit(
        potential(mo), mo, ridge=1e-2, schedule=SCHEDULE, seed=1, robust=None, callbacks=[swept]
    )


def same(one, two):
    for a, b in zip(one, two, strict=True):
        assert a.legs == b.legs
        np.testing.assert_array_equal(a.to_vector(), b.to_vector())


def test_the_training_loss_never_rises(fitted):
    losses = np.concatenate([record.losses for record in fitted.records])
    assert len(losses) == 2 * 2 + 2 * 4
    assert np.all(np.diff(losses) <= 1e-9 * losses[:-1])
    assert [record.n_sites for record in fitted.records] == [2, 2, 3, 3]


def test_the_reported_loss_is_the_documented_one(fitted, swept, mo, weighted_loss, dimer_loss):
    before = fitted.model.with_chain(swept.found[-2])
    loss = weighted_loss(fitted.model, mo, Weights()) + dimer_loss(fitted.model, before)
    expected = loss + 1e-2 * fitted.chain.norm() ** 2
    assert fitted.records[-1].loss == pytest.approx(expected, rel=1e-8)


def test_the_reported_errors_are_those_of_the_model(fitted, mo):
    metrics = compute_metrics(fitted.model.predict(mo), mo)
    measures = fitted.records[-1].measures
    assert measures["train E"] == pytest.approx(1e3 * metrics.energy.mae, rel=1e-8)
    assert measures["train F"] == pytest.approx(metrics.forces.mae, rel=1e-8)
    assert fitted.model.evaluate(mo) == metrics


def test_the_fit_is_better_than_the_baseline(fitted, mo):
    before = potential(mo).evaluate(mo)
    after = fitted.model.evaluate(mo)
    assert after.energy.mae < 0.3 * before.energy.mae
    assert after.forces.mae < 0.5 * before.forces.mae


def test_two_runs_with_one_seed_are_the_same(fitted, mo):
    again = fit(potential(mo), mo, ridge=1e-2, schedule=SCHEDULE, seed=1, robust=None)
    same(again.chain, fitted.chain)
    other = fit(potential(mo, body_order=3), mo, schedule=Schedule(max_sweeps=1), seed=2)
    assert other.records[0].losses != fitted.records[0].losses


def test_the_given_model_is_not_changed(mo):
    model = potential(mo, body_order=3)
    report = fit(model, mo, schedule=Schedule(max_sweeps=1))
    assert model.chain is None
    assert report.model.chain is report.chain
    assert report.model.basis is model.basis


def untimed(report):
    return [replace(record, seconds=0.0) for record in report.records]


@pytest.mark.parametrize("sweeps", [1, 2])
def test_a_continued_fit_is_the_same_to_the_last_bit(fitted, mo, tmp_path, sweeps, stop_after):
    path = tmp_path / "state.etn"
    options = {"ridge": 1e-2, "schedule": SCHEDULE, "seed": 1, "robust": None}
    with pytest.raises(KeyboardInterrupt):
        fit(potential(mo), mo, callbacks=[Checkpoint(path), stop_after(sweeps)], **options)
    resumed = fit(potential(mo), mo, resume=State.load(path), **options)
    same(resumed.chain, fitted.chain)
    assert untimed(resumed) == untimed(fitted)


def test_validation_picks_the_best_sweep(mo, weighted_loss):
    valid = Dataset.read("etn:Mo/test", index="::8")
    report = fit(
        potential(mo, body_order=3),
        mo,
        valid=valid,
        robust=None,
        schedule=Schedule(max_sweeps=4, rel_tol=0),
    )
    losses = [record.measures["valid loss"] for record in report.records]
    expected = weighted_loss(report.model, valid, Weights())
    assert expected == pytest.approx(min(losses), rel=1e-8)
    metrics = report.model.evaluate(valid)
    best = report.records[int(np.argmin(losses))].measures
    assert best["valid E"] == pytest.approx(1e3 * metrics.energy.mae, rel=1e-8)
    assert best["valid F"] == pytest.approx(metrics.forces.mae, rel=1e-8)


def test_a_fraction_is_held_out(mo, weighted_loss):
    report = fit(
        potential(mo, body_order=3),
        mo,
        valid=0.4,
        schedule=Schedule(max_sweeps=5),
        callbacks=[EarlyStop(rel_tol=10.0)],
        robust=None,
        seed=3,
    )
    train, valid = mo.split(0.4, 3)
    assert len(report.records) == 2
    assert report.reason.startswith("valid loss fell")
    metrics = report.model.evaluate(train)
    best = min(report.records, key=lambda record: record.measures["valid loss"])
    assert best.measures["train E"] == pytest.approx(1e3 * metrics.energy.mae, rel=1e-8)
    assert best.measures["valid loss"] == pytest.approx(
        weighted_loss(report.model, valid, Weights()), rel=1e-8
    )


def crystal(rng, numbers, n):
    cell = 4.5 * (np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3) / 2
    positions = (grid + 0.05 * rng.normal(size=grid.shape)) @ cell
    return Frame(rng.choice(numbers, size=8), positions, cell, [True] * 3, name=f"made:{n}")


def test_a_planted_potential_is_found(labelled, monkeypatch):
    # Dimers of a random potential attract each other, and its forces are small.
    monkeypatch.setattr("etn.potential.fitting.close_pairs.WEIGHT", 0.0)
    rng = np.random.default_rng(0)
    frames = [crystal(rng, [29, 42], n) for n in range(16)]
    basis = Basis(("Cu", "Mo"), r_max=3.5, n_max=3, l_max=1, r_min=1.2).informed(Dataset(frames))
    baseline = Baseline({"Cu": -3.0, "Mo": -10.0}, zbl=True)
    chain = Chain.random([basis.leg] * 2, start=basis.start, max_bond=2, seed=5)
    teacher = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=baseline, chain=chain)
    known = labelled(frames, teacher)
    train, test = known[:12], known[12:]
    student = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=baseline)
    # Sweeps over equal sites creep towards it; of forces as weak as these a tenth is left.
    schedule = Schedule(sites=2, max_sweeps=20, rel_tol=1e-4)
    report = fit(student, train, ridge=1e-10, robust=None, schedule=schedule, refine=20)
    metrics = report.model.evaluate(test)
    force = np.abs(np.concatenate([f.forces for f in test])).mean()
    assert metrics.forces.mae < 0.15 * force
    assert metrics.energy.mae < 0.1 * force
    assert metrics.stress.mae < 0.15 * np.abs([f.stress for f in test]).mean()


def test_no_ridge_and_fewer_rows_than_parameters(mo, tmp_path):
    # Singular local problems: solved by QR, reported and stored all the same.
    data = Dataset(replace(f, forces=None, stress=None) for f in mo)
    report = fit(
        potential(mo),
        data,
        weights={"forces": 0.0},
        ridge=0.0,
        schedule=Schedule(max_sweeps=1),
        callbacks=[Checkpoint(tmp_path / "state.etn")],
    )
    assert {record.solver for record in report.records} == {"qr"}
    # More unknowns than energies: all of them are met.
    assert report.model.evaluate(data).energy.mae < 1e-6


def test_several_elements_are_fitted_apart():
    data = Dataset.read("etn:NbMoTaW/train", index="::60")
    model = potential(data, body_order=3, l_max=1)
    before = model.evaluate(data)
    report = fit(model, data, schedule=Schedule(max_sweeps=2), missing="skip")
    after = report.model.evaluate(data)
    assert after.forces.mae < before.forces.mae
    assert set(after.per_element) <= {"Nb", "Mo", "Ta", "W"}


def test_missing_labels_are_refused_or_skipped(mo):
    frames = [replace(mo[0], forces=None), *mo[1:]]
    data = Dataset(frames)
    model = potential(mo, body_order=3)
    one = Schedule(max_sweeps=1)
    with pytest.raises(DataError, match=r"training set: 1 of \d+ frames have no forces"):
        fit(model, data, schedule=one)
    with pytest.raises(DataError, match="validation set: none of the 1 frames has an energy"):
        fit(model, mo, valid=Dataset([replace(mo[0], energy=None)]), schedule=one)
    report = fit(model, data, missing="skip", schedule=one)
    metrics = report.model.evaluate(data)
    assert report.records[-1].measures["train F"] == pytest.approx(metrics.forces.mae, rel=1e-8)
    fit(model, data, weights={"forces": 0.0}, schedule=one)


def test_one_kind_of_label_is_enough(mo):
    model, one = potential(mo, body_order=3), Schedule(max_sweeps=1)
    energies = Dataset(replace(f, forces=None, stress=None) for f in mo)
    report = fit(model, energies, weights={"forces": 0}, schedule=one)
    assert "train F" not in report.records[-1].measures
    forces = Dataset(replace(f, energy=None, stress=None) for f in mo)
    report = fit(model, forces, weights={"energy": 0}, schedule=one)
    assert "train E" not in report.records[-1].measures


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"missing": "drop"}, SettingsError, 'missing: expected "error" or "skip", got'),
        ({"ridge": -1.0}, SettingsError, "ridge: expected zero or more, got -1.0"),
        ({"ridge": np.nan}, SettingsError, "ridge: expected zero or more, got nan"),
        ({"weights": {"energy": -1.0}}, SettingsError, "weights: energy"),
        ({"weights": {"force": 1.0}}, SettingsError, "got force"),
        ({"valid": 1.5}, SettingsError, "fraction"),
    ],
)
def test_settings_out_of_range(mo, options, error, message):
    with pytest.raises(error, match=message):
        fit(potential(mo, body_order=3), mo, **options)


def test_a_data_set_without_any_used_label(mo):
    bare = Dataset(replace(f, energy=None, forces=None, stress=None) for f in mo)
    with pytest.raises(SettingsError, match="no label of the training set has a weight"):
        fit(potential(mo, body_order=3), bare, missing="skip")


def test_an_element_that_the_model_does_not_know(mo):
    model = PolynomialPotential(Basis(("Cu",), r_max=4.0, n_max=2, l_max=1))
    with pytest.raises(DataError, match="element Mo is unknown"):
        fit(model, mo)


def test_the_report_is_jsonable_and_prints(fitted):
    data = json.loads(json.dumps(fitted.to_dict()))
    assert len(data["records"]) == 4
    lines = str(fitted).splitlines()
    assert len(lines) == 2 + 4 + 1
    assert "train E" in lines[0]
