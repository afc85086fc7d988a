"""CP forms that the tests of several solvers start from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from etn.product import CPTensor, fused_cg
from etn.product.solve import random_start

TARGETS = {
    "two inputs": fused_cg(l_max=1),
    "three inputs": fused_cg(ins=["0e+1e", "1e", "0e+1e"], out="0e+1e"),
    "one input": fused_cg(l_max=1, inputs=1),
    "unequal legs": fused_cg(ins=["0e+1o", "2e"], out="1o+2e", parity="none"),
}


@pytest.fixture(params=TARGETS)
def cp(request: pytest.FixtureRequest) -> CPTensor:
    return random_start(TARGETS[request.param], cp_rank=5, seed=3)


def _moved(cp: CPTensor, x: np.ndarray) -> list[np.ndarray]:
    bounds = np.cumsum([0, *(f.size for f in cp.factors)])
    return [
        f + x[a:b].reshape(f.shape) for f, a, b in zip(cp.factors, bounds, bounds[1:], strict=False)
    ]


@pytest.fixture
def moved() -> Callable[[CPTensor, np.ndarray], list[np.ndarray]]:
    """The factors of a form after a step, given as one flat vector."""
    return _moved


@pytest.fixture
def jacobian(cp: CPTensor) -> np.ndarray:
    """Central differences of the dense tensor along all entries of the factors."""
    letters = "ijkl"[: len(cp)]
    sums = f"{','.join(f'{letter}r' for letter in letters)}->{letters}"
    step = 1e-5
    columns = []
    for unit in np.eye(sum(f.size for f in cp.factors)):
        plus, minus = (np.einsum(sums, *_moved(cp, s * step * unit)) for s in (1, -1))
        columns.append((plus - minus).ravel() / (2 * step))
    return np.stack(columns, axis=1)
