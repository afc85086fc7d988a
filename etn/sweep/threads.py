"""Work shared among threads, each with a BLAS of one thread.

The products of a batch are too small to gain from a threaded BLAS, whose threads would wait
for each other at every call.  Instead each thread works on batches of its own with a BLAS of
one thread: NumPy releases the interpreter lock while it computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


def count_threads() -> int:
    """Threads that the BLAS may use."""
    controller = ThreadpoolController().select(user_api="blas")
    return max((library["num_threads"] for library in controller.info()), default=1)


def share(
    work: Callable[[Iterator[Item]], Result], items: Sequence[Item], *, most: int | None = None
) -> list[Result]:
    """Share items among threads.

    Thread k of n works on items k, k + n, ...: the shares, and so the sums made over them, are
    the same in every run with the same number of threads.

    Parameters
    ----------
    work : callable
        Called once in each thread with an iterator over its share.
    items : sequence
    most : int, optional
        Most threads to use; by default as many as the BLAS may use, which
        ``OMP_NUM_THREADS`` and the like set.

    Returns
    -------
    list of the results, one a thread

    Examples
    --------
    >>> sum(share(sum, range(10)))
    45
    """
    available = count_threads()
    wanted = min(available, most or available)
    threads = max(1, min(wanted, len(items)))
    controller = ThreadpoolController().select(user_api="blas")
    stop = threading.Event()

    def part(first: int) -> Iterator[Item]:
        for item in items[first::threads]:
            if stop.is_set():
                return
            yield item

    # Where memory does not allow a thread for every core, the BLAS gets the others.
    with controller.limit(limits=available // wanted):
        if threads == 1:
            return [work(part(0))]
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(work, part(first)) for first in range(threads)]
            try:
                return [future.result() for future in futures]
            except BaseException:
                # An interrupt reaches the main thread only: let the others end early.
                stop.set()
                raise
