"""One structure with its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn.backend import FloatArray
from etn.data.labels import LABELS, LabelKeys, unread_labels
from etn.data.stress import show
from etn.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Frame", "check_symbols"]

_MAX_NUMBER = 118


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """A structure of A atoms with the labels that are known of it.

    A frame is an immutable value: arrays are copied and read-only. Labels are optional, but one
    that is there must be complete and finite.

    Parameters
    ----------
    numbers : (A,) int64
        Atomic numbers, 1 to 118.
    positions : (A, 3) float64
        Positions in Å.
    cell : (3, 3) float64
        Cell vectors as rows, in Å; zero where there is none.
    pbc : (3,) bool
        Which cell vectors are periodic.
    energy : float, optional
        Total energy in eV.
    forces : (A, 3) float64, optional
        Forces in eV/Å.
    stress : (6,) float64, optional
        Stress (1/V) ∂E/∂ε in eV/Å³, tension positive, in the Voigt order xx, yy, zz, yz, xz, xy;
        only where all three directions are periodic: nothing else has a volume.
    config_type : str
        What sort of configuration it is, for stratified splits and error tables; may be empty.
    weight : float
        How many times the frame counts in a fit; zero leaves it out.
    name : str
        Where the frame comes from, for messages: ``"train.xyz:17"`` (frame index from 0).
    unread : tuple of (str, str)
        Pairs of label and key of what may be that label but was not read, for messages.
    charge : float
        Total charge, elementary charges.

    Raises
    ------
    DataError
        If there is no atom, a species is unknown, a shape is wrong, a number is not finite, a
        periodic direction has no cell vector of its own, or there is a stress and a direction
        that is not periodic.

    Examples
    --------
    >>> frame = Frame([42, 42], [[0, 0, 0], [1.57, 1.57, 1.57]], 3.14 * np.eye(3), [True] * 3)
    >>> frame
    Frame(Mo2, no labels)
    >>> frame.n_atoms, round(frame.volume, 3), frame.energy
    (2, 30.959, None)
    """

    numbers: NDArray[np.int64]
    positions: FloatArray
    cell: FloatArray
    pbc: NDArray[np.bool_]
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    config_type: str = ""
    name: str = ""
    weight: float = 1.0
    unread: tuple[tuple[str, str], ...] = ()
    charge: float = 0.0

    def __post_init__(self) -> None:
        numbers = np.array(self.numbers, dtype=np.int64)
        if numbers.ndim != 1 or numbers.size == 0:
            raise self._error(
                f"expected the numbers of at least one atom, came an array of shape "
                f"{numbers.shape}; remove empty frames"
            )
        unknown = np.flatnonzero((numbers < 1) | (numbers > _MAX_NUMBER))
        if unknown.size:
            species = "species 'X'" if numbers[unknown[0]] == 0 else "an unknown species"
            raise self._error(
                f"atom {unknown[0]} has {species} (atomic number {numbers[unknown[0]]}); every "
                "atom needs a chemical element"
            )
        self._set("numbers", numbers)
        self._set("positions", self._floats("positions", self.positions, (numbers.size, 3)))
        self._set("cell", self._floats("cell", self.cell, (3, 3)))
        pbc = np.array(self.pbc, dtype=bool)
        if pbc.shape != (3,):
            raise self._error(f"expected pbc of shape (3,), came {pbc.shape}")
        self._set("pbc", pbc)
        self._check_cell()
        if self.energy is not None:
            energy = np.asarray(self.energy)
            if energy.size != 1 or energy.dtype.kind not in "if":
                raise self._error(f"the energy must be one number, came {show(self.energy)}")
            if not np.isfinite(energy).all():
                raise self._not_finite(f"the energy is {energy.item()}")
            object.__setattr__(self, "energy", float(energy.item()))
        if self.forces is not None:
            self._set("forces", self._floats("forces", self.forces, (numbers.size, 3)))
        if self.stress is not None:
            self._set("stress", self._floats("stress", self.stress, (6,)))
            if not pbc.all():
                raise self._error(
                    "a stress needs a volume, but the frame is not periodic in all three "
                    "directions; leave the stress out (stress=None) or set pbc"
                )
        try:
            weight = float(self.weight)
        except (TypeError, ValueError):
            weight = np.nan
        if not 0 <= weight < np.inf:
            raise self._error(
                f"the weight (config_weight) must be a number, zero or more, came "
                f"{show(self.weight)}"
            )
        object.__setattr__(self, "weight", weight)
        charge = np.asarray(self.charge)
        if charge.size != 1 or charge.dtype.kind not in "iuf":
            raise self._error(f"the total charge must be one number, came {show(self.charge)}")
        if not np.isfinite(charge).all():
            raise self._not_finite(f"the total charge is {charge.item()}")
        object.__setattr__(self, "charge", float(charge.item()) + 0.0)  # and -0.0 is 0.0

    @property
    def title(self) -> str:
        """What messages call it: by its name, or by its atoms if it has none."""
        return f"frame {self.name}" if self.name else f"a frame of {self.n_atoms} atoms"

    @property
    def n_atoms(self) -> int:
        """The number of atoms A."""
        return int(self.numbers.size)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The chemical symbol of each atom."""
        from ase.data import chemical_symbols

        return tuple(chemical_symbols[number] for number in self.numbers)

    @property
    def volume(self) -> float:
        """The volume of the cell in Å³; zero where a cell vector is missing."""
        return float(abs(np.linalg.det(self.cell)))

    @classmethod
    def from_atoms(
        cls,
        atoms: Atoms,
        *,
        name: str = "",
        energy: str | None = "energy",
        forces: str | None = "forces",
        stress: str | None = "stress",
        virial: str | None = None,
        stress_unit: str = "eV/Å³",
        stress_convention: str | None = None,
        charge: str | None = "charge",
    ) -> Frame:
        """Take over an ASE structure and its stored labels; nothing is calculated.

        Labels are looked for among the results of the attached calculator, in ``atoms.arrays``
        and in ``atoms.info``. A stress may be 3x3, its nine numbers in a row, or in Voigt order;
        it is read only where all three directions are periodic.
        ``atoms.info`` may have a ``config_type``, a ``config_weight``, the frame's `weight`, and
        the total charge, a single number.

        Parameters
        ----------
        atoms : ase.Atoms
            The structure.
        name : str
            The name of the frame in messages.
        energy, forces, stress, virial : str or None
            The key of each label; None leaves the label out.
        stress_unit, stress_convention : str
            How stresses are written, see :class:`LabelKeys`.
        charge : str or None
            The key of the total charge; None takes the structure for neutral.

        Raises
        ------
        DataError
            If a label is stored twice, belongs to other positions, or has the wrong shape, or a
            stress and a virial contradict each other.
        SettingsError
            If the unit or convention is unknown.

        Examples
        --------
        >>> from ase import Atoms
        >>> atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], info={"dft_energy": -31.7})
        >>> Frame.from_atoms(atoms, energy="dft_energy")
        Frame(H2, energy)
        """
        where = name or "frame"
        keys = LabelKeys(energy, forces, stress, virial, stress_unit, stress_convention, charge)
        labels = keys.read(atoms, where)
        config_type = atoms.info.get("config_type", "")
        return cls(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
            **labels,
            config_type=str(config_type),
            name=name,
            weight=atoms.info.get("config_weight", 1.0),
            unread=unread_labels(atoms, keys),
        )

    def to_atoms(self) -> Atoms:
        """Return an ASE structure that carries the labels in a ``SinglePointCalculator``.

        Examples
        --------
        >>> frame = Frame([2], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, energy=-0.5)
        >>> frame.to_atoms().get_potential_energy()
        -0.5
        """
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)
        if self.config_type:
            atoms.info["config_type"] = self.config_type
        if self.weight != 1:
            atoms.info["config_weight"] = self.weight
        if self.charge:
            atoms.info["charge"] = self.charge
        labels = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        known = {label: value for label, value in labels.items() if value is not None}
        if known:
            atoms.calc = SinglePointCalculator(atoms, **known)
        return atoms

    def __repr__(self) -> str:
        symbols = self.symbols
        formula = "".join(
            symbol + (str(count) if (count := symbols.count(symbol)) > 1 else "")
            for symbol in dict.fromkeys(symbols)
        )
        found = [label for label in LABELS if getattr(self, label) is not None]
        labels = ", ".join(found) or "no labels"
        charge = f", charge {self.charge:+g}" if self.charge else ""
        return f"Frame({self.name + ': ' if self.name else ''}{formula}{charge}, {labels})"

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # What pickle or copy bring back may not be written to either.
        for field, value in state.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, field, value)

    def _set(self, field: str, array: NDArray[Any]) -> None:
        array.setflags(write=False)
        object.__setattr__(self, field, array)

    def _floats(self, field: str, value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self._error(f"the {field} must be numbers, came {show(value)}") from error
        if array.shape != shape:
            raise self._error(f"expected {field} of shape {shape}, came {array.shape}")
        if not np.isfinite(array).all():
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            place = f"of atom {first[0]} " if shape[0] == self.numbers.size else ""
            raise self._not_finite(f"the {field} {place}hold {array[first]}")
        return array

    def _check_cell(self) -> None:
        periodic = self.cell[self.pbc]
        lengths = np.linalg.norm(periodic, axis=1)
        if np.any(lengths == 0):
            axis = "abc"[np.flatnonzero(self.pbc)[np.argmin(lengths)]]
            raise self._error(
                f"the direction {axis} is periodic but its cell vector is zero; give the cell "
                "(Lattice in extended XYZ) or set pbc to false there"
            )
        if len(periodic) and np.linalg.matrix_rank(periodic / lengths[:, None]) < len(periodic):
            raise self._error(
                "the periodic cell vectors are linearly dependent, the cell has no volume; correct "
                "the cell (Lattice in extended XYZ)"
            )

    def _error(self, message: str) -> DataError:
        return DataError(f"{self.name or 'frame'}: {message}")

    def _not_finite(self, what: str) -> DataError:
        return self._error(f"{what}; correct the number or remove the frame (or this label)")


def check_symbols(symbols: Sequence[str], energies: Mapping[str, float]) -> None:
    """Check that symbols are those of elements, and that each has an energy.

    Raises
    ------
    DataError
        If one is not.

    Examples
    --------
    >>> check_symbols(("Mo", "Xy"), {"Mo": -4.2, "Xy": 0.0})
    Traceback (most recent call last):
    etn.errors.DataError: elements: expected chemical symbols with an energy each, got Xy
    """
    from ase.data import chemical_symbols

    known = set(chemical_symbols[1:]) & energies.keys()
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown:
        raise DataError(
            "elements: expected chemical symbols with an energy each, got "
            f"{', '.join(map(str, unknown))}"
        )
