"""The pair solve against numpy.linalg.lstsq, and its truncation by what the data see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from etn.errors import CoreError, SettingsError
from etn.network import Chain, evaluate
from etn.o3 import Irrep, Irreps
from etn.sweep import Batch, LeastSquares, LocalSolution, Schedule, grow, sweep
from etn.sweep.regression.bond_matrices import from_vector, to_vector
from etn.sweep.regression.pair_squares import PairSquares
from etn.tensor import Pair, merge
from etn.tensor.pair import pair_shapes
from etn.testing import dense_leg, dense_value, random_batch

LEG = "1x0e+1x1o"
WIDE = "2x0e+2x1o+1x2e"


def brute_rows(chain, batch):
    """Rows from the dense tensor of the chain and the dense vectors on its legs."""
    samples = batch.samples
    start = dense_leg(chain.start, samples.start)
    site = dense_leg(chain.sites[0], samples.site)
    rows = np.zeros(samples.n_rows)
    for row in range(samples.n_rows):
        along = {ir: d[:, :, row].transpose(2, 0, 1) for ir, d in samples.directions.items()}
        d = dense_leg(chain.sites[0], along)
        for place in range(1 if row < samples.n_sums else len(chain)):
            legs = [d if k == place else site for k in range(len(chain))]
            rows[row] += dense_value(chain, [start, *legs])[0].sum()
    return rows


def replaced(chain, site, split):
    return Chain([*chain.cores[:site], split.left, split.right, *chain.cores[site + 2 :]])


def brute_design(chain, site, batches):
    """Weighted rows of the chain for each entry of the pair, the others zero."""
    legs = merge(chain[site], chain[site + 1]).legs
    shapes = dict(sorted(pair_shapes(legs).items()))
    n = sum(a * b for a, b in shapes.values())
    columns = []
    for unit in np.eye(n):
        moved = replaced(chain, site, Pair(legs, from_vector(unit, shapes)).split())
        columns.append(np.concatenate([brute_rows(moved, b) * b.weights for b in batches]))
    return np.array(columns).T, np.concatenate([b.weights * b.targets for b in batches])


def tiny(n_sites, site, center, *, ridge, proximal=0.0, leg=LEG, start="2x0e"):
    chain = Chain.random([leg] * n_sites, start=start, max_bond=1, seed=1).canonicalize(center)
    batches = [random_batch(chain, seed=k, n_samples=6, n_sums=3, n_tangents=9) for k in range(3)]
    return chain, batches, LeastSquares(lambda: batches, ridge=ridge, proximal=proximal)


@pytest.mark.parametrize("proximal", [0.0, 0.3])
@pytest.mark.parametrize(
    ("n_sites", "site", "center"), [(2, 0, 1), (3, 0, 0), (3, 1, 1), (4, 1, 2), (4, 2, 2)]
)
def test_solution_is_that_of_lstsq(n_sites, site, center, proximal):
    chain, batches, problem = tiny(n_sites, site, center, ridge=0.02, proximal=proximal)
    rows, targets = brute_design(chain, site, batches)
    n = rows.shape[1]
    old = to_vector(merge(chain[site], chain[site + 1]).matrices)
    stack = np.concatenate([rows, np.sqrt(0.02) * np.eye(n), np.sqrt(proximal) * np.eye(n)])
    right = np.concatenate([targets, np.zeros(n), np.sqrt(proximal) * old])
    expected = np.linalg.lstsq(stack, right, rcond=None)[0]
    solution = problem.solve_pair(chain, site)
    assert solution.solver == "cholesky"
    got = to_vector(solution.core.matrices)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    loss = np.sum((rows @ expected - targets) ** 2) + 0.02 * expected @ expected
    assert solution.loss == pytest.approx(loss, rel=1e-10)
    # The objective that a split goes by is the same one, at any pair.
    squares = solution.build()
    assert squares.value(old) == pytest.approx(problem.loss(chain), rel=1e-10)
    np.testing.assert_allclose(
        squares.hessian, rows.T @ rows + 0.02 * np.eye(n), atol=1e-10 * np.abs(rows).max() ** 2
    )


def test_without_ridge_the_null_space_is_met_by_qr():
    """Both sites of a pair read one leg: data see the part that is symmetric under exchange."""
    chain, batches, problem = tiny(2, 0, 0, ridge=0.0, start="1x0e", leg="1x0e+2x1o")
    rows, targets = brute_design(chain, 0, batches)
    assert np.linalg.matrix_rank(rows) < rows.shape[1]
    expected = np.linalg.lstsq(rows, targets, rcond=1e-12)[0]
    solution = problem.solve_pair(chain, 0)
    assert solution.solver == "qr"
    assert solution.loss == pytest.approx(np.sum((rows @ expected - targets) ** 2), rel=1e-8)
    # The proximal term leaves what data do not see where it was.
    near = LeastSquares(lambda: batches, proximal=1e-6).solve_pair(chain, 0)
    old = to_vector(merge(chain[0], chain[1]).matrices)
    change = to_vector(near.core.matrices) - old
    _, s, vh = np.linalg.svd(rows)
    hidden = vh[int((s > 1e-10 * s[0]).sum()) :]
    assert np.abs(hidden @ change).max() < 1e-6 * np.abs(change).max()
    assert np.abs(hidden @ old).max() > 0.01


def test_environments_are_the_nearest_kronecker_product(rng):
    m, n = 4, 3
    factor = rng.normal(size=(m * n, 2 * m * n))
    hessian = factor @ factor.T
    ir = Irrep("1o")
    legs = (Irreps("4x1o"), Irreps("1x0e"), Irreps("1x0e"), Irreps("3x1o"))
    squares = PairSquares(legs, {ir: (m, n)}, hessian, np.zeros(m * n), 0.0)
    a, b = squares.environments(ir)
    # Van Loan and Pitsianis: the largest singular pair of the rearranged matrix.
    rearranged = hessian.reshape(m, n, m, n).transpose(0, 2, 1, 3).reshape(m * m, n * n)
    u, s, vh = np.linalg.svd(rearranged)
    expected = s[0] * np.kron(u[:, 0].reshape(m, m), vh[0].reshape(n, n))
    np.testing.assert_allclose(np.kron(a, b), expected, atol=1e-5 * np.abs(expected).max())
    assert np.linalg.eigvalsh(a).min() > 0
    assert np.linalg.eigvalsh(b).min() > 0


def losses(chain, problem, schedule):
    return [step.loss for step in sweep(chain, problem, schedule)]


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_never_rises_at_fixed_caps(seed):
    bond = "2x0e+2x1o+1x2e"
    chain = Chain.random([WIDE] * 4, start="2x0e", max_bond=bond, seed=seed).canonicalize(2)
    batches = [random_batch(chain, seed=k, n_tangents=60) for k in range(3)]
    problem = LeastSquares(lambda: batches, ridge=1e-2)
    schedule = Schedule(sites=2, max_bond=bond, max_sweeps=3, rel_tol=0)
    found = [problem.loss(chain), *losses(chain, problem, schedule)]
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(found))
    assert found[-1] < 0.8 * found[1]


def planted(seed, n_sites=4):
    """All sites read one random vector; the targets are those of a chain with narrow bonds."""
    rng = np.random.default_rng(seed)
    leg = "2x0e+2x1o"
    teacher = Chain.random([leg] * n_sites, max_bond=2, seed=rng)
    batches = []
    for _ in range(14):
        batch = random_batch(
            teacher, seed=rng, n_samples=100, n_sums=100, n_tangents=0, constant=False
        )
        targets = evaluate(teacher, batch.samples.start, batch.samples.site)
        batches.append(Batch(batch.samples, targets, np.ones(100)))
    return Chain.random([leg] * n_sites, max_bond=2, seed=seed + 10), batches[:10], batches[10:]


def error(chain, batches):
    rest = [evaluate(chain, b.samples.start, b.samples.site) - b.targets for b in batches]
    return np.linalg.norm(rest) / np.linalg.norm([b.targets for b in batches])


class PlainSplit(LeastSquares):
    """The same pairs, split by singular values in the plain norm."""

    def solve_pair(self, chain, site):
        found = super().solve_pair(chain, site)
        return LocalSolution(found.core, found.loss, found.condition, found.solver)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_chain_with_shared_legs_is_found_at_its_ranks(seed):
    chain, train, test = planted(seed)
    schedule = Schedule(sites=2, max_bond="2x0e+2x1o", max_sweeps=6, rel_tol=1e-6)
    found = grow(chain, LeastSquares(lambda: train, ridge=1e-8), schedule=schedule).chain
    assert error(found, test) < 1e-4
    plain = grow(chain, PlainSplit(lambda: train, ridge=1e-8), schedule=schedule).chain
    assert error(plain, test) > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_ranks_no_larger_than_planted_suffice_a_tolerance(seed):
    chain, train, test = planted(seed)
    wide = Chain.random([chain.sites[0]] * 4, max_bond=4, seed=seed)
    schedule = Schedule(sites=2, tol=1e-3, max_sweeps=4, rel_tol=1e-6)
    problem = LeastSquares(lambda: train, ridge=1e-8, proximal=1e-2)
    found = grow(wide, problem, schedule=schedule).chain
    assert error(found, test) < 1e-2
    for bond in found.bonds:
        assert sum(bond.count(ir) for ir in bond.unique) <= 4
    assert found.n_parameters <= chain.n_parameters


def test_too_many_unknowns_are_refused():
    chain = Chain.random([WIDE] * 3, max_bond=2, seed=1).canonicalize(1)
    problem = LeastSquares(lambda: [random_batch(chain)], ridge=1e-3, max_grams=1e3)
    with pytest.raises(SettingsError, match=r"sites 1, 2: the pair has \d+ unknowns.*bytes"):
        problem.solve_pair(chain, 1)


def test_the_center_must_be_in_the_pair():
    chain = Chain.random([WIDE] * 3, max_bond=2, seed=1).canonicalize(0)
    with pytest.raises(CoreError, match="expected the center"):
        LeastSquares(lambda: [random_batch(chain)]).solve_pair(chain, 1)
