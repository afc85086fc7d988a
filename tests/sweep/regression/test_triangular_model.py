"""Least squares by triangular factors against numpy.linalg.lstsq; the model in all cores."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import to_numpy
from etn.network import Chain
from etn.o3 import Irreps
from etn.sweep.regression.bond_matrices import to_vector
from etn.sweep.regression.sample_regression import Regression
from etn.sweep.regression.triangular_model import TriangularModel, solve_triangle, triangular

LEG = "2x0e+2x1o"


def small(rng, *, out="1x1o+1x0e", ridge=0.0, n=80, bond=2):
    legs = [LEG, "1x0e+1x1o+1x2e", "2x1o+1x0e"]
    inputs = [rng.normal(size=(n, Irreps(leg).dim)) for leg in legs]
    targets = rng.normal(size=(n, Irreps(out).dim))
    weights = rng.uniform(0.5, 2.0, size=n)
    problem = Regression(inputs, targets, sites=legs, out=out, weights=weights, ridge=ridge)
    return problem, Chain.random(legs, out=out, max_bond=bond, seed=rng)


@pytest.mark.parametrize("n_rows", [3, 30])
def test_the_factor_keeps_all_products_of_columns(rng, n_rows):
    matrix = rng.normal(size=(n_rows, 5))
    r = triangular(matrix)
    assert r.shape == (min(n_rows, 5), 5)
    np.testing.assert_array_equal(np.tril(r, -1), 0.0)
    np.testing.assert_allclose(r.T @ r, matrix.T @ matrix, rtol=1e-12, atol=1e-12)
    torch = pytest.importorskip("torch")
    other = to_numpy(triangular(torch.tensor(matrix)))
    np.testing.assert_allclose(np.abs(other), np.abs(r), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("ridge", "proximal"), [(0.0, 0.0), (0.3, 0.0), (0.0, 2.0), (0.3, 2.0)])
def test_solution_is_that_of_lstsq(rng, ridge, proximal):
    rows, y, start = rng.normal(size=(40, 6)), rng.normal(size=40), rng.normal(size=6)
    solved = solve_triangle(triangular(np.column_stack([rows, y])), start, ridge, proximal)
    stack = np.concatenate([rows, np.sqrt(ridge) * np.eye(6), np.sqrt(proximal) * np.eye(6)])
    right = np.concatenate([y, np.zeros(6), np.sqrt(proximal) * start])
    expected = np.linalg.lstsq(stack, right)[0]
    np.testing.assert_allclose(solved.x, expected, rtol=1e-11, atol=1e-12)
    loss = np.sum((rows @ expected - y) ** 2) + ridge * expected @ expected
    assert solved.loss == pytest.approx(loss, rel=1e-12)
    slope = rows.T @ (rows @ start - y) + ridge * start
    assert solved.gradient == pytest.approx(np.linalg.norm(slope), rel=1e-12)
    scaled = stack / np.linalg.norm(stack, axis=0)
    if not ridge + proximal:
        assert solved.condition == pytest.approx(np.linalg.cond(scaled), rel=1e-10)


def test_what_is_open_has_the_least_norm(rng):
    rows = rng.normal(size=(20, 3)) @ rng.normal(size=(3, 7))
    y = rng.normal(size=20)
    solved = solve_triangle(triangular(np.column_stack([rows, y])), rng.normal(size=7))
    expected = np.linalg.lstsq(rows, y, rcond=1e-12)[0]
    np.testing.assert_allclose(solved.x, expected, rtol=1e-9, atol=1e-11)


def test_open_directions_stay_open_whatever_the_size_of_the_columns():
    triangle = np.array([[1.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1e-9, 3e-9]])
    solved = solve_triangle(triangle, np.zeros(3))
    np.testing.assert_allclose(solved.x, [1.0, 1.0, 3.0], rtol=1e-12)
    assert solved.loss < 1e-30
    assert solved.condition == pytest.approx(np.sqrt(2.0))
    nothing = solve_triangle(np.zeros((3, 3)), np.ones(2))
    np.testing.assert_array_equal(nothing.x, [0.0, 0.0])


@pytest.mark.parametrize("center", [0, 1, 2])
def test_the_linear_model_is_the_derivative(rng, center):
    problem, chain = small(rng)
    chain = chain.canonicalize(center)
    model = TriangularModel(chain, problem)
    n = model.jacobian.shape[1]
    x = rng.normal(size=n)
    h = 1e-6
    ahead, behind = (problem.predict(model.move(s * h * x * model.units)) for s in (1, -1))
    slope = ((ahead - behind) / (2 * h)) * problem._root[:, None]
    # The triangular factor keeps products of columns, and of columns with the residuals.
    assert np.linalg.norm(model.jacobian @ x) == pytest.approx(np.linalg.norm(slope), rel=1e-7)
    residuals = problem.residuals(chain) * problem._root[:, None]
    assert (model.jacobian @ x) @ model.rhs == pytest.approx(np.sum(slope * residuals), rel=1e-6)
    # Off the center no direction changes the norm to first order.
    norms = [model.move(s * h * x * model.units).norm() ** 2 for s in (1, -1)]
    part = model.parts[center]
    inner = 2 * (x * model.units)[part.columns] @ to_vector(part.matrices)
    assert (norms[0] - norms[1]) / (2 * h) == pytest.approx(inner, rel=1e-6)


def test_no_direction_is_a_change_of_gauge(rng):
    """The unknowns are as many as the tensor has degrees of freedom, at any center."""
    problem, chain = small(rng, n=400)
    gauge = sum(chain.bonds[k].count(ir) ** 2 for k in range(2) for ir in chain.bonds[k].unique)
    for center in range(3):
        model = TriangularModel(chain.canonicalize(center), problem)
        assert model.jacobian.shape[1] == chain.n_parameters - gauge
        assert np.linalg.matrix_rank(model.jacobian) == model.jacobian.shape[1]


@pytest.mark.parametrize("ridge", [0.0, 0.7])
@pytest.mark.parametrize("damping", [1e-3, 1.0])
def test_a_step_is_that_of_lstsq(rng, ridge, damping):
    problem, chain = small(rng, ridge=ridge)
    model = TriangularModel(chain.canonicalize(1), problem)
    n = model.columns
    rows = np.concatenate([model.jacobian, np.sqrt(damping * model.scale) * np.eye(n)])
    expected = np.linalg.lstsq(rows, np.concatenate([model.rhs, np.zeros(n)]))[0]
    step = model.step(damping)
    np.testing.assert_allclose(step.x, expected * model.units, rtol=1e-8, atol=1e-9)
    before, after = (
        np.sum((model.jacobian @ x - model.rhs) ** 2) for x in (0 * expected, expected)
    )
    assert step.gain == pytest.approx(before - after, rel=1e-8)
    # Without a step the rows and the ridge are the loss.
    assert before == pytest.approx(problem.loss(chain), rel=1e-10)
