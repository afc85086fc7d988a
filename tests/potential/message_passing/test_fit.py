"""Fits of two layers: falling loss, robust weights, evidence, interruptions, callbacks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from etn.errors import DataError, SettingsError
from etn.potential import Dataset
from etn.potential.message_passing import Layers, fit_layers
from etn.potential.message_passing.start import make_room
from etn.sweep import Callback, Checkpoint, Schedule, State


@pytest.fixture
def fitted(make_model, make_frames, labelled, weights):
    """Function: a fit to data of another model, and these data."""

    def run(rng, **options):
        model = make_model(rng, elements=("Nb", "Mo"), attention=options.pop("attention", None))
        frames = [f for _ in range(4) for f in make_frames(rng, [41, 42])]
        data = labelled(frames, make_model(rng, elements=("Nb", "Mo")))
        # Plain squares: what the predictions say.  Not every frame has a stress: no number demands
        # one.
        options = {"robust": None, **options}
        return fit_layers(model, data, weights=replace(weights, stress=None), **options), data

    return run


def test_the_loss_never_rises(rng, fitted, weights, weighted_loss, dimer_loss):
    states = []

    class Watch(Callback):
        def on_sweep(self, state):
            states.append(state)

    report, data = fitted(
        rng, attention="1x0e+1x1o", max_cycles=3, rel_tol=0.0, ridge=1e-2, callbacks=[Watch()]
    )
    losses = [loss for record in report.records for loss in record.losses]
    pairs = itertools.pairwise(losses)
    assert all(after <= before * (1 + 1e-9) for before, after in pairs)
    assert losses[-1] < 0.9 * losses[0]
    order = [record.chain for record in report.records[:5]]
    assert order == ["readout", "readout", "value", "key", "query"]
    # The loss that is reported is that of the predictions.
    model = report.model
    total = weighted_loss(model, data, replace(weights, stress=None))
    others = {name: states[-2].others[name] for name in ("value", "key", "query")}
    before = model.with_layers(Layers(states[-2].chain, **others))
    total += 1e-2 * model.layers.norm() ** 2 + dimer_loss(
        model, before, states[-2].records[-1].measures["train F"]
    )
    assert losses[-1] == pytest.approx(total, rel=1e-6)
    assert "query" in str(report)


def test_the_fit_starts_as_one_layer(rng, fitted):
    report, data = fitted(rng, max_cycles=1)
    single = report.one_layer
    coupling = report.model.coupling
    layers = report.model.layers.replace("readout", make_room(single.chain, single.basis, coupling))
    for one, two in zip(
        report.model.with_layers(layers).predict(data), single.predict(data), strict=True
    ):
        np.testing.assert_allclose(one.forces, two.forces, atol=1e-10)


def test_validation_picks_the_best_cycle(rng, fitted):
    report, _ = fitted(rng, max_cycles=2, rel_tol=0.0, valid=0.25)
    assert "valid F" in report.records[-1].measures
    assert report.model.layers is not None


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_an_interrupted_fit_goes_on_to_the_same_result(
    rng, tmp_path, after, stop_after, fitted, weights
):
    options = {
        "attention": "1x0e",
        "robust": "huber",
        "ridge": "evidence",
        "valid": 0.25,
        "max_cycles": 2,
        "rel_tol": 0.0,
        "schedule": Schedule(max_sweeps=1),
    }
    whole, data = fitted(rng, **options)
    del options["attention"]
    model = whole.model.with_layers(None)
    options["weights"] = replace(weights, stress=None)
    path = tmp_path / "checkpoint.etn"
    with pytest.raises(KeyboardInterrupt):
        fit_layers(model, data, **options, callbacks=[Checkpoint(path), stop_after(after)])
    again = fit_layers(model, data, **options, resume=State.load(path))
    assert [r.chain for r in again.records] == [r.chain for r in whole.records]
    for one, two in zip(again.records, whole.records, strict=True):
        assert one.losses == pytest.approx(two.losses, rel=1e-9)
        assert one.measures == pytest.approx(two.measures, rel=1e-7)
    assert again.ridge == pytest.approx(whole.ridge, rel=1e-9)
    for one, two in zip(again.model.predict(data), whole.model.predict(data), strict=True):
        np.testing.assert_allclose(one.forces, two.forces, atol=1e-8 * np.abs(two.forces).max())


def test_wrong_labels_pull_less_in_a_robust_fit(rng, make_model, make_frames, labelled, weights):
    model = make_model(rng, elements=("Nb", "Mo"))
    frames = [f for _ in range(6) for f in make_frames(rng, [41, 42])]
    clean = labelled(frames, make_model(rng, elements=("Nb", "Mo")))
    wrong = Dataset([replace(f, energy=f.energy + 50.0 * (k == 7)) for k, f in enumerate(clean)])
    options = {"weights": replace(weights, stress=None), "max_cycles": 2, "ridge": 1e-2}
    plain, robust = (fit_layers(model, wrong, robust=r, **options) for r in (None, "huber"))

    def error(report):
        return report.model.evaluate(clean[[k != 7 for k in range(len(clean))]]).energy.mae

    assert error(robust) < 0.5 * error(plain)
    assert [doubt.frame for doubt in robust.doubts if doubt.label == "energy"] == [wrong[7].name]
    assert robust.records[-1].measures["outliers E"] >= 1
    assert plain.doubts == ()


def test_callbacks_see_steps_sweeps_and_may_stop(rng, fitted):
    seen = []

    class Watch(Callback):
        def on_step(self, step):
            seen.append(("step", len(step.chain)))

        def on_sweep(self, state):
            seen.append(("sweep", state.records[-1].chain))

        def verdict(self, records):
            return "enough" if records[-1].chain == "value" else ""

    report, _ = fitted(rng, max_cycles=5, rel_tol=0.0, callbacks=[Watch()])
    assert report.reason == "enough"
    assert report.records[-1].cycle == 1
    assert [name for kind, name in seen if kind == "sweep"][-2:] == ["readout", "value"]
    assert sum(kind == "step" for kind, _ in seen) > 8


def test_evidence_chooses_the_ridge(rng, fitted):
    report, _ = fitted(rng, max_cycles=1, ridge="evidence")
    assert report.ridge == report.records[-1].measures["ridge"] != 1e-3


def test_missing_labels_and_options_are_refused(rng, setting):
    model, data, _ = setting(rng)
    bare = Dataset([replace(data[0], forces=None), *data[1:]])
    with pytest.raises(DataError, match=r"training set: 1 of .* frames have no forces"):
        fit_layers(model, bare)
    with pytest.raises(SettingsError, match="robust"):
        fit_layers(model, data, robust="tukey")
    with pytest.raises(SettingsError, match="evidence"):
        fit_layers(model, data, ridge="much")
    report = fit_layers(model, bare, missing="skip", max_cycles=1, schedule=Schedule(max_sweeps=1))
    assert report.records[-1].chain == "query"


def test_settings_out_of_range_are_refused(rng, setting):
    model, data, _ = setting(rng)
    with pytest.raises(SettingsError, match="ridge"):
        fit_layers(model, data, ridge=-1.0)
    with pytest.raises(SettingsError, match="max_cycles"):
        fit_layers(model, data, max_cycles=0)


def test_one_line_a_sweep_is_logged(rng, fitted, caplog):
    with caplog.at_level("INFO", logger="etn"):
        report, _ = fitted(rng, max_cycles=1, rel_tol=0.0)
    lines = [r.getMessage() for r in caplog.records if r.name.endswith("message_passing.fit")]
    assert len(lines) == len(report.records) == 3
    assert lines[0].startswith("cycle 0, readout: loss ")
    assert lines[2].startswith("cycle 1, value: loss ")
    assert "train F" in lines[2]
