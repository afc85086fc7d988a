"""Joint refinement: its linear model, falling loss, other solvers, shared features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from etn.errors import IrrepsError, SettingsError
from etn.network import Chain
from etn.o3 import Irreps
from etn.sweep import Schedule, grow
from etn.sweep.refine import refine
from etn.sweep.regression.sample_regression import Regression
from etn.sweep.regression.vectors import from_blocks
from etn.tensor import absorb
from etn.testing import dense_value

LEG = "2x0e+2x1o"


def planted(seed, *, n=1500, n_sites=4, noise=0.0):
    """All sites read the same Gaussian vector; y is a random chain of it."""
    rng = np.random.default_rng(seed)
    teacher = Chain.random([LEG] * n_sites, max_bond=2, seed=rng)

    def draw(n):
        x = rng.normal(size=(n, Irreps(LEG).dim))
        return x, dense_value(teacher, [np.ones((1, n)), *[x.T] * n_sites])[0]

    (x, y), test = draw(n), draw(400)
    return (x, y + noise * np.std(y) * rng.normal(size=n)), test


def error(chain, test):
    x, y = test
    return np.linalg.norm(Regression(x, y, sites=LEG).residuals(chain)) / np.linalg.norm(y)


def small(rng, *, out="1x1o+1x0e", ridge=0.0, n=80, bond=2):
    legs = [LEG, "1x0e+1x1o+1x2e", "2x1o+1x0e"]
    inputs = [rng.normal(size=(n, Irreps(leg).dim)) for leg in legs]
    targets = rng.normal(size=(n, Irreps(out).dim))
    weights = rng.uniform(0.5, 2.0, size=n)
    problem = Regression(inputs, targets, sites=legs, out=out, weights=weights, ridge=ridge)
    return problem, Chain.random(legs, out=out, max_bond=bond, seed=rng)


def turned(chain, rng):
    """The same tensor with other bases on its bonds."""
    cores = list(chain.cores)
    for bond, leg in enumerate(chain.bonds):
        matrices = {ir: rng.normal(size=(leg.count(ir),) * 2) for ir in leg.unique}
        inverse = {ir: np.linalg.inv(m).T for ir, m in matrices.items()}
        cores[bond] = absorb(cores[bond], matrices, 2)
        cores[bond + 1] = absorb(cores[bond + 1], inverse, 0)
    return Chain(cores)


@pytest.mark.parametrize("ridge", [0.0, 2.0])
def test_it_ends_where_scipy_ends(rng, ridge):
    problem, chain = small(rng, ridge=ridge)
    start = grow(chain, problem, schedule=Schedule(max_sweeps=1)).chain
    found = refine(start, problem, rel_tol=1e-12, max_steps=200)
    assert found.converged

    sizes = np.cumsum([core.n_parameters for core in start])[:-1]
    root = problem._root[:, None]

    def residuals(vector):
        parts = zip(start, np.split(vector, sizes), strict=True)
        moved = Chain([core.from_vector(part) for core, part in parts])
        tensor = moved.to_dense().ravel() if ridge else np.zeros(0)
        return np.concatenate([(problem.residuals(moved) * root).ravel(), np.sqrt(ridge) * tensor])

    vector = np.concatenate([core.to_vector() for core in start])
    other = scipy.optimize.least_squares(residuals, vector, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    assert found.losses[-1] == pytest.approx(2 * other.cost, rel=1e-6)
    assert found.losses[-1] < 0.999 * found.losses[0]
    # At the end nothing is left for sweeps.
    after = grow(found.chain, problem, schedule=Schedule(max_sweeps=2))
    assert after.records[-1].loss == pytest.approx(found.losses[-1], rel=1e-6)


def test_the_loss_falls_and_the_bonds_stay(rng):
    problem, chain = small(rng)
    found = refine(chain, problem, max_steps=8)
    assert len(found.losses) == len(found.damping) + 1 > 2
    assert np.all(np.diff(found.losses) < 0)
    assert found.losses[-1] == pytest.approx(problem.loss(found.chain), rel=1e-10)
    assert found.chain.bonds == chain.canonicalize(1).bonds
    assert found.chain.center == 1
    assert found.chain.orthogonality_error() < 1e-12
    again = refine(chain, problem, max_steps=0)
    # Another gauge, so other roundings.
    assert again.losses == pytest.approx((problem.loss(chain),), rel=1e-12)
    assert not again.converged
    assert again.reason == "reached max_steps = 0"


def test_it_does_not_depend_on_the_bases_of_the_bonds(rng):
    problem, chain = small(rng)
    one = refine(chain, problem, max_steps=6)
    two = refine(turned(chain, rng), problem, max_steps=6)
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-6)
    np.testing.assert_allclose(two.damping, one.damping, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_shared_features_from_random_cores(seed):
    train, test = planted(seed)
    problem = Regression(*train, sites=LEG)
    found = refine(Chain.random([LEG] * 4, max_bond=LEG, seed=seed + 9), problem)
    assert found.converged
    assert found.reason == "settled: the samples are met to rounding"
    assert error(found.chain, test) < 1e-10
    # Near the solution the damping falls, and the steps double the digits.
    assert found.damping[-1] < 1e-2 * max(found.damping)
    assert found.losses[-2] < 1e-3 * found.losses[-3]


def test_it_does_not_depend_on_the_unit_of_the_targets():
    (x, y), _ = planted(1, n=300)
    start = Chain.random([LEG] * 4, max_bond=1, seed=0)
    one, two = (
        refine(unit * start, Regression(x, unit * y, sites=LEG), max_steps=6) for unit in (1.0, 1e4)
    )
    np.testing.assert_allclose(two.losses, 1e8 * np.array(one.losses), rtol=1e-6)
    np.testing.assert_allclose(two.damping, one.damping, rtol=1e-4)


def test_it_rescues_two_site_sweeps_on_shared_features():
    """Cut to the planted bonds, the pairs of least norm do not fit; all cores together do."""
    train, test = planted(3)
    problem = Regression(*train, sites=LEG)
    schedule = Schedule(sites=2, max_bond=LEG, max_sweeps=3, tol=1e-8)
    report = grow(Chain.random([LEG] * 4, max_bond=2, seed=1), problem, schedule=schedule)
    assert report.records[-1].loss < 1e-20 * problem.size
    assert error(report.chain, test) > 1e-2
    assert error(refine(report.chain, problem).chain, test) < 1e-10


def test_noise_is_not_fitted():
    train, test = planted(0, noise=0.1)
    problem = Regression(*train, sites=LEG)
    found = refine(Chain.random([LEG] * 4, max_bond=LEG, seed=2), problem)
    assert found.converged
    assert found.reason.startswith("settled: two joint steps lowered the loss by less than")
    assert error(found.chain, test) < 0.03
    # 20 invariants of degree four in two scalars and two vectors take up 20 of 1500 samples.
    noise = 0.1 * np.std(train[1])
    assert found.losses[-1] == pytest.approx(1480 * noise**2, rel=0.15)


def test_torch_takes_the_steps_of_numpy(rng):
    torch = pytest.importorskip("torch")
    problem, chain = small(rng, ridge=0.1)
    one = refine(chain, problem, max_steps=5)
    other = Regression(
        [torch.tensor(from_blocks(problem._sites[site], problem.legs[site])) for site in range(3)],
        problem.targets,
        sites=problem.legs,
        out=problem.out,
        weights=problem._root**2,
        ridge=0.1,
    )
    two = refine(chain.to("torch"), other, max_steps=5)
    assert two.chain.kind == other.kind
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-8)


def test_nothing_to_do(rng):
    problem, chain = small(rng)
    # Scalars alone: a chain of one number a core.
    x = rng.normal(size=(20, 1))
    scalars = Regression([x, x], 3 * x[:, 0] ** 2, sites=["1x0e"] * 2)
    found = refine(Chain.random(["1x0e"] * 2, max_bond=1, seed=0), scalars)
    assert found.losses[-1] < 1e-24
    assert "settled" in str(found)
    with pytest.raises(SettingsError, match="damping > 0"):
        refine(chain, problem, damping=0.0)
    with pytest.raises(IrrepsError, match="3 sites"):
        refine(Chain.random([LEG] * 2, seed=0), problem)


def test_a_chain_of_zeros_can_be_refined(rng):
    problem, chain = small(rng)
    found = refine(0.0 * chain.canonicalize(1), problem, max_steps=20)
    assert found.losses[-1] < 0.99 * problem.size
