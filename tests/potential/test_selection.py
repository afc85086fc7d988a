"""Choosing frames of a pool against log det by NumPy."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest

from etn.errors import DataError, SettingsError
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    Frame,
    PolynomialPotential,
    fit,
    select,
    with_uncertainty,
)
from etn.potential.features.pairs import Pairs
from etn.sweep import Schedule


@pytest.fixture(scope="module")
def model():
    train = Dataset.read("etn:Mo/train", index="::40")
    start = PolynomialPotential(
        Basis.for_dataset(train, r_max=4.0, n_max=3, l_max=1),
        body_order=3,
        max_bond=2,
        baseline=Baseline.fit(train),
    )
    return fit(start, train, schedule=Schedule(max_sweeps=1)).model


@pytest.fixture(scope="module")
def pool():
    return Dataset.read("etn:Mo/test", index="::3")


def information(model, frames):
    """Log det of the information of the active set and all atoms of the frames."""
    inverse = model.uncertainty.inverse
    total = np.eye(len(inverse))
    for phi in model.uncertainty.features(frames):
        total += (phi @ inverse).T @ (phi @ inverse)
    beyond = np.zeros(3)  # one element: nearest, neighbours of it and in all
    for frame in frames:
        pairs = Pairs.find([frame], model.elements, model.r_max)
        excess = model.uncertainty.coverage.terms(pairs) - 1
        beyond += np.sum(np.where(excess > 0, excess, 0) ** 2, axis=0)
    return np.linalg.slogdet(total)[1] + np.linalg.slogdet(np.diag(1 + beyond))[1]


def test_every_choice_is_the_best_next_one(model, pool):
    selection = select(model, pool, 4)
    for at in range(4):
        before = [pool[int(k)] for k in selection.indices[:at]]
        base = information(model, before)
        gains = [information(model, [*before, frame]) - base for frame in pool]
        for k in selection.indices[:at]:
            gains[k] = -np.inf
        assert selection.indices[at] == np.argmax(gains)
        assert selection.gains[at] == pytest.approx(max(gains), rel=1e-8)
    assert np.all(np.diff(selection.gains) <= 0)


def test_greedy_is_near_the_best_of_all_choices(model, pool):
    best = max(information(model, [pool[i] for i in pair]) for pair in combinations(range(8), 2))
    chosen = select(model, pool, 2).indices
    found = information(model, [pool[int(k)] for k in chosen])
    # Of a monotone submodular function greedy reaches 1 - 1/e at least (Nemhauser et al. 1978).
    assert (1 - 1 / np.e) * best <= found <= best * (1 + 1e-12)


def test_frames_far_beyond_the_training_data(model, pool):
    """Grades of a million and more lose no digits."""
    crystal = [pool[k] for k in range(len(pool)) if pool[k].config_type == "Elastic"]
    known = with_uncertainty(model, Dataset(crystal[:1]))
    selection = select(known, pool, len(pool))
    assert selection.gamma.max() > 1e3
    assert np.all(np.isfinite(selection.gains))
    assert sum(selection.gains) == pytest.approx(information(known, pool), rel=1e-6)


def test_the_order_of_the_pool_does_not_matter(model, pool):
    names = {pool[int(k)].name for k in select(model, pool, 3).indices}
    for order in list(permutations(range(len(pool))))[::17000]:
        turned = pool[list(order)]
        assert {turned[int(k)].name for k in select(model, turned, 3).indices} == names


def test_frames_of_what_was_never_seen_come_first():
    """W without neighbours has no features: only the coverage knows that its crystal is new."""
    crystals = Dataset.read("etn:Mo/train", index="::40")
    lone = Frame([74], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3, energy=-1.0)
    train = Dataset([*crystals, replace(lone, forces=np.zeros((1, 3)))])
    basis = Basis.for_dataset(train, r_max=4.0, n_max=3, l_max=1)
    start = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=Baseline.fit(train))
    model = fit(start, train, schedule=Schedule(max_sweeps=1)).model
    tungsten = Frame([74], np.zeros((1, 3)), 3.165 * (np.ones((3, 3)) / 2 - np.eye(3)), [True] * 3)
    assert np.abs(model.uncertainty.features([tungsten])[0]).max() < 1e-6
    pool = Dataset([*crystals, tungsten, tungsten])
    selection = select(model, pool, 3)
    assert selection.indices[0] in (len(crystals), len(crystals) + 1)
    assert selection.gamma[-1] > 1000
    # Its copy has little to add.
    assert len(crystals) + 1 not in selection.indices[1:]
    assert np.all(np.isfinite(selection.gains))


def test_copies_of_a_chosen_frame_come_last(model, pool):
    first, second = select(model, pool, 2).indices
    copies = Dataset([pool[int(first)]] * 3 + [pool[int(second)]])
    selection = select(model, copies, 3)
    assert 3 in selection.indices[:2]
    assert selection.gains[2] < selection.gains[1]


def test_all_frames_can_be_chosen_and_grades_are_those_of_the_atoms(model, pool):
    selection = select(model, pool, len(pool))
    assert sorted(selection.indices) == list(range(len(pool)))
    grades = [gamma.max() for gamma in model.uncertainty.gamma(pool)]
    np.testing.assert_allclose(selection.gamma, grades, rtol=1e-12)


def test_what_select_refuses(model, pool):
    for n in (0, len(pool) + 1):
        with pytest.raises(SettingsError, match=f"1 to the {len(pool)} frames of the pool, got"):
            select(model, pool, n)
    bare = model.with_chain(model.chain)
    with pytest.raises(SettingsError, match="with_uncertainty"):
        select(bare, pool, 1)
    other = Dataset.read("etn:NbMoTaW/test", index=":1")
    with pytest.raises(DataError, match="unknown to this potential"):
        select(model, other, 1)
