"""The compiled evaluator as a Python object."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from ctypes import c_void_p
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.errors import DataError, ModelFileError, SettingsError
from etn.io import to_bytes
from etn.native.library import is_built, library
from etn.native.lists import PairLists, lists_of, neighbors, rows_of

__all__ = ["MAX_DEGREE", "Answer", "Evaluator", "compiled"]

logger = logging.getLogger(__name__)

# Degrees of which there are couplings.
MAX_DEGREE = 6


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
        lists, _held = neighbors(
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
        pointers, held = neighbors(**lists)
        grades = np.empty(pointers.n_centers)
        if self._library.etn_grades(self._handle, pointers, threads, grades.ctypes.data):
            raise self._error()
        del held
        return grades

    def gamma(self, pairs: PairLists) -> list[NDArray[np.float64]]:
        """Extrapolation grades of the atoms of every frame, all of which have their pairs."""
        grades = self.grades(**lists_of(pairs))
        return np.split(grades, np.cumsum(np.bincount(pairs.frame, minlength=pairs.n_frames))[:-1])

    def columns(self, site: int) -> int:
        """Number of columns of the design of a core."""
        found = int(self._library.etn_columns(self._handle, site))
        if found < 0:
            raise self._error()
        return found

    def answer(self, pairs: PairLists) -> Answer:
        """What the samples answer to their pairs; see :meth:`evaluate`."""
        return self.evaluate(**lists_of(pairs))

    def rows(
        self,
        site: int,
        pairs: PairLists,
        *,
        energy: bool,
        force_atoms: NDArray[np.int64],
        strain: bool,
        weights: NDArray[np.float64] | None = None,
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
        weights : (rows,), optional
            What each row is multiplied with.

        Returns
        -------
        (rows, columns), in the order of columns of ``etn.network.design.CoreDesign``

        Raises
        ------
        SettingsError
            If the evaluator is of 32 bits, there is no such site or atom, or another number of
            weights.
        """
        lists, wanted, n_rows, _held = rows_of(pairs, energy, force_atoms, strain)
        rows = np.empty((n_rows, self.columns(site)))
        factors = None if weights is None else _weights(weights, n_rows)
        pointer = None if factors is None else factors.ctypes.data
        if self._library.etn_rows(self._handle, lists, site, wanted, pointer, rows.ctypes.data):
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
        lists, wanted, n_rows, _held = rows_of(pairs, energy, force_atoms, strain)
        factors = _weights(weights, n_rows)
        total = np.empty(self.columns(site))
        if self._library.etn_pull(
            self._handle, lists, site, wanted, factors.ctypes.data, total.ctypes.data
        ):
            raise self._error()
        return total

    def _error(self) -> SettingsError:
        return SettingsError(self._library.etn_error().decode(errors="replace"))


def _weights(weights: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    if weights.shape != (n_rows,):
        raise SettingsError(f"weights: expected {n_rows} of them, got {weights.shape}")
    return np.ascontiguousarray(weights, dtype=np.float64)


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
