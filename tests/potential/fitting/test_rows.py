"""Design rows of data sets against predictions, and split frames against whole ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.data.metrics import compute_metrics
from etn.data.weights import Weights, count_rows
from etn.network.design import CoreDesign
from etn.potential import Dataset, Frame, PolynomialPotential
from etn.potential.fitting.memory import PAIR, MemoryPlan
from etn.potential.fitting.rows import Rows
from etn.sweep.regression.normal_equations import NormalEquations

WEIGHTS = Weights(energy=10.0, forces=1.0, stress=3.0)


def answers(rows, chain):
    """Rows times the center core, and targets and weights, over all batches."""
    design = CoreDesign(chain[chain.center])
    a = design.from_core(chain[chain.center])
    out = []
    for batch in rows.batches():
        values = batch.rows(chain, design, chain.center) @ a
        assert np.allclose(values, batch.values(chain), rtol=1e-9, atol=1e-9)
        out.append((values, batch.targets, batch.weights))
    return [np.concatenate(part) for part in zip(*out, strict=True)]


def normal_equations(rows, chain):
    design = CoreDesign(chain[chain.center])
    normal = NormalEquations(design.columns)
    for batch in rows.batches():
        block = batch.rows(chain, design, chain.center) * batch.weights[:, None]
        normal.add(block, batch.weights * batch.targets)
    return normal


def test_rows_of_the_center_core_are_the_predictions(data, basis, chain, weighted_loss, baseline):
    rows = Rows(data, basis, baseline, WEIGHTS)
    model = PolynomialPotential(basis, body_order=4, max_bond=2, baseline=baseline, chain=chain)
    for center in range(3):
        values, targets, weights = answers(rows, chain.canonicalize(center))
        loss = np.sum((weights * (values - targets)) ** 2)
        assert loss == pytest.approx(weighted_loss(model, data, WEIGHTS), rel=1e-10)
    assert len(rows) == len(targets) == 4 * 7 + 3 * 18


@pytest.mark.parametrize("maximum", [6e4, 2e5, 6e5])
def test_a_frame_that_is_split_gives_the_same_normal_equations(
    rng, basis, chain, maximum, make_frame, baseline
):
    # Longer than twice r_max in one direction, so that parts feel some of the atoms only.
    cell = np.diag([3.2, 3.0, 24.0])
    positions = rng.uniform(size=(20, 3)) * [0.3, 0.3, 0] + np.outer(np.arange(20), [0.7, 0.3, 1.2])
    frame = Frame(
        np.resize([42, 29, 42], 20), positions, cell, [True] * 3, energy=3.0,
        forces=rng.normal(size=(20, 3)), stress=rng.normal(size=6) / 20,
    )  # fmt: skip
    data = Dataset([frame, make_frame(rng, 4)])
    whole = Rows(data, basis, baseline, WEIGHTS)
    expected, measures = normal_equations(whole, chain), whole.measure(chain)
    # Pairs of the parts are found anew as well.
    memory = MemoryPlan(directions=maximum, kept=0.0 if maximum == 2e5 else 1e9)
    split = Rows(data, basis, baseline, WEIGHTS, memory=memory)
    assert len(split.groups) > len(whole.groups)
    assert len(split) == len(whole)
    if maximum == 6e4:
        assert min(g.pairs.n_samples for g in split.groups if len(g.force_atoms)) < 20
    got = normal_equations(split, chain)
    scale = np.abs(expected.gram).max()
    np.testing.assert_allclose(got.gram, expected.gram, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        got.rhs, expected.rhs, rtol=0, atol=1e-12 * np.abs(expected.rhs).max()
    )
    assert got.target == pytest.approx(expected.target, rel=1e-12)
    for name, value in split.measure(chain).items():
        assert value == pytest.approx(measures[name], rel=1e-10)


def test_kept_and_recomputed_features_give_the_same_bits(data, basis, chain, baseline):
    kept = Rows(data, basis, baseline, WEIGHTS)
    first, second = normal_equations(kept, chain), normal_equations(kept, chain)
    np.testing.assert_array_equal(first.gram, second.gram)
    for kept, pairs in ((0.0, False), (PAIR * 1000.0, True)):
        fresh = Rows(data, basis, baseline, WEIGHTS, memory=MemoryPlan(kept=kept))
        np.testing.assert_array_equal(normal_equations(fresh, chain).gram, first.gram)
        assert len(fresh._expansions) == 0
        assert all((group.pairs is not None) == pairs for group in fresh.groups)


def test_few_rows_fit_in_a_batch(rng, basis, chain, make_frame, baseline):
    data = Dataset([make_frame(rng, n) for n in (9, 8, 4, 3)])
    whole = Rows(data, basis, baseline, WEIGHTS)
    split = Rows(data, basis, baseline, WEIGHTS, memory=MemoryPlan(rows=12))
    for batch in split.batches():
        assert len(batch.targets) <= 3 * 4 + 7
    got, expected = normal_equations(split, chain), normal_equations(whole, chain)
    scale = np.abs(expected.gram).max()
    np.testing.assert_allclose(got.gram, expected.gram, rtol=0, atol=1e-12 * scale)


def test_labels_that_are_absent_have_no_rows(
    rng, basis, chain, make_frame, weighted_loss, baseline
):
    frames = [make_frame(rng, n) for n in (3, 5, 4, 2)]
    bare = [
        replace(frames[0], energy=None),
        replace(frames[1], forces=None),
        replace(frames[2], stress=None),
        replace(frames[3], energy=None, forces=None, stress=None),
    ]
    data = Dataset(bare)
    model = PolynomialPotential(basis, body_order=4, max_bond=2, baseline=baseline, chain=chain)
    rows = Rows(data, basis, baseline, WEIGHTS)
    values, targets, weights = answers(rows, chain)
    loss = np.sum((weights * (values - targets)) ** 2)
    assert loss == pytest.approx(weighted_loss(model, data, WEIGHTS), rel=1e-10)
    metrics = compute_metrics(model.predict(data), data)
    assert rows.measure(chain)["E"] == pytest.approx(1e3 * metrics.energy.mae, rel=1e-10)
    assert rows.measure(chain)["F"] == pytest.approx(metrics.forces.mae, rel=1e-10)


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), 15 * np.eye(3)])
def test_a_stress_without_periodicity_has_no_rows(
    rng, basis, chain, make_frame, weighted_loss, baseline, cell
):
    # Calculators may hand out a zero stress for a molecule, in a box or not.
    molecule = replace(make_frame(rng, 4), cell=cell, pbc=np.zeros(3, bool), stress=None)
    image = molecule.to_atoms()
    image.calc.results["stress"] = np.zeros(6)
    data = Dataset([*Dataset.from_atoms([image]), make_frame(rng, 3)])
    model = PolynomialPotential(basis, body_order=4, max_bond=2, baseline=baseline, chain=chain)
    loss = Rows(data, basis, baseline, WEIGHTS).measure(chain)["loss"]
    finite = Dataset([molecule, data[1]])
    assert loss == pytest.approx(weighted_loss(model, finite, WEIGHTS), rel=1e-10)


def test_isolated_atoms_have_rows_without_directions(basis, chain, baseline):
    lone = [
        Frame([z], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, energy=1.0, forces=np.zeros((1, 3)))
        for z in (29, 42)
    ]
    values, targets, _ = answers(Rows(Dataset(lone), basis, baseline, WEIGHTS), chain)
    np.testing.assert_allclose(values, 0, atol=1e-12)
    np.testing.assert_allclose(targets, [2.0, -1.0, *[0.0] * 6])


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_weight_zero_leaves_a_label_out(data, basis, chain, label, weighted_loss, baseline):
    w = replace(WEIGHTS, **{label: 0.0})
    rows = Rows(data, basis, baseline, w)
    model = PolynomialPotential(basis, body_order=4, max_bond=2, baseline=baseline, chain=chain)
    values, targets, weights = answers(rows, chain)
    loss = np.sum((weights * (values - targets)) ** 2)
    assert loss == pytest.approx(weighted_loss(model, data, w), rel=1e-10)


def test_stress_has_a_default_weight_where_it_is_known(data, basis, baseline):
    rows = Rows(data, basis, baseline, Weights())
    assert len(rows) == 4 * 7 + 3 * 18
    weights = np.concatenate([batch.weights for batch in rows.batches()])
    n = np.array([3, 9, 5, 1])
    for w in (*(Weights().energy / np.sqrt(n)), 1.0, *(Weights.DEFAULT_STRESS / n)):
        assert np.any(np.isclose(weights, w))


def test_batches_are_of_some_tens_of_atoms(rng, basis, make_frame, baseline):
    data = Dataset([make_frame(rng, n) for n in [27] * 5])
    rows = Rows(data, basis, baseline, WEIGHTS)
    assert [batch.samples.n_samples for batch in rows.batches()] == [56, 56, 29]


def test_a_frame_of_weight_two_counts_as_two(rng, basis, chain, make_frame, baseline):
    frames = [replace(make_frame(rng, n), config_type=kind) for n, kind in ((3, "a"), (5, "b"))]
    twice = Dataset([*frames, *frames, frames[1]])
    once = Dataset([replace(frames[0], weight=2.0), replace(frames[1], weight=1.5)])
    w = replace(WEIGHTS, kinds={"b": 2.0})
    one = normal_equations(Rows(once, basis, baseline, w), chain)
    two = normal_equations(Rows(twice, basis, baseline, WEIGHTS), chain)
    np.testing.assert_allclose(one.gram, two.gram, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(one.rhs, two.rhs, rtol=1e-10, atol=1e-10)
    assert one.target == pytest.approx(two.target, rel=1e-12)


def test_weight_zero_leaves_a_frame_out(data, basis, chain, baseline):
    frames = [replace(data[0], config_type="bad"), replace(data[1], weight=0.0, energy=None)]
    w = replace(WEIGHTS, kinds={"bad": 0.0})
    some = Dataset([*frames, *data[2:]])
    rows, rest = Rows(some, basis, baseline, w), Rows(data[2:], basis, baseline, w)
    one, two = normal_equations(rows, chain), normal_equations(rest, chain)
    np.testing.assert_allclose(one.gram, two.gram, rtol=1e-10, atol=1e-10)
    for name, value in rest.measure(chain).items():
        assert rows.measure(chain)[name] == pytest.approx(value, rel=1e-10)
    assert count_rows(some, w) == count_rows(data[2:], w) == len(rest)
    w.require(some, what="train")
