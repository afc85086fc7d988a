"""Batches of frames with their targets: the objective of a fit, to the last term."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from etn.data.stress import voigt
from etn.errors import DataError
from etn.nn.samples import Sample, Samples
from etn.potential import Dataset, Weights


def test_joined_frames_answer_as_each_does(potential, frames, rng):
    start = potential("tensornet", rng)
    samples = Samples.of(frames(rng, [41, 42]), start, Weights())
    joined = Sample.join(samples.items)
    whole = start.model.outcome(joined.batch)
    parts = [start.model.outcome(sample.batch) for sample in samples.items]
    for name in ("energies", "forces", "strain"):
        expected = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(getattr(whole, name), expected)
    assert [s.batch.n_frames for s in samples.batches(3)] == [3, 1]
    order = [s.batch.n_atoms for s in samples.batches(1, [3, 0])]
    assert order == [2, 5]


def test_residuals_are_those_of_the_weights_of_a_fit(potential, frames, rng, labelled):
    start = potential("tensornet", rng, zbl=True)
    teacher = potential("tensornet", np.random.default_rng(9), zbl=True)
    data = labelled(frames(rng, [41, 42]), teacher)
    weights = Weights(energy=7.0, forces=1.5, stress=3.0)
    samples = Samples.of(data, start, weights)
    found = 0.0
    for batch, goal in samples.items:
        errors = goal.errors(start.model.outcome(batch), batch)
        found += float(goal.residuals(errors).square().sum())
    expected = 0.0
    for frame, p in zip(data, start.predict(data), strict=True):
        expected += (7.0 * (p.energy - frame.energy)) ** 2 / frame.n_atoms
        expected += float(np.sum((1.5 * (p.forces - frame.forces)) ** 2))
        if frame.stress is not None:
            off = (p.stress - frame.stress) * frame.volume / frame.n_atoms
            expected += float(np.sum((3.0 * off) ** 2))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert voigt(np.eye(3)[None]).shape == (1, 6)


def test_what_is_missing_weighs_nothing(potential, rng):
    data = Dataset.read("etn:Mo/test", index=":2", forces=None, stress=None)
    start = potential("tensornet", rng)
    (one, _) = Samples.of(data, start, Weights()).items
    assert one.goal.energy_weight.item() > 0
    assert one.goal.force_weight.abs().max() == 0
    assert one.goal.strain_weight.abs().max() == 0


def test_samples_made_anew_are_those_in_memory(potential, frames, rng):
    start = potential("tensornet", rng)
    data = frames(rng, [41, 42])
    held = Samples.of(data, start, Weights())
    assert held.nbytes > sum(t.nbytes for sample in held.items for part in sample for t in part)
    some = held.items[0].nbytes + held.items[1].nbytes + 1
    for most, count in ((some, 2), (0.0, 0)):
        made = Samples.of(data, start, Weights(), most=most)
        assert len(made.items) == count
        assert made.nbytes <= most
        assert len(made) == len(held)
        assert made.sizes == held.sizes == [frame.n_atoms for frame in data]
        groups = [[3, 0], [], [2], [1, 1], [0], [1], [2]]
        pairs = zip(made.joined(groups), held.joined(groups), groups, strict=True)
        for one, other, group in pairs:
            assert (one is None) == (other is None) == (not group)
            for a, b in zip(one or (), other or (), strict=True):
                assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_error_in_the_background_comes_to_the_front(potential, frames, rng):
    made = Samples.of(frames(rng, [41, 42]), potential("tensornet", rng), Weights(), most=0.0)
    unknown = Samples([*made.frames[:3], frames(rng, [8])[0]], [], made.sizes, made.make)
    batches = unknown.batches(1)
    assert [next(batches).batch.n_frames for _ in range(3)] == [1, 1, 1]
    with pytest.raises(DataError, match="element O is unknown to this potential"):
        next(batches)
