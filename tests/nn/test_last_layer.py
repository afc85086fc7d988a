"""Features of the last weights: changes of predictions, the last core of a chain, symmetries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from etn.errors import ModelFileError, SettingsError
from etn.nn.last_layer import LastLayer
from etn.nn.polynomial import PolynomialNetwork
from etn.o3.rotation import random_rotation
from etn.potential import Basis, Frame, PolynomialPotential
from etn.potential.features.pairs import Pairs
from etn.potential.uncertainty import LastCore

NAMES = ("tensornet", "ictp", "tdn")


@pytest.fixture
def layer_of(last_size):
    def layer(start):
        size = last_size(start)
        spread = np.random.default_rng(1).normal(size=(size, size)) / size
        return LastLayer(model=start.model, spread=spread, inverse=np.eye(size))

    return layer


@pytest.mark.parametrize("name", NAMES)
def test_features_are_the_changes_of_energies_by_each_weight(
    name, potential, frames, rng, layer_of, by_last_weights
):
    start, data = potential(name, rng), frames(rng, [41, 42])
    expected = by_last_weights(start, data, lambda found: [p.energies for p in found])
    np.testing.assert_allclose(np.concatenate(layer_of(start).features(data)), expected, atol=1e-10)
    assert np.linalg.matrix_rank(expected) > 1


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_the_changes_of_forces_and_stresses(
    name, potential, frames, rng, layer_of, by_last_weights
):
    start, data = potential(name, rng), frames(rng, [41, 42])
    layer = layer_of(start)
    rows = layer.slopes(Pairs.find(data, start.elements, start.r_max))
    n_atoms = sum(frame.n_atoms for frame in data)
    forces = by_last_weights(start, data, lambda found: [p.forces.ravel() for p in found])
    np.testing.assert_allclose(rows[: 3 * n_atoms], forces, atol=1e-10)
    stress = by_last_weights(start, data[2:], lambda found: [p.stress for p in found])
    volumes = np.repeat([frame.volume for frame in data[2:]], 6)
    np.testing.assert_allclose(rows[-12:], stress * volumes[:, None], atol=1e-10)
    bars = np.linalg.norm(forces @ layer.spread, axis=1).reshape(-1, 3)
    np.testing.assert_allclose(np.concatenate(layer.forces(data)), bars, atol=1e-9)


def test_the_last_weights_of_a_chain_are_its_last_core(monkeypatch):
    """As the NumPy of a fit by sweeps has them."""
    basis = Basis(("Nb", "Mo"), r_max=3.4, n_max=3, l_max=2, r_min=1.0)
    fit = PolynomialPotential(basis, body_order=4, max_bond=2)
    chain = PolynomialPotential(basis, max_bond=2).initial_chain(seed=0)
    fit = fit.with_chain(chain.canonicalize(1))
    core = fit.chain[-1]
    last = property(lambda network: tuple(network.cores[-1].parameters()))
    monkeypatch.setattr(PolynomialNetwork, "last_weights", last)
    rng = np.random.default_rng(2)
    spread = rng.normal(size=(core.n_parameters,) * 2)
    data = [Frame([41, 42, 42], rng.uniform(0, 3, (3, 3)), 4 * np.eye(3), [True] * 3)]
    one = LastCore(basis=basis, chain=fit.chain, spread=spread, inverse=spread)
    two = LastLayer(model=fit.module(), spread=spread, inverse=spread)
    for name in ("features", "gamma", "energies", "forces"):
        found, expected = (getattr(each, name)(data)[0] for each in (two, one))
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_symmetries(name, potential, frames, rng, layer_of):
    layer, data = layer_of(potential(name, rng)), frames(rng, [41, 42])
    R, orders = random_rotation(rng), [rng.permutation(f.n_atoms) for f in data]
    moved = [
        replace(f, numbers=f.numbers[o], positions=(f.positions @ R.T + 1.0)[o], cell=f.cell @ R.T)
        for f, o in zip(data, orders, strict=True)
    ]
    np.testing.assert_allclose(layer.energy(moved), layer.energy(data), rtol=1e-8)
    for k, order in enumerate(orders):
        one, two = [data[k]], [moved[k]]
        np.testing.assert_allclose(layer.gamma(two)[0], layer.gamma(one)[0][order], rtol=1e-8)
        bars = [np.linalg.norm(layer.forces(f)[0], axis=1) for f in (one, two)]
        np.testing.assert_allclose(bars[1], bars[0][order], rtol=1e-7)


def test_lone_atoms_are_certain(potential, rng, layer_of):
    layer = layer_of(potential("tensornet", rng))
    atom = Frame([42], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3)
    assert layer.energy([atom]) == layer.gamma([atom])[0] == 0
    np.testing.assert_array_equal(layer.forces([atom])[0], 0)
    assert layer.energies([]) == []


def test_nothing_is_left_behind_and_float32_is_near(potential, frames, rng, layer_of):
    start, data = potential("ictp", rng), frames(rng, [41, 42])
    layer = layer_of(start)
    double = layer.forces(data)
    assert all(weight.grad is None for weight in start.network.parameters())
    start.model.float()
    with torch.no_grad():
        for one, two in zip(layer.forces(data), double, strict=True):
            np.testing.assert_allclose(one, two, atol=2e-4 * two.max())


def test_networks_that_predict_forces_have_none(potential, rng, last_size):
    start = potential("tdn", rng, forces="direct")
    assert last_size(start) == 0
    with pytest.raises(ModelFileError, match="tdn states no last weights"):
        LastLayer.of_file(start.model, {}, {})
    with pytest.raises(SettingsError, match=r"etn\.nn\.with_uncertainty\(model, train\)"):
        _ = start.uncertainty
