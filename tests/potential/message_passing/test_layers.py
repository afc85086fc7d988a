"""The chains of two layers: what they read, their derivatives, and their form in a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network import Chain
from etn.potential import MessagePassingPotential
from etn.potential.features.pairs import Pairs
from etn.potential.message_passing import Layers
from etn.potential.message_passing.layers import (
    flatten,
    left_values,
    pull_back,
    unflatten,
    vacuum_energies,
)
from etn.testing import dense_leg, dense_value, random_blocks


def test_the_energy_is_linear_in_every_core(rng, make_model, make_frames):
    model = make_model(rng, elements=("Nb", "Mo"), attention="1x1o")
    frames = make_frames(rng, [41, 42])
    e0 = [sum(model.baseline.e0[s] for s in f.symbols) for f in frames]

    def energies(layers):
        # The vacuum is subtracted, and is linear in the readout as well.
        return np.array([p.energy for p in model.with_layers(layers).predict(frames)]) - e0

    zero = energies(model.layers.replace("value", model.layers.value * 0.0))
    for name, chain in model.layers.chains().items():
        rest = 0.0 if name == "readout" else zero
        for site, core in enumerate(chain):
            other = core.from_vector(rng.normal(size=core.n_parameters))
            mixed = core.from_vector(2 * core.to_vector() - 3 * other.to_vector())
            one, two, both = (
                energies(model.layers.replace(name, chain.replace(site, c))) - rest
                for c in (core, other, mixed)
            )
            scale = np.abs(one).max() + np.abs(two).max()
            np.testing.assert_allclose(both, 2 * one - 3 * two, atol=1e-11 * scale)


def test_chains_that_do_not_fit_are_refused(rng, make_model):
    model = make_model(rng)
    plain = Chain.random([model.basis.leg] * 3, start=model.basis.start, max_bond=2)
    with pytest.raises(CoreError, match="readout: expected site 2"):
        model.with_layers(model.layers.replace("readout", plain))
    with pytest.raises(CoreError, match="expected readout, value, query, key, got"):
        MessagePassingPotential(
            model.basis, replace(model.messages, attention="0e"), max_bond=3, layers=model.layers
        )


def test_flat_outputs_are_dense_legs(rng, make_model):
    irreps = make_model(rng).layers.value.out
    blocks = random_blocks(irreps, 7, seed=rng)
    flat = flatten(blocks, irreps, 5)
    np.testing.assert_array_equal(flat, dense_leg(irreps, blocks)[:, :5].T)
    for ir, block in unflatten(flat, irreps).items():
        np.testing.assert_array_equal(block, blocks[ir][..., :5])


def test_outputs_and_their_gradients_are_dense_contractions(rng, make_model, make_frames):
    model = make_model(rng, elements=("Nb", "Mo"), l_max=1)
    pairs = Pairs.find(make_frames(rng, [41, 42])[:1], model.elements, model.r_max)
    chain, basis = model.layers.value, model.basis
    start, site = basis.start_values(pairs), basis.expand(pairs).values
    s, v = dense_leg(chain.start, start), dense_leg(basis.leg, site)
    lefts = left_values(chain, start, [site] * len(chain))
    got = dense_leg(chain.out, lefts[-1])
    np.testing.assert_allclose(got, dense_value(chain, [s, *[v] * len(chain)]), atol=1e-12)
    end = random_blocks(chain.out, pairs.n_samples, seed=rng)
    gradients = pull_back(chain, lefts, [site] * len(chain), end)
    for at, gradient in enumerate(gradients):
        along = rng.normal(size=v.shape)
        legs = [along if k == at else v for k in range(len(chain))]
        expected = np.sum(dense_leg(chain.out, end) * dense_value(chain, [s, *legs]), axis=0)
        got = np.sum(dense_leg(basis.leg, gradient) * along, axis=0)
        np.testing.assert_allclose(got, expected, atol=1e-10 * np.abs(expected).max())


def test_the_vacuum_is_the_readout_of_the_constants(rng, make_model):
    model = make_model(rng, elements=("Nb", "Mo"), l_max=1)
    readout = model.layers.readout
    legs = [np.zeros((leg.dim, 2)) for leg in readout.sites]
    for leg in legs:
        leg[0] = 1.0
    expected = dense_value(readout, [np.eye(2), *legs])[0]
    got = vacuum_energies(model.layers, model.coupling, model.basis)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_sizes_and_files_are_those_of_the_chains(rng, make_model):
    layers = make_model(rng, attention="1x0e").layers
    chains = layers.chains()
    assert list(chains) == ["readout", "value", "query", "key"]
    assert layers.n_parameters == sum(chain.n_parameters for chain in chains.values())
    squares = [np.sum(chain.to_dense() ** 2) for chain in (layers.value, layers.query, layers.key)]
    rest = layers.readout.norm() ** 2
    assert layers.norm() == pytest.approx(np.sqrt(sum(squares) + rest), rel=1e-10)
    again = Layers.from_arrays(*layers.to_arrays())
    for name, chain in again.chains().items():
        for one, two in zip(chain, chains[name], strict=True):
            assert one.legs == two.legs
            np.testing.assert_array_equal(one.to_vector(), two.to_vector())
    assert layers.replace("key", layers.query).key is layers.query
    assert Layers(layers.readout, layers.value).chains().keys() == {"readout", "value"}
