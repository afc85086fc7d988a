"""Polynomial potentials in torch: the same numbers, gradients of cores, polish, delta learning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from etn.errors import CoreError, SettingsError
from etn.network import Chain
from etn.nn.graph import Batch
from etn.nn.model import AtomicModel
from etn.nn.polynomial import PolynomialNetwork, from_module, to_module
from etn.nn.potential import NeuralPotential
from etn.nn.recipe import Recipe
from etn.nn.start import untrained
from etn.nn.tensornet import TensorNet
from etn.nn.trainer import train
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit, load
from etn.potential.features.pairs import Pairs
from etn.sweep import Schedule


@pytest.fixture(scope="module")
def fitted():
    data = Dataset.read("etn:NbMoTaW/train", index="::24")
    start = PolynomialPotential(
        Basis.for_dataset(data, r_max=4.0, n_max=4, l_max=2, max_channels=5),
        body_order=4, max_bond=(3, 2, 1), baseline=Baseline.fit(data, r_max=4.0),
    )  # fmt: skip
    return fit(start, data, schedule=Schedule(max_sweeps=1)).model, data


def same(one, two, frames, tolerance=1e-10):
    for a, b in zip(one.predict(frames), two.predict(frames), strict=True):
        scale = np.abs(a.forces).max() + np.abs(a.energies).max()
        np.testing.assert_allclose(b.energies, a.energies, atol=tolerance * scale)
        np.testing.assert_allclose(b.forces, a.forces, atol=tolerance * scale)
        if a.stress is not None:
            np.testing.assert_allclose(b.stress, a.stress, atol=tolerance * scale)


@pytest.mark.parametrize("size", [1.0, 0.85, 0.7])
def test_it_says_what_numpy_says_also_where_the_data_end(fitted, size):
    model, data = fitted
    frames = [replace(f, positions=size * f.positions, cell=size * f.cell) for f in data[:4]]
    same(model, NeuralPotential(model.module(), model.baseline), frames)


def test_single_precision_has_seven_digits(fitted):
    model, data = fitted
    same(model, NeuralPotential(model.module(dtype=torch.float32), model.baseline), data[:2], 1e-5)


def test_gradients_by_the_cores_are_those_of_numpy(fitted, rng):
    model, data = fitted
    module = model.module()
    batch = Batch.of(Pairs.find(data[:1], model.elements, model.r_max))
    energy = module(batch).sum()
    weights = list(module.network.cores.parameters())
    gradients = torch.autograd.grad(energy, weights)
    steps = [rng.normal(size=tuple(w.shape)) for w in weights]
    slope = sum(
        float((g * torch.as_tensor(s)).sum()) for g, s in zip(gradients, steps, strict=True)
    )
    moved = []
    for step in (-1e-5, 2e-5):
        with torch.no_grad():
            for weight, along in zip(weights, steps, strict=True):
                weight.add_(torch.as_tensor(along), alpha=step)
        other = from_module(NeuralPotential(module, model.baseline), model)
        moved.append(other.predict(data[:1])[0].energy)
    np.testing.assert_allclose((moved[1] - moved[0]) / 2e-5, slope, rtol=1e-5)


def test_there_and_back_is_the_same_potential(fitted, tmp_path):
    model, data = fitted
    neural = NeuralPotential(model.module(), model.baseline)
    same(model, from_module(neural, model), data[:2], 1e-14)
    neural.save(tmp_path / "torch.etn")
    same(model, load(tmp_path / "torch.etn"), data[:2])
    other = NeuralPotential(AtomicModel(TensorNet(("Mo",), channels=2)))
    with pytest.raises(SettingsError, match="network of a polynomial potential, got tensornet"):
        from_module(other, model)
    with pytest.raises(CoreError, match="expected a fitted potential"):
        to_module(model.with_chain(None))


def test_gradients_polish_what_sweeps_have_fitted(fitted):
    model, data = fitted
    start = NeuralPotential(model.module(), model.baseline)
    recipe = Recipe(max_epochs=6, batch_size=4, learning_rate=3e-4, warmup=2, average=0.0)
    report = train(start, data, recipe=recipe)
    assert report.epochs[-1].loss < report.epochs[0].loss
    polished = from_module(report.model, model)
    same(report.model, polished, data[:2])


def test_a_network_learns_what_a_potential_below_leaves(fitted, tmp_path):
    model, data = fitted
    start = untrained("tensornet", data, r_max=3.5, settings={"channels": 4, "layers": 1},
                      below=model, dtype="float64")  # fmt: skip
    left = np.concatenate(
        [(f.forces - p.forces).ravel() for f, p in zip(data, model.predict(data), strict=True)]
    )
    np.testing.assert_allclose(start.model.scale, np.sqrt(np.mean(left**2)), rtol=1e-10)
    with torch.no_grad():
        start.model.scale.zero_()
        start.model.mean.zero_()
    same(model, start, data[:3])
    half = NeuralPotential(start.model, below=model, share=0.5)
    e0 = sum(model.baseline.e0[symbol] for symbol in data[0].symbols)
    whole, part = model.predict(data[:1])[0], half.predict(data[:1])[0]
    np.testing.assert_allclose(part.energy - e0, 0.5 * (whole.energy - e0), rtol=1e-12)
    np.testing.assert_allclose(part.forces, 0.5 * whole.forces, atol=1e-12)
    np.testing.assert_allclose(part.stress, 0.5 * whole.stress, atol=1e-14)
    start = NeuralPotential(start.model, below=model, share=0.7)
    start.model.scale.fill_(0.3)
    report = train(start, data, recipe=Recipe(max_epochs=2, batch_size=4))
    report.model.save(tmp_path / "delta.etn")
    loaded = load(tmp_path / "delta.etn")
    assert repr(loaded.below) == repr(model.with_chain(model.chain))
    assert loaded.describe()["below"].startswith("0.7 of PolynomialPotential")
    same(report.model, loaded, data[:2], 1e-15)


def test_below_has_the_same_elements_and_baseline(fitted):
    model, _ = fitted
    network = TensorNet(model.elements[::-1], channels=2)
    with pytest.raises(SettingsError, match="below: expected a potential of"):
        NeuralPotential(AtomicModel(network), below=model)
    network = TensorNet(model.elements, channels=2)
    with pytest.raises(SettingsError, match="below: expected a potential with the same baseline"):
        NeuralPotential(AtomicModel(network), Baseline(dict.fromkeys(model.elements, 1.0)),
                        below=model)  # fmt: skip
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(SettingsError, match="share: expected a number above 0, at most 1"):
            NeuralPotential(AtomicModel(network), below=model, share=share)


def test_what_is_out_of_range():
    with pytest.raises(SettingsError, match="bonds: expected irreps that end in 1x0e"):
        PolynomialNetwork(("Mo",), bonds=["2x0e"])
    with pytest.raises(SettingsError, match="channels: expected positive numbers"):
        PolynomialNetwork(("Mo",), channels=[])
    assert isinstance(Chain, type)
