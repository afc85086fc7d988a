"""Error bars and grades: closed forms, symmetries, calibration, files."""

from __future__ import annotations

from dataclasses import replace
from functools import partialmethod

import numpy as np
import pytest

import etn
from etn.errors import SettingsError
from etn.network import Chain
from etn.o3.rotation import random_rotation
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    Frame,
    PolynomialPotential,
    Uncertainty,
    Weights,
    fit,
    response,
    with_uncertainty,
)
from etn.potential.features import batching
from etn.sweep import Schedule

RIDGE = 1e-2


@pytest.fixture(scope="module")
def train():
    return Dataset.read("etn:Mo/train", index="3::12")


@pytest.fixture(scope="module")
def model(train):
    start = PolynomialPotential(
        Basis.for_dataset(train, r_max=4.0, n_max=4, l_max=2),
        body_order=4,
        max_bond=2,
        baseline=Baseline.fit(train),
    )
    # Plain squares: a robust fit has weights of its own, which with_uncertainty does not know.
    schedule = Schedule(max_sweeps=1)
    return fit(start, train, ridge=RIDGE, schedule=schedule, robust=None).model


@pytest.fixture(scope="module")
def alloy():
    """Two elements and frames with and without a cell."""
    rng = np.random.default_rng(4)
    basis = Basis(("Mo", "W"), r_max=4.0, n_max=2, l_max=2, r_min=1.5)
    potential = PolynomialPotential(basis, body_order=4, max_bond=2)
    potential = potential.with_chain(
        Chain.random([basis.leg] * 3, start=basis.start, max_bond=potential.max_bond, seed=1)
    )
    data = Dataset([labelled(frame, rng) for frame in structures(rng, 12)])
    return with_uncertainty(potential, data, ridge=RIDGE)


def structures(rng, n):
    grid = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)]) * 2.7
    cell = 5.4 * np.eye(3)
    return [
        Frame(
            rng.choice([42, 74], 8),
            grid + rng.normal(scale=0.2, size=grid.shape),
            cell if k % 2 else np.zeros((3, 3)),
            [bool(k % 2)] * 3,
        )
        for k in range(n)
    ]


def labelled(frame, rng):
    forces = rng.normal(size=(frame.n_atoms, 3))
    return replace(frame, energy=float(rng.normal()), forces=forces)


def with_last_core(model, vector):
    """The model whose last core, in the gauge of the uncertainty, is another one."""
    chain = model.uncertainty.chain
    return model.with_chain(chain.replace(len(chain) - 1, chain[-1].from_vector(vector)))


def responses(model, frames):
    """Change of weighted energies, forces and strains per unknown, by finite differences."""
    at = model.uncertainty.chain[-1].to_vector()

    def values(vector):
        found = with_last_core(model, vector).predict(frames)
        return np.concatenate([[p.energy, *p.forces.ravel()] for p in found])

    # The energy is linear in the core: a difference of any size is exact.
    base = values(np.zeros_like(at))
    return np.stack([values(axis) - base for axis in np.eye(len(at))], axis=1)


def test_features_times_core_is_the_energy(model, alloy, train):
    rng = np.random.default_rng(0)
    for potential, frames in ((model, train[:3]), (alloy, structures(rng, 3))):
        core = potential.uncertainty.chain[-1].to_vector()
        pairs = [potential.uncertainty.features(frames), potential.predict(frames)]
        for phi, prediction, frame in zip(*pairs, frames, strict=True):
            base = np.array([potential.baseline.e0[symbol] for symbol in frame.symbols])
            np.testing.assert_allclose(phi @ core + base, prediction.energies, atol=1e-10)


def test_posterior_is_that_of_linear_regression(alloy):
    """Covariance, from dense rows and NumPy alone."""
    rng = np.random.default_rng(4)
    data = Dataset([labelled(frame, rng) for frame in structures(rng, 12)])
    J = responses(alloy, data)
    core = alloy.uncertainty.chain[-1]
    y = np.concatenate([[f.energy, *f.forces.ravel()] for f in data])
    w = np.concatenate(
        [[Weights().energy / np.sqrt(f.n_atoms)] + [1] * 3 * f.n_atoms for f in data]
    )
    J, y = J * w[:, None], y * w
    G, R = J.T @ J, RIDGE * np.diag(core.metric())
    dof = np.trace(np.linalg.solve(G + R, G))
    sigma2 = np.sum((y - J @ core.to_vector()) ** 2) / (len(y) - dof)
    expected = sigma2 * np.linalg.inv(G + R)
    spread = alloy.uncertainty.spread
    np.testing.assert_allclose(spread @ spread.T, expected, atol=1e-7 * abs(expected).max())


def test_deviations_are_those_of_the_rows(alloy):
    frames = structures(np.random.default_rng(5), 2)
    u = alloy.uncertainty
    J = responses(alloy, frames)
    expected = np.sqrt(np.sum((J @ u.spread) ** 2, axis=1)).reshape(2, -1)
    np.testing.assert_allclose(u.energy(frames), u.scales["energy"] * expected[:, 0], rtol=1e-8)
    for got, row in zip(u.forces(frames), expected, strict=True):
        np.testing.assert_allclose(got.ravel(), u.scales["forces"] * row[1:], rtol=1e-7)


def test_deviations_are_those_of_a_sampled_posterior(alloy):
    rng = np.random.default_rng(6)
    frames = structures(rng, 1)
    u = alloy.uncertainty
    at = u.chain[-1].to_vector()
    draws = [
        with_last_core(alloy, at + u.spread @ rng.normal(size=len(at))).predict(frames)[0]
        for _ in range(400)
    ]
    sampled = np.std([p.forces for p in draws], axis=0) * u.scales["forces"]
    np.testing.assert_allclose(sampled, u.forces(frames)[0], rtol=0.2)
    sampled = np.std([p.energies for p in draws], axis=0) * u.scales["energy"]
    np.testing.assert_allclose(sampled, u.energies(frames)[0], rtol=0.2)


def measures(potential, frames):
    u = potential.uncertainty
    forces = [np.linalg.norm(s, axis=1) for s in u.forces(frames)]
    return [
        np.stack(each) for each in zip(u.gamma(frames), u.energies(frames), forces, strict=True)
    ]


@pytest.mark.parametrize("kind", ["rotation", "reflection", "translation", "permutation"])
def test_symmetries(alloy, kind):
    rng = np.random.default_rng(7)
    frames = structures(rng, 4)
    orders = [np.arange(8)] * 4
    if kind == "translation":
        moved = [replace(f, positions=f.positions + rng.normal(size=3)) for f in frames]
    elif kind == "permutation":
        orders = [rng.permutation(8) for _ in frames]
        moved = [
            replace(f, numbers=f.numbers[o], positions=f.positions[o])
            for f, o in zip(frames, orders, strict=True)
        ]
    else:
        R = random_rotation(rng, reflect=kind == "reflection")
        moved = [replace(f, positions=f.positions @ R.T, cell=f.cell @ R.T) for f in frames]
    # Of the force on an atom the trace of its covariance is an invariant, the squared norm of the
    # three deviations.
    for got, expected, order in zip(
        measures(alloy, moved), measures(alloy, frames), orders, strict=True
    ):
        np.testing.assert_allclose(got, expected[:, order], rtol=1e-7)
    u = alloy.uncertainty
    np.testing.assert_allclose(u.energy(moved), u.energy(frames), rtol=1e-8)


def test_parts_add_up(alloy):
    """Grades of fragments stand side by side; a supercell has twice the deviation of a cell."""
    u = alloy.uncertainty
    one, two = structures(np.random.default_rng(8), 3)[::2]
    both = replace(
        one,
        numbers=np.concatenate([one.numbers, two.numbers]),
        positions=np.concatenate([one.positions, two.positions + 50]),
    )
    alone = [np.concatenate(values) for values in (u.gamma([one, two]), u.forces([one, two]))]
    np.testing.assert_allclose(u.gamma([both])[0], alone[0], rtol=1e-9)
    np.testing.assert_allclose(u.forces([both])[0], alone[1], rtol=1e-7)
    sums = [phi.sum(0) for phi in u.features([one, two])]
    expected = np.linalg.norm((sums[0] + sums[1]) @ u.spread) * u.scales["energy"]
    assert u.energy([both])[0] == pytest.approx(expected, rel=1e-9)
    assert u.energy([both])[0] <= u.energy([one, two]).sum() * (1 + 1e-9)
    cell = structures(np.random.default_rng(8), 2)[1]
    double = replace(
        cell,
        numbers=np.tile(cell.numbers, 2),
        positions=np.concatenate([cell.positions, cell.positions + cell.cell[0]]),
        cell=cell.cell * [[2], [1], [1]],
    )
    assert u.energy([double])[0] == pytest.approx(2 * u.energy([cell])[0], rel=1e-9)
    np.testing.assert_allclose(u.gamma([double])[0], np.tile(u.gamma([cell])[0], 2), rtol=1e-9)


def test_an_isolated_atom_is_certain(alloy):
    atom = Frame([74], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3)
    u = alloy.uncertainty
    assert u.energy([atom]) == u.gamma([atom])[0] == 0
    np.testing.assert_array_equal(u.forces([atom])[0], 0)


def test_batches_do_not_matter(alloy, monkeypatch):
    frames = structures(np.random.default_rng(9), 4)
    together = measures(alloy, frames)
    monkeypatch.setattr(response, "CHUNK", 3)
    monkeypatch.setattr(batching, "ATOMS_AT_ONCE", 5)
    monkeypatch.setattr(batching, "ATOMS_PER_BATCH", 3)
    few = batching.BatchLimits(directions=1.0)
    monkeypatch.setattr(Uncertainty, "forces", partialmethod(Uncertainty.forces, limits=few))
    for got, expected in zip(measures(alloy, frames), together, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8)
    u = alloy.uncertainty
    assert u.gamma([]) == u.forces([]) == u.energies([]) == []
    assert u.energy([]).shape == (0,)


def test_more_data_narrow_the_posterior(model, train):
    test = Dataset.read("etn:Mo/test", index="::6")
    phi = np.array([p.sum(0) for p in model.uncertainty.features(test)])
    few, many = (
        np.linalg.norm(phi @ with_uncertainty(model, data, ridge=RIDGE).uncertainty.spread, axis=1)
        for data in (train[::3], train)
    )
    assert np.all(many < few)


def test_grades_of_the_training_atoms_are_at_most_one(model, train):
    grades = np.concatenate(model.uncertainty.gamma(train))
    assert len(grades) == train.n_atoms
    assert 0.99 <= grades.max() <= 1.01
    # The atoms of the active set have the grade 1 themselves.
    assert np.sum(np.abs(grades - 1) < 1e-6) >= len(model.uncertainty.spread) // 2


def test_grades_rise_beyond_the_training_data(model):
    """Trained on strained crystals: what has moved atoms, vacancies or surfaces is far away."""
    everything = Dataset.read("etn:Mo/train")
    elastic = everything[[f.config_type == "Elastic" for f in everything]]
    known = with_uncertainty(model, elastic[::3], ridge=RIDGE).uncertainty
    test = Dataset.read("etn:Mo/test")
    grades = np.array([gamma.max() for gamma in known.gamma(test)])
    inside = np.array([frame.config_type == "Elastic" for frame in test])
    assert grades[inside].max() < 3
    assert grades[~inside].min() > 10


def test_error_bars_rank_and_measure_errors_of_held_out_data(model):
    from scipy.stats import spearmanr

    test = Dataset.read("etn:Mo/test")
    bars = model.uncertainty.forces(test)
    errors = [p.forces - f.forces for f, p in zip(test, model.predict(test), strict=True)]
    bars, errors = (np.linalg.norm(np.concatenate(x), axis=1) for x in (bars, errors))
    assert spearmanr(bars, errors).statistic > 0.5
    assert 0.5 < np.sqrt(np.mean((errors / bars) ** 2)) < 2
    found = model.predict(test)
    errors = np.array([p.energy - f.energy for f, p in zip(test, found, strict=True)])
    # The scales are those of the training errors, and the energies are fitted closely.
    assert 0.5 < np.sqrt(np.mean((errors / model.uncertainty.energy(test)) ** 2)) < 2.5


def test_the_gauge_does_not_matter(model, train):
    turned = model.with_chain(model.chain.canonicalize(0))
    turned = with_uncertainty(turned, train, ridge=RIDGE)
    frames = train[:3]
    for got, expected in zip(measures(turned, frames), measures(model, frames), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_saved_and_loaded_are_the_same(model, train, tmp_path):
    model.save(tmp_path / "model.etn")
    loaded = etn.load(str(tmp_path / "model.etn"))
    assert loaded.has_uncertainty
    for got, expected in zip(measures(loaded, train[:3]), measures(model, train[:3]), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert loaded.uncertainty.scales == model.uncertainty.scales
    np.testing.assert_array_equal(
        loaded.predict(train[:1])[0].forces, model.predict(train[:1])[0].forces
    )


def test_files_without_uncertainty_load_and_say_how_to_get_it(model, train, tmp_path):
    model.with_chain(model.chain).save(tmp_path / "old.etn")
    old = etn.load(str(tmp_path / "old.etn"))
    assert not old.has_uncertainty
    with pytest.raises(SettingsError, match=r"with_uncertainty\(model, train\)"):
        _ = old.uncertainty
    again = with_uncertainty(old, train, ridge=RIDGE).uncertainty
    np.testing.assert_allclose(again.spread, model.uncertainty.spread, rtol=1e-6, atol=1e-12)


def test_what_is_refused(model, train):
    bare = PolynomialPotential(model.basis, max_bond=2)
    with pytest.raises(SettingsError, match="expected a fitted potential"):
        with_uncertainty(bare, train)
    with pytest.raises(SettingsError, match="ridge: expected zero or more, got -1"):
        with_uncertainty(model, train, ridge=-1)
    assert not fit(
        PolynomialPotential(model.basis, body_order=3, max_bond=1),
        train[:2],
        schedule=Schedule(max_sweeps=1),
        uncertainty=False,
    ).model.has_uncertainty


def test_labels_may_be_missing(model, train):
    stripped = Dataset([replace(f, energy=None) for f in train[:4]])
    u = with_uncertainty(model, stripped, weights={"energy": 0}, ridge=RIDGE).uncertainty
    assert u.scales["energy"] == 1
    assert u.scales["forces"] > 0
    stripped = Dataset([replace(f, forces=None) for f in train[:4]])
    u = with_uncertainty(model, stripped, weights={"forces": 0}, ridge=RIDGE).uncertainty
    assert u.scales["forces"] == 1
    assert u.scales["energy"] > 0


def test_without_ridge_what_the_data_do_not_determine_is_wide(model, train):
    crystal = Frame([42], np.zeros((1, 3)), 3.15 * (1 - 2 * np.eye(3)) / -2, [True] * 3)
    few = Dataset([replace(crystal, energy=-10.9, forces=np.zeros((1, 3)))])
    for ridge in (0.0, RIDGE):
        u = with_uncertainty(model, few, ridge=ridge).uncertainty
        assert np.all(np.isfinite(u.spread))
        assert u.gamma([crystal])[0] == pytest.approx(1, abs=0.02)
        assert np.isfinite(u.gamma(train[:1])[0]).all()
        assert u.gamma(train[:1])[0].max() > 100
        assert u.energy(train[:1])[0] > 10 * u.energy([crystal])[0]
