"""Robust fits: Huber's function, the bound that reweighing minimises, and wrong labels found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from etn.data import robust as robust_module
from etn.data.robust import Doubt, Huber, describe_doubts
from etn.errors import SettingsError
from etn.network import Chain
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, Rows, Weights, fit
from etn.sweep import Callback, Checkpoint, LeastSquares, Schedule, State

SHIFT = 0.5  # eV/atom


@pytest.mark.parametrize(("label", "components"), [("energy", 1), ("forces", 3), ("stress", 6)])
def test_the_scale_of_normal_residuals_is_their_standard_deviation(rng, label, components):
    norms = np.linalg.norm(0.3 * rng.normal(size=(20000, components)), axis=1)
    huber = Huber(energy_threshold=1.345)
    huber.update({label: norms})
    assert huber.scales[label] == pytest.approx(0.3, rel=0.03)
    # As many are down-weighted, whatever the number of components.
    expected = 2 * scipy.stats.norm.sf(1.345)
    assert np.mean(huber.weights(label, norms) < 1) == pytest.approx(expected, abs=0.02)


def test_energies_count_in_full_up_to_ten_scales():
    huber = Huber(scales={"energy": 0.2, "forces": 0.2, "stress": 0.2})
    assert huber.limit("energy") == pytest.approx(10 * 0.2, rel=1e-12)
    for label, components in (("forces", 3), ("stress", 6)):
        exceeded = scipy.stats.chi.sf(huber.limit(label) / 0.2, components)
        assert exceeded == pytest.approx(2 * scipy.stats.norm.sf(1.345), rel=1e-12)
    np.testing.assert_allclose(huber.weights("energy", np.array([1.9, 4.0])), [1.0, 0.5])
    assert np.all(huber.weights("forces", np.array([1.9, 4.0])) < 0.5)


def test_the_loss_is_that_of_scipy(rng):
    huber = Huber(scales={"energy": 0.05})
    norms = np.abs(rng.normal(size=50))
    limit = huber.limit("energy")
    assert 10 < np.sum(norms > limit) < 40
    expected = 2 * scipy.special.huber(limit, norms)
    np.testing.assert_allclose(huber.loss("energy", norms), expected, rtol=1e-12)
    # The weights are half the slope of the loss over the residual.
    step = 1e-6
    slope = huber.loss("energy", norms + step) - huber.loss("energy", norms - step)
    np.testing.assert_allclose(
        huber.weights("energy", norms), slope / (4 * step * norms), rtol=1e-6
    )


def test_scales_never_rise_and_exact_residuals_do_not_count():
    huber = Huber()
    huber.update({"energy": np.array([0.0, 0.0, 0.0, 0.1]), "forces": np.zeros(5)})
    assert huber.scales == {"energy": pytest.approx(0.1 * 1.4826, rel=1e-4)}
    assert huber.limit("forces") == np.inf
    np.testing.assert_array_equal(huber.weights("forces", np.ones(2)), 1.0)
    np.testing.assert_array_equal(huber.loss("forces", np.full(2, 3.0)), 9.0)
    before = dict(huber.scales)
    huber.update({"energy": np.array([7.0])})
    assert huber.scales == before


def test_a_threshold_must_be_positive():
    with pytest.raises(SettingsError, match="threshold: expected a positive number, got 0"):
        Huber(0)
    with pytest.raises(SettingsError, match="energy_threshold: expected a positive number, got -1"):
        Huber(energy_threshold=-1)


def wrong(data, *, seed=0):
    """2 % of the energies shifted, 1 % of the force vectors replaced by those of other atoms."""
    rng = np.random.default_rng(seed)
    frames = list(data)
    chosen = sorted(rng.choice(len(frames), max(1, round(0.02 * len(frames))), replace=False))
    for index in chosen:
        frame = frames[index]
        frames[index] = replace(frame, energy=frame.energy + SHIFT * frame.n_atoms)
    forces = np.concatenate([frame.forces for frame in frames])
    replaced = rng.random(len(forces)) < 0.01
    forces[replaced] = 3.0 * rng.normal(size=(int(replaced.sum()), 3))
    parts = np.split(forces, np.cumsum([frame.n_atoms for frame in frames])[:-1])
    dirty = Dataset(replace(f, forces=part) for f, part in zip(frames, parts, strict=True))
    return dirty, [dirty[int(index)].name for index in chosen], replaced


SCHEDULE = Schedule(max_sweeps=4, rel_tol=0)


@pytest.fixture(scope="module")
def mo():
    return Dataset.read("etn:Mo/train", index="::3")


# Large enough for the hardest collision of the data: with fewer radial functions its forces would
# be off by a third, and doubted with some reason.
SIZE = {"body_order": 3, "max_bond": 3}


def potential(data):
    basis = Basis.for_dataset(data, r_max=5.2, n_max=6, l_max=2)
    return PolynomialPotential(basis, **SIZE, baseline=Baseline.fit(data))


@pytest.fixture(scope="module")
def fits(mo):
    """Robust fit to right labels, plain and robust fit to wrong ones; which ones are wrong."""
    dirty, energies, forces = wrong(mo)
    model, options = potential(mo), {"schedule": SCHEDULE, "uncertainty": False}
    clean, robust = (fit(model, data, robust="huber", **options) for data in (mo, dirty))
    return clean, fit(model, dirty, robust=None, **options), robust, dirty, energies, forces


def test_a_robust_fit_recovers_from_wrong_labels(fits):
    test = Dataset.read("etn:Mo/test")
    clean, plain, robust = (report.model.evaluate(test) for report in fits[:3])
    assert robust.energy.mae < 1.2 * clean.energy.mae
    assert robust.forces.mae < 1.15 * clean.forces.mae
    assert plain.energy.mae > 1.15 * clean.energy.mae


def test_wrong_labels_are_named(fits):
    robust, dirty, energies, forces = fits[2:]
    doubted = [doubt for doubt in robust.doubts if doubt.label == "energy"]
    assert {doubt.frame for doubt in doubted} == set(energies)
    for doubt in doubted:
        assert doubt.residual == pytest.approx(SHIFT, rel=0.1)
    first = np.cumsum([0, *(frame.n_atoms for frame in dirty)])
    at = {frame.name: k for frame, k in zip(dirty, first, strict=False)}
    found = [at[d.frame] + d.atom for d in robust.doubts if d.label == "forces"]
    assert len(found) > 0.3 * forces.sum()
    assert np.mean(forces[found]) > 0.9
    text = "\n".join(robust.warnings)
    assert all(name in text for name in energies)
    assert text in str(robust)
    assert fits[1].doubts == ()


def test_right_labels_are_not_doubted(fits):
    assert fits[0].doubts == ()
    assert fits[0].warnings == []


def test_the_objective_never_rises_over_reweighings(fits):
    losses = np.concatenate([record.losses for record in fits[2].records])
    assert np.all(np.diff(losses) <= 1e-9 * losses[:-1])


def test_the_report_counts_what_was_weighed_down(fits):
    record = fits[2].records[-1]
    dirty, forces = fits[3], fits[5]
    assert len(fits[4]) <= record.measures["outliers E"] <= len(dirty) / 2
    assert forces.sum() / 2 < record.measures["outliers F"] < dirty.n_atoms / 2
    assert 0 < record.measures["scale E"] < 0.05
    counts = f"{record.measures['outliers E']:.0f} energies"
    assert f"; weighed down: {counts}, " in str(fits[2])
    assert "outliers" not in str(fits[2])


@pytest.fixture
def rows(mo):
    data = wrong(mo[::6])[0]
    model = potential(data)
    chain = model.initial_chain(seed=0).canonicalize(0)
    return Rows(data, model.basis, model.baseline, Weights(100.0, 1.0, 1.0), Huber()), chain


def huber_objective(rows, chain, scales):
    """Huber's function over all labels, written down again from the errors of predictions."""
    model = PolynomialPotential(rows.basis, **SIZE, baseline=rows.baseline)
    total = 0.0
    huber = Huber(scales=scales)
    for frame, p in zip(rows.dataset, model.with_chain(chain).predict(rows.dataset), strict=True):
        n = frame.n_atoms
        residuals = {
            "energy": (100.0 * np.sqrt(n), np.array([abs(p.energy - frame.energy) / n])),
            "forces": (1.0, np.linalg.norm(p.forces - frame.forces, axis=1)),
            "stress": (1.0, np.array([np.linalg.norm(p.stress - frame.stress) * frame.volume / n])),
        }
        for label, (weight, norms) in residuals.items():
            total += weight**2 * 2 * scipy.special.huber(huber.limit(label), norms).sum()
    return total


def test_the_weighted_loss_touches_the_objective_and_lies_above_it(rows):
    rows, chain = rows
    rows.reweigh(chain)
    problem = LeastSquares(rows.builders, ridge=1e-2, offset=lambda: rows.offset)
    ridge = 1e-2 * chain.norm() ** 2
    objective = huber_objective(rows, chain, rows.robust.scales)
    assert problem.loss(chain) == pytest.approx(objective + ridge, rel=1e-9)
    assert rows.measure(chain)["loss"] == pytest.approx(objective, rel=1e-9)
    for seed in range(3):
        other = Chain.random([rows.basis.leg] * 2, start=rows.basis.start, max_bond=3, seed=seed)
        other = other.canonicalize(0)
        objective = huber_objective(rows, other, rows.robust.scales)
        ridge = 1e-2 * other.norm() ** 2
        assert problem.loss(other) > objective + ridge
    solution = problem.solve(chain)
    solved = chain.replace(0, solution.core)
    assert solution.loss == pytest.approx(problem.loss(solved), rel=1e-8)


def test_reweighing_does_not_depend_on_the_axes(mo):
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    data = wrong(mo[::8])[0]
    turned = Dataset(
        replace(f, positions=f.positions @ rotation, cell=f.cell @ rotation,
                forces=f.forces @ rotation, stress=None)
        for f in data
    )  # fmt: skip
    model = potential(data)
    chain = model.initial_chain(seed=0)
    weights = Weights(stress=0.0)
    one, two = (
        Rows(d, model.basis, model.baseline, weights, Huber()).reweigh(chain)
        for d in (data, turned)
    )
    assert one == {key: pytest.approx(value, rel=1e-8) for key, value in two.items()}


def test_labels_without_weight_are_never_doubted(monkeypatch, mo):
    data = wrong(mo[::6])[0]
    model = potential(data)
    rows = Rows(data, model.basis, model.baseline, Weights(energy=0.0), Huber())
    chain = model.initial_chain(seed=0)
    measures = rows.reweigh(chain)
    assert "outliers E" not in measures
    rows.robust.scales = {"energy": 1e-12, "forces": 1e-12}
    monkeypatch.setattr(robust_module, "BEYOND_MOST", 0.0)
    assert {doubt.label for doubt in rows.doubts(chain)} == {"forces"}


def test_reweighing_without_a_robust_function(mo):
    model = potential(mo)
    rows = Rows(mo[:1], model.basis, model.baseline, Weights())
    with pytest.raises(SettingsError, match="reweigh: expected rows with a robust function"):
        rows.reweigh(model.initial_chain(seed=0))
    with pytest.raises(SettingsError, match="robust: expected None or \"huber\", got 'tukey'"):
        fit(model, mo, robust="tukey")


class Interrupted(Exception):
    pass


class InterruptAfter(Callback):
    def __init__(self, sweeps):
        self.sweeps = sweeps

    def on_sweep(self, state):
        self.sweeps -= 1
        if not self.sweeps:
            raise Interrupted


def test_a_continued_robust_fit_is_the_same_to_the_last_bit(mo, tmp_path):
    dirty = wrong(mo[::4])[0]
    model = potential(dirty)
    options = {
        "robust": "huber",
        "valid": 0.3,
        "schedule": Schedule(max_sweeps=3, rel_tol=0),
        "uncertainty": False,
    }
    whole = fit(model, dirty, **options)
    path = tmp_path / "state.etn"
    with pytest.raises(Interrupted):
        fit(model, dirty, callbacks=[Checkpoint(path), InterruptAfter(2)], **options)
    resumed = fit(model, dirty, resume=State.load(path), **options)
    for one, two in zip(whole.records, resumed.records, strict=True):
        assert replace(one, seconds=0.0) == replace(two, seconds=0.0)
    assert whole.doubts == resumed.doubts


def test_messages_name_the_worst_frames_first():
    doubts = [Doubt(f"a.xyz:{k}", "forces", k, 0.1 * k, 10.0 * k) for k in range(2, 9)]
    (text,) = describe_doubts(doubts)
    assert text.startswith("train: 7 forces that the fit disbelieves: a.xyz:8 atom 8 (0.8 eV/Å, 80")
    assert "..., " not in text
    assert "a.xyz:2" not in text
    assert describe_doubts([]) == []
