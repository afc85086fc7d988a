"""Rows of maximal volume against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, SettingsError
from etn.potential import maxvol


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
