"""Batches: ready or built, mapped and added up in threads, the same in another process."""

from __future__ import annotations

import gc
import math
import operator
import pickle
import threading
import weakref
from functools import partial

import numpy as np
import pytest

from etn.network import Chain
from etn.network.design import CoreDesign
from etn.sweep import LeastSquares, threads
from etn.sweep.regression import core_rows, joint, least_squares
from etn.sweep.regression.batches import Batches
from etn.sweep.regression.normal_equations import NormalEquations, accumulate
from etn.sweep.regression.tangent import Tangent
from etn.testing import random_batch

LEG = "2x0e+2x1o"


@pytest.fixture
def three_threads(monkeypatch):
    """As many threads on any machine."""
    monkeypatch.setattr(threads, "count_threads", lambda: 3)


def test_values_are_ready_or_built_when_needed():
    built = []

    def build(value):
        built.append(value)
        return value

    batches = Batches([1, partial(build, 2), 3])
    doubled = batches.map(partial(operator.mul, 2))
    assert built == []
    assert (len(doubled), list(doubled)) == (3, [2, 4, 6])
    # Nothing is kept: they are built anew for each look.
    assert doubled.sum(0) == 12
    assert built == [2, 2]


def test_a_sum_of_nothing_is_where_it_starts():
    assert Batches([]).sum(0.0) == 0.0


@pytest.mark.parametrize("limit", [None, 1, 2, 3])
def test_each_thread_adds_up_its_share_and_the_parts_follow_in_order(three_threads, limit):
    # Lists add up by joining, so the sum shows the order of the additions.
    batches = Batches([[k] for k in range(8)], threads=limit)
    n = limit or 3
    assert batches.sum([]) == [k for first in range(n) for k in range(first, 8, n)]
    seen = batches.fold(lambda share: [list(share)], most=2)
    assert len(seen) == min(n, 2)


def test_the_start_of_a_sum_is_not_changed(three_threads):
    zero = np.zeros(2)
    total = Batches([np.ones(2)] * 7).sum(zero)
    np.testing.assert_array_equal(total, [7.0, 7.0])
    np.testing.assert_array_equal(zero, 0.0)


def test_the_order_of_the_additions_depends_on_the_threads_alone(three_threads):
    rng = np.random.default_rng(0)
    values = [float(x) for x in rng.normal(size=50) * 10.0 ** rng.integers(-8, 8, size=50)]
    expected = [math.fsum(values)]
    for limit in (1, 2, 3):
        sums = {Batches(values, threads=limit).sum(0.0) for _ in range(5)}
        assert len(sums) == 1
        expected += sums
    np.testing.assert_allclose(expected, expected[0], rtol=1e-12)


def test_an_error_in_a_thread_is_that_of_the_sum(three_threads):
    def build():
        raise OverflowError(threading.current_thread().name)

    with pytest.raises(OverflowError):
        Batches([1, 2, build, 4, 5]).sum(0)


class Rows(np.ndarray):
    """Arrays that weak references can point to."""


def test_rows_are_gone_before_the_next_ones_are_built():
    built = []

    def build():
        gc.collect()
        assert [ref for ref in built if ref() is not None] == []
        rows = np.ones((600, 2)).view(Rows)
        built.append(weakref.ref(rows))
        return rows, np.ones(600)

    normal = accumulate(2, Batches([build] * 3, threads=1))
    assert normal.target == 1800.0


def sent(value):
    """What arrives in another process."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301


def numbers(value):
    """All numbers of an array, or of a tuple or dictionary of them."""
    parts = list(value.values()) if isinstance(value, dict) else value
    parts = parts if isinstance(parts, (list, tuple)) else [parts]
    return np.concatenate([np.ravel(part) for part in parts])


def mapped():
    """All that least squares maps over its batches, with what it is bound to."""
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(1)
    rng = np.random.default_rng(0)
    tangent = Tangent(chain)
    designs = [CoreDesign(core) for core in chain]
    changes = tangent.changes(rng.normal(size=tangent.columns))
    moved = [chain.replace(site, change) for site, change in enumerate(changes)]
    parts, sites = tangent.parts, dict(enumerate(designs))
    return chain, {
        "rows": partial(core_rows.weighted_rows, chain, designs[1]),
        "errors": partial(least_squares._squared_errors, chain),
        "targets": least_squares._squared_targets,
        "channels": joint._channel_squares,
        "jacobian": partial(joint._jacobian_rows, chain, parts, tangent.units, designs),
        "residual slope": partial(joint._residual_slope, chain, parts, sites),
        "gram slope": partial(joint._gram_slope, chain, parts, sites, moved),
    }


@pytest.mark.parametrize("name", mapped()[1])
def test_what_is_mapped_can_be_sent_to_another_process(name):
    chain, functions = mapped()
    batches = Batches([random_batch(chain, seed=0), partial(random_batch, chain, seed=1)])
    here = list(batches.map(functions[name]))
    there = list(sent(batches.map(functions[name])))
    assert len(here) == len(there) == 2
    for one, two in zip(here, there, strict=True):
        # What was sent may lie in memory otherwise, and then be multiplied in another order.
        np.testing.assert_allclose(numbers(one), numbers(two), rtol=1e-12, atol=1e-12)


def test_normal_equations_of_parts_that_were_sent_add_up_to_those_of_all():
    chain, functions = mapped()
    columns = chain[1].n_parameters
    sources = [partial(random_batch, chain, seed=k) for k in range(5)]
    parts = [
        sent(accumulate(columns, sent(Batches(some).map(functions["rows"]))))
        for some in (sources[:1], sources[1:4], sources[4:])
    ]
    total = sum(parts[1:], parts[0])
    assert isinstance(total, NormalEquations)
    problem = LeastSquares(lambda: sources)
    expected = problem.normal_equations(chain, CoreDesign(chain[1]))
    scale = np.abs(expected.gram).max()
    np.testing.assert_allclose(total.gram, expected.gram, rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(total.rhs, expected.rhs, rtol=0, atol=1e-13 * scale)
    assert total.target == pytest.approx(expected.target, rel=1e-13)


def test_batches_that_are_ready_or_built_give_the_same_loss():
    chain, _ = mapped()
    ready = [random_batch(chain, seed=k) for k in range(4)]
    one = LeastSquares(lambda: ready)
    two = LeastSquares(lambda: [partial(random_batch, chain, seed=k) for k in range(4)])
    # The same numbers in the same memory order, added up in the same order.
    assert one.loss(chain) == two.loss(chain)
    assert one.size == two.size
    assert one.size == pytest.approx(sum(np.sum((w * y) ** 2) for _, y, w in ready))
