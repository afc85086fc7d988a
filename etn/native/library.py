"""The shared library of the evaluator through ctypes; see ``include/etn/etn.h``."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import weakref
from collections.abc import Mapping
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from etn.errors import DataError, ModelFileError, SettingsError
from etn.io import to_bytes

__all__ = ["MAX_DEGREE", "Answer", "Evaluator", "compiled", "is_built", "is_on", "why_not"]

logger = logging.getLogger(__name__)

ABI_VERSION = 3
# Degrees of which there are couplings.
MAX_DEGREE = 6
NAMES = ("libetn.so", "libetn.dylib", "etn.dll")


class _Neighbors(ctypes.Structure):
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


class _Wanted(ctypes.Structure):
    """``etn_rows_wanted`` of the header."""

    _fields_ = (
        ("energy", c_int32),
        ("strain", c_int32),
        ("n_atoms", c_int64),
        ("atom", c_void_p),
    )


_SIGNATURES = {
    "etn_abi_version": (c_int, ()),
    "etn_error": (c_char_p, ()),
    "etn_open": (c_void_p, (c_char_p, c_int)),
    "etn_read": (c_void_p, (c_char_p, c_int64, c_int)),
    "etn_close": (None, (c_void_p,)),
    "etn_n_elements": (c_int, (c_void_p,)),
    "etn_operations": (c_double, (c_void_p, c_double)),
    "etn_target": (c_char_p, (c_void_p,)),
    "etn_evaluate": (
        c_int, (c_void_p, POINTER(_Neighbors), c_int, c_void_p, c_void_p, c_void_p),
    ),
    "etn_has_grades": (c_int, (c_void_p,)),
    "etn_grades": (c_int, (c_void_p, POINTER(_Neighbors), c_int, c_void_p)),
    "etn_columns": (c_int64, (c_void_p, c_int)),
    "etn_rows": (
        c_int, (c_void_p, POINTER(_Neighbors), c_int, POINTER(_Wanted), c_void_p),
    ),
    "etn_pull": (
        c_int, (c_void_p, POINTER(_Neighbors), c_int, POINTER(_Wanted), c_void_p, c_void_p),
    ),
}  # fmt: skip


class Answer(NamedTuple):
    """What an evaluator answers to lists of neighbours, baseline included.

    Attributes
    ----------
    energies : (centers,), eV
    forces : (atoms, 3), eV/Å
    strain : (frames, 3, 3), eV
        dE/d epsilon.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    strain: NDArray[np.float64]


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


class Evaluator:
    """A polynomial potential, compiled.

    Parameters
    ----------
    content : bytes
        Of its model file.
    precision : {64, 32}
        Bits of its numbers; energies are summed in 64.

    Attributes
    ----------
    content : bytes

    Raises
    ------
    SettingsError
        If the library was not built.
    ModelFileError
        If there are no couplings for the potential, or it is of another kind.
    """

    def __init__(self, content: bytes, *, precision: int = 64) -> None:
        self._library, self.content, self._precision = library(), content, precision
        handle = self._library.etn_read(content, len(content), precision)
        if not handle:
            raise ModelFileError(self._library.etn_error().decode(errors="replace"))
        self._handle = c_void_p(handle)
        weakref.finalize(self, self._library.etn_close, self._handle)

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies and pickles: read anew."""
        return _read, (self.content, self._precision)

    @property
    def target(self) -> str:
        """The instructions in use, such as "x86-64-v4"."""
        name: bytes = self._library.etn_target(self._handle)
        return name.decode()

    @property
    def n_elements(self) -> int:
        """Number of elements that it knows."""
        return int(self._library.etn_n_elements(self._handle))

    def operations(self, neighbors: float) -> float:
        """Multiply-adds of an atom with so many neighbours."""
        return float(self._library.etn_operations(self._handle, neighbors))

    def evaluate(
        self,
        *,
        element: NDArray[np.int64],
        frame: NDArray[np.int64],
        n_frames: int,
        sample: NDArray[np.int64],
        center: NDArray[np.int64],
        neighbor: NDArray[np.int64],
        vector: NDArray[np.float64] | None = None,
        position: NDArray[np.float64] | None = None,
        shift: NDArray[np.float64] | None = None,
        threads: int = 1,
    ) -> Answer:
        """Energies of centers, forces and strain derivatives; see :class:`etn.potential.Pairs`.

        Parameters
        ----------
        element, frame : (atoms,) int
        n_frames : int
        sample : (centers,) int
            Atoms.
        center : (pairs,) int
            Index into `sample`, rising.
        neighbor : (pairs,) int
            Atom.
        vector : (pairs, 3), optional
            From the center to its neighbour, Å.
        position : (atoms, 3), optional
        shift : (pairs, 3), optional
            In place of `vector`: that is ``position[neighbor] - position[center] + shift``.  Pairs
            may be farther apart than the radius of the potential, as in a list with a skin.
        threads : int
            The result has the same bits with any number.

        Raises
        ------
        DataError
            If atoms coincide, or a position is no number.
        SettingsError
            If there is no such element, atom or frame, or an array has another shape.
        """
        lists, _held = _neighbors(
            element, frame, n_frames, sample, center, neighbor, vector, position, shift
        )
        answer = Answer(
            np.empty(len(sample)), np.empty((len(element), 3)), np.empty((n_frames, 3, 3))
        )
        failed = self._library.etn_evaluate(
            self._handle, lists, threads, *(array.ctypes.data for array in answer)
        )
        if failed:
            raise self._error()
        wrong = np.flatnonzero(~np.isfinite(answer.energies))
        if wrong.size:
            raise DataError(
                f"atom {int(sample[wrong[0]])}: its energy is no number: another atom coincides "
                "with it, or a position is no number; correct the positions"
            )
        return answer

    @property
    def has_grades(self) -> bool:
        """Whether the content holds what extrapolation grades need."""
        return bool(self._library.etn_has_grades(self._handle))

    def grades(self, **lists: Any) -> NDArray[np.float64]:
        """Extrapolation grades of centers, those of :meth:`etn.potential.Uncertainty.gamma`.

        Parameters
        ----------
        lists
            As :meth:`evaluate` has them, and `threads`.

        Returns
        -------
        (centers,)
            No number where atoms coincide.

        Raises
        ------
        SettingsError
            If the content has none, see :attr:`has_grades`.
        """
        threads = lists.pop("threads", 1)
        pointers, held = _neighbors(**lists)
        grades = np.empty(pointers.n_centers)
        if self._library.etn_grades(self._handle, pointers, threads, grades.ctypes.data):
            raise self._error()
        del held
        return grades

    def gamma(self, pairs: PairLists) -> list[NDArray[np.float64]]:
        """Extrapolation grades of the atoms of every frame, all of which have their pairs."""
        grades = self.grades(**_lists(pairs))
        return np.split(grades, np.cumsum(np.bincount(pairs.frame, minlength=pairs.n_frames))[:-1])

    def columns(self, site: int) -> int:
        """Number of columns of the design of a core."""
        found = int(self._library.etn_columns(self._handle, site))
        if found < 0:
            raise self._error()
        return found

    def answer(self, pairs: PairLists) -> Answer:
        """What the samples answer to their pairs; see :meth:`evaluate`."""
        return self.evaluate(**_lists(pairs))

    def rows(
        self,
        site: int,
        pairs: PairLists,
        *,
        energy: bool,
        force_atoms: NDArray[np.int64],
        strain: bool,
    ) -> NDArray[np.float64]:
        """Rows of the design of a core: how answers depend on its entries, others being fixed.

        Parameters
        ----------
        site : int
            Of the core.
        pairs : PairLists
            Such as :class:`etn.potential.Pairs`.
        energy, strain : bool
            Whether frames have rows of energies, counted from atoms without neighbours, and six
            of dE/d epsilon in Voigt order.
        force_atoms : (targets,) int
            Atoms whose force components have rows, between the two.

        Returns
        -------
        (rows, columns), in the order of columns of ``etn.network.design.CoreDesign``

        Raises
        ------
        SettingsError
            If the evaluator is of 32 bits, or there is no such site or atom.
        """
        lists, wanted, n_rows, _held = _rows(pairs, energy, force_atoms, strain)
        rows = np.empty((n_rows, self.columns(site)))
        if self._library.etn_rows(self._handle, lists, site, wanted, rows.ctypes.data):
            raise self._error()
        return rows

    def pull(
        self,
        site: int,
        pairs: PairLists,
        weights: NDArray[np.float64],
        *,
        energy: bool,
        force_atoms: NDArray[np.int64],
        strain: bool,
    ) -> NDArray[np.float64]:
        """Sum of weighted rows of the design, which are not formed.

        It takes a few evaluations of the chain, whatever the number of rows and columns.

        Parameters
        ----------
        site, pairs, energy, force_atoms, strain
            As in :meth:`rows`.
        weights : (rows,)

        Returns
        -------
        (columns,)

        Raises
        ------
        SettingsError
            As :meth:`rows`, or if there is another number of weights.
        """
        lists, wanted, n_rows, _held = _rows(pairs, energy, force_atoms, strain)
        weights = np.ascontiguousarray(weights, dtype=np.float64)
        if weights.shape != (n_rows,):
            raise SettingsError(f"weights: expected {n_rows} of them, got {weights.shape}")
        total = np.empty(self.columns(site))
        if self._library.etn_pull(
            self._handle, lists, site, wanted, weights.ctypes.data, total.ctypes.data
        ):
            raise self._error()
        return total

    def _error(self) -> SettingsError:
        return SettingsError(self._library.etn_error().decode(errors="replace"))


def _lists(pairs: PairLists) -> dict[str, Any]:
    """Pairs as keywords of :meth:`Evaluator.evaluate`."""
    names = ("element", "frame", "n_frames", "sample", "center", "neighbor", "vector")
    return {name: getattr(pairs, name) for name in names}


def _neighbors(
    element: NDArray[np.int64],
    frame: NDArray[np.int64],
    n_frames: int,
    sample: NDArray[np.int64],
    center: NDArray[np.int64],
    neighbor: NDArray[np.int64],
    vector: NDArray[np.float64] | None = None,
    position: NDArray[np.float64] | None = None,
    shift: NDArray[np.float64] | None = None,
) -> tuple[_Neighbors, list[NDArray[Any] | None]]:
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
    return _Neighbors(len(element), len(sample), n_frames, *pointers), arrays


def _rows(
    pairs: PairLists, energy: bool, force_atoms: NDArray[np.int64], strain: bool
) -> tuple[_Neighbors, _Wanted, int, list[NDArray[Any] | None]]:
    """Lists of neighbours, the rows that are wanted, how many, and arrays that are pointed to."""
    lists, held = _neighbors(**_lists(pairs))
    atoms = np.ascontiguousarray(force_atoms, dtype=np.int64)
    wanted = _Wanted(energy, strain, len(atoms), atoms.ctypes.data)
    n_rows = 3 * len(atoms) + pairs.n_frames * (energy + 6 * strain)
    return lists, wanted, n_rows, [*held, atoms]


def _read(content: bytes, precision: int) -> Evaluator:
    return Evaluator(content, precision=precision)


def compiled(
    kind: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Evaluator | None:
    """The evaluator of what a model file would hold; None if there is none for it."""
    if not is_built():
        return None
    try:
        return Evaluator(to_bytes(kind=kind, header=header, arrays=arrays))
    except ModelFileError as error:
        logger.info("evaluated by NumPy: %s", error)
        return None


def is_on() -> bool:
    """Whether potentials use their compiled evaluators: not with ``ETN_NATIVE=0``."""
    return os.environ.get("ETN_NATIVE", "1") != "0"


def is_built() -> bool:
    """Whether the library is there."""
    return not why_not()


@cache
def why_not() -> str:
    """Why there is no compiled evaluator; empty if there is one."""
    try:
        _load()
    except OSError as error:
        reason = f"{error}"
        logger.warning("potentials are evaluated by NumPy, ten times slower: %s", reason)
        return reason
    return ""


def library() -> ctypes.CDLL:
    """The library.

    Raises
    ------
    SettingsError
        If it was not built.
    """
    if reason := why_not():
        raise SettingsError(f"native: the compiled evaluator is not there ({reason})")
    return _load()


@cache
def _load() -> ctypes.CDLL:
    path = _find()
    if path is None:
        raise OSError(
            "etn was installed without a C++ compiler; install one, such as g++, and etn again"
        )
    found = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    version = found.etn_abi_version()
    if version != ABI_VERSION:
        raise OSError(f"{path} is of version {version}, expected {ABI_VERSION}: install etn again")
    return found


def _find() -> Path | None:
    # An editable installation keeps what was built beside the other packages, not in the sources.
    folders = [Path(__file__).parent / "lib"]
    folders += [Path(entry) / "etn" / "native" / "lib" for entry in sys.path if entry]
    candidates = (folder / name for folder in folders for name in NAMES)
    return next((path for path in candidates if path.is_file()), None)
