"""Where numbers are not rounded, however steps are computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["unrounded"]


def unrounded(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A method that computes in full precision also under autocast, as symmetry demands."""

    @wraps(forward)
    def method(self: nn.Module, *operands: Any) -> Any:
        first: torch.Tensor = tree_leaves(operands)[0]
        if not torch.is_autocast_enabled(first.device.type):
            return forward(self, *operands)
        full = tree_map(lambda x: x.float() if x.dtype == torch.bfloat16 else x, operands)
        with torch.autocast(first.device.type, enabled=False):
            return forward(self, *full)

    return method
