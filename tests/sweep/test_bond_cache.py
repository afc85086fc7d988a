"""What is carried along a chain: right for the cores that are asked for, computed once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.sweep.bond_cache import Carried
from etn.tensor import Core

CORES = [Core.random(["1x0e"] * 3, seed=seed) for seed in range(6)]


def recorder():
    """Carries the cores themselves, and notes every step."""
    steps = []

    def step(number, core, value):
        steps.append(number)
        return (*value, (number, id(core)))

    return Carried((), step), steps


def plain(cores):
    return tuple((number, id(core)) for number, core in enumerate(cores))


def test_only_what_is_new_is_computed():
    carried, steps = recorder()
    assert carried.after(CORES[:3]) == plain(CORES[:3])
    assert steps == [0, 1, 2]
    # One more core, back by two, and there again: one step in all.
    for n in (4, 2, 3, 4, 0):
        assert carried.after(CORES[:n]) == plain(CORES[:n])
    assert steps == [0, 1, 2, 3]


def test_a_core_that_has_changed_is_met_with_all_that_follow_it():
    carried, steps = recorder()
    carried.after(CORES[:4])
    changed = [CORES[0], CORES[5], *CORES[2:4]]
    assert carried.after(changed) == plain(changed)
    assert steps == [0, 1, 2, 3, 1, 2, 3]


def test_equal_cores_are_not_the_same():
    """Cores are told apart by identity: a copy is computed anew rather than compared."""
    carried, steps = recorder()
    carried.after(CORES[:1])
    carried.after([Core.random(["1x0e"] * 3, seed=0)])
    assert steps == [0, 0]


@given(st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=12))
def test_any_order_of_asking_gives_the_plain_result(asked):
    carried, _ = recorder()
    for numbers in asked:
        cores = [CORES[n] for n in numbers]
        assert carried.after(cores) == plain(cores)


def test_an_error_on_the_way_leaves_what_was_known():
    def step(number, core, value):
        if core is CORES[2]:
            raise ArithmeticError
        return value + 1

    carried = Carried(0, step)
    with pytest.raises(ArithmeticError):
        carried.after(CORES[:4])
    assert carried.after(CORES[:2]) == 2
