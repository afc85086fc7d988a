"""The sweep engine: order of the steps, canonical form, falling loss, planted teachers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.network import Chain, evaluate, heisenberg
from etn.sweep import (
    Batch,
    EigenProblem,
    LeastSquares,
    LocalSolution,
    Schedule,
    itinerary,
    sweep,
)
from etn.testing import random_batch

LEG = "3x0e+2x1o+1x2e"


@pytest.mark.parametrize("n_sites", [1, 2, 3, 4, 5])
def test_a_sweep_visits_neighbours_and_every_site(n_sites):
    for center in range(n_sites):
        stops = itinerary(n_sites, center)
        sites = [site for site, _ in stops]
        assert sites[0] == center
        assert set(sites) == set(range(n_sites))
        for (site, direction), following in zip(stops, sites[1:] + sites[:1], strict=True):
            if n_sites > 1:
                assert following == site + direction
        assert len(stops) == max(1, 2 * (n_sites - 1))


class Counting:
    """A local problem that halves the center core and notes where it was asked."""

    def __init__(self):
        self.centers = []

    def solve(self, chain):
        assert chain.orthogonality_error() < 1e-13
        self.centers.append(chain.center)
        core = chain[chain.center]
        return LocalSolution(
            core.from_vector(core.to_vector() / 2), 0.5 ** len(self.centers), 7.0, "mine"
        )


def test_the_engine_knows_no_rows():
    chain = Chain.random([LEG] * 3, max_bond=2, seed=0)
    problem = Counting()
    steps = list(sweep(chain, problem, Schedule(max_sweeps=2, rel_tol=0), center=1))
    assert problem.centers == [1, 2, 1, 0] * 2
    assert [step.completes_sweep for step in steps] == ([False] * 3 + [True]) * 2
    assert [step.sweep for step in steps] == [0] * 4 + [1] * 4
    assert [step.index for step in steps] == [0, 1, 2, 3] * 2
    assert {step.solution.condition for step in steps} == {7.0}
    assert {step.solution.solver for step in steps} == {"mine"}
    assert steps[-1].chain.norm() == pytest.approx(chain.norm() / 2**8, rel=1e-12)
    assert all(step.chain.center == step.site for step in steps)
    assert all(step.seconds >= 0 for step in steps)


def test_a_settled_sweep_ends_the_stage():
    chain = Chain.random([LEG] * 2, max_bond=2, seed=0)
    steps = list(sweep(chain, Counting(), Schedule(max_sweeps=9, rel_tol=0.9)))
    # Each sweep of two steps lowers the loss to a quarter, by less than 90 %.
    assert steps[-1].sweep == 1


def test_a_continued_run_counts_on():
    chain = Chain.random([LEG] * 2, max_bond=2, seed=0)
    steps = list(sweep(chain, Counting(), Schedule(max_sweeps=3, rel_tol=0), first=2))
    assert [step.sweep for step in steps] == [2, 2]


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 1e-2])
@pytest.mark.parametrize("n_sites", [1, 2, 3, 4])
def test_the_loss_never_rises(n_sites, ridge):
    chain = Chain.random([LEG] * n_sites, start="2x0e", max_bond=2, seed=3)
    batches = [random_batch(chain, seed=k, n_tangents=80) for k in range(2)]
    problem = LeastSquares(lambda: batches, ridge=ridge)
    canonical = chain.canonicalize(0)
    losses = [problem.loss(canonical)]
    for step in sweep(chain, problem, Schedule(max_sweeps=3, rel_tol=0)):
        losses.append(step.loss)
        assert problem.loss(step.chain) == pytest.approx(step.loss, rel=1e-8)
    losses = np.array(losses)
    assert np.all(np.diff(losses) <= 1e-8 * losses[:-1])


def planted(n_sites, leg, *, start="1x0e", bond=2, seed=0, n_samples=400):
    """Values of a random chain on random samples, each its own row."""
    teacher = Chain.random([leg] * n_sites, start=start, max_bond=bond, seed=seed)
    batch = random_batch(
        teacher, seed=seed, n_samples=n_samples, n_sums=n_samples, n_tangents=0, constant=False
    )
    values = evaluate(teacher, batch.samples.start, batch.samples.site)
    values /= values.std()
    return Batch(batch.samples, values, np.ones(n_samples))


def relative_error(chain, batch):
    got = evaluate(chain, batch.samples.start, batch.samples.site)
    return np.sqrt(np.mean((got - batch.targets) ** 2) / np.mean(batch.targets**2))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_chain_with_full_outer_bonds_is_found_at_once(seed):
    # The bonds are as wide as the leg: the middle core alone spans all functions.
    train = planted(3, "2x0e+2x1o", seed=seed, n_samples=300)
    chain = Chain.random(["2x0e+2x1o"] * 3, max_bond=2, seed=seed + 100)
    *_, last = sweep(chain, LeastSquares(lambda: [train]), Schedule(max_sweeps=1), center=1)
    assert relative_error(last.chain, train) < 1e-12


def test_planted_chains_with_shared_legs_and_narrow_bonds_are_found_closely():
    # All sites read the same leg, so one-site updates crawl from some starts: loose bounds.
    # After 60 sweeps the errors of six starts are 4e-10 to 6e-4.
    errors = []
    for seed in range(4):
        train = planted(2, "4x0e+4x1o", seed=seed, n_samples=200)
        chain = Chain.random(["4x0e+4x1o"] * 2, max_bond=2, seed=seed + 50)
        problem = LeastSquares(lambda batch=train: [batch])
        *_, last = sweep(chain, problem, Schedule(max_sweeps=20, rel_tol=1e-8))
        errors.append(relative_error(last.chain, train))
    assert max(errors) < 0.1
    assert min(errors) < 1e-5


def test_legs_of_distinct_elements_on_the_start_are_fitted_apart():
    # With a one-hot start the chain is a set of functions, one an element.
    chain = Chain.random(["2x0e+1x1o"] * 2, start="2x0e", max_bond=2, seed=1)
    batch = random_batch(chain, seed=2, n_samples=100, n_sums=100, n_tangents=0)
    element = batch.samples.start[next(iter(batch.samples.start))][0, 0]
    batch.targets[:] = element  # 1 for the first element, 0 for the second
    *_, last = sweep(chain, LeastSquares(lambda: [batch]), Schedule(max_sweeps=10, rel_tol=0))
    assert last.loss < 1e-12


def test_center_defaults_to_the_chain_then_its_middle():
    chain = Chain.random([LEG] * 4, max_bond=2, seed=0)
    assert next(iter(sweep(chain, Counting(), Schedule()))).site == 2
    assert next(iter(sweep(chain.canonicalize(3), Counting(), Schedule()))).site == 3
    assert math.isfinite(chain.norm())


class Numbers:
    """A row of numbers with a center: no chain, and all that one-site updates need."""

    def __init__(self, values, center=None):
        self.values, self.center = values, center

    def __len__(self):
        return len(self.values)

    def canonicalize(self, center):
        return Numbers(self.values, center)

    def replace(self, site, value):
        return Numbers((*self.values[:site], value, *self.values[site + 1 :]), self.center)


class Descent:
    """min_x |A x - b|^2 by one number after another: the method of Gauss and Seidel."""

    def __init__(self, a, b):
        self.a, self.b = a, b

    def solve(self, numbers):
        x, k = np.array(numbers.values), numbers.center
        rest = self.b - self.a @ x + self.a[:, k] * x[k]
        x[k] = self.a[:, k] @ rest / (self.a[:, k] @ self.a[:, k])
        return LocalSolution(x[k], float(np.sum((self.a @ x - self.b) ** 2)))


def test_anything_with_a_center_can_be_swept(rng):
    a, b = rng.normal(size=(9, 4)), rng.normal(size=9)
    schedule = Schedule(max_sweeps=200, rel_tol=1e-15)
    *_, last = sweep(Numbers((0.0,) * 4), Descent(a, b), schedule)
    expected = np.linalg.lstsq(a, b)[0]
    np.testing.assert_allclose(last.chain.values, expected, rtol=1e-5)
    assert last.loss == pytest.approx(np.sum((a @ expected - b) ** 2), rel=1e-10)


def test_updates_that_a_problem_cannot_do_are_refused_before_the_first_solve():
    chain = Chain.random([LEG] * 3, max_bond=2, seed=0)
    problem = Counting()
    with pytest.raises(
        SettingsError, match=r"^Counting has no solve_pair\(\): no two-site updates$"
    ):
        next(sweep(chain, problem, Schedule(sites=2)))
    noisy = r"^Counting has no enrichment\(\): no one-site updates with noise$"
    with pytest.raises(SettingsError, match=noisy):
        next(sweep(chain, problem, Schedule(noise=0.1)))
    assert problem.centers == []
    # A chain of one site has no bond that two-site updates could need.
    assert len(list(sweep(Chain.random([LEG]), problem, Schedule(sites=2, max_sweeps=1)))) == 1


def test_updates_of_bonds_need_a_chain():
    operator = heisenberg(4)
    problem = EigenProblem(operator, Chain.random(operator.sites))
    for schedule, what in (
        (Schedule(sites=2), "two-site updates"),
        (Schedule(noise=0.1), "one-site updates with noise"),
    ):
        with pytest.raises(SettingsError, match=f"^Numbers is no chain: no {what}$"):
            next(sweep(Numbers((0.0,) * 4), problem, schedule))
