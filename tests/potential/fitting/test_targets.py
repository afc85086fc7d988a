"""Targets of rows by hand, and the rows of a group as labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from etn.data.weights import Weights
from etn.potential import Baseline, Basis, Frame
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.targets import RowGroup, Targets

WEIGHTS = Weights(energy=10.0, forces=2.0, stress=3.0, kinds={"twice": 4.0})


def crystal(n_atoms, **labels):
    """Atoms too far apart for the repulsion: the baseline of forces and stress is zero."""
    positions = 5.0 * np.arange(n_atoms)[:, None] * [1.0, 0, 0]
    cell = np.diag([5.0 * n_atoms, 5.0, 5.0])
    return Frame([29] * n_atoms, positions, cell, [True] * 3, **labels)


def targets(frames, *, weights=WEIGHTS, r_max=4.0, baseline=None):
    baseline = baseline or Baseline({"Cu": -1.5})
    pairs = Pairs.find(frames, ("Cu",), r_max)
    return Targets.of(frames, pairs, baseline, weights, Basis(("Cu",), r_max=r_max))


def test_targets_are_labels_less_the_baseline_and_weights_those_of_the_loss(rng):
    forces, stress = rng.normal(size=(4, 3)), rng.normal(size=6)
    frames = [
        crystal(4, energy=-7.0, forces=forces, stress=stress),
        crystal(1, energy=2.0, config_type="twice"),
        crystal(2, forces=np.ones((2, 3)), weight=9.0),
    ]
    found = targets(frames)
    np.testing.assert_allclose(found.energy, [-7.0 + 4 * 1.5, 2.0 + 1.5, 0.0])
    # (w_E dE)^2 / N, four times for the second frame; the third has no energy.
    np.testing.assert_allclose(found.energy_weights, [10 / 2, 2 * 10, 0.0])
    np.testing.assert_allclose(found.forces, [*forces, np.zeros(3), *np.ones((2, 3))])
    np.testing.assert_allclose(found.force_weights, [2.0] * 4 + [0.0] + [6.0] * 2)
    np.testing.assert_allclose(found.strain, [stress * 4 * 125, np.zeros(6), np.zeros(6)])
    np.testing.assert_allclose(found.strain_weights, [3 / 4, 0.0, 0.0])


def test_the_repulsion_is_part_of_the_baseline(rng):
    baseline = Baseline({"Cu": -1.5}, zbl=True)
    frame = Frame([29, 29], [[0, 0, 0], [1.4, 0.3, 0.2]], 6 * np.eye(3), [True] * 3)
    pairs = Pairs.find([frame], ("Cu",), 4.0)
    energies, forces, strain = baseline.evaluate(pairs, ("Cu",), 4.0)
    assert np.abs(forces).max() > 1
    known = replace(frame, energy=1.0, forces=np.ones((2, 3)), stress=np.zeros(6))
    found = targets([known], baseline=baseline)
    np.testing.assert_allclose(found.energy, [1.0 - energies.sum()])
    np.testing.assert_allclose(found.forces, 1.0 - forces)
    s = strain[0]
    expected = [-s[0, 0], -s[1, 1], -s[2, 2], -s[1, 2], -s[0, 2], -s[0, 1]]
    np.testing.assert_allclose(found.strain[0], expected, atol=1e-12)


def test_a_stress_has_its_default_weight_unless_another_is_given(rng):
    frame = crystal(4, stress=rng.normal(size=6))
    for stress, expected in ((None, Weights.DEFAULT_STRESS), (5.0, 5.0), (0.0, 0.0)):
        found = targets([frame], weights=Weights(stress=stress))
        np.testing.assert_allclose(found.strain_weights, [expected / 4])
    flat = replace(frame, cell=np.zeros((3, 3)), pbc=np.zeros(3, bool), stress=None)
    assert targets([flat]).strain_weights == [0.0]


def test_rows_are_energies_then_forces_then_strains(rng):
    frames = [crystal(n, energy=1.0 * n, forces=rng.normal(size=(n, 3)), stress=np.arange(6.0))
              for n in (2, 1)]  # fmt: skip
    found = targets(frames)
    atoms = np.array([0, 2])
    values, weights = found.rows(atoms, energy=True, stress=True)
    np.testing.assert_array_equal(
        values, [*found.energy, *found.forces[atoms].ravel(), *found.strain.ravel()]
    )
    assert len(weights) == len(values) == 2 + 6 + 12
    np.testing.assert_array_equal(weights[2:8], 2.0)
    values, _ = found.rows(atoms[:1], energy=False, stress=False)
    np.testing.assert_array_equal(values, found.forces[0])


def test_the_rows_of_a_group_are_labels_of_its_frames():
    frames = [crystal(2, name="a"), crystal(3, name="b")]
    rows = np.arange(1.0, 2 + 9 + 12 + 1)
    weights = np.where(np.isin(rows, [1.0, 4.0, 12.0]), 1.0, 0.0)
    group = RowGroup(frames, np.array([0, 2, 4]), True, True, rows, weights)
    parts = group.labels(rows)
    np.testing.assert_array_equal(parts["energy"], [[1], [2]])
    np.testing.assert_array_equal(parts["forces"], np.arange(3.0, 12).reshape(3, 3))
    np.testing.assert_array_equal(parts["stress"], np.arange(12.0, 24).reshape(2, 6))
    norms = group.norms(rows)
    np.testing.assert_allclose(norms["energy"], [1 / 2, 2 / 3])
    np.testing.assert_allclose(
        norms["forces"], np.sqrt([3 * 3 + 4 * 4 + 5 * 5, 36 + 49 + 64, 81 + 100 + 121])
    )
    squares = [sum(k * k for k in range(12, 18)), sum(k * k for k in range(18, 24))]
    np.testing.assert_allclose(norms["stress"], np.sqrt(squares) / [2, 3])
    known = {label: group.weighted(label).tolist() for label in parts}
    assert known == {
        "energy": [True, False], "forces": [True, False, False], "stress": [True, False]
    }  # fmt: skip
    assert [group.place("forces", k) for k in range(3)] == [
        (frames[0], 0), (frames[1], 0), (frames[1], 2)
    ]  # fmt: skip
    assert group.place("stress", 1) == (frames[1], None)
