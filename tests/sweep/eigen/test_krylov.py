"""The Lanczos method against the dense eigenvalues of LAPACK."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from etn.backend import Kind
from etn.errors import CoreError, SettingsError
from etn.sweep.eigen.krylov import lowest_eigenpair


def symmetric(values, seed=0):
    """A symmetric matrix with given eigenvalues, and its eigenvectors."""
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.normal(size=(len(values),) * 2))
    return (vectors * np.asarray(values)) @ vectors.T, vectors


@pytest.mark.parametrize("n", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_matrices(n, seed):
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(n, n))
    h = h + h.T
    pair = lowest_eigenpair(lambda v: h @ v, rng.normal(size=n), tol=1e-12, max_products=2000)
    values, vectors = np.linalg.eigh(h)
    assert pair.value == pytest.approx(values[0], rel=1e-12)
    assert abs(pair.vector @ vectors[:, 0]) == pytest.approx(1, abs=1e-12)
    assert np.linalg.norm(h @ pair.vector - pair.value * pair.vector) < 1e-10
    assert np.linalg.norm(pair.vector) == pytest.approx(1, abs=1e-14)


def test_restarts_reach_what_one_basis_does():
    h, _ = symmetric(np.linspace(-1, 5, 80))
    start = np.random.default_rng(1).normal(size=80)
    calls = []

    def apply(v):
        calls.append(v)
        return h @ v

    pair = lowest_eigenpair(apply, start, tol=1e-10, max_products=500, max_basis=6)
    assert pair.value == pytest.approx(-1, abs=1e-12)
    assert 6 < pair.products < 500
    assert len(calls) == pair.products


def test_a_degenerate_lowest_value():
    h, vectors = symmetric([-2, -2, -2, 0.5, 1, 3, 4])
    start = np.random.default_rng(2).normal(size=7)
    pair = lowest_eigenpair(lambda v: h @ v, start, tol=1e-13)
    assert pair.value == pytest.approx(-2, abs=1e-13)
    # The Krylov space holds one vector of each eigenspace: the part of the start in it.
    inside = vectors[:, :3] @ (vectors[:, :3].T @ start)
    assert abs(pair.vector @ inside) == pytest.approx(np.linalg.norm(inside), rel=1e-12)
    assert pair.products == 5


@pytest.mark.parametrize("value", [-2.0, 0.0, 1e-12])
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_an_eigenvector_as_the_start(value, scale):
    h, vectors = symmetric([value, 1, 2, 3, 4, 5])
    h = scale * h
    pair = lowest_eigenpair(lambda v: h @ v, vectors[:, 0], tol=1e-10)
    assert pair.value == pytest.approx(scale * value, abs=1e-14 * scale)
    assert abs(pair.vector @ vectors[:, 0]) == pytest.approx(1, abs=1e-9)
    assert pair.first_residual < 1e-13 * scale


def test_a_start_in_an_invariant_subspace_stays_there():
    h, vectors = symmetric([-3, -1, 0, 2, 5])
    start = vectors[:, 1] + vectors[:, 3]
    pair = lowest_eigenpair(lambda v: h @ v, start, tol=1e-14, max_products=50)
    assert pair.value == pytest.approx(-1, abs=1e-13)
    assert abs(pair.vector @ vectors[:, 1]) == pytest.approx(1, abs=1e-10)


def test_the_scale_of_the_operator_does_not_matter():
    h, _ = symmetric(np.linspace(-1, 1, 30))
    start = np.random.default_rng(3).normal(size=30)
    pairs = [
        lowest_eigenpair(lambda v, s=scale: s * (h @ v), start, tol=1e-6, max_products=100)
        for scale in (1e-12, 1.0, 1e12)
    ]
    assert len({pair.products for pair in pairs}) == 1
    assert pairs[0].value * 1e12 == pytest.approx(pairs[1].value, rel=1e-10)


def test_the_basis_stays_orthogonal():
    """An eigenvalue far away converges at once, and would come back as a ghost."""
    h, _ = symmetric([*np.linspace(-1, -0.999, 50), 1e3])
    start = np.random.default_rng(1).normal(size=51)
    pair = lowest_eigenpair(lambda v: h @ v, start, tol=1e-16, max_products=60, max_basis=60)
    assert pair.value == pytest.approx(-1, abs=1e-11)
    assert np.linalg.norm(h @ pair.vector - pair.value * pair.vector) < 1e-10


def test_an_exhausted_space_ends_the_search():
    """Beyond it there is nothing but rounding, here in a space where the operator is zero."""
    h, vectors = symmetric([1, 2, 3, 4, 5, 6])
    start = np.random.default_rng(6).normal(size=6)
    given = list(vectors[:, :4].T)
    pair = lowest_eigenpair(lambda v: h @ v, start, tol=0, max_products=50, orthogonal_to=given)
    assert pair.value == pytest.approx(5, abs=1e-12)
    assert abs(pair.vector @ vectors[:, 4]) == pytest.approx(1, abs=1e-12)
    assert pair.products == 2


def test_zero_and_one_dimension():
    pair = lowest_eigenpair(lambda v: 0 * v, np.ones(4))
    assert (pair.value, pair.residual, pair.products) == (0, 0, 1)
    pair = lowest_eigenpair(lambda v: 3 * v, np.array([-2.0]))
    assert (pair.value, abs(pair.vector[0]), pair.products) == (3, 1, 1)


def test_the_limit_on_products_holds_and_the_value_is_an_upper_bound():
    h, _ = symmetric(np.linspace(-1, 5, 200), seed=4)
    start = np.random.default_rng(4).normal(size=200)
    values = []
    for limit in range(1, 12):
        pair = lowest_eigenpair(lambda v: h @ v, start, tol=0, max_products=limit, max_basis=4)
        assert pair.products == limit
        residual = np.linalg.norm(h @ pair.vector - pair.value * pair.vector)
        assert pair.residual == pytest.approx(residual, rel=1e-8)
        values.append(pair.value)
    assert values[0] == pytest.approx(start @ h @ start / (start @ start))
    assert min(values) >= -1
    # Nothing is lost at a restart; the first vector of a basis is the best one so far.
    assert all(b <= a + 1e-14 for a, b in pairwise(values))


@pytest.mark.parametrize(
    "kind", [Kind(dtype="float32"), Kind("torch"), Kind("torch", "float32")], ids=str
)
def test_other_kinds_of_arrays(kind):
    h, vectors = symmetric([-2, *np.linspace(0, 3, 59)])
    matrix = kind.array(h)
    start = kind.ones((60,))
    pair = lowest_eigenpair(lambda v: matrix @ v, start, tol=1e-30, max_products=200)
    tol = 1e3 * kind.eps
    assert pair.value == pytest.approx(-2, abs=tol)
    overlap = np.asarray(pair.vector, dtype=float) @ vectors[:, 0]
    assert abs(overlap) == pytest.approx(1, abs=tol)
    # No tolerance is finer than the rounding unit.
    same = lowest_eigenpair(lambda v: matrix @ v, start, tol=kind.eps, max_products=200)
    assert pair.products == same.products < 60


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_vectors_to_be_orthogonal_to(backend):
    """They may depend on each other, vanish, or be no eigenvectors."""
    kind = Kind(backend)
    rng = np.random.default_rng(5)
    h, _ = symmetric(rng.normal(size=9) + 3, seed=5)
    one, two = rng.normal(size=(2, 9)) / 3
    given = [np.zeros(9), one, two, one - two, 1e-17 * rng.normal(size=9)]
    matrix = kind.array(h)
    pair = lowest_eigenpair(
        lambda v: matrix @ v,
        kind.array(rng.normal(size=9)),
        tol=0,
        orthogonal_to=[kind.array(v) for v in given],
    )
    space = np.linalg.svd(np.stack([one, two]))[2][2:]
    assert pair.value == pytest.approx(np.linalg.eigvalsh(space @ h @ space.T)[0], abs=1e-12)
    vector = np.asarray(pair.vector)
    np.testing.assert_allclose([one @ vector, two @ vector], 0, atol=1e-14)


def test_errors():
    h = np.eye(3)
    for start in (np.zeros(3), np.array([1.0, np.nan, 0.0]), np.array([np.inf, 0, 0])):
        with pytest.raises(CoreError, match="expected a start vector with a finite norm, got"):
            lowest_eigenpair(lambda v: h @ v, start)
    for bad in (np.nan, np.inf):
        with pytest.raises(CoreError, match="operator returned values that are not finite"):
            lowest_eigenpair(lambda v, bad=bad: np.full(3, bad), np.ones(3))
    with pytest.raises(CoreError, match="nothing is orthogonal to the 3 given states here"):
        lowest_eigenpair(lambda v: h @ v, h[0] - h[1], orthogonal_to=list(h))
    with pytest.raises(SettingsError, match="max_basis of at least 2, got 0 and 20"):
        lowest_eigenpair(lambda v: h @ v, np.ones(3), max_products=0)


def test_noise_takes_the_place_of_a_start_in_the_span_of_the_others():
    h, vectors = symmetric([-3, -2, 1, 4, 5, 6])
    others = [vectors[:, 0], vectors[:, 1]]
    start = vectors[:, 0] - 2 * vectors[:, 1]
    pair = lowest_eigenpair(lambda v: h @ v, start, orthogonal_to=others, max_products=60)
    assert pair.value == pytest.approx(1, abs=1e-10)
    assert abs(pair.vector @ vectors[:, 2]) == pytest.approx(1, abs=1e-7)


def test_what_a_cut_has_left_of_another_state_does_not_displace_the_start():
    h, vectors = symmetric([-3, -2, 1, 4, 5, 6])
    # The other state lies outside this space, but for a grain that points along the start.
    grain = 1e-9 * (vectors[:, 0] + vectors[:, 5])
    pair = lowest_eigenpair(lambda v: h @ v, vectors[:, 0], orthogonal_to=[grain])
    assert pair.value == pytest.approx(-3, abs=1e-12)


@pytest.mark.parametrize("skew", [1.0, 1e-2, 1e-4])
def test_an_operator_that_is_not_symmetric_is_refused(skew):
    h, _ = symmetric(np.linspace(-1, 5, 30))
    h[0, 1:] += skew
    start = np.random.default_rng(1).normal(size=30)
    with pytest.raises(CoreError, match="expected a symmetric operator, got one whose elements"):
        lowest_eigenpair(lambda v: h @ v, start)
