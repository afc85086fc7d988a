"""What all law suites share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn.backend import to_numpy
from etn.network import Chain, Network, Tree
from etn.o3.rotation import random_rotation
from etn.tensor import Core
from etn.tensor.core import Path

T = TypeVar("T", Core, Chain, Tree, Network)


class Laws:
    """Base of the suites: methods whose names start with ``test`` are laws.

    Attributes
    ----------
    seeds : tuple of int
        A law is checked for the objects drawn with each of these seeds.
    tolerance : float
        Largest deviation, relative to the largest expected entry or the given scale.
    single_tolerance : float
        The same for objects of float32: some 800 rounding units, 1e-12 is 4500 of float64.
    dtype : str
        Precision of the object a law is checked for; suites of objects that have one set it.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    tolerance: float = 1e-12
    single_tolerance: float = 1e-4
    dtype: str = "float64"

    @property
    def allowed(self) -> float:
        """Tolerance for the precision of the object a law is checked for."""
        return self.tolerance if self.dtype == "float64" else self.single_tolerance

    def generators(self) -> Iterator[np.random.Generator]:
        """One random generator for each seed."""
        return map(np.random.default_rng, self.seeds)

    def check(self) -> None:
        """Check all laws without a test runner.

        Raises
        ------
        AssertionError
            If one does not hold.
        """
        for name in dir(self):
            if name.startswith("test"):
                getattr(self, name)()

    def close(
        self,
        got: ArrayLike,
        expected: ArrayLike,
        *,
        scale: float | None = None,
        tolerance: float | None = None,
    ) -> None:
        """Assert that the largest deviation is within the tolerance times the scale.

        Parameters
        ----------
        got, expected : array-like
        scale : float, optional
            By default the largest absolute entry of ``expected``.
        tolerance : float, optional
            By default that of the suite for the precision at hand.
        """
        one, two = np.asarray(to_numpy(got), float), np.asarray(to_numpy(expected), float)
        assert one.shape == two.shape, f"expected shape {two.shape}, got {one.shape}"
        unit: Any = np.abs(two).max(initial=0.0) if scale is None else scale
        deviation = np.abs(one - two).max(initial=0.0)
        allowed = self.allowed if tolerance is None else tolerance
        assert deviation <= allowed * unit, (
            f"deviation {deviation:.3e} above {allowed:g} of {unit:.3e}"
            if np.isfinite(deviation)
            else f"deviation {deviation}: expected finite numbers"
        )


def steps(core: Core) -> dict[Path, tuple[int, ...]]:
    """From one entry to the next along every axis of the blocks that have entries."""
    unit = np.dtype(core.kind.dtype).itemsize
    return {
        path: tuple(block.stride())
        if core.kind.backend == "torch"
        else tuple(step // unit for step in block.strides)
        for path, block in core
        if 0 not in block.shape
    }


def assert_c_order(*cores: Core) -> None:
    """Assert that every block has the steps of a new array of its shape, last axis fastest."""
    for core in cores:
        for path, found in steps(core).items():
            shape = core.blocks[path].shape
            expected = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
            assert found == expected, f"block {path}: expected steps {expected}, got {found}"


def orthogonals(rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """A rotation, one with reflection, and the inversion."""
    yield random_rotation(rng)
    yield random_rotation(rng, reflect=True)
    yield -np.eye(3)


def as_double(values: Any) -> NDArray[np.float64]:
    """What a law computes with: NumPy, so that it rests on one library, and float64."""
    return to_numpy(values).astype(float)


def on_both(made: T) -> list[T]:
    """The same object in NumPy and in torch; nothing where torch is not installed."""
    return [made.to("numpy"), made.to("torch")] if find_spec("torch") else []
