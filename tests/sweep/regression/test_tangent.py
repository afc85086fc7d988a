"""Free directions of a chain: their number, their norm, and derivatives along them."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import to_numpy
from etn.network import Chain
from etn.o3 import Irreps
from etn.sweep.regression.tangent import Tangent, pull_back

LEG = "2x0e+2x1o+1x2e"


def setup(center, weighted):
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(center)
    rng = np.random.default_rng(2)
    leg = Irreps(LEG)
    channels = {ir: rng.uniform(0.1, 3.0, size=leg.count(ir)) for ir in leg.unique}
    return chain, channels if weighted else None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("center", [0, 1, 2])
def test_directions_of_a_tangent(rng, center, weighted):
    chain, channels = setup(center, weighted)
    tangent = Tangent(chain, channels)
    gauge = sum(bond.count(ir) ** 2 for bond in chain.bonds for ir in bond.unique)
    assert tangent.columns == chain.n_parameters - gauge
    x = rng.normal(size=tangent.columns)
    changes = tangent.changes(x)
    # Measured as it says, all cores but the center; isometries stay so to first order.
    for site, (core, change) in enumerate(zip(chain, changes, strict=True)):
        if site == center:
            continue
        part = x[tangent.parts[site].columns]
        weight = {ir: np.ones(core.legs[1].count(ir)) for ir in core.legs[1].unique}
        weight = channels or weight
        total = sum(
            path[2].dim * np.sum(weight[path[1]][:, None] * block**2) for path, block in change
        )
        assert total == pytest.approx(part @ part)
        inner = [sum(np.sum(b * change.blocks[p]) * p[2].dim for p, b in core)]
        assert abs(inner[0]) < 1e-12
    # The adjoint, for one vector and for many rows at once.
    others = [core.from_vector(rng.normal(size=core.n_parameters)) for core in chain]
    forward = sum(a.to_vector() @ b.to_vector() for a, b in zip(changes, others, strict=True))
    back = pull_back(tangent.parts, others)
    assert forward == pytest.approx(x @ back)
    for site, other in enumerate(others):
        part = tangent.parts[site]
        restricted = part.restrict(chain[site], other.to_vector()[None])[0]
        np.testing.assert_allclose(restricted, back[part.columns], atol=1e-12)


@pytest.mark.parametrize("center", [0, 1, 2])
def test_moving_adds_the_changes_and_keeps_isometries_to_first_order(rng, center):
    chain, _ = setup(center, False)
    tangent = Tangent(chain)
    x = rng.normal(size=tangent.columns)
    moved = tangent.move(x)
    for core, change, new in zip(chain, tangent.changes(x), moved, strict=True):
        np.testing.assert_allclose(
            new.to_vector(), core.to_vector() + change.to_vector(), rtol=1e-14, atol=1e-15
        )
    # Halving the step quarters what is left of orthogonality.
    errors = [
        Chain(tangent.move(h * x).cores, center=center).orthogonality_error() for h in (1e-3, 5e-4)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=1e-2)


def test_no_direction_is_lost_and_none_is_a_change_of_gauge():
    """The dense derivatives by all unknowns are independent, and span those by all entries."""
    chain, _ = setup(1, False)
    tangent = Tangent(chain)

    def derivative(changes):
        total = 0
        for site, change in enumerate(changes):
            total = (
                total + Chain([*chain.cores[:site], change, *chain.cores[site + 1 :]]).to_dense()
            )
        return total.ravel()

    zeros = [core.from_vector(np.zeros(core.n_parameters)) for core in chain]
    every = [
        derivative([*zeros[:site], core.from_vector(unit), *zeros[site + 1 :]])
        for site, core in enumerate(chain)
        for unit in np.eye(core.n_parameters)
    ]
    free = [derivative(tangent.changes(unit)) for unit in np.eye(tangent.columns)]
    rank = np.linalg.matrix_rank
    assert rank(free) == tangent.columns == rank(every) == rank([*free, *every])


def test_the_center_is_measured_by_the_norm_of_the_tensor():
    chain, _ = setup(1, False)
    tangent = Tangent(chain)
    assert np.linalg.norm(tangent.center_vector) == pytest.approx(chain.norm(), rel=1e-13)
    own = tangent.parts[1].columns
    np.testing.assert_allclose(tangent.units[own], chain.norm(), rtol=1e-13)
    assert np.all(np.delete(tangent.units, np.r_[own]) == 1.0)


def test_torch_gives_the_directions_of_numpy(rng):
    pytest.importorskip("torch")
    chain, _ = setup(1, False)
    one, two = Tangent(chain), Tangent(chain.to("torch"))
    # The complements may differ by a rotation; what they project on may not.
    gradients = [core.from_vector(rng.normal(size=core.n_parameters)) for core in chain]
    there = [core.to("torch") for core in gradients]
    mine, other = pull_back(one.parts, gradients), to_numpy(pull_back(two.parts, there))
    for a, b in zip(one.parts, two.parts, strict=True):
        assert a.columns == b.columns
        assert np.linalg.norm(mine[a.columns]) == pytest.approx(np.linalg.norm(other[b.columns]))
