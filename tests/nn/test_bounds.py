"""The end of the data in torch is that in NumPy."""

from __future__ import annotations

import numpy as np
import torch

from etn.nn.bounds import InnerEnd, Rest
from etn.nn.graph import Batch
from etn.potential.features.floor import Floor
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs

ELEMENTS = ("Nb", "Mo")
CLOSEST = np.array([[2.4, np.inf], [np.inf, 2.2]])
ONSET = np.array([[2.3, np.inf], [np.inf, 2.0]])
INNER = Inner(ELEMENTS, 3.4, CLOSEST, ONSET, np.array([[0.4, 0.3], [0.3, 0.5]]))


def test_distances_rest_where_they_do_in_numpy():
    end = InnerEnd(INNER)
    r = np.linspace(1.0, 3.0, 41)
    kinds = np.tile([0, 1], 21)[:41]
    zero = torch.zeros(41, dtype=torch.int64)
    element = torch.as_tensor(np.array([0, 1]))
    batch = Batch(
        torch.as_tensor(kinds), torch.as_tensor(kinds), torch.zeros(41, 3).double(), element,
        zero[:2], zero[:1].double(),
    )  # fmt: skip
    expected, slope = INNER.continue_inwards(r, kinds, kinds)
    x = torch.as_tensor(r).requires_grad_(True)
    found = end.rest(batch, x)
    np.testing.assert_allclose(found.detach(), expected, atol=1e-15)
    (derivative,) = torch.autograd.grad(found.sum(), x)
    np.testing.assert_allclose(derivative, slope, atol=1e-14)


def test_crowded_atoms_meet_the_same_wall(rng, frames):
    end = InnerEnd(INNER)
    beyond = 0
    for frame in frames(rng, [41, 42]):
        pairs = Pairs.find([frame], ELEMENTS, 3.4)
        crowd = INNER.crowd(pairs)
        energies = rng.normal(size=pairs.n_atoms)
        batch = Batch.of(pairs)
        found = end.blend(torch.as_tensor(energies), batch, batch.vector.norm(dim=1))
        np.testing.assert_allclose(found, crowd.blend(energies)[0], rtol=1e-12)
        beyond += crowd.is_beyond
    assert beyond > 1


def test_elements_that_never_met_do_not_hear_each_other(rng, frames):
    end = InnerEnd(INNER)
    for frame in frames(rng, [41, 42]):
        batch = Batch.of(Pairs.find([frame], ELEMENTS, 3.4))
        rested = end.rest(batch, batch.lengths())
        same = batch.element[batch.first] == batch.element[batch.second]
        assert not same.all()
        assert (rested[~same] == INNER.r_max).all()
        assert (rested[same] < INNER.r_max).all()


def test_answers_rest_on_the_same_floor(rng):
    floor = Floor(np.array([-7.0, -2.0]), np.array([2.0, 0.5]))
    energies, element = rng.normal(size=60) * 8, rng.integers(2, size=60)
    expected, slopes = floor.lift(energies, element)
    x = torch.as_tensor(energies).requires_grad_(True)
    found = Rest(floor)(x, torch.as_tensor(element))
    np.testing.assert_allclose(found.detach(), expected, atol=1e-13)
    (derivative,) = torch.autograd.grad(found.sum(), x)
    np.testing.assert_allclose(derivative, slopes, atol=1e-13)
