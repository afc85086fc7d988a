"""Layers of irreps: equivariant, smooth, and of unit size."""

from __future__ import annotations

import pytest
import torch

from etn.nn.layers import (
    Gate,
    Harmonics,
    PartNorm,
    RadialWeights,
    channels_of,
    equivariant_linear,
    scatter_sum,
)
from etn.o3 import Irreps, irreps_d, spherical_harmonics
from etn.product import change_layout

IRREPS = Irreps("4x0e+4x1o+4x2e+4x1e")


def turned(x, R):
    """Features in the layout of components, after a rotation."""
    flat = change_layout(x, IRREPS, "ir_mul", "mul_ir")
    return change_layout(flat @ torch.as_tensor(irreps_d(IRREPS, R)).T, IRREPS, "mul_ir", "ir_mul")


@pytest.fixture
def x(rng):
    return torch.as_tensor(rng.normal(size=(9, IRREPS.dim)))


def test_norms_and_gates_turn_with_their_features(x, rng, orthogonal):
    norm, gate = PartNorm(IRREPS), Gate(IRREPS)
    torch.nn.init.normal_(norm.scale)
    torch.testing.assert_close(norm(turned(x, orthogonal)), turned(norm(x), orthogonal))
    gates = torch.as_tensor(rng.normal(size=(9, gate.n_gates)))
    found = gate(gates, turned(x, orthogonal))
    torch.testing.assert_close(found, turned(gate(gates, x), orthogonal))


def test_a_norm_makes_features_of_unit_size(x):
    found = PartNorm(IRREPS, epsilon=1e-12)(1e3 * x)
    for part in found.unflatten(-1, (-1, 4)).split([term.ir.dim for term in IRREPS], dim=-2):
        torch.testing.assert_close(part.square().mean((-1, -2)), torch.ones(9).double())


@pytest.mark.parametrize("l_max", [0, 1, 2, 3, 12])
def test_harmonics_degree_by_degree_are_those_of_the_formulas(l_max, rng):
    directions = torch.as_tensor(rng.normal(size=(20, 3)))
    directions /= directions.norm(dim=1, keepdim=True)
    expected = spherical_harmonics(l_max, directions) * (4.0 * torch.pi) ** 0.5
    found = Harmonics(l_max)(directions)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_radial_weights_vanish_with_what_goes_in():
    layer = RadialWeights([3, 8, 5])
    assert layer(torch.zeros(2, 3).double()).abs().max() == 0
    assert layer(torch.ones(2, 3).double()).shape == (2, 5)


def test_linear_maps_draw_from_the_generator_of_torch():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        one, two = (equivariant_linear(IRREPS, IRREPS) for _ in range(2))
        torch.default_generator.manual_seed(1)
        again = equivariant_linear(IRREPS, IRREPS)
    assert not torch.equal(one.weight, two.weight)
    assert torch.equal(one.weight, again.weight)


def test_sums_and_channels(x):
    index = torch.tensor([0, 2, 2, 0, 0, 0, 0, 0, 2])
    found = scatter_sum(x, index, 4)
    torch.testing.assert_close(found[2], x[index == 2].sum(0))
    assert found[1].abs().max() == 0
    assert channels_of(IRREPS) == 4
