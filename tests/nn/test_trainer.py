"""Training: it learns, it resumes to the bit, and it stops when something is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from etn.errors import DataError, DivergedError, RunFolderError
from etn.nn.progress import HEAD, Progress, line
from etn.nn.recipe import Recipe
from etn.nn.start import untrained
from etn.nn.trainer import train
from etn.potential import Dataset, Weights

DATA = Dataset.read("etn:Mo/train", index="::20")


@pytest.fixture
def start():
    return untrained(
        "tensornet", DATA, r_max=3.4, settings={"channels": 4, "layers": 1, "n_max": 6}
    )


def states_of(report):
    return {k: v.numpy() for k, v in report.model.model.state_dict().items()}


def test_the_loss_falls_and_the_start_keeps_its_weights(start):
    before = {k: v.clone() for k, v in start.model.state_dict().items()}
    recipe = Recipe(max_epochs=12, batch_size=2, learning_rate=1e-2, warmup=5, average=0.5)
    report = train(start, DATA, valid=0.2, recipe=recipe)
    losses = [epoch.loss for epoch in report.epochs]
    assert losses[-1] < 0.6 * losses[0]
    assert report.reason == "done: 12 epochs"
    assert report.best == min(report.epochs, key=lambda e: e.valid).number
    assert all(torch.equal(before[k], v) for k, v in start.model.state_dict().items())
    assert str(report).startswith(HEAD)
    assert line(report.epochs[-1]) in str(report)
    # What is kept has the errors that the report says.
    best = report.epochs[report.best - 1]
    _, valid = DATA.split(0.2, 0)
    found = report.model.evaluate(valid)
    np.testing.assert_allclose(best.forces, found.forces.rmse, rtol=1e-4)
    np.testing.assert_allclose(best.energy, found.energy.rmse, rtol=1e-3)


@pytest.mark.parametrize("name", ["ictp", "tdn"])
def test_the_other_networks_learn_too(name, networks):
    wide = {"tdn": {"channels": 12, "hidden": 12, "l_max": 1}}.get(name, {})
    start = untrained(name, DATA[:6], r_max=4.5, settings={**networks[name], **wide})
    recipe = Recipe(max_epochs=15, batch_size=2, learning_rate=2e-2, warmup=2, average=0.0)
    report = train(start, DATA[:6], recipe=recipe)
    assert report.epochs[-1].loss < 0.8 * report.epochs[0].loss


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_resumed_training_ends_in_the_same_bits(start, schedule, tmp_path):
    recipe = Recipe(max_epochs=5, batch_size=3, warmup=3, schedule=schedule, plateau=1, seed=4)
    kept = {}

    def keep(epoch, progress):
        kept[epoch.number] = progress()

    whole = train(start, DATA, valid=0.3, recipe=recipe, callbacks=[keep])
    kept[2].save(tmp_path / "p.etn", note={"data": "these"})
    loaded = Progress.load(tmp_path / "p.etn")
    assert loaded.note == {"data": "these"}
    resumed = train(start, DATA, valid=0.3, recipe=recipe, resume=loaded)
    assert [replace(e, seconds=0.0) for e in resumed.epochs] == [
        replace(e, seconds=0.0) for e in whole.epochs
    ]
    for name, value in states_of(whole).items():
        np.testing.assert_array_equal(states_of(resumed)[name], value)


def test_it_ends_early_where_the_recipe_says_so(start):
    patient = Recipe(max_epochs=50, patience=2, learning_rate=1e-12, warmup=0, average=0.0)
    report = train(start, DATA, valid=0.3, recipe=patient)
    assert "no lower validation loss in 2 epochs" in report.reason
    report = train(start, DATA, recipe=Recipe(max_hours=1e-9))
    assert len(report.epochs) == 1
    assert "hours, 1 epochs" in report.reason


def test_without_forces_or_energies(start):
    energies = Dataset.read("etn:Mo/train", index="::40", forces=None, stress=None)
    report = train(start, energies, recipe=Recipe(max_epochs=1))
    assert np.isnan(report.epochs[0].forces)
    assert np.isfinite(report.epochs[0].energy)
    forces = Recipe(max_epochs=1, weights=Weights(energy=0.0))
    assert np.isnan(train(start, DATA[:3], recipe=forces).epochs[0].energy)


def test_a_loss_that_is_no_number_names_the_frames(start, tmp_path):
    with torch.no_grad():
        start.network.readout[0].weight[0, 0] = float("nan")
    with pytest.raises(DivergedError, match=r"epoch 1: the loss of a batch is no number \(.*train"):
        train(start, DATA, recipe=Recipe(max_epochs=2))


def test_weights_of_another_network_are_refused(start):
    kept = []
    train(start, DATA[:2], recipe=Recipe(max_epochs=1), callbacks=[lambda e, p: kept.append(p())])
    other = untrained(
        "tensornet", DATA, r_max=3.4, settings={"channels": 6, "layers": 1, "n_max": 6}
    )
    with pytest.raises(RunFolderError, match="resume: expected the weights of this network"):
        train(other, DATA[:2], recipe=Recipe(max_epochs=2), resume=kept[0])


def test_it_ends_with_error_bars_scaled_on_the_validation_data(start):
    recipe = Recipe(max_epochs=2, batch_size=3)
    known = train(start, DATA, valid=0.3, recipe=recipe).model
    train_data, valid = DATA.split(0.3, recipe.seed)
    errors = np.array(
        [p.energy - f.energy for p, f in zip(known.predict(valid), valid, strict=True)]
    )
    bars = replace(known.uncertainty, coverage=None).energy(valid)
    assert np.mean((errors / bars) ** 2) == pytest.approx(1, rel=1e-6)
    assert max(gamma.max() for gamma in known.uncertainty.gamma(train_data)) < 1.02
    assert not train(start, DATA[:3], recipe=recipe, uncertainty=False).model.has_uncertainty


def test_labels_are_demanded(start):
    data = Dataset([replace(DATA[0], forces=None), *DATA[1:3]])
    with pytest.raises(DataError, match="training set: 1 of 3 frames have no forces"):
        train(start, data)
