"""Products of e3nn, operands for them, and what it means that two functions are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

try:
    import torch
    from e3nn import o3
except ImportError:
    # The tests beside this file are skipped.
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    # e3nn makes its constants in the default dtype.
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    # e3nn draws its weights from the global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


# Operands and output with multiplicities that differ as far as the mode lets them, two paths to
# one output, one instruction twice, an output that nothing leads to, and an empty term.
LEGS = {
    "uvw": ("3x0e+2x1o+1x2e", "2x1o+4x0e", "5x1o+0x2o+2x0e+1x2e+1x3o"),
    "uvu": ("4x0e+0x1e+3x1o", "2x1o+1x0e+3x2e", "3x0e+4x1o+3x1o+3x2o+1x5o"),
    "uvv": ("2x1o+1x0e+3x2e", "4x0e+3x1o", "3x0e+4x1o+3x1o+3x2o"),
    "uuw": ("3x0e+3x1o+2x2e", "3x1o+2x2e", "4x0e+2x1o+1x2e"),
    "uuu": ("3x0e+3x1o+2x2e", "3x1o+2x2e", "3x1o+3x0e+3x1e+2x2e+2x4e"),
}
INSTRUCTIONS = {
    "uvw": [(0, 0, 0), (1, 1, 0), (1, 0, 3), (1, 0, 2), (0, 1, 2), (2, 0, 0), (2, 0, 0)],
    "uvu": [(2, 0, 0), (0, 0, 1), (2, 1, 2), (2, 2, 2), (2, 2, 3), (2, 2, 2)],
    "uvv": [(0, 1, 0), (0, 0, 1), (1, 1, 2), (2, 1, 2), (2, 1, 3), (2, 1, 2)],
    "uuw": [(0, 0, 1), (1, 0, 0), (2, 1, 0), (1, 0, 2), (2, 1, 2), (2, 1, 2)],
    "uuu": [(0, 0, 0), (1, 0, 1), (1, 0, 2), (2, 1, 3), (2, 1, 4), (1, 0, 1)],
}


def _product(mode: str, weighted: bool = True, **options: Any) -> Any:
    """An e3nn product of a mode, its paths of different fixed weights."""
    legs = LEGS[mode]
    if mode == "uuw" and not weighted:
        legs = (*legs[:2], "1x0e+1x1o+1x2e")  # e3nn has no other
    instructions = [(*ins, mode, weighted, 1.0 + n) for n, ins in enumerate(INSTRUCTIONS[mode])]
    return o3.TensorProduct(*legs, instructions, **options)


def _operands(tp: Any, lead: tuple[int, ...] = (6,)) -> list[Any]:
    """Operands, and weights if the product needs them from outside."""
    arrays = [torch.randn(*lead, leg.dim) for leg in (tp.irreps_in1, tp.irreps_in2)]
    if tp.weight_numel and not tp.internal_weights:
        arrays.append(torch.randn(*(() if tp.shared_weights else lead), tp.weight_numel))
    return [a.requires_grad_() for a in arrays]


def _values_and_gradients(
    function: Any, arrays: list[Any], more: tuple[Any, ...] = ()
) -> list[Any]:
    z = function(*arrays)
    seed = torch.sin(torch.arange(z.numel(), dtype=z.dtype)).reshape(z.shape)
    return [z, *torch.autograd.grad(z, [*arrays, *more], seed)]


def _assert_same(ours: Any, theirs: Any, arrays: list[Any], tol: float = 1e-12) -> None:
    for one, other in zip(
        _values_and_gradients(ours, arrays), _values_and_gradients(theirs, arrays), strict=True
    ):
        assert one.shape == other.shape
        assert float(other.detach().abs().max()) > 0.1
        difference = (one - other).detach().abs().max()
        assert float(difference) <= tol * float(other.detach().abs().max())


@pytest.fixture
def legs() -> dict[str, tuple[str, str, str]]:
    """Operands and output by mode."""
    return LEGS


@pytest.fixture
def product() -> Callable[..., Any]:
    """Makes a product of e3nn of a mode."""
    return _product


@pytest.fixture
def operands() -> Callable[..., list[Any]]:
    """Draws operands of a product, and weights if it needs them from outside."""
    return _operands


@pytest.fixture
def values_and_gradients() -> Callable[..., list[Any]]:
    """Evaluates a product and its derivatives."""
    return _values_and_gradients


@pytest.fixture
def assert_same() -> Callable[..., None]:
    """Compares values and derivatives of two products."""
    return _assert_same
