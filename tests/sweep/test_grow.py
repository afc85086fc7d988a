"""Growth in body order, and runs that go on after an interruption."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from etn.network import Chain, heisenberg
from etn.sweep import (
    Callback,
    Checkpoint,
    EarlyStop,
    LeastSquares,
    Progress,
    Schedule,
    State,
    ground_state,
    grow,
)
from etn.testing import random_batch

LEG = "3x0e+2x1o+1x2e"
SCHEDULE = Schedule(max_sweeps=[3, 2], rel_tol=0)


@pytest.fixture
def chain():
    return Chain.random([LEG] * 2, start="2x0e", max_bond=2, seed=3)


@pytest.fixture
def problem(chain):
    batches = [random_batch(chain, seed=k, n_tangents=80) for k in range(2)]
    return LeastSquares(lambda: batches, ridge=1e-3)


def same(one, two, *, tolerance=0.0):
    """Chains that are equal, to the last bit unless a tolerance is given."""
    assert one.center == two.center
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.legs == b.legs
        size = np.abs(b.to_vector()).max()
        np.testing.assert_allclose(a.to_vector(), b.to_vector(), rtol=0, atol=tolerance * size)


# A run that goes on from a file has its cores in another memory order than one that never stopped.
# There the BLAS may multiply by other kernels, whose rounding the solves of the sweeps enlarge by
# the condition of their equations, up to 1e9 here.  One rounding error in each entry changes the
# cores by up to 2e-7 of their size and the losses by 5e-9.
FROM_FILE, LOSSES_FROM_FILE = 1e-5, 1e-7


def assert_continued(resumed, whole):
    """The result of a run that went on from a file is that of the uninterrupted one."""
    same(resumed.chain, whole.chain, tolerance=FROM_FILE)
    assert (resumed.reason, resumed.converged) == (whole.reason, whole.converged)
    assert len(resumed.records) == len(whole.records)
    for one, two in zip(resumed.records, whole.records, strict=True):
        assert one.losses == pytest.approx(two.losses, rel=LOSSES_FROM_FILE)
        assert one.loss == one.losses[-1]
        assert one.measures == pytest.approx(two.measures, rel=FROM_FILE)
        assert one.condition == pytest.approx(two.condition, rel=FROM_FILE)
        assert (one.spectrum_change is None) == (two.spectrum_change is None)
        # Where nothing changes the change is rounding.
        assert (one.spectrum_change or 0.0) == pytest.approx(
            two.spectrum_change or 0.0, rel=FROM_FILE, abs=FROM_FILE
        )
        floats = {"loss": 0.0, "losses": (), "measures": {}, "condition": None}
        floats |= {"spectrum_change": None, "seconds": 0.0}
        assert replace(one, **floats) == replace(two, **floats)


class States(Callback):
    def __init__(self):
        self.states = []

    def on_sweep(self, state):
        self.states.append(state)


class Interrupted(Exception):
    pass


class InterruptAfter(Callback):
    def __init__(self, sweeps=10**9, steps=10**9):
        self.sweeps, self.steps = sweeps, steps

    def on_step(self, step):
        self.steps -= 1
        if not self.steps:
            raise Interrupted

    def on_sweep(self, state):
        self.sweeps -= 1
        if not self.sweeps:
            raise Interrupted


def test_the_loss_never_rises_through_all_lengths(chain, problem):
    report = grow(chain, problem, n_sites=5, schedule=SCHEDULE)
    assert [r.n_sites for r in report.records] == [2, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [r.sweep for r in report.records] == [1, 2, 3, 1, 2, 1, 2, 1, 2]
    losses = np.concatenate([r.losses for r in report.records])
    assert np.all(np.diff(losses) <= 1e-10 * losses[:-1])
    assert len(report.chain) == 5
    assert report.chain.orthogonality_error() < 1e-12
    assert problem.loss(report.chain) == pytest.approx(
        report.records[-1].loss, rel=LOSSES_FROM_FILE
    )
    # A longer chain has more freedom; on random targets it must gain.
    assert report.records[-1].loss < 0.9 * report.records[2].loss


def test_a_longer_chain_starts_from_the_shorter_one(chain, problem):
    short = grow(chain, problem, n_sites=2, schedule=SCHEDULE).chain
    from etn.sweep.grow import _longer

    for _ in range(3):
        longer = _longer(short, 0)
        assert len(longer) == len(short) + 1
        assert problem.loss(longer) - 1e-3 * longer.norm() ** 2 == pytest.approx(
            problem.loss(short) - 1e-3 * short.norm() ** 2, rel=1e-10
        )
        # The constant enters once more, so the norm of the tensor is that of the shorter one.
        assert longer.norm() == pytest.approx(short.norm(), rel=1e-12)
        short = longer


@pytest.mark.parametrize("sweeps", [1, 2, 3, 4, 5, 6])
def test_a_continued_run_gives_the_same_chain(chain, problem, tmp_path, sweeps):
    whole = grow(chain, problem, n_sites=4, schedule=SCHEDULE)
    path = tmp_path / "state.etn"
    with pytest.raises(Interrupted):
        grow(
            chain,
            problem,
            n_sites=4,
            schedule=SCHEDULE,
            callbacks=[Checkpoint(path), InterruptAfter(sweeps=sweeps)],
        )
    resumed = grow(chain, problem, n_sites=4, schedule=SCHEDULE, resume=State.load(path))
    assert_continued(resumed, whole)


def test_an_interruption_within_a_sweep_keeps_the_last_complete_one(chain, problem, tmp_path):
    path = tmp_path / "state.etn"
    whole = grow(chain, problem, n_sites=3, schedule=SCHEDULE)
    with pytest.raises(Interrupted):
        grow(
            chain,
            problem,
            n_sites=3,
            schedule=SCHEDULE,
            callbacks=[Checkpoint(path), InterruptAfter(steps=9)],
        )
    state = State.load(path)
    assert len(state.records) == 3
    assert_continued(grow(chain, problem, n_sites=3, schedule=SCHEDULE, resume=state), whole)


def test_a_continued_run_with_early_stop_comes_to_the_same_verdict(chain, problem, tmp_path):
    def measure(chain):
        return {"valid loss": 100 / (1 + chain.n_parameters) + chain.norm()}

    options = {"n_sites": 4, "schedule": Schedule(max_sweeps=6), "measure": measure}
    stop = EarlyStop(rel_tol=0.05)
    whole = grow(chain, problem, callbacks=[stop], select="valid loss", **options)
    path = tmp_path / "state.etn"
    for sweeps in range(1, len(whole.records)):
        with pytest.raises(Interrupted):
            grow(
                chain,
                problem,
                callbacks=[stop, Checkpoint(path), InterruptAfter(sweeps=sweeps)],
                select="valid loss",
                **options,
            )
        resumed = grow(
            chain,
            problem,
            callbacks=[stop],
            select="valid loss",
            resume=State.load(path),
            **options,
        )
        assert_continued(resumed, whole)


def test_a_finished_run_continued_does_nothing(chain, problem):
    states = States()
    whole = grow(chain, problem, n_sites=3, schedule=SCHEDULE, callbacks=[states])
    again = grow(chain, problem, n_sites=3, schedule=SCHEDULE, resume=states.states[-1])
    same(again.chain, whole.chain)
    assert again.records == whole.records


def test_the_best_sweep_is_kept(chain, problem):
    figures = iter([5.0, 2.0, 4.0, 3.0, 6.0])
    states = States()
    report = grow(
        chain,
        problem,
        n_sites=3,
        schedule=SCHEDULE,
        callbacks=[states],
        measure=lambda chain: {"valid loss": next(figures)},
        select="valid loss",
    )
    same(report.chain, states.states[1].chain)


def test_without_a_measure_the_last_sweep_is_kept(chain, problem):
    states = States()
    report = grow(
        chain, problem, n_sites=3, schedule=SCHEDULE, callbacks=[states], select="valid loss"
    )
    same(report.chain, states.states[-1].chain)


def test_callbacks_see_every_step_and_sweep(chain, problem):
    steps, sweeps = [], []
    report = grow(
        chain,
        problem,
        n_sites=3,
        schedule=SCHEDULE,
        callbacks=[Progress(steps.append, sweeps.append), Progress()],
    )
    assert len(steps) == 3 * 2 + 2 * 4
    assert tuple(sweeps) == report.records
    assert report.records[0].losses == tuple(step.loss for step in steps[:2])


def test_a_run_says_why_it_ended(chain, problem):
    report = grow(chain, problem, n_sites=2, schedule=Schedule(max_sweeps=50, rel_tol=1e-2))
    assert report.converged
    assert report.reason.startswith("settled")
    report = grow(chain, problem, n_sites=2, schedule=Schedule(max_sweeps=1, rel_tol=0))
    assert not report.converged
    assert report.reason == "reached max_sweeps = 1"


def test_early_stop_ends_each_stage_on_its_own(chain, problem):
    report = grow(
        chain,
        problem,
        n_sites=4,
        schedule=Schedule(max_sweeps=9, rel_tol=0),
        callbacks=[EarlyStop(rel_tol=1e9, patience=2)],
    )
    assert [r.n_sites for r in report.records] == [2] * 3 + [3] * 3 + [4] * 3
    assert report.reason.startswith("loss fell by less than 1e+09 in 2 sweep")


def test_each_sweep_is_logged_in_one_line(chain, problem, caplog, capsys):
    with caplog.at_level(logging.INFO, logger="etn"):
        report = grow(
            chain,
            problem,
            n_sites=3,
            schedule=SCHEDULE,
            measure=lambda chain: {"valid loss": 0.25},
        )
    assert [record.getMessage() for record in caplog.records] == [str(r) for r in report.records]
    assert {(r.name, r.levelname) for r in caplog.records} == {("etn.sweep.grow", "INFO")}
    one = report.records[3]
    assert str(one) == (
        f"3 sites, sweep 1: loss {one.loss:.6g}, valid loss 0.25, bond {one.bond}, cholesky, "
        f"{one.seconds:.1f} s"
    )
    assert capsys.readouterr() == ("", "")


def test_energies_are_logged_with_their_digits(caplog):
    with caplog.at_level(logging.INFO, logger="etn.sweep"):
        report = ground_state(heisenberg(4))
    assert len(caplog.records) == len(report.records)
    assert "loss -4.64575131106, bond" in caplog.records[-1].getMessage()


def test_without_a_handler_nothing_is_printed():
    code = (
        "from etn.sweep import ground_state\nfrom etn.network import heisenberg\n"
        "ground_state(heisenberg(3), '1e')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
