"""Models: units, lone atoms, precision, and forces that are predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from etn.nn.graph import Batch
from etn.nn.model import PRESENCE, AtomicModel
from etn.nn.network import Network
from etn.nn.radial import polynomial_cutoff


class Counting(Network):
    """Answers with the element, and the sum of the squares of distances short of r_max."""

    NAME = "counting of test_model"

    def forward(self, graph):
        """(r_max - r)^2, summed over the neighbours of an atom."""
        short = (self.r_max - graph.distance).square()
        total = 7.0 + graph.element.to(short.dtype)
        return total.index_add(0, graph.first, short).index_add(0, graph.second, short)


def test_energies_have_scale_and_mean_of_the_element_and_none_alone():
    model = AtomicModel(
        Counting(("Nb", "Mo"), 4.0), scale=np.array([2.0, 3.0]), mean=np.array([-5.0, -6.0])
    )
    vector = torch.tensor([[0.0, 3.0, 0.0]], dtype=torch.float64)
    batch = Batch(
        torch.tensor([0]), torch.tensor([1]), vector, torch.tensor([0, 1, 1]),
        torch.tensor([0, 0, 0]), torch.zeros(1, dtype=torch.float64),
    )  # fmt: skip
    near = polynomial_cutoff(torch.tensor(3.0, dtype=torch.float64), 4.0).item()
    bound = 1.0 - np.exp(-PRESENCE * near)
    expected = [2.0 * 1.0 - 5.0 * bound, 3.0 * 1.0 - 6.0 * bound, 0.0]
    np.testing.assert_allclose(model(batch).detach(), expected, rtol=1e-14)
    outcome = model.outcome(batch)
    assert not outcome.energies.requires_grad
    np.testing.assert_allclose(outcome.forces.sum(0), 0.0, atol=1e-14)
    # The strain derivative of a pair is its vector times the derivative by it.
    np.testing.assert_allclose(
        outcome.strain[0], torch.outer(vector[0], outcome.forces[0]), rtol=1e-14
    )


def test_direct_forces_are_no_derivatives_and_turn(potential, frames, rng, rotation):
    direct = potential("tdn", rng, forces="direct")
    data = frames(rng, [41, 42])[:1]
    (one,) = direct.predict(data)
    (two,) = direct.predict([replace(data[0], positions=data[0].positions @ rotation.T)])
    np.testing.assert_allclose(two.forces, one.forces @ rotation.T, atol=1e-12)
    assert np.abs(one.forces).max() > 1e-3


def test_single_precision_is_near_double(potential, frames, rng):
    for name in ("tensornet", "ictp", "tdn"):
        double = potential(name, rng)
        single = potential(name, np.random.default_rng(0))
        single.model.load_state_dict(double.model.state_dict())
        single.model.float()
        data = frames(rng, [41, 42])
        for one, two in zip(double.predict(data), single.predict(data), strict=True):
            np.testing.assert_allclose(two.forces, one.forces, atol=2e-4 * np.abs(one.forces).max())
