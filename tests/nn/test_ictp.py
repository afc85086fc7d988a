"""ICTP: one function computed in three ways, and what its variants hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from etn.errors import SettingsError
from etn.nn.graph import Batch
from etn.nn.ictp import ICTP
from etn.nn.network import network_class
from etn.potential.features.pairs import Pairs


def answer(potential, name, rng, data, **changes):
    """Energies, forces and the gradients of all weights, for the same weights."""
    model = potential(name, rng, **changes).model
    batch = Batch.of(Pairs.find(data, ("Nb", "Mo"), 3.4))
    outcome = model.outcome(batch, training=True)
    loss = outcome.energies.sin().sum() + outcome.forces.square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert sum(g is not None for g in gradients) > 5
    flat = [g.flatten() for g in gradients if g is not None]
    return outcome.energies, outcome.forces, torch.cat(flat)


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("ictp", [{"products": way} for way in ("cartesian", "spherical")]),
        ("ictp", [{"products": way, "sharing": "shared"}
                  for way in ("cartesian", "spherical", "cp")]),
        ("ictp", [{"products": way, "parity": "full", "l_max": 1}
                  for way in ("cartesian", "spherical")]),
        ("tdn", [{"products": way} for way in ("exact", "even")]),
    ],
)  # fmt: skip
def test_the_same_weights_are_the_same_function_in_every_basis(name, ways, potential, frames, rng):
    data = frames(rng, [41, 42])
    one, *others = (answer(potential, name, np.random.default_rng(3), data, **way) for way in ways)
    for other in others:
        for expected, found in zip(one, other, strict=True):
            scale = float(expected.detach().abs().max())
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * scale)


def test_the_variants_hold_the_same_polynomials(networks):
    sizes = {}
    for variant in ("sym", "full", "sym+lt"):
        network = ICTP(("Mo",), **{**networks["ictp"], "order": 3}, variant=variant)
        sizes[variant] = network.interactions[0].products.counts
    # With one or two factors nothing is redundant but the order of two; with three much is.
    assert sizes["sym"] == sizes["sym+lt"]
    assert sizes["full"][0] == sizes["sym"][0]
    assert sizes["full"][2] > sizes["sym"][2]


def test_degrees_go_beyond_three(potential, frames, rng):
    deep = potential("ictp", rng, l_max=4, l_hidden=2, order=2, layers=1, channels=1)
    assert np.isfinite(deep.predict(frames(rng, [41, 42]))[0].energy)
    high = potential("ictp", rng, l_max=1, order=5, layers=1, channels=1)
    assert np.isfinite(high.predict(frames(rng, [41, 42]))[0].energy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l_hidden": 3}, "l_hidden: expected at most l_max = 2, got 3"),
        ({"order": 0}, "order: expected at least 1"),
        ({"variant": "half"}, "variant: expected sym, full or sym"),
        ({"parity": "odd"}, "parity: expected even or full"),
        ({"products": "cp"}, "sharing: products in CP form share weights"),
        ({"products": "fast"}, "products: expected cartesian, spherical or cp"),
    ],
)
def test_what_is_out_of_range(change, message):
    with pytest.raises(SettingsError, match=message):
        network_class("ictp")(("C", "H"), **change)
