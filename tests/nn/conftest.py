"""Small networks and frames, and potentials of both.

===================  ===========================================================================
fixture              value
===================  ===========================================================================
``frames``           function: a cluster, a slab, a crystal, and a cell smaller than the radius
``potential``        function: a random potential of a network with some arguments, in float64
``labelled``         function: frames with what a potential says as labels
``networks``         arguments of small networks of every architecture, by name
``last_size``        function: the number of last weights of a potential
``by_last_weights``  function: changes of what is predicted by each of these weights
===================  ===========================================================================
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch

from etn.nn.model import AtomicModel
from etn.nn.network import network_class
from etn.nn.potential import NeuralPotential
from etn.potential import Baseline, Dataset, Frame

SMALL = MappingProxyType(
    {
        "tensornet": {"channels": 4, "layers": 2, "n_max": 6},
        "ictp": {"channels": 3, "l_max": 2, "layers": 2, "n_max": 4, "hidden": 6},
        "tdn": {"channels": 4, "l_max": 2, "layers": 2, "heads": 2, "n_max": 5, "hidden": 6},
    }
)


def make_frames(rng, numbers):
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)[:5]
    out = []
    for cell, pbc in (
        (np.zeros((3, 3)), (False, False, False)),
        (np.diag([4.0, 4.3, 12.0]), (True, True, False)),
        (np.array([[4.2, 0.4, 0], [0.3, 4.4, -0.5], [0.7, 0, 4.1]]), (True, True, True)),
    ):
        positions = 2.1 * grid + 0.2 * rng.normal(size=grid.shape)
        out.append(Frame(rng.permutation(np.resize(numbers, len(grid))), positions, cell, pbc))
    small = np.array([[2.3, 0, 0.1], [0, 2.5, 0.2], [0, 0, 3.2]])
    out.append(Frame(np.resize(numbers, 2), [[0, 0, 0], [1.2, 1.3, 1.6]], small, [True] * 3))
    return out


def make_potential(name, rng, *, elements=("Nb", "Mo"), r_max=3.4, zbl=False, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**31)))
        network = network_class(name)(elements, r_max, **{**SMALL[name], **changes})
    n = len(elements)
    model = AtomicModel(
        network, scale=rng.uniform(0.5, 2.0, size=n), mean=rng.uniform(-4.0, -1.0, size=n)
    )
    e0 = dict(zip(elements, (-10.5, 3.0, -0.7), strict=False))
    return NeuralPotential(model, Baseline(e0, zbl=zbl))


@pytest.fixture(name="frames")
def _frames():
    return make_frames


@pytest.fixture(name="potential")
def _potential():
    return make_potential


@pytest.fixture
def networks():
    return SMALL


@pytest.fixture
def labelled():
    """Function: frames with what a potential says as labels."""

    def label(frames, model):
        return Dataset(
            [
                replace(frame, energy=p.energy, forces=p.forces,
                        stress=p.stress if frame.pbc.all() else None)
                for frame, p in zip(frames, model.predict(frames), strict=True)
            ]
        )  # fmt: skip

    return label


@pytest.fixture(name="last_size")
def _last_size():
    return last_size


def last_size(start):
    return sum(weight.numel() for weight in start.network.last_weights)


@pytest.fixture
def by_last_weights():
    """Function: changes of numbers of predictions by each last weight, (numbers, P).

    Energies are linear in them, so a difference of any size is exact.
    """

    def changes(start, frames, numbers):
        weights = start.network.last_weights

        def at(values):
            torch.nn.utils.vector_to_parameters(torch.as_tensor(values), weights)
            return np.concatenate([np.ravel(x) for x in numbers(start.predict(frames))])

        here = torch.nn.utils.parameters_to_vector(weights).detach().numpy().copy()
        base, axes = at(0 * here), np.eye(len(here))
        found = np.stack([at(axis) - base for axis in axes], axis=1)
        at(here)
        return found

    return changes
