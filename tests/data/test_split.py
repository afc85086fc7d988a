"""Random choices that keep the proportions of groups."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.data.split import stratified_choice


@given(
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=40),
    st.data(),
    st.integers(0, 2**32),
)
def test_choice_is_stratified(groups, data, seed):
    size = data.draw(st.integers(1, len(groups) - 1))
    chosen = stratified_choice(groups, size, seed)
    assert chosen.sum() == size
    for group, count in Counter(groups).items():
        mine = sum(c for c, g in zip(chosen, groups, strict=True) if g == group)
        assert abs(mine - count * size / len(groups)) < 1


def test_groups_of_one_draw_lots():
    groups = [str(i) for i in range(10)]
    hits = sum(stratified_choice(groups, 3, seed).astype(int) for seed in range(400))
    # Binomial(400, 0.3): mean 120, standard deviation 9.2.
    assert np.all(np.abs(hits - 120) < 40)


def test_the_seed_decides():
    groups = ["bulk"] * 30 + ["surface"] * 10
    first, again = (stratified_choice(groups, 8, seed=4) for _ in range(2))
    assert np.array_equal(first, again)
    assert len({tuple(stratified_choice(groups, 8, seed)) for seed in range(5)}) == 5


def test_members_of_a_group_are_equally_likely():
    groups = ["bulk"] * 6 + ["surface"] * 3
    hits = sum(stratified_choice(groups, 3, seed).astype(int) for seed in range(600))
    # Each with probability 1/3: mean 200, standard deviation 11.5.
    assert np.all(np.abs(hits - 200) < 50)


@pytest.mark.parametrize("size", [0, 9])
def test_none_and_all(size):
    assert stratified_choice(["a"] * 4 + ["b"] * 5, size, seed=0).sum() == size
