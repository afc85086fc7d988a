"""Fits with two-site updates and joint steps, from Python, settings and a run that was cut off."""

from __future__ import annotations

import numpy as np
import pytest

from etn.data.weights import Weights
from etn.errors import SettingsError
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.potential.fitting.rows import Rows
from etn.run.folder import run_fit
from etn.run.settings import FitSettings
from etn.sweep import Callback, LeastSquares, LocalSolution, Schedule, grow


@pytest.fixture(scope="module")
def train():
    return Dataset.read("etn:Mo/train", index="::20")


def potential(train, *, body_order=4, max_bond=(2, 1, 1)):
    basis = Basis.for_dataset(train, r_max=4.2, n_max=4, l_max=2)
    return PolynomialPotential(
        basis, body_order=body_order, max_bond=max_bond, baseline=Baseline.fit(train)
    )


def test_two_sites_end_lower_within_the_bonds_of_the_model(train):
    model = potential(train)
    one, two = (
        fit(
            model,
            train,
            schedule=Schedule(sites=sites, max_sweeps=2, rel_tol=0),
            uncertainty=False,
        )
        for sites in (1, 2)
    )
    assert two.records[-1].loss < one.records[-1].loss
    for bond in two.chain.bonds:
        assert all(bond.count(ir) <= model.max_bond.count(ir) for ir in bond.unique)
    # Each length starts from the one below; no sweep raises the loss.
    losses = [loss for record in two.records for loss in record.losses]
    assert np.all(np.diff(losses) <= 1e-9 * losses[0])


def test_the_plain_split_loses_what_this_one_keeps(train):
    """At equal bonds: the loss after truncation, not before it."""

    class PlainSplit(LeastSquares):
        def solve_pair(self, chain, site):
            found = super().solve_pair(chain, site)
            return LocalSolution(found.core, found.loss, found.condition, found.solver)

    model = potential(train)
    rows = Rows(train, model.basis, model.baseline, Weights())
    schedule = Schedule(sites=2, max_sweeps=2, rel_tol=0, max_bond=model.max_bond)
    losses = []
    for kind in (LeastSquares, PlainSplit):
        problem = kind(rows.builders, ridge=3e-3)
        chain = grow(model.initial_chain(seed=0), problem, n_sites=3, schedule=schedule).chain
        losses.append(problem.loss(chain.canonicalize(1)))
    assert 10 * losses[0] < losses[1]


def test_joint_steps_lower_the_loss_and_are_reported(train):
    model = potential(train, max_bond=2)
    schedule = Schedule(max_sweeps=1)
    plain = fit(model, train, schedule=schedule, uncertainty=False)
    report = fit(model, train, schedule=schedule, refine=3, uncertainty=False)
    assert report.records[: len(plain.records)][-1].loss == plain.records[-1].loss
    joint = report.records[len(plain.records) :]
    assert [record.solver for record in joint] == ["joint"] * 3
    losses = [plain.records[-1].loss, *(record.loss for record in joint)]
    assert np.all(np.diff(losses) < 0)
    assert joint[-1].measures["train F"] > 0
    assert report.model.chain is report.chain
    assert "joint" in str(report)


@pytest.fixture(scope="module")
def settings():
    return FitSettings(
        train="etn:Mo/test",
        r_max=4,
        n_max=3,
        l_max=1,
        max_bond=2,
        body_order=4,
        max_sweeps=1,
        sites=2,
        tol=1e-3,
        refine=1,
    )


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    return run_fit(settings, tmp_path_factory.mktemp("run") / "whole")


@pytest.mark.parametrize("where", ["sweeps", "joint steps"])
def test_a_run_that_is_cut_off_ends_as_the_whole_one(settings, whole, tmp_path, where):
    """Sweeps go on from the last complete one, joint steps are taken anew."""

    class Stop(Callback):
        def on_sweep(self, state):
            if where == "sweeps":
                raise KeyboardInterrupt

        def on_joint(self, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path / "cut", callbacks=[Stop()])
    resumed = run_fit(None, tmp_path / "cut", resume=True)
    ends = [[record.loss for record in run.report.records] for run in (whole, resumed)]
    np.testing.assert_array_equal(ends[0], ends[1])
    for one, two in zip(whole.model.chain, resumed.model.chain, strict=True):
        np.testing.assert_array_equal(one.to_vector(), two.to_vector())


def test_settings_that_make_no_sense(train):
    with pytest.raises(SettingsError, match="refine: expected zero or more"):
        fit(potential(train), train, refine=-1)
    with pytest.raises(SettingsError, match="sites"):
        FitSettings(train="etn:Mo", sites=3)
    given = Schedule(sites=2, tol=1e-3).for_problem()
    assert FitSettings(train="etn:Mo", sites="2", tol="1e-3").schedule() == given
