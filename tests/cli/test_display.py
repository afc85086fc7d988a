"""What a fit shows while it runs: lines, the time left, a bar on a terminal."""

from __future__ import annotations

import pytest

from etn.cli.display import Display, TimeLeft, duration
from etn.network import Chain
from etn.sweep import Schedule, State, SweepRecord


def test_time_left_counts_the_solves_to_come():
    left = TimeLeft(Schedule(max_sweeps=(2, 1)), n_sites=3, inner_cost=5)
    assert left.seconds() == float("inf")
    left.add(n_sites=2, site=0, sweep=0, index=0, seconds=1.0)
    left.add(n_sites=2, site=1, sweep=0, index=1, seconds=3.0)
    # One more sweep of two ends at 2 s; then two ends, and two inner solves that cost 5 times that.
    assert left.seconds() == pytest.approx(4 + 4 + 20)
    left.add(n_sites=3, site=1, sweep=0, index=0, seconds=4.0)
    assert left.seconds() == pytest.approx(0.75 * (4 + 8))
    for index, site in ((1, 2), (2, 1), (3, 0)):
        left.add(n_sites=3, site=site, sweep=0, index=index, seconds=4.0)
    assert left.seconds() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99.4, "99 s"), (100.0, "2 min"), (5940, "99 min"), (6000, "1 h 40 min")],
)
def test_times_are_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def record(**changes):
    values = {
        "n_sites": 3, "sweep": 1, "loss": 12.3456, "losses": (12.3456,), "condition": 2.5e7,
        "solver": "cholesky", "seconds": 1.26, "n_parameters": 10, "bond": "2x0e",
        "measures": {"train E": 4.321, "train F": 0.12345, "valid E": 5.0},
    }  # fmt: skip
    return SweepRecord(**{**values, **changes})


def state(*records):
    chain = Chain.random(["1x0e"] * 2, seed=0)
    return State(chain, records, chain)


def test_a_sweep_is_a_line(capsys):
    display = Display()
    with display:
        display.on_sweep(state(record()))
        display.on_joint(record(solver="joint", condition=None, sweep=2))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["3", "1", "12.346", "4.32", "0.1235", "2.5e+07", "1.3", "s"],
        ["3", "2", "12.346", "4.32", "0.1235", "-", "1.3", "s"],
    ]


def test_a_cycle_is_a_line_for_each_chain(capsys):
    with Display() as display:
        earlier = record(chain="readout", cycle=1)
        new = [record(chain=name, cycle=2, measures={}) for name in ("readout", "value")]
        display.on_sweep(state(earlier, *new))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["2", "readout"], ["2", "value"]]
    assert lines[0][3:5] == ["-", "-"]


def test_text_is_printed_as_it_is(capsys):
    with Display() as display:
        display.print("[bold]not[/bold] a mark :smile: and a long line " + "x" * 200)
    assert capsys.readouterr().out == (
        "[bold]not[/bold] a mark :smile: and a long line " + "x" * 200 + "\n"
    )
