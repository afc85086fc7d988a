"""Which scheme is fastest: measured on the machine at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from etn.backend import Kind
from etn.product.calls import Contraction

__all__ = ["Choice", "fastest"]

# Every scheme runs at least so often, and until so many seconds are spent on it.
REPEATS, SECONDS = 3, 0.02


class Choice(NamedTuple):
    """The fastest scheme, and the median time of each in microseconds a call."""

    scheme: str
    microseconds: Mapping[str, float]


def fastest(
    schemes: Mapping[str, Contraction], kind: Kind, batch: int, dims: tuple[int, int]
) -> Choice:
    """Time all schemes on random operands, forward only.

    Parameters
    ----------
    schemes : mapping
        By name.
    kind : Kind
        Of the arrays.
    batch : int
    dims : (int, int)
        Of the operands.
    """
    rng = np.random.default_rng(0)
    x, y = (kind.array(rng.normal(size=(batch, dim))) for dim in dims)
    times = {}
    for name, contraction in schemes.items():
        size = contraction.plan.size
        w = kind.array(rng.normal(size=(batch, size))) if size else None
        c = {key: kind.array(value) for key, value in contraction.constants.items()}
        times[name] = _median(_runner(contraction, kind, c, x, y, w)) * 1e6
    return Choice(min(times, key=lambda name: times[name]), times)


def _runner(
    contraction: Contraction, kind: Kind, c: Any, x: Any, y: Any, w: Any
) -> Callable[[], Any]:
    if kind.backend == "numpy":
        return lambda: contraction.apply(np, c, x, y, w)
    import torch

    def run() -> None:
        with torch.no_grad():
            contraction.apply(torch, c, x, y, w)
            if x.is_cuda:
                torch.cuda.synchronize(x.device)

    return run


def _median(run: Callable[[], Any]) -> float:
    run()  # caches and lazy constants
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
