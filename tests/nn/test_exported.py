"""Exported energies are the energies, for any size of a batch; and so are compiled packages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from etn.errors import SettingsError
from etn.nn.exported import energy_graph, export, scripted
from etn.nn.graph import Batch
from etn.nn.model import AtomicModel
from etn.nn.network import Network
from etn.nn.potential import NeuralPotential
from etn.nn.whole import WholeModel
from etn.potential import Baseline, Basis, Frame, PolynomialPotential
from etn.potential.features.pairs import Pairs

ELEMENTS = ("Nb", "Mo")
# torch says of its own ways that they are old.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
NAMES = ["tensornet", "ictp", "tdn", "polynomial"]


def make(name, potential, rng):
    if name != "polynomial":
        return potential(name, rng, zbl=True)
    baseline = Baseline({"Nb": -10.5, "Mo": 3.0}, zbl=True)
    empty = PolynomialPotential(Basis(ELEMENTS, r_max=3.4, n_max=3), max_bond=2, baseline=baseline)
    return empty.with_chain(empty.initial_chain(seed=1))


def batches(frames, dtype=torch.float64):
    """One frame, all, an atom without neighbours, it among others, and three frames."""
    lone = Frame([41], [[0.0, 0, 0]], np.zeros((3, 3)), [False] * 3)
    for some in (frames[:1], frames, [lone], [lone, *frames[2:]], frames[1:]):
        yield Batch.of(Pairs.find(some, ELEMENTS, 3.4), dtype=dtype), some


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_script_has_the_energies_and_gradients_of_the_model(name, potential, frames, rng):
    model = WholeModel(make(name, potential, rng))
    script = scripted(model)
    for batch, _ in batches(frames(rng, [41, 42])):
        found, expected = [], []
        for energies, out in ((lambda b: script(*b)[0], found), (model, expected)):
            vector = batch.vector.detach().requires_grad_(True)
            answer = energies(batch._replace(vector=vector))
            out += [answer.detach(), *torch.autograd.grad(answer.sum(), vector)]
        for one, two in zip(found, expected, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_a_graph_of_a_small_network_takes_any_size(frames, rng):
    model = WholeModel(NeuralPotential(AtomicModel(Counting(ELEMENTS, 3.4)), E0))
    graph = energy_graph(model)
    for batch, _ in batches(frames(rng, [41, 42])):
        torch.testing.assert_close(graph(*batch)[0], model(batch), rtol=1e-13, atol=1e-13)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_package_has_energies_forces_and_strain(potential, frames, rng, tmp_path):
    mine = make("tensornet", potential, rng)
    export(mine, tmp_path / "a.pt2")
    package = torch._inductor.aoti_load_package(str(tmp_path / "a.pt2"))
    for batch, some in batches(frames(rng, [41, 42])):
        energies, forces, strain = package(*batch)
        expected = mine.predict(some)
        np.testing.assert_allclose(
            energies, np.concatenate([p.energies for p in expected]), atol=1e-10
        )
        np.testing.assert_allclose(forces, np.concatenate([p.forces for p in expected]), atol=1e-10)
        for found, p, frame in zip(strain, expected, some, strict=True):
            if p.stress is not None:
                stress = found.numpy() / frame.volume
                voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
                np.testing.assert_allclose(voigt, p.stress, atol=1e-10)


def test_what_cannot_be_exported_is_named(potential, rng, tmp_path):
    class Random(Counting):
        NAME = "test: decides by numbers"

        def forward(self, graph):
            return super().forward(graph) * (1 if graph.distance.sum() > 0 else 2)

    with pytest.raises(SettingsError, match="graph of tensor operations"):
        energy_graph(WholeModel(NeuralPotential(AtomicModel(Random(ELEMENTS, 3.4)), E0)))
    with pytest.raises(SettingsError, match=r"ends in \.pt2"):
        export(potential("tensornet", rng), tmp_path / "a.pt")


E0 = Baseline({"Nb": -10.5, "Mo": 3.0})


class Counting(Network):
    """Counts neighbours."""

    NAME = "test: counts"

    def forward(self, graph):
        near = torch.clamp(1.0 - graph.distance / self.r_max, min=0.0) ** 3
        zero = near.new_zeros(graph.n_atoms)
        return zero.index_add(0, graph.first, near).index_add(0, graph.second, near)
