"""The baseline in torch says what the one in NumPy says, and its derivatives too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from etn.nn.baseline import BaselineModel
from etn.nn.graph import Batch
from etn.potential import Baseline, Basis, Frame, PolynomialPotential
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs

ELEMENTS = ("Nb", "Mo")
INNER = Inner(
    ELEMENTS, 3.4, np.array([[2.4, np.inf], [np.inf, 2.5]]), np.array([[2.2, 2.9], [2.9, 2.4]]),
    np.ones((2, 2)),
)  # fmt: skip


def potential(inner, *, zbl=True):
    basis = Basis(ELEMENTS, r_max=3.4, l_max=1, inner=inner)
    return PolynomialPotential(basis, baseline=Baseline({"Nb": -10.5, "Mo": 3.0}, zbl=zbl))


@pytest.mark.parametrize("inner", [None, INNER], ids=["radii", "data"])
def test_repulsion_is_that_of_numpy(rng, frames, inner):
    model = potential(inner)
    near = [Frame(f.numbers, 0.6 * f.positions, 0.6 * f.cell, f.pbc) for f in frames(rng, [41, 42])]
    pairs = Pairs.find([*near, *frames(rng, [42, 41])], ELEMENTS, 3.4)
    energies, forces, strain = model.baseline.evaluate(pairs, ELEMENTS, 3.4, inner)
    batch = Batch.of(pairs)
    vector = batch.vector.requires_grad_(True)
    found = BaselineModel(model)(batch)
    (gradient,) = torch.autograd.grad(found.sum(), vector)
    for one, two in (
        (found.detach(), energies), (batch.forces(gradient), forces),
        (batch.strain(gradient).detach(), strain),
    ):  # fmt: skip
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-12 * np.abs(two).max())
    assert np.abs(forces).max() > 100


def test_without_repulsion_there_is_e0(rng, frames):
    batch = Batch.of(Pairs.find(frames(rng, [41, 42])[:1], ELEMENTS, 3.4))
    found = BaselineModel(potential(None, zbl=False))(batch)
    np.testing.assert_array_equal(found, np.where(batch.element == 0, -10.5, 3.0))
