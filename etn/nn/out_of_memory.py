"""What to do where a step does not fit in the memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["is_out_of_memory", "largest_that_fits"]

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


def largest_that_fits(step: Callable[[int], None], most: int) -> int:
    """The largest of most, most / 2, most / 4, ... of which a step finds its memory; zero if none.

    Examples
    --------
    >>> def step(n):
    ...     if n > 7:
    ...         raise MemoryError
    >>> largest_that_fits(step, 20)
    5
    """
    while most > 0:
        try:
            step(most)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            break
        most //= 2
    return most
