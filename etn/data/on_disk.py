"""Sequences whose items need not all be in memory: in a file, chosen from another, or joined."""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
import weakref
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from etn.errors import DataError
from etn.surface import name_of

__all__ = ["Chosen", "Joined", "Lazy", "OnDisk", "chosen", "keep", "scratch_folder"]

T = TypeVar("T")


class Lazy(Sequence[T]):
    """A sequence that gives its items when they are asked for; what is chosen is as lazy."""

    @abstractmethod
    def _item(self, place: int) -> T:
        """The item at a place from zero on."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Lazy[T]: ...
    def __getitem__(self, index: int | slice) -> T | Lazy[T]:
        if isinstance(index, slice):
            return Chosen(self, range(len(self))[index])
        place = int(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {place}")
        return self._item(place % len(self))

    def __iter__(self) -> Iterator[T]:
        return (self._item(place) for place in range(len(self)))


class OnDisk(Lazy[T]):
    """Items in a temporary file without a name, each loaded when it is asked for.

    The file goes with the last reference to it, also where a process is killed. Threads may read
    at the same time.

    Parameters
    ----------
    items : iterable
        Of what :mod:`pickle` writes; gone through once.

    Raises
    ------
    DataError
        If the file cannot be written.

    Examples
    --------
    >>> stored = OnDisk(n**2 for n in range(5))
    >>> len(stored), stored[-1], list(stored[::2])
    (5, 16, [0, 4, 16])
    """

    def __init__(self, items: Iterable[T]) -> None:
        folder = scratch_folder()
        ends = [0]
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as this)
            weakref.finalize(self, self._file.close)
            for item in items:
                data = pickle.dumps(item, protocol=5)
                self._file.write(data)
                ends.append(ends[-1] + len(data))
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{folder}: the data do not fit in memory and cannot be kept on disk there "
                f"({error.strerror or error}); set TMPDIR to a folder on a disk with more space, "
                f"or allow more {name_of('memory')}"
            ) from error
        self._ends, self._lock = np.array(ends), threading.Lock()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _item(self, place: int) -> T:
        first, end = self._ends[place : place + 2].tolist()
        with self._lock:
            self._file.seek(first)
            data = self._file.read(end - first)
        item: T = pickle.loads(data)  # noqa: S301 (what this process wrote, to a file of its own)
        return item


class Chosen(Lazy[T]):
    """Some items of a sequence, by their places in it.

    Examples
    --------
    >>> list(Chosen("abcd", [3, 0]))
    ['d', 'a']
    """

    def __init__(self, items: Sequence[T], places: Iterable[int]) -> None:
        numbers = np.fromiter(places, dtype=np.int64)
        self._items: Sequence[T] = items._items if isinstance(items, Chosen) else items
        self.places: NDArray[np.int64] = (
            items.places[numbers] if isinstance(items, Chosen) else numbers
        )

    def __len__(self) -> int:
        return len(self.places)

    def _item(self, place: int) -> T:
        return self._items[int(self.places[place])]


class Joined(Lazy[T]):
    """Several sequences as one.

    Examples
    --------
    >>> list(Joined(["ab", "", "cd"]))
    ['a', 'b', 'c', 'd']
    """

    def __init__(self, parts: Iterable[Sequence[T]]) -> None:
        self._parts = list(parts)
        self._ends = list(accumulate(map(len, self._parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _item(self, place: int) -> T:
        part = bisect_right(self._ends, place)
        return self._parts[part][place - self._ends[part]]


def chosen(items: Sequence[T], condition: Callable[[T], Any]) -> Chosen[T]:
    """The items that meet a condition.

    Examples
    --------
    >>> list(chosen([3, 1, 4, 1], lambda number: number > 2))
    [3, 4]
    """
    return Chosen(items, [place for place, item in enumerate(items) if condition(item)])


def keep(
    items: Iterable[T], most: float | None, size: Callable[[T], float]
) -> tuple[T, ...] | OnDisk[T]:
    """Items in memory if they fit, else on disk.

    Parameters
    ----------
    items : iterable
    most : float or None
        Bytes that may be held; None for any.
    size : callable
        Bytes of an item.

    Examples
    --------
    >>> keep(range(3), 24.0, lambda item: 8.0)
    (0, 1, 2)
    >>> type(keep(range(3), 16.0, lambda item: 8.0)).__name__
    'OnDisk'
    """
    if most is None:
        return tuple(items)
    rest = iter(items)
    held: list[T] = []
    taken = 0.0
    for item in rest:
        held.append(item)
        taken += size(item)
        if taken > most:
            return OnDisk(chain(_drain(held), rest))
    return tuple(held)


def _drain(items: list[T]) -> Iterator[T]:
    """Items in their order, each let go as it is given."""
    items.reverse()
    while items:
        yield items.pop()


def scratch_folder() -> str:
    """Where large temporary files go: what TMPDIR names, else /var/tmp, which is on a disk.

    In many systems /tmp is memory.
    """
    if not os.environ.get("TMPDIR") and os.access("/var/tmp", os.W_OK | os.X_OK):
        return "/var/tmp"
    return str(Path(tempfile.gettempdir()))
