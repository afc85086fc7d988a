"""Sums over batches are those over all of it."""

from __future__ import annotations

import numpy as np
import pytest

from etn.nn.parallel import Processes
from etn.nn.recipe import Recipe
from etn.nn.samples import Sample, Samples
from etn.nn.tally import Tally
from etn.potential import Weights


def test_errors_are_those_of_an_evaluation_however_frames_are_joined(
    potential, frames, rng, labelled
):
    start = potential("tensornet", rng)
    teacher = potential("tensornet", np.random.default_rng(9))
    data = labelled(frames(rng, [41, 42]), teacher)
    samples = Samples.of(data, start, Weights())
    expected = start.evaluate(data)
    losses = []
    for size in (1, 3, len(data)):
        tally = Tally(Recipe())
        for sample in samples.batches(size):
            tally.add(sample, start.model.outcome(sample.batch))
        tally.add_up(Processes.now(), start.model.scale.device)
        assert tally.forces == pytest.approx(expected.forces.rmse, rel=1e-9)
        assert tally.energy == pytest.approx(expected.energy.rmse, rel=1e-9)
        losses.append(tally.loss)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-10)
    whole = Sample.join(samples.items)
    residuals = whole.goal.residuals(
        whole.goal.errors(start.model.outcome(whole.batch), whole.batch)
    )
    assert losses[0] * 3 * whole.batch.n_atoms == pytest.approx(float(residuals.square().sum()))


def test_without_labels_errors_are_no_numbers():
    assert np.isnan(Tally(Recipe()).energy)
