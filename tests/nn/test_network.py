"""What networks are: names, arguments, and who may have them."""

from __future__ import annotations

import pytest
import torch

from etn.errors import ModelFileError, SettingsError
from etn.nn.model import AtomicModel
from etn.nn.network import HOMES, Network, network_class
from etn.nn.potential import NeuralPotential
from etn.potential import load


class Springs(Network):
    """Half a spring for each neighbour: the least that a network is."""

    NAME = "springs of a test"

    def __init__(self, elements, r_max=3.0, *, stiffness=1.0):
        super().__init__(elements, r_max, stiffness=stiffness)
        self.stiffness = torch.nn.Parameter(torch.tensor(stiffness))

    def forward(self, graph):
        energy = 0.5 * self.stiffness * (1 - graph.distance / self.r_max) ** 3
        zero = energy.new_zeros(graph.n_atoms)
        return zero.index_add(0, graph.first, energy).index_add(0, graph.second, energy)


def test_a_network_of_ones_own_is_a_potential_with_files(rng, frames, tmp_path):
    potential = NeuralPotential(AtomicModel(Springs(("Nb", "Mo"), stiffness=2.0)))
    potential.save(tmp_path / "springs.etn")
    loaded = load(tmp_path / "springs.etn")
    assert loaded.network.settings == {"stiffness": 2.0}
    data = frames(rng, [41, 42])
    for one, two in zip(potential.predict(data), loaded.predict(data), strict=True):
        assert one.energy == two.energy
        assert one.energy > 0


def test_all_names_have_classes():
    for name in HOMES:
        assert name == network_class(name).NAME
    with pytest.raises(ModelFileError, match=r"network: expected one of .*tdn.*, got 'none'"):
        network_class("none")


def test_names_are_taken_once():
    with pytest.raises(SettingsError, match=r"NAME: 'tdn' of .* is that of another network"):

        class Other(Network):
            NAME = "tdn"

            def forward(self, graph):
                return graph.distance

    class Springs(globals()["Springs"]):  # a child without a name of its own
        pass

    assert network_class("springs of a test").__name__ == "Springs"


def test_elements_and_radius_are_checked():
    with pytest.raises(SettingsError, match="elements: expected different symbols"):
        Springs(("Mo", "Mo"))
    with pytest.raises(SettingsError, match="r_max: expected a radius above zero"):
        Springs(("Mo",), 0.0)
