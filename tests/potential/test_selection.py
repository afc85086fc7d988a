"""Maximal volume against brute force; choosing frames against log det by NumPy."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, DataError, SettingsError
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    PolynomialPotential,
    fit,
    maxvol,
    select,
    with_uncertainty,
)
from etn.sweep import Schedule


def volume(rows):
    return abs(np.linalg.det(rows))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(0, 6), st.integers(0, 10**6))
def test_no_exchange_of_one_row_raises_the_volume(k, more, seed):
    rows = np.random.default_rng(seed).normal(size=(k + more, k))
    chosen = maxvol(rows)
    assert len(set(chosen.tolist())) == k
    here = volume(rows[chosen])
    for at in range(k):
        for row in range(k + more):
            other = chosen.copy()
            other[at] = row
            assert volume(rows[other]) <= 1.01 * here * (1 + 1e-9)
    assert np.abs(rows @ np.linalg.inv(rows[chosen])).max() <= 1.01 * (1 + 1e-9)


def test_near_the_best_of_all_subsets():
    ratios = []
    for seed in range(30):
        rows = np.random.default_rng(seed).normal(size=(9, 3))
        best = max(volume(rows[list(subset)]) for subset in combinations(range(9), 3))
        ratios.append(volume(rows[maxvol(rows)]) / best)
    assert max(ratios) <= 1 + 1e-12
    assert np.median(ratios) == pytest.approx(1)  # the best subset itself, more often than not
    # A submatrix that no exchange improves is within k^(k/2) of the best (Goreinov et al.).
    assert min(ratios) >= 3**-1.5 / 1.01**3


def test_the_volume_grows_from_the_pivots_of_lu():
    grown = 0
    for seed in range(20):
        rows = np.random.default_rng(seed).normal(size=(200, 8))
        tight, loose = maxvol(rows), maxvol(rows, tolerance=1e6)
        assert volume(rows[tight]) >= volume(rows[loose]) * (1 - 1e-9)
        grown += volume(rows[tight]) > 1.01 * volume(rows[loose])
    assert grown >= 15


def test_columns_may_differ_in_scale_and_be_mixed():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 6))
    mixed = rows @ rng.normal(size=(6, 6)) * 10.0 ** np.arange(-4, 2)
    chosen = maxvol(mixed)
    assert np.abs(np.linalg.solve(mixed[chosen].T, mixed.T)).max() <= 1.01 * (1 + 1e-6)


def test_what_maxvol_refuses():
    with pytest.raises(CoreError, match="at least 3 rows for 3 columns, got 2"):
        maxvol(np.ones((2, 3)))
    with pytest.raises(CoreError, match="independent rows"):
        maxvol(np.ones((5, 2)))
    with pytest.raises(SettingsError, match="above 1, got 1"):
        maxvol(np.eye(2), tolerance=1.0)


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
    return np.linalg.slogdet(total)[1]


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
