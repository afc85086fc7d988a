"""Lists of neighbours and wanted rows, as the shared library reads them; see ``etn.h``."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_void_p
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etn.errors import SettingsError

__all__ = ["Neighbors", "PairLists", "Wanted", "lists_of", "neighbors", "rows_of"]


class Neighbors(ctypes.Structure):
    """``etn_neighbors`` of the header."""

    _fields_ = (
        ("n_atoms", c_int64),
        ("n_centers", c_int64),
        ("n_frames", c_int64),
        ("element", c_void_p),
        ("frame", c_void_p),
        ("center", c_void_p),
        ("first", c_void_p),
        ("neighbor", c_void_p),
        ("vector", c_void_p),
        ("position", c_void_p),
        ("shift", c_void_p),
    )


class Wanted(ctypes.Structure):
    """``etn_rows_wanted`` of the header."""

    _fields_ = (
        ("energy", c_int32),
        ("strain", c_int32),
        ("n_atoms", c_int64),
        ("atom", c_void_p),
    )


class PairLists(Protocol):
    """Pairs of neighbouring atoms in a batch of frames, as :class:`etn.potential.Pairs`."""

    @property
    def element(self) -> NDArray[np.int64]:
        """(atoms,): number of the element."""
        ...

    @property
    def frame(self) -> NDArray[np.int64]:
        """(atoms,)."""
        ...

    @property
    def sample(self) -> NDArray[np.int64]:
        """(samples,): atoms that are centers."""
        ...

    @property
    def center(self) -> NDArray[np.int64]:
        """(pairs,): index into the samples, rising."""
        ...

    @property
    def neighbor(self) -> NDArray[np.int64]:
        """(pairs,): atom."""
        ...

    @property
    def vector(self) -> NDArray[np.float64]:
        """(pairs, 3): from the center to its neighbour, Å."""
        ...

    @property
    def n_frames(self) -> int:
        """Number of frames in the batch."""
        ...


def lists_of(pairs: PairLists) -> dict[str, Any]:
    """Pairs as keywords of :meth:`Evaluator.evaluate`."""
    names = ("element", "frame", "n_frames", "sample", "center", "neighbor", "vector")
    return {name: getattr(pairs, name) for name in names}


def neighbors(
    element: NDArray[np.int64],
    frame: NDArray[np.int64],
    n_frames: int,
    sample: NDArray[np.int64],
    center: NDArray[np.int64],
    neighbor: NDArray[np.int64],
    vector: NDArray[np.float64] | None = None,
    position: NDArray[np.float64] | None = None,
    shift: NDArray[np.float64] | None = None,
) -> tuple[Neighbors, list[NDArray[Any] | None]]:
    """Lists of neighbours as the library reads them, and the arrays that they point to."""
    atoms, pairs = len(element), len(neighbor)
    shapes = {
        "frame": (frame, (atoms,)), "center": (center, (pairs,)), "vector": (vector, (pairs, 3)),
        "position": (position, (atoms, 3)), "shift": (shift, (pairs, 3)),
    }  # fmt: skip
    for name, (array, expected) in shapes.items():
        if array is not None and array.shape != expected:
            raise SettingsError(
                f"{name}: expected an array of shape {expected}, got {array.shape}; there are "
                f"{atoms} atoms and {pairs} pairs"
            )
    rises = bool((center[1:] >= center[:-1]).all())
    if pairs and not (rises and center[0] >= 0 and center[-1] < len(sample)):
        raise SettingsError(f"center: expected rising numbers of the {len(sample)} samples")
    first = np.zeros(len(sample) + 1, dtype=np.int64)
    np.cumsum(np.bincount(center, minlength=len(sample)), out=first[1:])
    arrays = [
        np.ascontiguousarray(element, dtype=np.int32),
        np.ascontiguousarray(frame, dtype=np.int32),
        np.ascontiguousarray(sample, dtype=np.int64),
        first,
        np.ascontiguousarray(neighbor, dtype=np.int64),
        *(
            None if place is None else np.ascontiguousarray(place, dtype=np.float64)
            for place in (vector, position, shift)
        ),
    ]
    pointers = (None if array is None else array.ctypes.data for array in arrays)
    return Neighbors(len(element), len(sample), n_frames, *pointers), arrays


def rows_of(
    pairs: PairLists, energy: bool, force_atoms: NDArray[np.int64], strain: bool
) -> tuple[Neighbors, Wanted, int, list[NDArray[Any] | None]]:
    """Lists of neighbours, the rows that are wanted, how many, and arrays that are pointed to."""
    lists, held = neighbors(**lists_of(pairs))
    atoms = np.ascontiguousarray(force_atoms, dtype=np.int64)
    wanted = Wanted(energy, strain, len(atoms), atoms.ctypes.data)
    n_rows = 3 * len(atoms) + pairs.n_frames * (energy + 6 * strain)
    return lists, wanted, n_rows, [*held, atoms]
