"""Potentials as ASE calculators."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from etn.errors import DataError
from etn.potential.frame import Frame
from etn.potential.model import PolynomialPotential

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["EtnCalculator"]

# What the potential depends on; a change of charges or magnetic moments recomputes nothing.
_RELEVANT = ("positions", "numbers", "cell", "pbc")


class EtnCalculator(Calculator):  # type: ignore[misc]
    """ASE calculator of a potential: energy, atomic energies, forces and stress.

    The structure may be periodic in any directions or in none, and its cell may be smaller than
    the radius of the potential. Units are those of ASE: eV, eV/Å, and eV/Å³ with tension
    positive in the Voigt order xx, yy, zz, yz, xz, xy.

    Parameters
    ----------
    model : PolynomialPotential or path-like
        A potential, or the model file of one.

    Raises
    ------
    DataError
        From a calculation, if the structure has elements that the potential does not know, or
        coincident atoms.
    PropertyNotImplementedError
        From a calculation, if the stress is asked for and the cell has no volume.
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
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]
    ignored_changes: ClassVar[set[str]] = set(all_changes) - set(_RELEVANT)

    def __init__(self, model: PolynomialPotential | str | os.PathLike[str], **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(model, PolynomialPotential):
            model = PolynomialPotential.load(model)
        self.model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Calculate all properties; ASE calls this when the structure has changed."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        frame = Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, name="atoms")
        unknown = sorted(set(frame.symbols) - set(self.model.elements))
        if unknown:
            raise DataError(
                f"{atoms.get_chemical_formula()}: this potential knows "
                f"{', '.join(self.model.elements)}, but the structure holds {', '.join(unknown)}; "
                "use a potential that was fitted to data with all these elements"
            )
        (prediction,) = self.model.predict([frame])
        self.results = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "energies": prediction.energies,
            "forces": prediction.forces,
        }
        if prediction.stress is not None:
            self.results["stress"] = prediction.stress
        elif "stress" in properties:
            raise PropertyNotImplementedError(
                "stress: the cell of the structure has no volume, so that there is no stress; "
                "give three cell vectors (atoms.center(vacuum=...) adds them)"
            )
