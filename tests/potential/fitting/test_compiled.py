"""A fit by compiled rows beside one by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from etn.native import is_built
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    Pairs,
    PolynomialPotential,
    Rows,
    Weights,
    fit,
)
from etn.potential.fitting import compiled
from etn.potential.fitting.compiled import CompiledChains
from etn.potential.fitting.rows import PRODUCT
from etn.sweep import LeastSquares, Schedule
from etn.sweep.regression.batches import Batches
from etn.sweep.regression.core_rows import CoreRows

pytestmark = pytest.mark.skipif(not is_built(), reason="the compiled evaluator was not built")


@pytest.fixture(scope="module")
def data():
    return Dataset.read("etn:NbMoTaW/train", index="::60")


def fitted(data, **options):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=4, l_max=2)
    model = PolynomialPotential(
        basis, body_order=4, max_bond=(3, 2, 1), baseline=Baseline.fit(data, r_max=4.0)
    )
    return fit(model, data, schedule=Schedule(max_sweeps=2), seed=0, **options)


@pytest.mark.parametrize("options", [{}, {"robust": "huber"}, {"refine": 1}])
def test_it_is_the_fit_by_numpy(data, options, monkeypatch):
    one = fitted(data, **options)
    monkeypatch.setenv("ETN_NATIVE", "0")
    two = fitted(data, **options)
    assert len(one.records) == len(two.records)
    for mine, other in zip(one.records, two.records, strict=True):
        assert mine.loss == pytest.approx(other.loss, rel=1e-6)
    errors = [report.model.evaluate(data) for report in (one, two)]
    assert errors[0].forces.rmse == pytest.approx(errors[1].forces.rmse, rel=1e-4)


def test_pairs_of_cores(data, monkeypatch):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=3, l_max=1)
    model = PolynomialPotential(basis, body_order=4, max_bond=(2, 1))
    losses = []
    for native in ("1", "0"):
        monkeypatch.setenv("ETN_NATIVE", native)
        report = fit(model, data, schedule=Schedule(max_sweeps=1, sites=2), seed=0)
        losses.append([record.loss for record in report.records])
    # More unknowns than rows in the end: what is left of the loss depends on the last digits.
    assert np.allclose(losses[0][0], losses[1][0], rtol=1e-6)
    assert np.allclose(losses[0], losses[1], rtol=0.02)


@pytest.mark.parametrize("exact", [True, False])
def test_joint_steps(data, exact, monkeypatch):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=3, l_max=1)
    rows = Rows(data, basis, Baseline.fit(data), Weights())
    problem = LeastSquares(rows.builders, ridge=1e-2)
    chain = Chain.random([basis.leg] * 3, start=basis.start, max_bond=2, seed=0).canonicalize(1)
    slopes, images = [], []
    for native in ("1", "0"):
        monkeypatch.setenv("ETN_NATIVE", native)
        model = problem.linearize(chain, exact=exact)
        x = np.random.default_rng(0).normal(size=len(model.slope))
        slopes.append(model.slope)
        images.append(model.hessian @ x if exact else model.product(x))
    for one, two in (slopes, images):
        np.testing.assert_allclose(one, two, atol=1e-9 * np.abs(two).max())


def test_cores_without_a_gram_matrix(data, monkeypatch):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=4, l_max=2).informed(data)
    rows = Rows(data, basis, Baseline.fit(data), Weights())
    chain = Chain.random([basis.leg] * 3, start=basis.start, max_bond=2, seed=0).canonicalize(1)
    expected = LeastSquares(rows.builders, ridge=1e-2).solve(chain)
    for native in ("1", "0"):
        monkeypatch.setenv("ETN_NATIVE", native)
        for share in (0.5, 1.5):
            most = share * 8.0 * chain[1].n_parameters ** 2
            problem = LeastSquares(
                rows.builders, ridge=1e-2, max_grams=most, products=True, iterative_tol=1e-9
            )
            found = problem.solve(chain)
            assert found.solver == "cg"
            assert found.loss <= expected.loss * (1 + 1e-6)
            moved = chain.replace(1, found.core)
            assert found.loss == pytest.approx(problem.loss(moved), rel=1e-7)


def test_what_products_take(data, monkeypatch):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=3, l_max=1)
    rows = Rows(data, basis, Baseline.fit(data), Weights())
    chain = Chain.random([basis.leg] * 3, start=basis.start, max_bond=2, seed=0).canonicalize(1)
    counts = CoreRows(chain, CoreDesign(chain[1]), Batches(rows.builders())).count()
    groups = rows.all_groups
    frames = [frame for group in groups for frame in group.frames]
    pairs = Pairs.find(frames, basis.elements, basis.r_max)
    each = CompiledChains(basis).of(chain).operations(len(pairs.distance) / pairs.n_atoms)
    n_rows = sum(len(group.targets) for group in groups)
    assert counts == (n_rows, pytest.approx(PRODUCT * pairs.n_atoms * each))
    monkeypatch.setenv("ETN_NATIVE", "0")
    assert rows.builders()[0]().operations(chain) == np.inf


def test_chains_without_an_evaluator(data, monkeypatch):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=3, l_max=1)
    chains = CompiledChains(basis)
    chain = Chain.random([basis.leg] * 2, start=basis.start, max_bond=2, seed=0)
    assert chains.of(chain) is chains.of(chain) is not None
    # One that is linear differs by what crowded atoms answer; the oldest ones are forgotten.
    assert chains.of(chain, linear=True) is not chains.of(chain)
    first = chains.of(chain)
    for seed in range(compiled.KEPT):
        chains.of(Chain.random([basis.leg] * 2, start=basis.start, max_bond=2, seed=seed))
    assert chains.of(chain) is not first
    monkeypatch.setattr(compiled, "MAX_BOND", 1)
    assert chains.of(Chain.random([basis.leg] * 2, start=basis.start, max_bond=2, seed=1)) is None
    monkeypatch.setenv("ETN_NATIVE", "0")
    assert chains.of(chain) is None
