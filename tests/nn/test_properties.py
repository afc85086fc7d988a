"""Vectors and tensors of TensorNet: how they turn, and that they learn what has a known answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from etn.errors import SettingsError
from etn.nn.graph import Batch
from etn.nn.properties import TensorProperty
from etn.nn.tensornet import TensorNet
from etn.potential import Frame
from etn.potential.features.pairs import Pairs

ELEMENTS = ("H", "O")


def molecules(rng, number):
    """Water, bent and stretched at random."""
    out = []
    for _ in range(number):
        x = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]) + 0.1 * rng.normal(size=(3, 3))
        out.append(Frame([8, 1, 1], x, np.zeros((3, 3)), [False] * 3))
    return out


def batch_of(frames):
    return Batch.of(Pairs.find(frames, ELEMENTS, 3.0))


def made(kind):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return TensorProperty(TensorNet(ELEMENTS, 3.0, channels=16, layers=1), kind).double()


@pytest.mark.parametrize("kind", ["vector", "tensor"])
def test_they_turn_with_the_frame(kind, rng, orthogonal):
    model, frames = made(kind), molecules(rng, 4)
    turned = [replace(f, positions=f.positions @ orthogonal.T) for f in frames]
    R = torch.as_tensor(orthogonal)
    found, expected = model(batch_of(turned)), model(batch_of(frames))
    expected = expected @ R.T if kind == "vector" else R @ expected @ R.T
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert expected.abs().max() > 1e-3


def dipoles(frames):
    """Of charges that neutralize each other: exact, and independent of the origin."""
    charges = [np.where(f.numbers == 8, -0.8, 0.4) for f in frames]
    return np.array([q @ f.positions for q, f in zip(charges, frames, strict=True)])


def bond_tensors(frames):
    """Of bonds that are polarized along and across: sum of 0.5 (1 + 2 r r^T) over O-H."""
    out = []
    for f in frames:
        bonds = f.positions[1:] - f.positions[0]
        bonds /= np.linalg.norm(bonds, axis=1, keepdims=True)
        out.append(np.eye(3) + np.einsum("bi,bj->ij", bonds, bonds))
    return np.array(out)


@pytest.mark.parametrize(("kind", "target"), [("vector", dipoles), ("tensor", bond_tensors)])
def test_they_learn_what_is_known(kind, target, rng):
    train, test = molecules(rng, 60), molecules(rng, 20)
    model = made(kind)
    batch, expected = batch_of(train), torch.as_tensor(target(train))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 250)
        loss = (model(batch) - expected).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        off = (model(batch_of(test)).numpy() - target(test)) ** 2
    spread = target(test) - target(test).mean(0)
    assert np.sqrt(off.mean()) < 0.06 * np.sqrt((spread**2).mean())


def test_unknown_kinds():
    with pytest.raises(SettingsError, match="kind: expected vector or tensor"):
        made("scalar")
