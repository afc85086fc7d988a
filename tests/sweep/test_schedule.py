from __future__ import annotations

import math

import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.sweep import Rule, Schedule
from etn.tensor import Truncation


def test_the_last_number_of_sweeps_repeats():
    assert [Schedule(max_sweeps=[4, 2, 1]).sweeps(n) for n in range(5)] == [4, 2, 1, 1, 1]
    assert [Schedule(max_sweeps=6).sweeps(n) for n in range(3)] == [6, 6, 6]


def test_min_sweeps_wins():
    assert Schedule(max_sweeps=1, min_sweeps=3).sweeps(0) == 3


def test_verdicts():
    schedule = Schedule(max_sweeps=3, rel_tol=0.1)
    assert schedule.verdict(0, 0, math.inf, 5.0) == ""
    assert schedule.verdict(0, 1, 5.0, 4.0) == ""
    assert schedule.verdict(0, 1, 5.0, 4.9).startswith("settled")
    assert schedule.verdict(0, 2, 5.0, 4.0) == "reached max_sweeps = 3"
    patient = Schedule(max_sweeps=3, min_sweeps=3, rel_tol=0.1)
    assert patient.verdict(0, 1, 5.0, 4.9) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sites": 3}, "sites: expected 1 or 2"),
        ({"sites": []}, "sites: expected at least one entry"),
        ({"noise": [0.1, -1.0]}, "noise: expected zero or more"),
        ({"spectrum_tol": -1.0}, "spectrum_tol: expected zero or more"),
        ({"max_bond": [4, 0]}, "max_bond must be at least 1"),
        ({"tol": math.nan}, "rel_tol must be zero or positive"),
        ({"max_sweeps": 0}, "max_sweeps: expected positive"),
        ({"max_sweeps": []}, "max_sweeps: expected at least one"),
        ({"min_sweeps": 0}, "min_sweeps: expected at least 1"),
        ({"rel_tol": -1.0}, "rel_tol: expected zero or more"),
        ({"rel_tol": math.nan}, "rel_tol: expected zero or more"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(SettingsError, match=message):
        Schedule(**options)


def test_lists_have_one_entry_a_sweep_and_the_last_repeats():
    schedule = Schedule(sites=[2, 1], max_bond=[2, Irreps("3x0e+2x1o")], tol=[1e-3, 1e-6, 0.0])
    rules = [schedule.at(sweep) for sweep in range(4)]
    assert [rule.sites for rule in rules] == [2, 1, 1, 1]
    assert [rule.truncation.rel_tol for rule in rules] == [1e-3, 1e-6, 0.0, 0.0]
    assert [rule.truncation.max_bond for rule in rules[:2]] == [2, Irreps("3x0e+2x1o")]
    assert schedule.n_listed == 3


def test_nothing_settles_before_the_lists_are_done():
    schedule = Schedule(max_sweeps=9, max_bond=[2, 4, 8])
    assert schedule.verdict(0, 1, 5.0, 5.0) == ""
    assert schedule.verdict(0, 2, 5.0, 5.0).startswith("settled")


def test_moving_singular_values_keep_a_stage_going():
    schedule = Schedule(max_sweeps=9, spectrum_tol=1e-6)
    assert schedule.verdict(0, 1, 5.0, 5.0, 1e-3) == ""
    assert schedule.verdict(0, 1, 5.0, 5.0, 1e-7).startswith("settled")


def test_what_is_left_out_is_up_to_the_problem():
    class Patient:
        schedule_defaults = {"sites": 2, "rel_tol": 1e-6}

    plain = Schedule(max_bond=[None, 8])
    assert plain.at(0).sites == 1
    assert (plain.sweeps(0), plain.sweeps(1)) == (3, 2)
    whole = plain.for_problem(Patient())
    assert whole.at(1) == Rule(2, Truncation(max_bond=8), 0.0)
    assert (whole.rel_tol, whole.sweeps(0)) == (1e-6, 3)
    assert whole.for_problem(Patient()) is whole
    assert Schedule(noise=0.1).for_problem(Patient()).at(0).sites == 1
    assert Schedule(sites=1).for_problem(Patient()).at(0).sites == 1
    assert plain == Schedule(max_bond=[None, 8])
