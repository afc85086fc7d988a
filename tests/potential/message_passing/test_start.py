"""Chains that a fit of two layers starts with: scores of one, unit variance, room for messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.network import Chain
from etn.potential import Dataset, PolynomialPotential
from etn.potential.features.pairs import Pairs
from etn.potential.message_passing import Layers, MessagePassingPotential
from etn.potential.message_passing.layers import wide_leg
from etn.potential.message_passing.start import first_layer, make_room
from etn.testing import dense_leg, dense_value


def test_ones_as_queries_and_keys_are_no_attention(rng, make_model, make_frames):
    plain = make_model(rng, elements=("Nb", "Mo"))
    frames = make_frames(rng, [41, 42])
    messages = replace(plain.messages, attention="1x0e+1x1o")
    start = first_layer(plain.basis, messages, Dataset(frames), seed=0)
    layers = Layers(plain.layers.readout, plain.layers.value, start["query"], start["key"])
    model = MessagePassingPotential(
        plain.basis, messages, max_bond=3, baseline=plain.baseline, layers=layers
    )
    for one, two in zip(model.predict(frames), plain.predict(frames), strict=True):
        np.testing.assert_allclose(one.forces, two.forces, atol=1e-10 * np.abs(two.forces).max())


def test_outputs_have_unit_variance_and_keys_are_constant(rng, make_model, make_frames):
    model = make_model(rng, elements=("Nb", "Mo"), attention="1x0e+1x1o")
    basis, frames = model.basis, make_frames(rng, [41, 42])
    chains = first_layer(basis, model.messages, Dataset(frames), seed=0)
    pairs = Pairs.find(frames, basis.elements, basis.r_max)
    s = dense_leg(basis.start, basis.start_values(pairs))
    v = dense_leg(basis.leg, basis.expand(pairs).values)
    out = {name: dense_value(c, [s, *[v] * len(c)]) for name, c in chains.items()}
    for ir in chains["value"].out.unique:
        values = out["value"][chains["value"].out.indices(ir)]
        assert np.mean(values**2) == pytest.approx(1.0, rel=1e-10)
    np.testing.assert_allclose(out["query"][0], 1.0, rtol=1e-12)
    assert np.abs(out["query"][1:]).max() > 0.1
    np.testing.assert_allclose(out["key"][0], 1.0, rtol=1e-12)
    np.testing.assert_allclose(out["key"][1:], 0.0, atol=1e-12)


def test_room_for_messages_changes_no_energy(rng, make_model, make_frames):
    model = make_model(rng, elements=("Nb", "Mo"))
    basis = model.basis
    chain = Chain.random([basis.leg] * 3, start=basis.start, max_bond=2, seed=rng)
    single = PolynomialPotential(basis, max_bond=3, baseline=model.baseline, chain=chain)
    readout = make_room(chain, basis, model.coupling)
    assert readout.sites[-1] == wide_leg(basis, model.coupling)
    double = model.with_layers(model.layers.replace("readout", readout))
    frames = make_frames(rng, [41, 42])
    for one, two in zip(single.predict(frames), double.predict(frames), strict=True):
        np.testing.assert_allclose(two.energies, one.energies, rtol=1e-10)
        np.testing.assert_allclose(two.forces, one.forces, atol=1e-10 * np.abs(one.forces).max())
