"""Responses of a chain against the brute-force contraction of its dense tensor."""

from __future__ import annotations

import numpy as np

from etn.network import Chain
from etn.potential import Basis, Frame
from etn.potential.features.pairs import Pairs
from etn.potential.response import respond, vacuum_energies
from etn.testing import dense_leg, dense_value

BASIS = Basis(("Cu", "Mo"), r_max=4.0, n_max=2, l_max=2, r_min=1.0)


def setup():
    chain = Chain.random([BASIS.leg] * 3, start=BASIS.start, max_bond=2, seed=3)
    frame = Frame(
        [29, 42, 42],
        [[0, 0, 0], [1.6, 1.5, 0.1], [0.2, 1.4, 1.9]],
        np.diag([3.0, 3.2, 3.4]),
        [True] * 3,
    )
    return chain, frame


def test_energies_are_the_dense_contraction_less_the_vacuum():
    chain, frame = setup()
    pairs = Pairs.find([frame], BASIS.elements, BASIS.r_max)
    expansion = BASIS.expand(pairs)
    start, v = np.eye(2)[:, pairs.element], dense_leg(BASIS.leg, expansion.values)
    alone = np.zeros_like(v)
    alone[0] = 1.0
    expected = (
        dense_value(chain, [start, v, v, v])[0] - dense_value(chain, [start, *[alone] * 3])[0]
    )
    np.testing.assert_allclose(
        respond(chain, expansion, vacuum_energies(chain, BASIS)).energies, expected, rtol=1e-12
    )
    vacuum = dense_value(chain, [np.eye(2), *[alone[:, :2]] * 3])[0]
    np.testing.assert_allclose(vacuum_energies(chain, BASIS), vacuum, rtol=1e-12)


def test_strain_of_an_invariant_is_symmetric():
    chain, frame = setup()
    pairs = Pairs.find([frame], BASIS.elements, BASIS.r_max)
    strain = respond(chain, BASIS.expand(pairs), vacuum_energies(chain, BASIS)).strain[0]
    np.testing.assert_allclose(strain, strain.T, atol=1e-12 * np.abs(strain).max())


def test_parts_of_the_centers_add_up():
    chain, frame = setup()
    pairs = Pairs.find([frame], BASIS.elements, BASIS.r_max)
    whole = respond(chain, BASIS.expand(pairs), vacuum_energies(chain, BASIS))
    parts = [
        respond(chain, BASIS.expand(pairs.select(np.array(s))), vacuum_energies(chain, BASIS))
        for s in ([0, 2], [1])
    ]
    np.testing.assert_allclose(sum(p.forces for p in parts), whole.forces, atol=1e-11)
    np.testing.assert_allclose(sum(p.strain for p in parts), whole.strain, atol=1e-11)
    np.testing.assert_allclose(parts[0].energies, whole.energies[[0, 2]], rtol=1e-12)
