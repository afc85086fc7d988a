"""Tensors made within a bound: a file that asks for more is refused before it is given any."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from etn.errors import ModelFileError

__all__ = ["Bounded"]


class Bounded(TorchDispatchMode):
    """Within it, new tensors hold so many numbers in all, and no more.

    Parameters
    ----------
    limit : int

    Raises
    ------
    ModelFileError
        From the operation that would make more.

    Examples
    --------
    >>> with Bounded(100):
    ...     torch.zeros(5, 5).shape
    torch.Size([5, 5])
    >>> with Bounded(100):
    ...     torch.zeros(50, 50)
    Traceback (most recent call last):
    etn.errors.ModelFileError: expected at most 100 numbers, got a tensor of 2500 more
    """

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit, self.made = limit, 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count what an operation without tensors makes, before it does."""
        if not any(isinstance(argument, torch.Tensor) for argument in args):
            is_range = any(name in str(func) for name in ("arange", "linspace"))
            size = max((_size(argument, is_range) for argument in args), default=0)
            self.made += size
            if self.made > self.limit:
                raise ModelFileError(
                    f"expected at most {self.limit} numbers, got a tensor of {size} more"
                )
        return func(*args, **(kwargs or {}))


def _size(argument: Any, is_range: bool) -> int:
    """Numbers of a tensor of this shape, or of a range that ends here."""
    if isinstance(argument, list | tuple) and all(isinstance(n, int) for n in argument):
        return math.prod(argument)
    return abs(argument) if is_range and isinstance(argument, int) else 0
