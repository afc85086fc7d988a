"""Normal equations: their sums in any order, and their solutions against numpy.linalg.lstsq."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.sweep.regression.batches import Batches
from etn.sweep.regression.normal_equations import (
    ROWS_TOGETHER,
    NormalEquations,
    _symmetric_norm_1,
    accumulate,
    solve_direct,
    solve_normal,
    solve_rows,
)


def blocks_of_rows(n_blocks, *, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, size=n_blocks)
    return [(rng.normal(size=(n, columns)), rng.normal(size=n)) for n in lengths]


def equations(rows, targets):
    normal = NormalEquations(rows.shape[1])
    normal.add(rows, targets)
    return normal


def assert_equations_of(normal, rows, targets):
    """Up to rounding, each entry relative to the size of what was added up."""
    tolerance = 1e-14 * max(1, len(rows))
    gram = np.triu(rows.T @ rows)
    np.testing.assert_allclose(
        np.triu(normal.gram), gram, rtol=0, atol=tolerance * np.abs(rows).max(initial=1) ** 2
    )
    size = np.abs(rows).max(initial=1) * np.abs(targets).max(initial=1)
    np.testing.assert_allclose(normal.rhs, rows.T @ targets, rtol=0, atol=tolerance * size)
    assert normal.target == pytest.approx(targets @ targets, rel=1e-13, abs=1e-300)


@given(n_blocks=st.integers(1, 12), seed=st.integers(0, 2**32 - 1), in_place=st.booleans())
def test_sums_in_any_order_and_any_tree_are_those_of_all_rows(n_blocks, seed, in_place):
    blocks = blocks_of_rows(n_blocks, seed=seed)
    draw = random.Random(seed)
    parts = [equations(*block) for block in blocks]
    # Two parts at a time, any two: every order and every tree of additions may come up.
    while len(parts) > 1:
        one, two = (parts.pop(draw.randrange(len(parts))) for _ in range(2))
        if in_place:
            one += two
            parts.append(one)
        else:
            before = [np.copy(one.gram), np.copy(two.gram)]
            parts.append(one + two)
            np.testing.assert_array_equal(before, [one.gram, two.gram])
    rows, targets = (np.concatenate(some) for some in zip(*blocks, strict=True))
    assert_equations_of(parts[0], rows, targets)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("n_rows", [3, ROWS_TOGETHER // 2 + 1])
def test_rows_that_are_collected_are_all_added(rng, threads, n_rows):
    blocks = [(rng.normal(size=(n_rows, 4)), rng.normal(size=n_rows)) for _ in range(9)]
    sources = [block if k % 2 else lambda b=block: b for k, block in enumerate(blocks)]
    normal = accumulate(4, Batches(sources, threads=threads))
    assert_equations_of(normal, *(np.concatenate(some) for some in zip(*blocks, strict=True)))


def test_without_rows_there_are_equations_of_zeros():
    normal = accumulate(3, Batches([]))
    assert not normal.gram.any()
    assert not normal.rhs.any()
    assert normal.target == 0.0


def test_the_value_and_what_is_left_around_a_point(rng):
    rows, targets = rng.normal(size=(20, 6)), rng.normal(size=20)
    normal = equations(rows, targets)
    # Only the upper triangle is to be read.
    normal.gram[np.tril_indices(6, -1)] = np.nan
    a, shift = rng.normal(size=6), rng.normal(size=6)
    assert normal.value(a) == pytest.approx(np.sum((rows @ a - targets) ** 2))
    moved = normal.shifted(shift)
    assert moved.value(a) == pytest.approx(np.sum((rows @ (a + shift) - targets) ** 2))
    assert moved.gram is normal.gram


def test_few_unknowns_go_through_qr_where_cholesky_loses_too_much():
    rows, targets = ill_conditioned(1e9)
    normal = equations(rows, targets)
    penalty = np.zeros(30)
    blocks = [(rows[:50], targets[:50]), (rows[50:], targets[50:])]
    found, condition, solver = solve_direct(normal, penalty, lambda: blocks, max_condition=1e12)
    assert solver == "qr"
    assert condition > 1e12
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
    assert solve_direct(normal, penalty, None, max_condition=1e12)[0] is None
    found, _, solver = solve_direct(normal, penalty + 1.0, None, max_condition=1e12)
    assert solver == "cholesky"
    np.testing.assert_allclose(
        found, np.linalg.solve(rows.T @ rows + np.eye(30), rows.T @ targets), rtol=1e-10
    )


def ill_conditioned(condition, n_rows=80, columns=30, seed=0):
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.normal(size=(n_rows, columns)))
    v, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    rows = (u * np.logspace(0, -np.log10(condition), columns)) @ v.T
    return rows, rows @ rng.normal(size=columns) + 1e-3 * rng.normal(size=n_rows)


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
def test_condition_estimate_is_that_of_the_scaled_gram(condition):
    rows, targets = ill_conditioned(condition)
    penalty = np.full(30, 1e-14)
    normal = NormalEquations(30)
    for part in np.array_split(np.arange(80), 3):
        normal.add(rows[part], targets[part])
    solution, estimate = solve_normal(normal, penalty)
    gram = rows.T @ rows + np.diag(penalty)
    scale = 1 / np.sqrt(np.diagonal(gram))
    exact = np.linalg.cond(gram * scale[:, None] * scale, 1)
    assert exact / 10 < estimate < exact * 10
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
    error = np.linalg.norm(solution - expected) / np.linalg.norm(expected)
    assert error < 1e-15 * estimate * 10


@pytest.mark.parametrize("condition", [1e7, 1e9])
def test_streamed_qr_keeps_the_condition_number_of_the_rows(condition):
    rows, targets = ill_conditioned(condition)
    parts = np.array_split(np.arange(80), 7)
    got = solve_rows(((rows[p], targets[p]) for p in parts), np.zeros(30), columns=30)
    norms = np.linalg.norm(rows, axis=0)
    expected = np.linalg.lstsq(rows / norms, targets, rcond=None)[0] / norms
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert error < 1e-15 * condition * 100


def test_streamed_qr_with_a_penalty_is_lstsq_of_the_stack(rng):
    rows, targets = rng.normal(size=(12, 20)), rng.normal(size=12)
    penalty = rng.uniform(0.1, 1, size=20)
    got = solve_rows([(rows[:5], targets[:5]), (rows[5:], targets[5:])], penalty, columns=20)
    stack = np.concatenate([rows, np.diag(np.sqrt(penalty))])
    expected = np.linalg.lstsq(stack, np.concatenate([targets, np.zeros(20)]), rcond=None)[0]
    np.testing.assert_allclose(got, expected, atol=1e-13)


def test_norm_of_a_symmetric_upper_triangle(rng):
    a = rng.normal(size=(9, 9))
    symmetric = a + a.T
    assert _symmetric_norm_1(np.triu(symmetric)) == pytest.approx(np.linalg.norm(symmetric, 1))


def test_a_solution_in_the_memory_of_the_gram_matrix_is_the_same(rng):
    rows, targets = rng.normal(size=(60, 20)), rng.normal(size=60)
    rows[:, 3] = 0.0
    penalty = np.full(20, 0.1)
    penalty[4] = 0.0
    normal = NormalEquations(20)
    normal.add(rows, targets)
    before = np.triu(normal.gram)
    expected, condition = solve_normal(normal, penalty)
    memory = normal.gram.ctypes.data
    got, same_condition = solve_normal(normal, penalty, in_place=True)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert same_condition == pytest.approx(condition, rel=1e-9)
    assert normal.gram.ctypes.data == memory
    np.testing.assert_allclose(np.triu(normal.gram), before, rtol=1e-13, atol=1e-15)
    assert normal.value(got) == pytest.approx(np.sum((rows @ got - targets) ** 2), rel=1e-12)
    normal.gram[0, 0] = -1.0
    assert solve_normal(normal, penalty, in_place=True)[0] is None
