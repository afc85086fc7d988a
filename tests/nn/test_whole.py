"""A potential as one module says what its parts say together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from etn.errors import CoreError, SettingsError
from etn.nn.graph import Batch
from etn.nn.model import AtomicModel
from etn.nn.potential import NeuralPotential
from etn.nn.tensornet import TensorNet
from etn.nn.whole import WholeModel
from etn.potential import Baseline, Basis, Frame, PolynomialPotential
from etn.potential.features.pairs import Pairs

ELEMENTS = ("Nb", "Mo")


def chain(r_max=3.9):
    baseline = Baseline({"Nb": -10.5, "Mo": 3.0}, zbl=True)
    empty = PolynomialPotential(
        Basis(ELEMENTS, r_max=r_max, n_max=3), max_bond=2, baseline=baseline
    )
    return empty.with_chain(empty.initial_chain(seed=1))


def agrees(potential, frames):
    squeezed = [Frame(f.numbers, 0.8 * f.positions, 0.8 * f.cell, f.pbc) for f in frames]
    frames = [*frames, *squeezed]
    model = WholeModel(potential)
    found = model(Batch.of(Pairs.find(frames, potential.elements, model.r_max), dtype=model.dtype))
    expected = np.concatenate([p.energies for p in potential.predict(frames)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["tensornet", "ictp", "tdn"])
def test_the_repulsion_is_in_it(potential, frames, rng, name):
    agrees(potential(name, rng, zbl=True), frames(rng, [41, 42]))


def test_it_holds_a_chain_also_below_a_network_of_a_smaller_radius(frames, rng):
    below = chain()
    agrees(below, frames(rng, [41, 42]))
    network = TensorNet(ELEMENTS, r_max=3.1, channels=4, layers=1)
    both = NeuralPotential(AtomicModel(network), below=below, share=0.6)
    agrees(both, frames(rng, [41, 42]))
    agrees(NeuralPotential(AtomicModel(network), below=both, share=0.5), frames(rng, [41, 42]))


def test_its_radii_are_those_of_the_farthest_part():
    network = TensorNet(ELEMENTS, r_max=3.0, channels=4, layers=1)
    model = WholeModel(NeuralPotential(AtomicModel(network), below=chain(3.9)))
    assert (model.r_max, model.reach) == (3.9, 6.0)
    assert WholeModel(chain(3.9)).reach == 3.9


def test_it_leaves_the_potential_alone(potential, rng):
    mine = potential("tensornet", rng)
    model = WholeModel(mine, torch.float32)
    assert model.dtype == torch.float32
    assert mine.dtype == torch.float64
    assert all(weight.requires_grad for weight in mine.model.parameters())
    assert not any(weight.requires_grad for weight in model.parameters())


def test_what_torch_does_not_compute_is_refused(potential, rng):
    with pytest.raises(SettingsError, match="conservative forces"):
        WholeModel(potential("tdn", rng, forces="direct"))
    with pytest.raises(CoreError, match="expected a fitted potential"):
        WholeModel(PolynomialPotential(Basis(ELEMENTS)))
