"""Least squares on samples: against dense designs solved by NumPy, symmetry, open directions."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import to_numpy
from etn.errors import CoreError, DataError, IrrepsError, SettingsError
from etn.network import Chain
from etn.o3 import Irreps, clebsch_gordan, irreps_d
from etn.sweep import Schedule, grow
from etn.sweep.regression import sample_regression as module
from etn.sweep.regression.sample_regression import Regression
from etn.sweep.regression.vectors import evaluate_samples
from etn.tensor import Pair, Truncation, merge
from etn.testing import dense_value

LEG = "2x0e+2x1o"
MIXED = "1x1o+2x0e+1x2e"


def normal(rng, n, leg):
    return rng.normal(size=(n, Irreps(leg).dim))


def couple_all(leg1, leg2, out, x1, x2):
    """Columns C^{out} (x1 ⊗ x2) for all copies, by hand: (samples, components, columns)."""
    leg1, leg2, (term,) = Irreps(leg1), Irreps(leg2), Irreps(out)
    columns = []
    for a in leg1.unique:
        for b in leg2.unique:
            if term.ir not in a * b:
                continue
            c = clebsch_gordan(a.l, b.l, term.ir.l)
            for i in leg1.indices(a):
                for j in leg2.indices(b):
                    columns.append(np.einsum("abm,sa,sb->sm", c, x1[:, i], x2[:, j]))
    return np.stack(columns, axis=-1)


def replaced(chain, site, pair):
    split = pair.split()
    cores = [*chain.cores[:site], split.left, split.right, *chain.cores[site + 2 :]]
    return Chain(cores, center=site + 1)


def problem_and_chain(rng, *, out=MIXED, n=150, shared=False, start="1x0e", **options):
    legs = [LEG] * 3 if shared else [LEG, "1x0e+1x1o+1x2e", "2x1o+1x0e"]
    inputs = [normal(rng, n, legs[0])] if shared else [normal(rng, n, leg) for leg in legs]
    first = np.ones((n, 1)) if start == "1x0e" else normal(rng, n, start)
    problem = Regression(
        inputs[0] if shared else inputs,
        normal(rng, n, out),
        sites=legs[0] if shared else legs,
        out=out,
        start=start,
        start_values=first,
        **options,
    )
    chain = Chain.random(legs, out=out, start=start, max_bond=2, seed=rng).canonicalize(1)
    return problem, chain, [first, *(inputs * 3 if shared else inputs)]


def linear_map(problem, chain, make, size):
    """Dense design of what ``make`` turns a vector into, column by column."""
    columns = [problem.predict(make(unit)).ravel() for unit in np.eye(size)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("start", ["1x0e", "2x0e+1x1o"])
def test_predictions_are_those_of_the_dense_tensor(rng, start):
    problem, chain, vectors = problem_and_chain(rng, start=start)
    expected = dense_value(chain, [v.T for v in vectors]).T
    np.testing.assert_allclose(problem.predict(chain), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        evaluate_samples(chain, vectors[0], vectors[1:]), expected, rtol=1e-12, atol=1e-12
    )
    assert problem.loss(chain) == pytest.approx(np.sum((problem.targets - expected) ** 2))


@pytest.mark.parametrize(("out", "n_columns"), [("0e", 2), ("1o", 2)])
def test_one_site_is_ordinary_least_squares(rng, out, n_columns):
    x, y = normal(rng, 40, LEG), normal(rng, 40, out)
    problem = Regression([x], y, sites=[LEG], out=out)
    chain = Chain.random([LEG], out=out, seed=1).canonicalize(0)
    solution = problem.solve(chain)
    design = x[:, Irreps(LEG).indices(out)].transpose(0, 2, 1).reshape(-1, n_columns)
    a, loss, *_ = np.linalg.lstsq(design, y.ravel())
    assert solution.loss == pytest.approx(loss[0], rel=1e-12)
    predicted = problem.predict(chain.replace(0, solution.core))
    np.testing.assert_allclose(predicted.ravel(), design @ a, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("out", ["0e", "1o", "1e", "2e"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_two_sites_are_least_squares_on_all_couplings(rng, out, shared, ridge):
    n = 60
    x1 = normal(rng, n, LEG)
    x2 = x1 if shared else normal(rng, n, LEG)
    y, w = normal(rng, n, out), rng.uniform(0.5, 2.0, size=n)
    problem = Regression(
        x1 if shared else [x1, x2],
        y,
        sites=LEG if shared else [LEG] * 2,
        out=out,
        weights=w,
        ridge=ridge,
    )
    chain = Chain.random([LEG] * 2, out=out, max_bond=3, seed=2).canonicalize(0)
    solution = problem.solve_pair(chain, 0)
    fitted = replaced(chain, 0, solution.core)

    # ||T||^2 = (2 l + 1) |a|^2 for an output of one irrep.
    couplings = couple_all(LEG, LEG, out, x1, x2)
    columns = couplings.shape[-1]
    root = np.sqrt(w)[:, None]
    norm = np.sqrt(Irreps(out).dim)
    design = np.concatenate(
        [
            (couplings * root[..., None]).reshape(-1, columns) / norm,
            np.sqrt(ridge) * np.eye(columns),
        ]
    )
    target = np.concatenate([(y * root).ravel(), np.zeros(columns)])
    a = np.linalg.lstsq(design, target, rcond=1e-12)[0]
    assert problem.loss(fitted) == pytest.approx(np.sum((design @ a - target) ** 2), rel=1e-11)
    assert solution.loss == pytest.approx(problem.loss(fitted), rel=1e-11)
    # Also where the data leave the tensor open: the least norm of all solutions.
    assert fitted.norm() == pytest.approx(np.linalg.norm(a), rel=1e-10)
    np.testing.assert_allclose(problem.predict(fitted), couplings @ a / norm, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("center", [0, 1, 2])
def test_one_core_is_least_squares_on_its_design(rng, shared, center):
    problem, chain, _ = problem_and_chain(rng, shared=shared, ridge=0.5)
    chain = chain.canonicalize(center)
    core = chain[center]

    def make(vector):
        return chain.replace(center, core.from_vector(vector))

    design = linear_map(problem, chain, make, core.n_parameters)
    penalty = np.sqrt(problem.ridge * core.metric())
    a = np.linalg.lstsq(
        np.concatenate([design, np.diag(penalty)]),
        np.concatenate([problem.targets.ravel(), np.zeros(len(penalty))]),
    )[0]
    solution = problem.solve(chain)
    np.testing.assert_allclose(solution.core.to_vector(), a, rtol=1e-8, atol=1e-9)
    assert problem.loss(chain.replace(center, solution.core)) == pytest.approx(solution.loss)
    slope = design.T @ (design @ core.to_vector() - problem.targets.ravel())
    slope = (slope + problem.ridge * core.metric() * core.to_vector()) / np.sqrt(core.metric())
    assert solution.gradient == pytest.approx(np.linalg.norm(slope), rel=1e-10)


@pytest.mark.parametrize("site", [0, 1])
@pytest.mark.parametrize("proximal", [0.0, 1e-2, 10.0])
def test_a_pair_is_least_squares_on_its_design(rng, site, proximal):
    problem, chain, _ = problem_and_chain(rng, shared=True, out="1x1o", proximal=proximal)
    pair = merge(chain[site], chain[site + 1])
    shapes = {ir: m.shape for ir, m in pair.matrices.items()}
    metric = np.concatenate([np.full(a * b, ir.dim) for ir, (a, b) in shapes.items()])

    def make(vector):
        ends = np.cumsum([a * b for a, b in shapes.values()])[:-1]
        parts = zip(shapes.items(), np.split(vector, ends), strict=True)
        return replaced(chain, site, Pair(pair.legs, {ir: p.reshape(s) for (ir, s), p in parts}))

    # In the metric of the tensor, so that the least norm is that of the tensor.
    design = linear_map(problem, chain, make, len(metric)) / np.sqrt(metric)
    old = np.concatenate([m.ravel() for m in pair.matrices.values()]) * np.sqrt(metric)
    root = np.sqrt(proximal)
    a = np.linalg.lstsq(
        np.concatenate([design, root * np.eye(len(old))]),
        np.concatenate([problem.targets.ravel(), root * old]),
        rcond=1e-11,
    )[0]
    solution = problem.solve_pair(chain, site)
    assert isinstance(solution.core, Pair)
    found = np.concatenate([m.ravel() for m in solution.core.matrices.values()])
    np.testing.assert_allclose(found * np.sqrt(metric), a, rtol=1e-7, atol=1e-8)
    # The proximal term is no part of the loss, and only a solve without it is the optimum.
    assert problem.loss(make(found)) == pytest.approx(solution.loss, rel=1e-10)
    assert np.linalg.matrix_rank(design) < len(old)


def test_a_weak_proximal_term_picks_the_solution_next_to_the_chain(rng):
    options = {"shared": True, "out": "1x0e"}
    state = rng.bit_generator.state
    changes = []
    for proximal in (0.0, 1e-6):
        rng.bit_generator.state = state
        problem, chain, _ = problem_and_chain(rng, proximal=proximal, **options)
        pair = merge(chain[0], chain[1])
        new = problem.solve_pair(chain, 0)
        change = {ir: new.core.matrices[ir] - m for ir, m in pair.matrices.items()}
        changes.append((Pair(pair.legs, change).norm(), new.loss))
    (far, best), (near, loss) = changes
    assert near < 0.9 * far
    assert loss == pytest.approx(best, rel=1e-6)


def test_couplings_that_cancel_do_not_count(rng):
    """Columns at the level of rounding must not be scaled up to directions of their own."""
    leg, n = "2x0e+2x1o+1x2e", 800
    x = normal(rng, n, leg)
    teacher = Chain.random([leg] * 4, max_bond=2, seed=rng)
    y = Regression(x, np.zeros(n), sites=leg).predict(teacher)
    y += 0.1 * np.std(y) * rng.normal(size=y.shape)
    problem = Regression(x, y, sites=leg)
    schedule = Schedule(sites=2, max_bond="2x0e+2x1o+2x2e", max_sweeps=2)
    report = grow(Chain.random([leg] * 4, max_bond=2, seed=5), problem, schedule=schedule)
    assert report.chain.norm() < 2 * teacher.norm()
    assert report.records[-1].condition < 1e6
    assert problem.loss(report.chain) < problem.size


@pytest.mark.parametrize("n", [1, 4])
def test_fewer_samples_than_unknowns_are_met_exactly(rng, n):
    problem, chain, _ = problem_and_chain(rng, n=n, out="1x0e")
    assert problem.solve(chain).loss < 1e-24 * problem.size
    pair = problem.solve_pair(chain, 1)
    assert problem.loss(replaced(chain, 1, pair.core)) < 1e-24 * problem.size


def test_rows_in_blocks_give_the_same_solution(rng, monkeypatch):
    problem, chain, _ = problem_and_chain(rng, n=900)
    whole = problem.solve(chain)
    monkeypatch.setattr(module, "ROWS", 64)
    parts = problem.solve(chain)
    np.testing.assert_allclose(parts.core.to_vector(), whole.core.to_vector(), rtol=1e-10)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)


def test_a_fit_to_turned_data_is_the_turned_fit(rng, orthogonal):
    problem, chain, vectors = problem_and_chain(rng)
    D = {leg: irreps_d(leg, orthogonal) for leg in {*problem.legs, problem.out}}
    turned = Regression(
        [x @ D[leg].T for x, leg in zip(vectors[1:], problem.legs, strict=True)],
        problem.targets @ D[problem.out].T,
        sites=problem.legs,
        out=problem.out,
    )
    schedule = Schedule(sites=2, max_bond=2, max_sweeps=2, rel_tol=0)
    one, two = (grow(chain, p, schedule=schedule).chain for p in (problem, turned))
    np.testing.assert_allclose(
        turned.predict(two), problem.predict(one) @ D[problem.out].T, rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 2e-3)])
def test_torch_gives_the_numbers_of_numpy(rng, dtype, rtol):
    torch = pytest.importorskip("torch")
    problem, chain, vectors = problem_and_chain(rng, ridge=0.1)
    kind = getattr(torch, dtype)
    other = Regression(
        [torch.tensor(x, dtype=kind) for x in vectors[1:]],
        problem.targets,
        sites=problem.legs,
        out=problem.out,
        ridge=0.1,
    )
    moved = chain.to("torch", dtype=dtype)
    one, two = problem.solve(chain), other.solve(moved)
    assert two.core.kind == moved.kind
    np.testing.assert_allclose(
        to_numpy(two.core.to_vector()), one.core.to_vector(), rtol=rtol, atol=rtol
    )
    one, two = problem.solve_pair(chain, 1), other.solve_pair(moved, 1)
    assert two.loss == pytest.approx(one.loss, rel=rtol)
    assert other.loss(moved) == pytest.approx(problem.loss(chain), rel=rtol)


@pytest.mark.parametrize("seed", range(5))
def test_two_sites_find_a_planted_chain_and_its_bonds(seed):
    rng = np.random.default_rng(seed)
    teacher = Chain.random([LEG] * 4, max_bond=2, seed=rng)

    def draw(n):
        vectors = [normal(rng, n, LEG) for _ in range(4)]
        return vectors, dense_value(teacher, [np.ones((1, n)), *(v.T for v in vectors)])[0]

    problem = Regression(*draw(1500), sites=[LEG] * 4)
    start = Chain.random([LEG] * 4, max_bond=1, seed=seed + 50)
    schedule = Schedule(sites=2, max_sweeps=4, tol=1e-8)
    report = grow(
        start, problem, schedule=schedule, measure=lambda c: {"truncated": problem.loss(c)}
    )
    assert [str(bond) for bond in report.chain.bonds] == [LEG] * 3
    vectors, y = draw(400)
    error = Regression(vectors, y, sites=[LEG] * 4).residuals(report.chain)[:, 0]
    assert np.linalg.norm(error) < 1e-9 * np.linalg.norm(y)
    assert report.records[-1].measures["truncated"] == problem.loss(report.chain)


def test_shared_samples_let_a_chain_grow(rng):
    leg, n = "1x0e+1x0e+1x1o", 200
    x = normal(rng, n, leg)
    x[:, 0] = 1.0
    problem = Regression(x, rng.normal(size=n), sites=leg)
    start = Chain.random([leg] * 2, max_bond=2, seed=rng)
    report = grow(start, problem, n_sites=4, schedule=Schedule(max_sweeps=2))
    assert len(report.chain) == 4
    losses = np.concatenate([record.losses for record in report.records])
    assert np.all(np.diff(losses) <= 1e-10 * losses[:-1])


X = np.ones((5, 8))
HOLE = np.where(np.arange(40).reshape(5, 8) == 18, np.nan, X)


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "error", "message"),
    [
        (
            [X, X[:4]],
            np.ones(5),
            {},
            DataError,
            r"site 1: expected shape \(5, 8\) from the leg 2x0",
        ),
        ([X, X[:, :7]], np.ones(5), {}, DataError, r"site 1: .* got \(5, 7\)"),
        ([X, HOLE], np.ones(5), {}, DataError, r"site 1: .* inf or nan in 1 of 5 .* sample 2"),
        ([X], np.ones(5), {}, IrrepsError, "each of 2 legs, got 1"),
        ([X, X], np.ones(4), {}, DataError, r"targets: expected shape \(5, 1\)"),
        (
            [X, X],
            np.ones(5),
            {"out": "1o"},
            DataError,
            r"\(5, 3\) from the output 1x1o, got \(5,\)",
        ),
        ([X, X], np.full(5, np.inf), {}, DataError, "targets: expected finite"),
        ([X, X], np.ones(5), {"weights": -np.ones(5)}, DataError, "weights: .* got -1"),
        ([X, X], np.ones(5), {"weights": np.ones(3)}, DataError, r"weights: expected shape \(5,\)"),
        ([X, X], np.ones(5), {"start": "2x0e"}, DataError, "start_values: .* start 2x0e"),
        ([X, X], np.ones(5), {"ridge": -1.0}, SettingsError, "ridge: .* got -1"),
        ([X, X], np.ones(5), {"proximal": np.nan}, SettingsError, "proximal: .* got nan"),
        ([X[:0], X[:0]], np.ones(0), {}, DataError, r"site 0: .* got \(0, 8\)"),
        ([X, X.astype("float32")], np.ones(5), {}, CoreError, "arrays of one kind"),
    ],
)
def test_unusable_samples(inputs, targets, options, error, message):
    with pytest.raises(error, match=message):
        Regression(inputs, targets, sites=[LEG] * 2, **options)


def test_unusable_chains():
    problem = Regression([X, X], np.ones(5), sites=[LEG] * 2)
    chain = Chain.random([LEG] * 2, seed=0)
    with pytest.raises(CoreError, match="canonicalize"):
        problem.solve(chain)
    with pytest.raises(CoreError, match="sites 0, 1: expected the center, it is None"):
        problem.solve_pair(chain, 0)
    with pytest.raises(IrrepsError, match="expected a chain of 2 sites, got 3"):
        problem.loss(Chain.random([LEG] * 3, seed=0))
    with pytest.raises(IrrepsError, match=r"site 1: the samples have the leg 2x0e.2x1o, .* 1x0e"):
        problem.loss(Chain.random([LEG, "1x0e"], seed=0))
    with pytest.raises(IrrepsError, match="out: the samples have the leg 1x0e, the chain has 1x1o"):
        problem.loss(Chain.random([LEG] * 2, out="1o", seed=0))
    with pytest.raises(CoreError, match="kind of the samples"):
        problem.loss(chain.to(dtype="float32"))


def test_the_loss_of_a_pair_is_that_before_it_is_cut(rng):
    problem, chain, _ = problem_and_chain(rng, shared=True)
    solution = problem.solve_pair(chain, 1)
    whole = replaced(chain, 1, solution.core)
    split = solution.core.split(Truncation(max_bond=1))
    cut = Chain([chain[0], split.left, split.right], center=2)
    assert problem.loss(whole) == pytest.approx(solution.loss, rel=1e-10)
    assert problem.loss(cut) > 1.005 * solution.loss


@pytest.mark.parametrize("seed", range(2))
def test_narrow_bonds_are_found_by_what_the_data_see(seed):
    """All sites read one vector; cut in the plain norm the same pairs do not fit."""
    rng = np.random.default_rng(seed)
    leg = "2x0e+2x1o"
    teacher = Chain.random([leg] * 4, max_bond=2, seed=rng)
    x = rng.normal(size=(1500, Irreps(leg).dim))
    y = Regression(x, np.zeros(1500), sites=leg).predict(teacher)
    start = Chain.random([leg] * 4, max_bond=2, seed=seed + 5)
    schedule = Schedule(sites=2, max_bond=leg, max_sweeps=6)
    errors = {}
    for metric in ("norm", "data"):
        problem = Regression(x, y, sites=leg, metric=metric)
        chain = grow(start, problem, schedule=schedule).chain
        errors[metric] = np.sqrt(problem.loss(chain) / problem.size)
        assert all(bond.count(ir) <= 2 for bond in chain.bonds for ir in bond.unique)
    assert errors["data"] < 1e-3
    assert errors["norm"] > 0.05
    torch = pytest.importorskip("torch")
    other = Regression(torch.tensor(x), y, sites=leg, metric="data")
    chain = grow(start.to("torch"), other, schedule=schedule).chain
    assert np.sqrt(other.loss(chain) / other.size) < 1e-3
    with pytest.raises(SettingsError, match="metric"):
        Regression(x, y, sites=leg, metric="gram")
