"""Rows of two layers: residuals are those of predictions, labels may be missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.errors import DataError
from etn.potential import Dataset
from etn.potential.message_passing import rows as rows_module
from etn.potential.message_passing.problem import LayerProblem
from etn.potential.message_passing.rows import LayerRows

NAMES = ("readout", "value", "query", "key")


def test_rows_are_predictions(rng, setting, weights):
    model, data, rows = setting(rng)
    errors = []
    for frame, p in zip(data, model.predict(data), strict=True):
        n = frame.n_atoms
        errors.append([weights.energy / np.sqrt(n) * (p.energy - frame.energy)])
        errors.append(weights.forces * (p.forces - frame.forces).ravel())
        if frame.stress is not None:
            errors.append(weights.stress / n * frame.volume * (p.stress - frame.stress))
    expected = np.concatenate(errors)
    scale = np.abs(expected).max()
    for name in NAMES:
        chain = model.layers.chains()[name]
        for center in range(len(chain)):
            moved = chain.canonicalize(center)
            problem = LayerProblem(rows, model.layers, name, ridge=0.0)
            residual = problem.residuals(moved)
            np.testing.assert_allclose(residual, expected, atol=1e-10 * scale)


def test_frames_without_labels_have_no_rows(rng, setting, weights):
    model, data, _ = setting(rng)
    missing = {0: "forces", 1: "energy", 3: "stress"}
    bare = Dataset([replace(data[k], **{label: None}) for k, label in missing.items()])
    rows = LayerRows(bare, model.basis, model.messages, model.coupling, model.baseline, weights)
    full = [1 + 3 * f.n_atoms + 6 * f.pbc.all() for f in data]
    assert len(rows) == 1 + (full[1] - 1) + (full[3] - 6)


def test_errors_are_those_of_the_predictions(rng, setting):
    model, data, rows = setting(rng)
    for frame, p, found in zip(data, model.predict(data), rows.errors(model.layers), strict=True):
        expected = [np.array([p.energy - frame.energy]), (p.forces - frame.forces).ravel()]
        if frame.stress is not None:
            expected.append(frame.volume * (p.stress - frame.stress))
        scale = np.abs(found).max()
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-10 * scale)


def test_frames_that_take_too_much_memory_are_refused(rng, monkeypatch, setting, weights):
    model, data, _ = setting(rng)
    monkeypatch.setattr(rows_module, "MAX_FRAME", 1e3)
    with pytest.raises(DataError, match="atoms, whose derivatives"):
        LayerRows(data, model.basis, model.messages, model.coupling, model.baseline, weights)
