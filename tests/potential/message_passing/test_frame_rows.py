"""One frame as a chain sees it: rows against differences of predictions."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network.design import CoreDesign
from etn.o3 import Irrep, Irreps
from etn.potential.message_passing.frame_rows import Along
from etn.testing import random_blocks


@pytest.mark.parametrize("name", ["readout", "value", "query", "key"])
def test_rows_are_what_predictions_change_by(rng, setting, weights, name):
    """The energy is linear in a core: a change of any size is the rows times the change."""
    model, data, rows = setting(rng)
    frame = data[2]
    n, chain = frame.n_atoms, model.layers.chains()[name]

    def answers(chain):
        (p,) = model.with_layers(model.layers.replace(name, chain)).predict([frame])
        scale = frame.volume * weights.stress / n
        energy = [weights.energy / np.sqrt(n) * p.energy]
        return np.concatenate([energy, weights.forces * p.forces.ravel(), scale * p.stress])

    for center in range(len(chain)):
        here = chain.canonicalize(center)
        design, view = CoreDesign(here[center]), rows.view(model.layers, name, 2)
        phi, targets = view.rows(here, design)
        assert phi.shape == (1 + 3 * n + 6, here[center].n_parameters)
        assert targets.shape == (len(phi),)
        other = here[center].from_vector(rng.normal(size=here[center].n_parameters))
        change = design.from_core(other) - design.from_core(here[center])
        expected = answers(here.replace(center, other)) - answers(here)
        np.testing.assert_allclose(phi @ change, expected, atol=1e-9 * np.abs(expected).max())


def test_what_is_constant_has_no_derivatives():
    scalar = Irrep(0, 1)
    values = random_blocks("1x0e", 3)
    constant = Along(Irreps("1x0e"), values)
    assert constant.is_constant
    assert constant.push_forward(None) == {}
    slopes = {scalar: np.ones((1, 3, 5, 1))}
    moving = Along(Irreps("1x0e"), values, slopes=slopes)
    assert not moving.is_constant
    assert moving.push_forward(None) is slopes


def test_memory_is_that_of_what_a_chain_adds(rng, setting):
    model, _, rows = setting(rng)
    readout, value = (rows.view(model.layers, name, 0) for name in ("readout", "value"))
    assert readout.nbytes == sum(d.nbytes for d in readout.last.directions.values())
    assert value.last is value.samples
    assert value.nbytes == sum(slope.nbytes for slope in value.end.slopes.values())
