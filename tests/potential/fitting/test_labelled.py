"""Labelled rows: measures by hand and by predictions, robust weights, doubts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.special

from etn.data import robust as robust_module
from etn.data.metrics import compute_metrics
from etn.data.robust import Huber
from etn.errors import SettingsError
from etn.network import Chain
from etn.potential import Dataset, Frame, PolynomialPotential, Rows, Weights
from etn.potential.fitting.labelled import CLOSE, LabelledRows
from etn.potential.fitting.targets import RowGroup
from etn.sweep import LeastSquares

WEIGHTS = Weights(energy=10.0, forces=1.0, stress=3.0)


class Given(LabelledRows):
    """Rows of two frames of two atoms whose errors are the network."""

    def __init__(self, weights, robust=None):
        frame = Frame([42] * 2, 3.0 * np.eye(3)[:2], 9 * np.eye(3), [True] * 3)
        zero = np.zeros(7)
        super().__init__(
            [RowGroup([replace(frame, name=name)], np.arange(2), True, False, zero, w)
             for name, w in zip("ab", weights, strict=True)],
            robust,
        )  # fmt: skip

    def errors(self, network):
        return [np.array(errors, float) for errors in network]


ONES = [np.ones(7)] * 2
ERRORS = [[0.2, 3, 4, 0, 0, 0, 1], [-0.6, 1, 2, 2, -1, 0, 0]]


def test_measures_by_hand():
    energy, forces = (0.1 + 0.3) / 2, (3 + 4 + 1 + 1 + 2 + 2 + 1) / 12
    found = Given(ONES).measure(ERRORS)
    assert found == {
        "loss": pytest.approx(0.04 + 26 + 0.36 + 10), "E": pytest.approx(1e3 * energy),
        "F": pytest.approx(forces),
    }  # fmt: skip
    # Labels without weight do not count: the energy of the first frame, a force of the second.
    weights = [[0, 2, 2, 2, 2, 2, 2], [3, 1, 1, 1, 0, 0, 0]]
    found = Given([np.array(w, float) for w in weights]).measure(ERRORS)
    assert found == {
        "loss": pytest.approx(4 * 26 + 9 * 0.36 + 9), "E": pytest.approx(300.0),
        "F": pytest.approx((3 + 4 + 1 + 1 + 2 + 2) / 9),
    }  # fmt: skip
    none = Given([np.zeros(7)] * 2).measure(ERRORS)
    assert none == {"loss": 0.0}


def test_robust_weights_by_hand():
    huber = Huber(scales={"energy": 0.01, "forces": 0.5})
    rows = Given(ONES, huber)
    c_e, c_f = huber.limit("energy"), huber.limit("forces")
    measures = rows.reweigh(ERRORS)
    # Per atom 0.1 and 0.3; force vectors of 5, 1, 3 and 1: scales never rise.
    assert huber.scales == {"energy": 0.01, "forces": 0.5}
    assert measures["outliers E"] == np.sum(np.array([0.1, 0.3]) > c_e)
    assert measures["outliers F"] == np.sum(np.array([5.0, 1, 3, 1]) > c_f) == 2
    expected = [np.sqrt(c_f / 5)] * 3 + [1.0] * 3
    np.testing.assert_allclose(rows.row_weights[0][1:], expected, rtol=1e-12)
    assert rows.row_weights[1][0] == pytest.approx(np.sqrt(min(1.0, c_e / 0.3)))
    # The weighted squares plus the offset are Huber's function at the present residuals.
    squares = sum(
        np.sum((w * np.array(e)) ** 2) for w, e in zip(rows.row_weights, ERRORS, strict=True)
    )
    forces = 2 * scipy.special.huber(c_f, [5.0, 1, 3, 1]).sum()
    energies = 4 * 2 * scipy.special.huber(c_e, [0.1, 0.3]).sum()  # N^2 of the squares per atom
    assert squares + rows.offset == pytest.approx(forces + energies, rel=1e-12)
    assert rows.measure(ERRORS)["loss"] == pytest.approx(forces + energies, rel=1e-12)


def test_doubts_name_frame_and_atom(monkeypatch):
    monkeypatch.setattr(robust_module, "BEYOND_MOST", 0.0)
    rows = Given(ONES, Huber(scales={"energy": 1.0, "forces": 0.1}))
    found = rows.doubts(ERRORS)
    assert [(d.frame, d.label, d.atom) for d in found] == [("a", "forces", 0), ("b", "forces", 0)]
    assert [d.scales for d in found] == [pytest.approx(50), pytest.approx(30)]
    assert Given(ONES).doubts(ERRORS) == []


def test_measures_are_the_metrics_of_the_predictions(data, basis, chain, weighted_loss, baseline):
    rows = Rows(data, basis, baseline, WEIGHTS)
    model = PolynomialPotential(basis, body_order=4, max_bond=2, baseline=baseline, chain=chain)
    metrics = compute_metrics(model.predict(data), data)
    measures = rows.measure(chain)
    assert measures["E"] == pytest.approx(1e3 * metrics.energy.mae, rel=1e-10)
    assert measures["F"] == pytest.approx(metrics.forces.mae, rel=1e-10)
    assert measures["loss"] == pytest.approx(weighted_loss(model, data, WEIGHTS), rel=1e-10)


@pytest.fixture
def rows(mo, wrong, potential):
    data = wrong(mo[::6])[0]
    model = potential(data)
    chain = model.initial_chain(seed=0).canonicalize(0)
    return Rows(data, model.basis, model.baseline, Weights(100.0, 1.0, 1.0), Huber()), chain


def huber_objective(rows, chain, scales):
    """Huber's function over all labels, written down again from the errors of predictions."""
    model = PolynomialPotential(rows.basis, body_order=3, max_bond=3, baseline=rows.baseline)
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


class Pushed(Given):
    """Rows of bounds, whose predictions are the network."""

    def __init__(self, bounds):
        frame = Frame([42] * 2, 3.0 * np.eye(3)[:2], 9 * np.eye(3), [True] * 3)
        group = RowGroup([frame], np.arange(2), False, False, np.array(bounds, float), np.ones(6))
        LabelledRows.__init__(self, [], None, [group])

    def errors_of_more(self, network):
        return [np.array(network, float) - group.targets for group in self.bounds]


def test_a_bound_that_is_kept_pulls_on_nothing():
    rows = Pushed([1.5, -1.5, 0.0, 1.5, -1.5, 1.5])
    rows.retarget([1.0, -1.0, 0.0, 6.0, -6.0, -3.0])
    np.testing.assert_array_equal(rows.more[0].targets, [1.5, -1.5, 0.0, 6.0, -6.0, 1.5])
    np.testing.assert_array_equal(rows.more[0].weights, [1.0, 1.0, 1.0, 0.25, 0.25, 1.0])
    # From the bound anew, not from the target before.
    rows.retarget([3.0, -2.0, 0.5, 1.5, 0.0, 3.0])
    np.testing.assert_array_equal(rows.more[0].targets, [3.0, -2.0, 0.0, 1.5, -1.5, 3.0])
    np.testing.assert_array_equal(rows.more[0].weights, [0.5, 0.75, 1.0, 1.0, 1.0, 0.5])


def test_a_bound_costs_what_misses_it_and_holds_no_network(rng):
    bounds = np.sign(rng.normal(size=6)) * (0.1 + rng.random(6))
    rows = Pushed(bounds)

    def costs(p):
        (group,) = rows.more
        return (group.weights * (p - group.targets)) ** 2

    for _ in range(30):
        p = 1e3 ** rng.normal(size=6) * rng.normal(size=6)
        rows.retarget(p)
        short = np.maximum(np.sign(bounds) * (bounds - p), 0.0)
        np.testing.assert_allclose(costs(p), short**2, rtol=1e-9, atol=1e-18)
        # However far beyond its bound a prediction is, it may go for what a miss costs.
        kept = short == 0
        assert (costs(np.where(kept, bounds, p)) <= short**2 + bounds**2).all()
        np.testing.assert_allclose(costs(np.where(kept, 0.0, p))[kept], bounds[kept] ** 2)


def test_the_weighted_loss_touches_the_objective_and_lies_above_it(rows, dimer_loss):
    rows, chain = rows
    rows.reweigh(chain)
    problem = LeastSquares(rows.builders, ridge=1e-2, offset=lambda: rows.offset)
    ridge = 1e-2 * chain.norm() ** 2
    objective = huber_objective(rows, chain, rows.robust.scales)
    more = dimer_loss(
        PolynomialPotential(rows.basis, chain=chain, baseline=rows.baseline, max_bond=3)
    )
    assert problem.loss(chain) == pytest.approx(objective + more + ridge, rel=1e-9)
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


def test_reweighing_does_not_depend_on_the_axes(mo, wrong, potential):
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


def test_labels_without_weight_are_never_doubted(monkeypatch, mo, wrong, potential):
    data = wrong(mo[::6])[0]
    model = potential(data)
    rows = Rows(data, model.basis, model.baseline, Weights(energy=0.0), Huber())
    chain = model.initial_chain(seed=0)
    measures = rows.reweigh(chain)
    assert "outliers E" not in measures
    rows.robust.scales = {"energy": 1e-12, "forces": 1e-12}
    monkeypatch.setattr(robust_module, "BEYOND_MOST", 0.0)
    assert {doubt.label for doubt in rows.doubts(chain)} == {"forces"}


def test_reweighing_without_a_robust_function(mo, potential):
    model = potential(mo)
    rows = Rows(mo[:1], model.basis, model.baseline, Weights())
    with pytest.raises(SettingsError, match="reweigh: expected rows with a robust function"):
        rows.reweigh(model.initial_chain(seed=0))


@pytest.mark.parametrize(
    ("error", "share"), [(None, 1.0), (1.0, 1.0), (CLOSE, 1.0), (CLOSE / 4, 0.25)]
)
def test_bounds_weigh_less_where_the_data_are_followed_closely(error, share):
    rows = Pushed([1.5, -1.5, 0.0, 1.5, -1.5, 1.5])
    rows.retarget([1.0, -1.0, 0.0, 3.0, -6.0, -3.0], error)
    expected = share * np.array([1.0, 1.0, 1.0, 0.5, 0.25, 1.0])
    np.testing.assert_array_equal(rows.more[0].weights, expected)
