"""What to do where a step does not fit in the memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

__all__ = ["if_it_fits", "is_out_of_memory", "largest_that_fits"]

T = TypeVar("T")

# What the allocator of the CPU says in errors of no class of their own.
_SAID = ("not enough memory", "can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of torch or Python that found no memory.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes do not fit"))
    (True, False)
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


def if_it_fits(step: Callable[[], T]) -> T | None:
    """What a step gives, or None where it finds no memory; what it held is free again then.

    Examples
    --------
    >>> if_it_fits(lambda: 2 + 3)
    5
    """
    try:
        return step()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def largest_that_fits(step: Callable[[int], object], most: int) -> int:
    """The largest of most, most / 2, most / 4, ... of which a step finds its memory; zero if none.

    The step gives something that is not None.

    Examples
    --------
    >>> def step(n):
    ...     if n > 7:
    ...         raise MemoryError
    ...     return n
    >>> largest_that_fits(step, 20)
    5
    """
    while most > 0 and if_it_fits(partial(step, most)) is None:
        most //= 2
    return most
