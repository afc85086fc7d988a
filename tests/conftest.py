"""Fixtures and marks that all tests share.

===============  ================================================================================
fixture          value
===============  ================================================================================
``rng``          random generator with a fixed seed, fresh for each test
``rotation``     (3, 3) proper rotation, drawn at random with a fixed seed
``improper``     (3, 3) improper rotation (det = -1): a rotation times the inversion
``orthogonal``   both of the above in turn: the test runs twice
``shared_data``  folder of the reference data; the test is skipped where there is none
``make_frame``   function: a frame of so many atoms with random labels
``stop_after``   class: a callback that acts as Ctrl-C does, after so many sweeps; or
                 ``within`` one, in the step that follows so many
``invoke``       function: run the command ``etn`` in this process
``contents``     function: the bytes of all files below a folder, by path
===============  ================================================================================

===============  ================================================================================
mark             meaning
===============  ================================================================================
``slow``         left out unless asked for: ``pytest -m slow``, or ``pytest -m ""`` for everything
``gpu``          skipped where torch sees no CUDA device
``shared_data``  skipped where the reference data are absent
===============  ================================================================================
"""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before NumPy and torch: threads of several workers on the same cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest

# Hypothesis draws the same examples in every run, and keeps no database of failures.
hypothesis.settings.register_profile("etn", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("etn")


def _shared_data() -> Path | None:
    """Folder of the reference data: $ETN_SHARED_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ETN_SHARED_DATA") or beside)
    return folder if folder.is_dir() else None


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run; torch is imported only if a test asks for a GPU."""
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not _has_gpu():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    data = [item for item in items if item.get_closest_marker("shared_data")]
    if data and _shared_data() is None:
        for item in data:
            item.add_marker(pytest.mark.skip(reason="no reference data (set ETN_SHARED_DATA)"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


def _random_orthogonal(rng: np.random.Generator, det: int) -> npt.NDArray[np.float64]:
    # Not etn.o3.random_rotation: a law must not rest on what it tests.
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * (det * np.sign(np.linalg.det(q)))


@pytest.fixture
def rotation() -> npt.NDArray[np.float64]:
    return _random_orthogonal(np.random.default_rng(11), 1)


@pytest.fixture
def improper() -> npt.NDArray[np.float64]:
    return _random_orthogonal(np.random.default_rng(12), -1)


@pytest.fixture(params=["proper", "improper"])
def orthogonal(request: pytest.FixtureRequest) -> npt.NDArray[np.float64]:
    det = 1 if request.param == "proper" else -1
    return _random_orthogonal(np.random.default_rng(13), det)


@pytest.fixture
def shared_data() -> Path:
    folder = _shared_data()
    if folder is None:
        pytest.skip("no reference data (set ETN_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def stop_after() -> Callable[..., Any]:
    from etn.sweep import Callback

    class StopAfter(Callback):
        def __init__(self, count: int, *, within: bool = False) -> None:
            self.count, self.within = count, within
            self.sweeps = self.steps = 0

        def on_sweep(self, state: Any) -> None:
            self.sweeps += 1
            if self.sweeps == self.count and not self.within:
                raise KeyboardInterrupt

        def on_step(self, step: Any) -> None:
            self.steps += 1
            if self.steps > self.count and self.within:
                raise KeyboardInterrupt

    return StopAfter


@pytest.fixture(scope="session")
def invoke() -> Callable[..., Any]:
    from typer.testing import CliRunner

    from etn.cli import app

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app(), [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    def read(folder: Path) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return read


@pytest.fixture
def make_frame():
    """Function: a periodic frame of so many atoms on a perturbed grid, with random labels."""
    from etn.data import Frame

    def make(rng, n_atoms, *, numbers=(42, 29), length=4.0, labels=True):
        cell = length * (np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
        grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[:n_atoms] / 3
        positions = (grid + 0.05 * rng.normal(size=grid.shape)) @ cell
        known = {}
        if labels:
            known = {
                "energy": float(rng.normal()),
                "forces": rng.normal(size=(n_atoms, 3)),
                "stress": rng.normal(size=6) / 20,
            }
        return Frame(
            np.resize(numbers, n_atoms),
            positions,
            cell,
            [True] * 3,
            name=f"made:{n_atoms}",
            **known,
        )

    return make
