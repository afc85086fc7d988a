"""Joint steps on derivative rows: products with the Jacobian, its two models, refinement."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import scipy.optimize

from etn.errors import SettingsError
from etn.network import Chain, left_environment, right_environment
from etn.network.derivatives import BatchRows
from etn.network.design import CoreDesign
from etn.sweep import LeastSquares, Regression, Schedule, grow, polish, refine
from etn.sweep.regression.joint import GramModel, StreamedModel
from etn.tensor import absorb
from etn.testing import dense_leg, dense_value, random_batch

LEG = "2x0e+2x1o+1x2e"


def setup(n_sites=3, *, ridge=1e-2, center=1, bond=2, leg=LEG):
    chain = Chain.random([leg] * n_sites, start="2x0e", max_bond=bond, seed=1).canonicalize(center)
    batches = [random_batch(chain, seed=k, n_samples=12, n_tangents=60) for k in range(3)]
    return chain, batches, LeastSquares(lambda: batches, ridge=ridge)


def designs(chain, samples):
    """Rows of every core's design, columns in the order of ``core.to_vector()``."""
    found = []
    for site, core in enumerate(chain):
        design = CoreDesign(core)
        left = left_environment(chain.cores[:site], samples, jacobian=True)
        right = right_environment(chain.cores[site + 1 :], samples, jacobian=True)
        rows = np.empty((samples.n_rows, design.columns))
        rows[:, design.order] = design.rows(samples, left, right)
        found.append(rows)
    return found


def test_rows_are_the_dense_contraction():
    chain = Chain.random(["1x0e+2x1o"] * 3, start="2x0e", max_bond=1, seed=1)
    samples = random_batch(chain, seed=0, n_samples=6, n_sums=3, n_tangents=9).samples
    start, site = dense_leg(chain.start, samples.start), dense_leg(chain.sites[0], samples.site)
    expected = np.zeros(samples.n_rows)
    for row in range(samples.n_rows):
        along = {ir: d[:, :, row].transpose(2, 0, 1) for ir, d in samples.directions.items()}
        d = dense_leg(chain.sites[0], along)
        for place in range(1 if row < samples.n_sums else 3):
            legs = [d if k == place else site for k in range(3)]
            expected[row] += dense_value(chain, [start, *legs])[0].sum()
    np.testing.assert_allclose(BatchRows(chain, samples).values, expected, atol=1e-12)


@pytest.mark.parametrize("n_sites", [1, 2, 4])
def test_products_with_the_jacobian_are_those_of_the_designs(rng, n_sites):
    chain, batches, _ = setup(n_sites, center=0)
    samples = batches[0].samples
    rows, jacobian = BatchRows(chain, samples), designs(chain, samples)
    changes = [core.from_vector(rng.normal(size=core.n_parameters)) for core in chain]
    expected = sum(j @ change.to_vector() for j, change in zip(jacobian, changes, strict=True))
    np.testing.assert_allclose(rows.push(changes), expected, atol=1e-11)
    weights = rng.normal(size=samples.n_rows)
    for gradient, j in zip(rows.pull(weights), jacobian, strict=True):
        np.testing.assert_allclose(gradient.to_vector(), j.T @ weights, atol=1e-11)


@pytest.mark.parametrize("ridge", [0.0, 1e-2])
@pytest.mark.parametrize("center", [0, 1])
def test_the_models_are_the_derivatives_of_the_loss(rng, ridge, center):
    chain, _, problem = setup(ridge=ridge, center=center)
    model = GramModel(chain, problem)
    v = rng.normal(size=model.columns)

    def loss(t):
        return problem.loss(model.move(t * v * model.units).canonicalize(center))

    h = 1e-5
    assert (loss(h) - loss(-h)) / (2 * h) == pytest.approx(-2 * model.slope @ v, rel=1e-5)
    # v^T H v is the square of the derivative of the weighted rows, with the ridge.
    squares = 0.0
    for batch in problem.batches():
        moved = BatchRows(chain, batch.samples).push(model.changes(v * model.units))
        squares += np.sum((batch.weights * moved) ** 2)
    own = v[model.parts[center].columns]
    squares += ridge * np.sum((own * model.units[model.parts[center].columns]) ** 2)
    assert v @ model.hessian @ v == pytest.approx(squares, rel=1e-10)


def test_steps_without_a_matrix_are_the_exact_ones(rng):
    chain, _, problem = setup(ridge=1e-2, bond=1)
    exact = GramModel(chain, problem)
    free = StreamedModel(chain, problem, tol=1e-13, max_products=4000)
    np.testing.assert_allclose(free.slope, exact.slope, rtol=1e-10)
    x = rng.normal(size=exact.columns)
    image = exact.hessian @ x
    np.testing.assert_allclose(free.product(x), image, atol=1e-10 * np.abs(image).max())
    # Two random vectors give the trace to some ten per cent.
    assert free.scale == pytest.approx(exact.scale, rel=0.5)
    free.scale = exact.scale
    for damping in (1.0, 1e-2, 1e-4):
        one, two = exact.step(damping), free.step(damping)
        assert np.linalg.norm(one.x - two.x) < 1e-8 * np.linalg.norm(one.x)
        assert two.gain == pytest.approx(one.gain, rel=1e-8)
    # What is cut short still says by how much it lowers the model.
    free.max_products = 5
    short = free.step(1e-4)
    y = short.x / free.units
    assert short.gain == pytest.approx(2 * exact.slope @ y - y @ exact.hessian @ y, rel=1e-8)
    assert 0 < short.gain < one.gain


@pytest.mark.parametrize("exact", [True, False])
def test_the_loss_falls_until_nothing_is_left(exact):
    chain, _, problem = setup(ridge=1.0, bond=1, leg="2x0e+1x1o")
    found = refine(chain, problem, max_steps=100, rel_tol=1e-6, exact=exact)
    assert found.converged
    assert np.all(np.diff(found.losses) < 0)
    assert found.losses[-1] == pytest.approx(problem.loss(found.chain), rel=1e-12)
    before, after = (GramModel(c, problem).slope for c in (chain, found.chain))
    assert np.linalg.norm(after) < 1e-3 * np.linalg.norm(before)
    # At the end nothing is left for sweeps, which solve each core exactly.
    swept = grow(found.chain, problem, schedule=Schedule(max_sweeps=1))
    assert swept.records[-1].loss == pytest.approx(found.losses[-1], rel=1e-4)


@pytest.mark.slow
def test_scipy_finds_nothing_lower_nearby():
    chain, batches, problem = setup(ridge=0.5, bond=1, leg="2x0e+1x1o")
    found = refine(chain, problem, rel_tol=1e-12, max_steps=200)
    sizes = np.cumsum([core.n_parameters for core in found.chain])[:-1]

    def residuals(vector):
        parts = zip(found.chain, np.split(vector, sizes), strict=True)
        moved = Chain([core.from_vector(part) for core, part in parts])
        rows = [
            w * (designs(moved, samples)[0] @ moved[0].to_vector() - y) for samples, y, w in batches
        ]
        return np.concatenate([*rows, math.sqrt(0.5) * moved.to_dense().ravel()])

    vector = np.concatenate([core.to_vector() for core in found.chain])
    other = scipy.optimize.least_squares(residuals, vector, max_nfev=10)
    assert found.losses[-1] == pytest.approx(2 * other.cost, rel=1e-8)
    assert found.losses[-1] < 0.9 * found.losses[0]


def test_it_does_not_depend_on_rotations_of_the_bonds(rng):
    chain, _, problem = setup()
    cores = list(chain.cores)
    for bond, leg in enumerate(chain.bonds):
        turns = {ir: np.linalg.qr(rng.normal(size=(leg.count(ir),) * 2))[0] for ir in leg.unique}
        cores[bond] = absorb(cores[bond], turns, 2)
        cores[bond + 1] = absorb(cores[bond + 1], turns, 0)
    turned = Chain(cores, center=chain.center)
    one, two = (refine(c, problem, max_steps=4) for c in (chain, turned))
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-7)


def test_the_choice_of_the_model(rng):
    chain, batches, problem = setup()
    assert isinstance(problem.linearize(chain), GramModel)
    assert isinstance(problem.linearize(chain, exact=False), StreamedModel)
    little = LeastSquares(lambda: batches, max_grams=1e3)
    assert isinstance(little.linearize(chain), StreamedModel)
    x = rng.normal(size=(20, 4))
    regression = Regression(x, x[:, 0] ** 2, sites="1x0e+1x1o")
    with pytest.raises(SettingsError, match="exact"):
        refine(Chain.random(["1x0e+1x1o"] * 2), regression, exact=False)


def test_joint_steps_follow_sweeps_and_the_best_chain_is_kept(caplog):
    chain, _, problem = setup(ridge=1e-2)
    swept = grow(chain, problem, schedule=Schedule(max_sweeps=1))
    seen = []

    def measure(chain):
        seen.append(chain)
        return {"valid loss": [3.0, 1.0, 2.0][len(seen) - 1]}

    with caplog.at_level(logging.INFO, logger="etn"):
        report = polish(swept, problem, max_steps=3, measure=measure, select="valid loss")
    added = report.records[len(swept.records) :]
    assert [record.solver for record in added] == ["joint"] * 3
    assert [record.getMessage() for record in caplog.records] == [str(r) for r in added]
    losses = [swept.records[-1].loss, *(record.loss for record in added)]
    assert np.all(np.diff(losses) < 0)
    assert report.chain is seen[1]
    assert "joint steps: reached max_steps = 3" in report.reason
    assert polish(swept, problem, max_steps=2).chain is not swept.chain
