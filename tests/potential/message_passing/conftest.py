"""Models, frames and data of two-layer potentials.

==================  =============================================================================
fixture             value
==================  =============================================================================
``random_layers``  function: chains for a basis and messages, whose scores are not near zero
``make_model``      function: a random potential of two layers
``make_frames``     function: a cluster, a slab, a crystal, and a cell smaller than the radius
``weights``         weights of the rows of ``setting``
``setting``         function: a model, and data of another one with their rows
==================  =============================================================================
"""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain
from etn.potential import Baseline, Basis, Frame, Weights
from etn.potential.message_passing import Layers, MessagePassingPotential, Messages
from etn.potential.message_passing.layers import wide_leg
from etn.potential.message_passing.rows import LayerRows


def random_layers(basis, messages, coupling, rng, *, body_order=4, max_bond=3):
    """Random chains, of which the scores are not near zero."""
    sites = [basis.leg] * (messages.body_order - 1)

    def first(out):
        return Chain.random(sites, start=basis.start, out=out, max_bond=messages.max_bond, seed=rng)

    legs = [basis.leg] * (body_order - 2) + [wide_leg(basis, coupling)]
    readout = Chain.random(legs, start=basis.start, max_bond=max_bond, seed=rng)
    scores = {}
    if messages.attention is not None:
        scores = {name: first(messages.score) for name in ("query", "key")}
    return Layers(readout, first(messages.outputs), **scores)


def make_model(rng, *, elements=("Mo",), attention=None, r_max=4.0, l_max=2, zbl=False):
    basis = Basis(elements, r_max=r_max, n_max=3, l_max=l_max, r_min=1.2, scale=4.0)
    messages = Messages(
        "2x0e+1x1o+1x2e", max_bond=2, n_max=2, l_max=2, body_order=3, attention=attention
    )
    e0 = dict(zip(elements, (-10.5, 3.0, -0.7), strict=False))
    empty = MessagePassingPotential(basis, messages, max_bond=3, baseline=Baseline(e0, zbl=zbl))
    return empty.with_layers(random_layers(basis, messages, empty.coupling, rng))


def make_frames(rng, numbers):
    """A cluster, a slab, a crystal, and a cell smaller than the radius."""
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)[:5]
    out = []
    for cell, pbc in (
        (np.zeros((3, 3)), (False, False, False)),
        (np.diag([4.0, 4.3, 12.0]), (True, True, False)),
        (np.array([[4.2, 0.4, 0], [0.3, 4.4, -0.5], [0.7, 0, 4.1]]), (True, True, True)),
    ):
        positions = 2.1 * grid + 0.2 * rng.normal(size=grid.shape)
        z = rng.permutation(np.resize(numbers, len(grid)))
        out.append(Frame(z, positions, cell, pbc))
    small = np.array([[2.3, 0, 0.1], [0, 2.5, 0.2], [0, 0, 3.2]])
    out.append(Frame(np.resize(numbers, 2), [[0, 0, 0], [1.2, 1.3, 1.6]], small, [True] * 3))
    return out


@pytest.fixture(name="random_layers")
def _random_layers():
    return random_layers


@pytest.fixture(name="make_model")
def _make_model():
    return make_model


@pytest.fixture(name="make_frames")
def _make_frames():
    return make_frames


@pytest.fixture
def weights():
    return Weights(energy=7.0, forces=1.5, stress=3.0)


@pytest.fixture
def setting(labelled, weights):
    def make(rng, *, seed=5):
        options = {"elements": ("Nb", "Mo"), "attention": "1x0e+1x1o", "zbl": True}
        model = make_model(rng, **options)
        teacher = make_model(np.random.default_rng(seed), **options)
        data = labelled(make_frames(rng, [41, 42]), teacher)
        rows = LayerRows(data, model.basis, model.messages, model.coupling, model.baseline, weights)
        return model, data, rows

    return make
