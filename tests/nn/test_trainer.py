"""Training: it learns, it resumes to the bit, and it stops when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from etn.errors import DataError, DivergedError, RunFolderError, SettingsError
from etn.nn import trainer
from etn.nn.potential import NeuralPotential
from etn.nn.progress import HEAD, Progress, line
from etn.nn.recipe import Recipe
from etn.nn.start import untrained
from etn.nn.trainer import train
from etn.potential import Baseline, Basis, Dataset, Frame, PolynomialPotential, Weights, fit

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


def test_a_start_that_no_epoch_improves_is_kept(start, tmp_path):
    recipe = Recipe(max_epochs=40, batch_size=2, learning_rate=1e-2, warmup=5, average=0.5)
    good = train(start, DATA, valid=0.2, recipe=recipe).model
    recipe = replace(recipe, max_epochs=3, learning_rate=3.0, warmup=0)
    states = []
    report = train(
        good, DATA, valid=0.2, recipe=recipe, callbacks=[lambda _, now: states.append(now())]
    )
    assert report.best == 0
    for one, two in zip(good.predict(DATA), report.model.predict(DATA), strict=True):
        assert one.energy == two.energy
    states[0].save(tmp_path / "checkpoint.etn", note={})
    resumed = train(
        good, DATA, valid=0.2, recipe=recipe, resume=Progress.load(tmp_path / "checkpoint.etn")
    )
    assert resumed.best == 0


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
    # Derivatives that are not learned from are not formed, and the steps are the same.
    weighted = Recipe(max_epochs=1, weights=Weights(forces=0.0, stress=0.0))
    same = train(start, Dataset(list(DATA)[::2]), recipe=weighted)
    assert same.epochs[0].loss == report.epochs[0].loss
    assert np.isnan(report.epochs[0].forces)
    assert np.isfinite(report.epochs[0].energy)
    # Validation data may have more labels than those that are learned from.
    rich = train(start, energies, valid=DATA[:2], recipe=Recipe(max_epochs=1))
    expected = rich.model.evaluate(DATA[:2])
    assert rich.epochs[0].forces == pytest.approx(expected.forces.rmse, rel=1e-4)
    forces = Recipe(max_epochs=1, weights=Weights(energy=0.0))
    assert np.isnan(train(start, DATA[:3], recipe=forces).epochs[0].energy)


def test_a_loss_that_is_no_number_names_the_frames(start, tmp_path):
    with torch.no_grad():
        start.network.readout[0].weight[0, 0] = float("nan")
    with pytest.raises(DivergedError, match=r"epoch 1: the loss of a batch is no number \(.*train"):
        train(start, DATA, recipe=Recipe(max_epochs=2))


def test_validation_is_judged_by_the_final_weights_of_labels(start):
    recipe = Recipe(
        weights=Weights(energy=3.0), final_weights={"energy": 48.0}, max_epochs=5,
        learning_rate=1e-12, average=0.0,
    )  # fmt: skip
    report = train(start, DATA, valid=0.3, recipe=recipe)
    final = Recipe(weights=Weights(energy=48.0), max_epochs=5, learning_rate=1e-12, average=0.0)
    expected = train(start, DATA, valid=0.3, recipe=final)
    assert report.epochs[0].valid == pytest.approx(expected.epochs[0].valid, rel=1e-5)
    # The weights of the network stand still: of the loss energies have a share that grows.
    first, *_, last = (epoch.loss for epoch in report.epochs)
    assert last == pytest.approx(expected.epochs[-1].loss, rel=1e-5)
    assert first < last


@pytest.mark.parametrize("name", ["tensornet", "ictp", "tdn"])
def test_rounded_arithmetic_learns_too(name, networks):
    start = untrained(name, DATA[:4], r_max=3.6, settings=networks[name])
    full, half = (
        train(start, DATA[:4], recipe=Recipe(max_epochs=4, batch_size=2, arithmetic=arithmetic))
        for arithmetic in ("full", "bfloat16")
    )
    for one, two in zip(full.epochs, half.epochs, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=0.05)
        assert two.loss != one.loss


def test_a_batch_that_does_not_fit_says_how_many_frames_would(start, monkeypatch):
    outcome = type(start.model).outcome

    def with_little_memory(model, batch, **options):
        if options.get("training") and batch.n_atoms > 120:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return outcome(model, batch, **options)

    monkeypatch.setattr(type(start.model), "outcome", with_little_memory)
    message = (
        r"batch_size: a step with 8 frames does not fit in the memory of the cpu; 1 would: "
        r"batch_size=1"
    )
    large = [frame for frame in DATA if frame.n_atoms > 50] * 2
    with pytest.raises(SettingsError, match=message):
        train(start, Dataset(large), recipe=Recipe(batch_size=8))
    assert len(train(start, DATA[:2], recipe=Recipe(batch_size=1, max_epochs=1)).epochs) == 1

    def with_none(model, batch, **options):
        raise MemoryError

    monkeypatch.setattr(type(start.model), "outcome", with_none)
    with pytest.raises(SettingsError, match=r"frame .* atoms\) alone does not either: choose"):
        train(start, DATA, recipe=Recipe(batch_size=2))


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


@pytest.fixture
def little(monkeypatch):
    """No memory for pairs and targets."""
    monkeypatch.setattr(trainer, "memory_left", lambda memory: 1.0)


@pytest.mark.parametrize("below", [False, True])
def test_pairs_found_anew_train_to_the_same_bits(start, little, monkeypatch, below):
    if below:
        basis = Basis.for_dataset(DATA, r_max=3.4, n_max=2, l_max=1)
        lower = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=start.baseline)
        start = NeuralPotential(start.model, below=fit(lower, DATA, uncertainty=False).model)
    recipe = Recipe(max_epochs=3, batch_size=2)
    stored = Dataset.read("etn:Mo/train", index="::20", memory=1e-6)
    assert stored.on_disk
    streamed = train(start, stored, valid=0.3, recipe=recipe)
    monkeypatch.undo()
    held = train(start, DATA, valid=0.3, recipe=recipe)
    assert [e.loss for e in held.epochs] == [e.loss for e in streamed.epochs]
    assert [e.valid for e in held.epochs] == [e.valid for e in streamed.epochs]
    for name, value in states_of(held).items():
        np.testing.assert_array_equal(value, states_of(streamed)[name])


def test_a_streamed_training_resumes_in_the_same_bits(start, little):
    recipe, kept = Recipe(max_epochs=3, batch_size=3, seed=4), {}

    def note(epoch, progress):
        kept[epoch.number] = progress()

    whole = train(start, DATA, valid=0.3, recipe=recipe, callbacks=[note])
    resumed = train(start, DATA, valid=0.3, recipe=recipe, resume=kept[1])
    assert [e.loss for e in resumed.epochs] == [e.loss for e in whole.epochs]
    for name, value in states_of(resumed).items():
        np.testing.assert_array_equal(value, states_of(whole)[name])


def test_what_is_held_already_must_fit(start):
    with pytest.raises(SettingsError, match=r"memory: expected more than .* GB, which the program"):
        train(start, DATA, memory=0.01)


def test_a_label_that_a_late_frame_on_disk_lacks_is_named(start, tmp_path):
    frames = [*DATA, replace(DATA[0], forces=None)]
    Dataset(frames).write(tmp_path / "a.xyz")
    data = Dataset.read(tmp_path / "a.xyz", memory=1e-6)
    message = rf"training set: 1 of {len(data)} frames have no forces \(a\.xyz:{len(DATA)};"
    with pytest.raises(DataError, match=message):
        train(start, data)


SCRIPT = """
import json, re, sys
from pathlib import Path
import numpy as np
from etn.nn.recipe import Recipe
from etn.nn.samples import Samples
from etn.nn.start import untrained
from etn.nn.trainer import train
from etn.potential import Dataset, Weights

def peak():
    # Not what getrusage knows, which a process inherits from the one that starts it.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

path, room = sys.argv[1], float(sys.argv[2])
few = Dataset.read(path, index=":40")
start = untrained("tensornet", few, r_max=9.0, settings={"channels": 2, "layers": 0, "n_max": 2})
recipe = Recipe(max_epochs=1, batch_size=2)
train(start, few, valid=0.25, recipe=recipe)
held, each = peak(), Samples.of(few, start, Weights()).nbytes / len(few)
data = Dataset.read(path, memory=0.1 * room / 1e9)
report = train(start, data, valid=0.02, recipe=recipe, memory=(held + room) / 1e9)
report.model.evaluate(data[::20])
print(json.dumps([peak() - held, each * len(data), data.on_disk]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_set_five_times_larger_than_the_memory_trains_within_it(tmp_path):
    rng, room = np.random.default_rng(0), 40e6
    crystal = bulk("Cu", cubic=True).repeat((2, 2, 2))
    with (tmp_path / "a.xyz").open("w") as file:
        for _ in range(1800):
            atoms, moved = crystal.copy(), rng.normal(scale=0.1, size=(32, 3))
            atoms.positions += moved
            labels = {"energy": -3.5 * 32 + float(np.sum(moved**2)), "forces": -2 * moved}
            atoms.calc = SinglePointCalculator(atoms, **labels)
            ase.io.write(file, atoms, format="extxyz")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "a.xyz"), str(room)]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=alone)
    growth, size, on_disk = json.loads(done.stdout.splitlines()[-1])
    assert on_disk
    assert size > 5 * room
    assert growth < room


def of_two_charges():
    """Dimers whose energy falls by 0.5 eV with the charge."""
    frames = []
    for k, length in enumerate(np.linspace(2.0, 2.6, 8)):
        charge = -(k % 2)
        energy = -20.0 + 2.0 * (length - 2.3) ** 2 + 0.5 * charge
        frames.append(
            Frame(
                [42, 42], [[0, 0, 0], [length, 0, 0]], np.zeros((3, 3)), [False] * 3,
                energy=energy, charge=charge, name=f"ions.xyz:{k}",
            )
        )  # fmt: skip
    return Dataset(frames)


def test_the_energies_of_two_charges_are_learned():
    data = of_two_charges()
    settings = {"channels": 8, "layers": 1, "n_max": 6}
    start = untrained(
        "tensornet", data, r_max=4.0, settings=settings, baseline=Baseline({"Mo": -10.0}),
        dtype="float64",
    )  # fmt: skip
    recipe = Recipe(
        weights=Weights(forces=0), max_epochs=150, batch_size=8, learning_rate=1e-2, warmup=0,
        average=0.9,
    )  # fmt: skip
    model = train(start, data, recipe=recipe, uncertainty=False).model
    frame = replace(data[3], charge=0)
    neutral, anion = model.predict([frame, replace(frame, charge=-1)])
    assert neutral.energy - anion.energy == pytest.approx(0.5, abs=0.05)


def test_charges_are_refused_before_anything_is_computed(monkeypatch):
    data = of_two_charges()
    neutral = Dataset([replace(frame, charge=0) for frame in data])
    settings = {"channels": 2, "l_max": 1, "layers": 1, "n_max": 3, "hidden": 4}
    message = r"ions.xyz:1: a total charge of -1 \(3 more frames with one\), which the network ictp"
    with pytest.raises(DataError, match=message):
        untrained("ictp", data, r_max=4.0, settings=settings)
    start = untrained(
        "ictp", neutral, r_max=4.0, settings=settings, baseline=Baseline({"Mo": -10.0})
    )
    monkeypatch.setattr(trainer, "_Training", None)
    recipe = Recipe(weights=Weights(forces=0))
    for sets in ({"data": data}, {"data": neutral, "valid": data}):
        with pytest.raises(DataError, match=message):
            train(start, recipe=recipe, **sets)
