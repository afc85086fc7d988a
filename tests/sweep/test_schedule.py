from __future__ import annotations

import math

import pytest

from etn.errors import SettingsError
from etn.sweep import Schedule


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
        ({"sites": 2}, "sites: only one-site updates"),
        ({"max_sweeps": 0}, "max_sweeps: expected positive"),
        ({"max_sweeps": []}, "max_sweeps: expected positive"),
        ({"min_sweeps": 0}, "min_sweeps: expected at least 1"),
        ({"rel_tol": -1.0}, "rel_tol: expected zero or more"),
        ({"rel_tol": math.nan}, "rel_tol: expected zero or more"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(SettingsError, match=message):
        Schedule(**options)
