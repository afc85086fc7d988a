"""What is kept between solves as far as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from etn.sweep.regression.batches import Batches
from etn.sweep.threads import count_threads

__all__ = ["Kept"]

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values by number, kept until a limit is reached.

    Threads build them, and the thread that asked stores them: work that is shared out only ever
    reads.  What does not fit is built anew by whoever needs it.

    Parameters
    ----------
    limit : float
        Bytes of all values.
    nbytes : callable
        Bytes of a value.
    threads : int, optional
        Most threads that build.

    Examples
    --------
    >>> kept = Kept(100.0, len)
    >>> kept.fill(range(10), lambda number: bytes(30))
    >>> len(kept), kept.get(2) == bytes(30), kept.get(7)
    (3, True, None)
    """

    def __init__(
        self, limit: float, nbytes: Callable[[Value], float], *, threads: int | None = None
    ) -> None:
        self._limit, self._nbytes, self._threads = limit, nbytes, threads
        self.clear()

    def clear(self) -> None:
        """Give the memory back."""
        self._values: dict[int, Value] = {}
        self._held, self._full = 0.0, self._limit <= 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, number: int) -> Value | None:
        """The value, or None if it is not kept."""
        return self._values.get(number)

    def fill(self, numbers: Sequence[int], build: Callable[[int], Value]) -> None:
        """Build and keep what is missing, in order, until the first that does not fit."""
        if self._full:
            return

        missing = [number for number in numbers if number not in self._values]
        if not missing:
            return
        # One for each thread at a time: no more than that is built in vain.
        available = count_threads()
        at_once = min(self._threads or available, available)
        for first in range(0, len(missing), at_once):
            some = missing[first : first + at_once]
            built = Batches(some, threads=self._threads).map(build).collect()
            for number, value in zip(some, built, strict=True):
                size = self._nbytes(value)
                if self._held + size > self._limit:
                    self._full = True
                    return
                self._held += size
                self._values[number] = value
