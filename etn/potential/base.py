"""What every potential is: energies of atoms from their neighbours, on top of a baseline.

A kind of potential says what an atom answers to its neighbours; everything else follows from
that: predictions in batches, errors, model files, calculators.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from etn import io
from etn.data.dataset import Dataset
from etn.data.frame import Frame, check_symbols
from etn.data.metrics import Metrics, Prediction, compute_metrics
from etn.data.stress import voigt
from etn.errors import ModelFileError, SettingsError
from etn.native import Evaluated
from etn.network.files import KINDS
from etn.potential.baseline import Baseline
from etn.potential.features.batching import frame_batches, sample_parts
from etn.potential.features.pairs import Pairs
from etn.potential.response import Response
from etn.stored import build, unpacking

if TYPE_CHECKING:
    from etn.interfaces.ase import EtnCalculator
    from etn.potential.features.inner import Inner
    from etn.potential.uncertainty import Uncertainty

__all__ = ["Potential", "load"]

Arrays = Mapping[str, NDArray[Any]]

# Where the kinds that ship with etn are defined; each is imported when a file of it is read.
HOMES = {
    "polynomial potential": "etn.potential.polynomial",
    "message passing potential": "etn.potential.message_passing.model",
    "neural potential": "etn.nn.potential",
}
_CLASSES: dict[str, type[Potential]] = {}


class Potential(Evaluated, ABC):
    r"""Energies of atoms as a baseline plus what their neighbourhoods answer.

    .. math:: E = \sum_i [\, E^{baseline}_i + E_i(\{r_{ij}, Z_j\}) \,]

    with :math:`E_i = 0` for an atom without neighbours.  Forces and stress are the derivatives.

    A subclass must define :attr:`KIND`, :attr:`elements`, :attr:`r_max`, :meth:`_respond`,
    :meth:`to_arrays` and :meth:`from_arrays`, and may override what stands below them.  Its laws
    are :class:`etn.testing.PotentialLaws`.

    Parameters
    ----------
    baseline : Baseline
    """

    KIND: ClassVar[str] = ""
    """What a model file says that it holds; no two classes define the same."""

    # -- A subclass must define --------------------------------------------------------------

    @property
    @abstractmethod
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the potential knows."""

    @property
    @abstractmethod
    def r_max(self) -> float:
        """Radius within which the neighbours of an atom are found, Å."""

    @abstractmethod
    def _respond(self, pairs: Pairs) -> Response:
        """What the neighbourhoods of the samples of `pairs` add to the baseline.

        Energies (samples,), forces on all atoms (atoms, 3) and strain derivatives (frames, 3, 3).
        """

    @abstractmethod
    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header (JSON values) and arrays for a file; `baseline` and `note` are keys of its own."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, header: Mapping[str, Any], arrays: Arrays, baseline: Baseline) -> Self:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""

    # -- It might override --------------------------------------------------------------------

    is_local: ClassVar[bool] = True
    """Whether an atom answers to its own pairs alone, so that a large frame may be cut."""

    has_stresses: ClassVar[bool] = False
    """Whether a potential that is not local uses ``pairs.frame`` for the strain derivatives alone,
    so that there are stresses of atoms, which every local one has."""

    ignores_charge: ClassVar[bool] = True
    """Whether total charges are passed over; if not, they are read, or refused."""

    def check_frames(self, frames: Iterable[Frame]) -> None:
        """Raise a :class:`~etn.errors.DataError` if there is a frame that it cannot answer for."""
        return

    @property
    def inner(self) -> Inner | None:
        """Where the data end and the repulsion of the baseline begins, if that is known."""
        return None

    @property
    def n_parameters(self) -> int:
        """Number of fitted parameters; zero before the fit."""
        return 0

    WITH_UNCERTAINTY: ClassVar[str] = ""
    """The function that makes error bars and grades of a potential of this kind, if any does."""

    def describe_uncertainty(self) -> str:
        """What is known of error bars and grades, in some words."""
        known = self._uncertainty
        return f"error bars and grades, {len(known.spread)} unknowns" if known else "none"

    def describe(self) -> dict[str, str]:
        """Facts about the potential by name, for people; the values may hold several lines."""
        return {}

    def diagram(self) -> str:
        """A drawing of the network in characters; empty where there is none."""
        return ""

    # -- What follows -------------------------------------------------------------------------

    _uncertainty: Uncertainty | None = None

    @property
    def has_uncertainty(self) -> bool:
        """Whether error bars and extrapolation grades are known."""
        return self._uncertainty is not None

    @property
    def uncertainty(self) -> Uncertainty:
        """Error bars and extrapolation grades.

        Raises
        ------
        SettingsError
            If the potential has none: a file of an earlier version, a kind that never has any.
        """
        if self._uncertainty is not None:
            return self._uncertainty
        if not self.WITH_UNCERTAINTY:
            raise SettingsError(
                f"uncertainty: a {self.KIND} has no error bars and no extrapolation grades yet; "
                "polynomial potentials (those of one layer) and neural potentials have them"
            )
        raise SettingsError(
            "uncertainty: this potential has none (not fitted, or a model file of an earlier "
            "version); fit it anew, or make it from the training data: "
            f"model = {self.WITH_UNCERTAINTY}(model, train); model.save(path)"
        )

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline

    def __init_subclass__(cls, **options: Any) -> None:
        """Note the kind that a class defines; one that inherits it leaves files to its parent.

        Raises
        ------
        SettingsError
            If another class defines the same kind.  A class may be defined anew, as in a notebook.
        """
        super().__init_subclass__(**options)
        kind = vars(cls).get("KIND", "")
        if not kind:
            return
        known = _CLASSES.get(kind)
        home = HOMES.get(kind, cls.__module__) if known is None else known.__module__
        again = known is None or known.__qualname__ == cls.__qualname__
        if home != cls.__module__ or not again:
            raise SettingsError(
                f"KIND: {kind!r} of {cls.__module__}.{cls.__qualname__} is that of another class "
                f"in {home}; choose another text, or leave it out to write files of that class"
            )
        _CLASSES[kind] = cls

    def predict(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Energies, atomic energies, forces, stress and its atomic parts of frames.

        Parameters
        ----------
        frames : sequence of Frame, or Dataset

        Returns
        -------
        list of Prediction
            ``stress`` is None where the cell has no volume, ``stresses`` also for a potential
            that has none, see :attr:`has_stresses`.

        Raises
        ------
        DataError
            If a frame holds an unknown element or coincident atoms.
        """
        return list(self.predict_each(frames))

    def predict_each(self, frames: Iterable[Frame]) -> Iterator[Prediction]:
        """What :meth:`predict` gives, one by one: for more frames than memory holds."""
        for batch in frame_batches(frames):
            yield from self._predict(batch)

    def _predict(self, frames: Sequence[Frame]) -> Iterator[Prediction]:
        for frame in frames:
            self.check_frames([frame])
        pairs = Pairs.find(frames, self.elements, self.r_max)
        frame_of, by_atom = pairs.frame, self.is_local or self.has_stresses
        if by_atom:  # as if each were a frame of its own
            charge = pairs.charge[pairs.frame]
            pairs = replace(pairs, frame=np.arange(pairs.n_atoms), charge=charge)
        energies, forces, strain = self._answer(pairs)
        for k, frame in enumerate(frames):
            own = frame_of == k
            total, stress, stresses = float(energies[own].sum()), None, None
            if frame.volume > 0:
                parts = voigt(strain[own] if by_atom else strain[k : k + 1]) / frame.volume
                stress, stresses = parts.sum(axis=0), parts if by_atom else None
            yield Prediction(total, energies[own], forces[own], stress, stresses)

    def _answer(self, pairs: Pairs) -> Response:
        """Energies of all atoms, baseline included, forces and strain derivatives."""
        if (evaluator := self.evaluator) is not None:
            return Response(*evaluator.answer(pairs))
        energies, forces, strain = self.baseline.evaluate(
            pairs, self.elements, self.r_max, self.inner
        )
        for part in sample_parts(pairs) if self.is_local else (pairs,):
            response = self._respond(part)
            energies[part.sample] += response.energies
            forces += response.forces
            strain += response.strain
        return Response(energies, forces, strain)

    def evaluate(self, dataset: Dataset) -> Metrics:
        """Errors against the labels of a data set."""
        return compute_metrics(dataset.beside(self.predict_each(dataset)), dataset)

    def save(self, path: str | os.PathLike[str], *, note: Mapping[str, Any] | None = None) -> None:
        """Write the model file, atomically.

        Parameters
        ----------
        path : path-like
        note : mapping, optional
            JSON-able remarks to keep in the file: settings, errors, provenance.

        Raises
        ------
        SettingsError
            If the class has no :attr:`KIND`, by which the file is known.
        OSError
            If the file cannot be written; the old one stays as it was.
        """
        if not self.KIND:
            raise SettingsError(
                f"KIND: expected what the files of a {type(self).__name__} say that they hold, "
                'got none; give the class one, such as KIND = "my potential"'
            )
        header, arrays = self.stored()
        header["note"] = dict(note or {})
        io.save(path, kind=self.KIND, header=header, arrays=arrays)

    def stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays of the model file, baseline included and without a note."""
        header, arrays = self.to_arrays()
        baseline = {"e0": dict(self.baseline.e0), "zbl": self.baseline.zbl}
        return {**header, "baseline": baseline}, arrays

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; predictions are the same to the last bit.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, of a newer format or of another kind.
        SettingsError
            If the class has no :attr:`KIND`; :func:`load` reads a file of any kind.
        """
        if not cls.KIND:
            raise SettingsError(
                f"load: {cls.__name__} has no KIND of files; etn.load(path) reads a file of any "
                "kind of potential"
            )
        return cls._restore(io.load(path, kind=cls.KIND), path)

    @classmethod
    def _restore(cls, stored: io.StoredModel, path: str | os.PathLike[str]) -> Self:
        with unpacking(path, cls.KIND):
            baseline = build(Baseline, stored.header["baseline"], "baseline")
            model = cls.from_arrays(stored.header, stored.arrays, baseline)
            check_symbols(model.elements, baseline.e0)
        return model

    def calculator(self, **options: Any) -> EtnCalculator:
        """ASE calculator of this potential."""
        from etn.interfaces.ase import EtnCalculator

        return EtnCalculator(self, **options)


def load(path: str | os.PathLike[str]) -> Potential:
    """Read a model file of any kind of potential.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, of a newer format, or holds no potential.  A kind of
        your own is known once its class is imported.

    Examples
    --------
    >>> import tempfile, os
    >>> from etn import Basis, PolynomialPotential
    >>> path = os.path.join(tempfile.mkdtemp(), "mo.etn")
    >>> PolynomialPotential(Basis(("Mo",), l_max=1), max_bond=2).save(path)
    >>> load(path)
    PolynomialPotential(Mo, body order 4, bonds up to 2x0e+2x1o, not fitted)
    """
    stored = io.load(path)
    try:
        found = potential_class(stored.kind)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    return found._restore(stored, path)


def potential_class(kind: str) -> type[Potential]:
    """The class whose files are of a kind.

    Raises
    ------
    ModelFileError
        If none is known.

    Examples
    --------
    >>> potential_class("polynomial potential").__name__
    'PolynomialPotential'
    """
    if kind in HOMES:
        import_module(HOMES[kind])
    if kind not in _CLASSES:
        known = ", ".join(repr(name) for name in sorted({*HOMES, *_CLASSES}))
        other = "pass another file, or import the module that defines this kind"
        raise ModelFileError(
            f"expected the file of a potential ({known}), this one is of kind {kind!r}; "
            f"{'read it with etn.network.load' if kind in KINDS else other}"
        )
    return _CLASSES[kind]


def no_response(pairs: Pairs) -> Response:
    """The answer of a potential that is its baseline alone."""
    return Response(
        np.zeros(pairs.n_samples), np.zeros((pairs.n_atoms, 3)), np.zeros((pairs.n_frames, 3, 3))
    )
