"""Shares of threads: every item once, in a fixed order, with a BLAS of one thread each."""

from __future__ import annotations

import threading

import pytest
from threadpoolctl import ThreadpoolController

from etn.sweep import share, threads


@pytest.fixture
def available(monkeypatch):
    """Set how many threads the BLAS may use, as a machine with as many cores has it."""

    def choose(n):
        monkeypatch.setattr(threads, "count_threads", lambda: n)

    return choose


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("n_items", [0, 1, 4, 11])
@pytest.mark.parametrize("most", [None, 1, 3])
def test_thread_k_of_n_takes_each_nth_item_from_k(available, n, n_items, most):
    available(n)
    shares = share(list, range(n_items), most=most)
    used = max(1, min(n, most or n, n_items))
    assert shares == [list(range(n_items))[k::used] for k in range(used)]


def test_shares_run_at_the_same_time(available):
    available(3)
    # Each waits for the others: one after another they would never pass.
    barrier = threading.Barrier(3, timeout=20)

    def work(items):
        barrier.wait()
        return threading.get_ident()

    assert len(set(share(work, range(3)))) == 3


def blas_threads():
    return max(lib["num_threads"] for lib in ThreadpoolController().select(user_api="blas").info())


def test_the_blas_has_one_thread_meanwhile():
    before = blas_threads()
    assert before == threads.count_threads()
    assert share(lambda items: blas_threads(), range(before)) == [1] * before
    assert blas_threads() == before
    # Where memory does not allow a thread for every core, the BLAS gets the others.
    assert share(lambda items: blas_threads(), range(8), most=1) == [before]


def test_an_error_ends_the_other_threads_early_and_is_raised(available):
    available(2)
    failed = threading.Event()
    seen = []

    def work(items):
        for item in items:
            if item == 0:
                failed.set()
                raise ArithmeticError("item 0")
            failed.wait(timeout=20)
            seen.append(item)

    with pytest.raises(ArithmeticError, match="item 0"):
        share(work, range(2000))
    assert len(seen) < 1000
