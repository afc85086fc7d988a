"""Potentials as ASE calculators."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from etn.data.charge import total_charge
from etn.data.frame import Frame
from etn.data.metrics import Prediction
from etn.data.stress import voigt
from etn.data.verlet import VerletList
from etn.errors import DataError, ExtrapolationError, ExtrapolationWarning, SettingsError
from etn.machine import threads
from etn.native import Evaluator
from etn.potential import load
from etn.potential.features.pairs import element_indices

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from etn.potential import Potential

__all__ = ["EtnCalculator"]

# What every potential depends on; magnetic moments and charges of atoms recompute nothing.
_RELEVANT = ("positions", "numbers", "cell", "pbc")
# Grades that are only watched are calculated anew where an atom has moved by more than this, Å.
MOVED = 0.1


class EtnCalculator(Calculator):  # type: ignore[misc]
    """ASE calculator of a potential: energy, forces and stress, in all and of atoms.

    The structure may be periodic in any directions or in none, and its cell may be smaller than
    the radius of the potential. Units are those of ASE: eV, eV/Å, and eV/Å³ with tension
    positive in the Voigt order xx, yy, zz, yz, xz, xy. As ASE has it, the stresses of the atoms
    sum to the stress; that of atom i is (1/V) dE_i/d epsilon.

    The total charge of a structure is ``atoms.info["charge"]``, zero if there is none. TensorNet
    reads it, other networks refuse a charged structure, and fits pass over it.

    A potential with an uncertainty watches its grades: an :class:`etn.errors.ExtrapolationWarning`
    comes once from each calculator, when a structure first leaves the training data. It looks
    whenever an atom or the cell has moved by more than 0.1 Å since it looked last, which adds some
    percent to the time of dynamics.

    Parameters
    ----------
    model : Potential or path-like
        A potential of any kind, or its model file.
    gamma_warn : float or None
        Largest extrapolation grade of an atom without a warning, None for no warning.
    gamma_stop : float, optional
        Largest extrapolation grade of an atom at which results are given; see
        :class:`etn.potential.Uncertainty`. Between 2 and 10 is usual.
    gamma_save : (float, path-like), optional
        Append every structure with a grade above the number to the extended XYZ file, with the
        grades as the column ``gamma``: structures worth labelling. One that stops a run is among
        them if it is above both.
    skin : float
        Of a compiled potential: neighbours are searched for this much farther (Å), and again when
        an atom has moved by more than half of it.
    dtype : {"float64", "float32"}
        Numbers of a compiled potential; sums over atoms are always in double precision. Forces
        in single precision are exact to some 1e-5 eV/Å, and take about 60 % of the time.

    Warns
    -----
    ExtrapolationWarning
        Once, if a grade is above `gamma_warn`.

    Raises
    ------
    ExtrapolationError
        From a calculation, if a grade is above `gamma_stop`.
    SettingsError
        If grades are asked for and the potential has no uncertainty, a threshold is not positive,
        or single precision is asked of a potential that is not compiled.
    DataError
        From a calculation, if the structure has elements that the potential does not know,
        coincident atoms, or a charge that the network does not read.
    PropertyNotImplementedError
        From a calculation, if stresses are asked for and the cell has no volume or the
        potential has none of atoms.
    ModelFileError
        If the model file cannot be used.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from etn import Baseline, Basis, PolynomialPotential
    >>> model = PolynomialPotential(Basis(("Cu",), l_max=1), baseline=Baseline({"Cu": -3.7}))
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.calc = EtnCalculator(model)
    >>> atoms.get_potential_energy(), atoms.get_forces().shape, atoms.get_stress().shape
    (-14.8, (4, 3), (6,))

    A fitted potential also tells how far every atom is from its training data:

    >>> from etn import Dataset, fit
    >>> from etn.sweep import Schedule
    >>> train = Dataset.read("etn:Mo/train", index="::20")
    >>> model = PolynomialPotential(Basis.for_dataset(train, r_max=4.0, n_max=4, l_max=1),
    ...                             body_order=3, max_bond=2)
    >>> atoms = bulk("Mo", cubic=True)
    >>> atoms.calc = EtnCalculator(
    ...     fit(model, train, schedule=Schedule(max_sweeps=1)).model, gamma_stop=5.0)
    >>> atoms.calc.get_gamma(atoms).shape
    (2,)
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
    ]
    ignored_changes: ClassVar[set[str]] = set(all_changes) - set(_RELEVANT)

    def __init__(
        self,
        model: Potential | str | os.PathLike[str],
        *,
        gamma_warn: float | None = 2.0,
        gamma_stop: float | None = None,
        gamma_save: tuple[float, str | os.PathLike[str]] | None = None,
        skin: float = 0.5,
        dtype: str = "float64",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.results: dict[str, Any] = {}
        self._gamma: NDArray[np.float64] | None = None
        self._looked_at: Frame | None = None
        if isinstance(model, str | os.PathLike):
            model = load(model)
        self.model = model
        self._lists = VerletList(model.r_max, skin=skin)
        if dtype not in ("float64", "float32"):
            raise SettingsError(f"dtype: expected float64 or float32, got {dtype!r}")
        self._single = _single(model) if dtype == "float32" else None
        pair: Any = gamma_save
        if pair is not None and not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise SettingsError(
                f"gamma_save: expected a threshold and a file, such as (2.0, 'far.xyz'), got "
                f"{gamma_save!r}"
            )
        self.gamma_stop, self.gamma_save = gamma_stop, gamma_save
        thresholds = {"gamma_stop": gamma_stop, "gamma_save": gamma_save and gamma_save[0]}
        for name, threshold in (thresholds | {"gamma_warn": gamma_warn}).items():
            if threshold is None:
                continue
            if not threshold > 0:
                raise SettingsError(f"{name}: expected a threshold above zero, got {threshold}")
            if name in thresholds:
                _ = model.uncertainty  # raises where there is none
        self.gamma_warn = gamma_warn if model.has_uncertainty else None
        self._has_warned = False

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they are calculators of their own, which warn once as well."""
        return {**self.__dict__, "_has_warned": False, "_looked_at": None}

    def get_gamma(self, atoms: Atoms | None = None) -> NDArray[np.float64]:
        """Extrapolation grade of every atom, (atoms,).

        They are no entry of ``results``, where ASE allows its own properties only.

        Raises
        ------
        SettingsError
            If the potential has no uncertainty.
        """
        if atoms is not None and self.check_state(atoms):
            self.reset()
            self.atoms = atoms.copy()
        if self._gamma is None:
            self._gamma = self._grades(self._frame())
        return self._gamma.copy()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, with the total charge where it matters."""
        changes: list[str] = super().check_state(atoms, tol)
        before = 0.0 if self.atoms is None else total_charge(self.atoms)
        if not self.model.ignores_charge and total_charge(atoms) != before:
            return [*changes, "charge"]
        return changes

    def reset(self) -> None:
        """Forget the structure and its results."""
        super().reset()
        self._gamma = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Calculate all properties; ASE calls this when the structure has changed."""
        super().calculate(atoms, properties, system_changes)
        frame = self._frame()
        if system_changes:
            self.results, self._gamma = {}, None
        if self._gamma is None and (self.gamma_stop is not None or self.gamma_save is not None):
            self._gamma = self._grades(frame)
        prediction = self._predict(frame)
        self.results |= {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "energies": prediction.energies,
            "forces": prediction.forces,
        }
        for name in ("stress", "stresses"):
            value = getattr(prediction, name)
            if value is not None:
                self.results[name] = value
        self._watch(frame)
        for name in ("stress", "stresses"):
            if name in self.results or name not in properties:
                continue
            reason = (
                "the cell of the structure has no volume, so that there is no stress; give three "
                "cell vectors (atoms.center(vacuum=...) adds them)"
                if frame.volume == 0
                else f"a {self.model.KIND} has no stresses of atoms, only that of the structure"
            )
            raise PropertyNotImplementedError(f"{name}: {reason}")

    def _predict(self, frame: Frame) -> Prediction:
        """What the potential says."""
        if (evaluator := self.model.evaluator) is None:
            return self.model.predict([frame])[0]
        try:
            answer = (self._single or evaluator).evaluate(**self._neighbors(frame))
        except DataError:  # atoms coincide; a search says which
            return self.model.predict([frame])[0]
        energies, forces, strain = answer
        stress, stresses = None, None
        if frame.volume > 0:
            stresses = voigt(strain) / frame.volume
            stress = stresses.sum(axis=0)
        return Prediction(float(energies.sum()), energies, forces, stress, stresses)

    def _look(self, frame: Frame) -> NDArray[np.float64]:
        """Extrapolation grades of the atoms."""
        uncertainty = self.model.uncertainty
        if (evaluator := uncertainty.evaluator) is not None:
            gamma = evaluator.grades(**self._neighbors(frame))
            if not np.isnan(gamma).any():  # atoms coincide, which it says
                return gamma
        return uncertainty.gamma([frame])[0]

    def _neighbors(self, frame: Frame) -> dict[str, Any]:
        """What compiled evaluators ask for, with lists of neighbours that serve for many steps."""
        lists, atoms = self._lists.of(frame), np.arange(frame.n_atoms)
        return {
            "element": element_indices(frame, self.model.elements), "frame": atoms,
            "n_frames": frame.n_atoms, "sample": atoms, "center": lists.first,
            "neighbor": lists.second, "position": frame.positions, "shift": lists.shift,
            "threads": threads(),
        }  # fmt: skip

    def _frame(self) -> Frame:
        """The structure, of elements that the potential knows."""
        atoms = self.atoms
        frame = Frame(
            atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, name="atoms",
            charge=total_charge(atoms),
        )  # fmt: skip
        unknown = sorted(set(frame.symbols) - set(self.model.elements))
        if unknown:
            raise DataError(
                f"{atoms.get_chemical_formula()}: this potential knows "
                f"{', '.join(self.model.elements)}, but the structure holds {', '.join(unknown)}; "
                "use a potential that was fitted to data with all these elements"
            )
        self.model.check_frames([frame])
        return frame

    def _watch(self, frame: Frame) -> None:
        """Warn once of a structure that leaves the data, for little time."""
        if self.gamma_warn is None or self._has_warned:
            return
        if self._gamma is None and not self._has_moved(frame):
            return
        gamma = self._gamma
        if gamma is None:
            gamma = self._look(frame)
        self._gamma, self._looked_at = gamma, frame
        atom = int(gamma.argmax())
        if not gamma[atom] <= self.gamma_warn:  # nor with a grade that is no number
            self._has_warned = True
            warnings.warn(
                f"atom {atom} ({frame.symbols[atom]}) has the extrapolation grade "
                f"{gamma[atom]:.3g}, above gamma_warn = {self.gamma_warn:g}: the structure leaves "
                "the training data, and this calculator says so only once; label structures like "
                "it and fit again (gamma_save keeps them), end such runs with gamma_stop, or "
                "silence this with gamma_warn=None",
                ExtrapolationWarning,
                stacklevel=2,
            )

    def _has_moved(self, frame: Frame) -> bool:
        before = self._looked_at
        if before is None or not np.array_equal(before.numbers, frame.numbers):
            return True
        if before.charge != frame.charge:
            return True
        pairs = ((frame.positions, before.positions), (frame.cell, before.cell))
        return any(bool(np.any(np.abs(now - then) > MOVED)) for now, then in pairs)

    def _grades(self, frame: Frame) -> NDArray[np.float64]:
        """Grades of the atoms; saves the structure and stops where the options say so."""
        gamma = self._look(frame)
        atom = int(gamma.argmax())
        if self.gamma_save is not None and not gamma[atom] <= self.gamma_save[0]:
            import ase.io

            atoms = frame.to_atoms()
            atoms.arrays["gamma"] = gamma
            ase.io.write(self.gamma_save[1], atoms, format="extxyz", append=True)
        if self.gamma_stop is not None and not gamma[atom] <= self.gamma_stop:
            raise ExtrapolationError(
                f"atom {atom} ({frame.symbols[atom]}) has the extrapolation grade "
                f"{gamma[atom]:.3g}, above gamma_stop = {self.gamma_stop:g}: the structure is too "
                "far from the training data; label it and fit again (gamma_save keeps it), or "
                "raise gamma_stop"
            )
        return gamma


def _single(model: Potential) -> Evaluator:
    """A compiled potential in single precision."""
    if model.evaluator is None:
        raise SettingsError(
            f"dtype: expected float64, as this {model.KIND} is not compiled (etn info says why), "
            "got float32"
        )
    return Evaluator(model.evaluator.content, precision=32)
