"""Labels of structures: where they stand, in which form and unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from etn.backend import FloatArray
from etn.data.charge import total_charge
from etn.data.stress import CONVENTIONS, STRESS_UNITS, VASP_ORDER, known_unit, voigt_stress
from etn.errors import DataError, SettingsError
from etn.surface import name_of, option

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "LABELS",
    "LabelKeys",
    "find_label",
    "looks_like",
    "refuse_stale_results",
    "unread_labels",
]

LABELS = ("energy", "forces", "stress")
"""What a structure may be labelled with, in eV, eV/Å and eV/Å³ (tension positive)."""

# What parts of a key sound like each label.
_NAMES = {"energy": ("energy",), "forces": ("force",), "stress": ("stress", "virial")}


@dataclass(frozen=True)
class LabelKeys:
    """Under which key each label is looked for, and how stresses are written.

    Parameters
    ----------
    energy, forces, stress : str or None
        Keys of the total energy (eV), the forces (eV/Å) and the stress; None leaves one out.
    virial : str or None
        Key of the virial in eV, -V·stress, read as the stress: of frames that have both, the two
        must agree.
    stress_unit : str
        Unit of the stress: one of :data:`~etn.data.stress.STRESS_UNITS`.
    stress_convention : {"tension", "compression", "vasp"}, optional
        Which sign stresses and virials have: positive under tension, as in ASE; positive under
        compression; or that of VASP, positive under compression and, where six numbers are
        written, in the order xx, yy, zz, xy, yz, zx. By default a stress is positive under
        tension and a virial under compression.
    charge : str or None
        Key of the total charge, elementary charges; None takes every frame for neutral.

    Raises
    ------
    SettingsError
        If unit or convention is unknown.

    Examples
    --------
    >>> LabelKeys(energy="REF_energy", virial="virial").used()
    {'energy': ('REF_energy',), 'forces': ('forces',), 'stress': ('virial', 'stress')}
    """

    energy: str | None = "energy"
    forces: str | None = "forces"
    stress: str | None = "stress"
    virial: str | None = None
    stress_unit: str = "eV/Å³"
    stress_convention: str | None = None
    charge: str | None = "charge"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stress_unit", known_unit(self.stress_unit))
        if self.stress_convention not in (None, *CONVENTIONS):
            raise SettingsError(
                f"{name_of('stress_convention')}: expected one of {', '.join(CONVENTIONS)}, "
                f"got {self.stress_convention!r}"
            )

    def used(self) -> dict[str, tuple[str, ...]]:
        """Return the keys of each label, without the labels that are left out."""
        keys = {
            "energy": (self.energy,),
            "forces": (self.forces,),
            "stress": (self.virial, self.stress),
        }
        found = {label: tuple(k for k in names if k is not None) for label, names in keys.items()}
        return {label: names for label, names in found.items() if names}

    def describe(self, label: str) -> str:
        """Say under which key a label is looked for and, unless it is that of etn, in which form.

        Examples
        --------
        >>> LabelKeys(stress_unit="kbar", stress_convention="vasp").describe("stress")
        'key "stress", kbar, vasp'
        """
        parts = [" or ".join(f'"{key}"' for key in self.used()[label])]
        if label == "stress":
            parts += [self.stress_unit] if self.stress_unit != "eV/Å³" and self.stress else []
            parts += [self.stress_convention] if self.stress_convention else []
            parts += ["-V·stress in eV"] if self.virial and not self.stress_convention else []
        return f"key {', '.join(parts)}"

    @property
    def order(self) -> Sequence[int]:
        """Where xx, yy, zz, yz, xz, xy stand among six numbers."""
        return VASP_ORDER if self.stress_convention == "vasp" else range(6)

    @property
    def stress_factor(self) -> float:
        """What turns a stress as it is written into eV/Å³, tension positive."""
        sign = 1.0 if self.stress_convention in (None, "tension") else -1.0
        return sign / STRESS_UNITS[self.stress_unit]

    @property
    def virial_sign(self) -> float:
        """What turns a virial as it is written into V·stress."""
        return 1.0 if self.stress_convention == "tension" else -1.0

    @property
    def opposite(self) -> str:
        """The convention with the other sign than what is read now."""
        tension = self.stress_convention == "tension"
        by_default = self.stress_convention is None and self.virial is None
        return "compression" if tension or by_default else "tension"

    def read(self, atoms: Atoms, where: str) -> dict[str, Any]:
        """Return the labels of a structure in the units of etn, by name; None where one is missing.

        A stress or virial is read only where all three directions are periodic: nothing else has
        a volume. With them comes the total charge, zero where none is told.

        Raises
        ------
        DataError
            If a label is stored twice, belongs to other positions, has the wrong shape, or a
            stress and a virial contradict each other.

        Examples
        --------
        >>> from ase.build import bulk
        >>> copper = bulk("Cu")
        >>> copper.info["virial"] = -0.5 * copper.get_volume() * np.eye(3)
        >>> LabelKeys(virial="virial").read(copper, "copper")["stress"]
        array([0.5, 0.5, 0.5, 0. , 0. , 0. ])
        """
        used = self.used()
        refuse_stale_results(atoms, (key for keys in used.values() for key in keys), where)
        return {
            "energy": find_label(atoms, self.energy, where),
            "forces": find_label(atoms, self.forces, where),
            "stress": self._read_stress(atoms, where) if all(atoms.pbc) else None,
            "charge": total_charge(atoms, self.charge),
        }

    def _read_stress(self, atoms: Atoms, where: str) -> FloatArray | None:
        stress = self._components(atoms, self.stress, where)
        virial = self._components(atoms, self.virial, where)
        stress = None if stress is None else self.stress_factor * stress
        if virial is None:
            return stress
        volume = atoms.cell.volume
        if not volume:  # Frame refuses the cell with a better message
            return None
        virial = self.virial_sign * virial / volume
        if stress is not None:
            size = max(np.abs(stress).max(), np.abs(virial).max())
            # Digits of a file; a wrong sign, order or unit lies far beyond.
            if np.abs(stress - virial).max() > 1e-4 + 0.02 * size:
                raise DataError(
                    f"{where}: the stress under {self.stress!r} and that of the virial under "
                    f"{self.virial!r} contradict each other: {_numbers(stress)} and "
                    f"{_numbers(virial)} eV/Å³; leave one out ({option('stress_key', None)} or "
                    f"{option('virial_key', None)}), or tell unit and sign "
                    f"({name_of('stress_unit')}, {name_of('stress_convention')})"
                )
        return virial

    def _components(self, atoms: Atoms, key: str | None, where: str) -> FloatArray | None:
        value = find_label(atoms, key, where)
        if value is None:
            return None
        # The results of a calculator have the order of ASE, whatever file they came from.
        results = getattr(atoms.calc, "results", {})
        order = range(6) if results.get(key) is not None else self.order
        try:
            return voigt_stress(value, order)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error


def _numbers(values: FloatArray) -> str:
    return "(" + " ".join(f"{value:.4g}" for value in values) + ")"


def unread_labels(atoms: Atoms, keys: LabelKeys) -> tuple[tuple[str, str], ...]:
    """Pairs of label and key of all that has the shape of a label and is not read.

    A stress that is not read for want of periodicity is among them, under its own key.

    Examples
    --------
    >>> from ase import Atoms
    >>> unread_labels(Atoms("H2", info={"REF_energy": -31.7, "note": "triplet"}), LabelKeys())
    (('energy', 'REF_energy'),)
    """
    used = keys.used()
    periodic = bool(all(atoms.pbc))
    found: dict[tuple[str, str], None] = {}
    for key, value in _values(atoms):
        label = _shape_of(value, len(atoms), key)
        if label not in used or "weight" in key.lower() or key == keys.charge:
            continue
        is_read = key in used[label]
        # Without periodicity no stress is read, and none is missed.
        if is_read != periodic if label == "stress" else not is_read:
            found[label, key] = None
    return _shared(tuple(found))


def _values(atoms: Atoms) -> Iterator[tuple[str, Any]]:
    """What may be a label, by key."""
    yield from getattr(atoms.calc, "results", {}).items()
    yield from atoms.info.items()
    yield from ((k, v) for k, v in atoms.arrays.items() if k not in ("numbers", "positions"))


def _shape_of(value: object, n_atoms: int, key: str) -> str:
    """The label whose shape this value has, by the name of its key where that is open."""
    if isinstance(value, bool) or not isinstance(value, np.ndarray | np.number | float | int):
        return ""
    shape = np.shape(value)
    # Whole numbers count steps and atoms, unless the name says otherwise.
    is_float = np.asarray(value).dtype.kind == "f"
    fits = {
        "energy": shape == (),
        "forces": shape == (n_atoms, 3),
        "stress": shape in ((3, 3), (6,), (9,)),
    }
    named = [label for label in LABELS if fits[label] and looks_like(label, key)]
    return next(iter(named or [label for label in LABELS if fits[label] and is_float]), "")


def looks_like(label: str, key: str) -> bool:
    """Whether a key sounds like that of a label.

    Examples
    --------
    >>> looks_like("stress", "REF_virial"), looks_like("energy", "E")
    (True, False)
    """
    return any(part in key.lower() for part in _NAMES[label])


@lru_cache(maxsize=1024)
def _shared(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """One copy of what most frames of a file have in common."""
    return pairs


def find_label(atoms: Atoms, key: str | None, where: str) -> Any:
    """Return what is stored under `key` in the calculator, the arrays or the info, or None.

    Raises
    ------
    DataError
        If it is stored twice.

    Examples
    --------
    >>> from ase import Atoms
    >>> find_label(Atoms("H", info={"dft_energy": -13.6}), "dft_energy", "train.xyz:0")
    -13.6
    """
    if key is None:
        return None
    found: dict[str, Any] = {}
    results = getattr(atoms.calc, "results", {})
    if results.get(key) is not None:
        found["the calculator's results"] = results[key]
    if key in atoms.arrays:
        found["atoms.arrays"] = atoms.arrays[key]
    if key in atoms.info:
        found["atoms.info"] = atoms.info[key]
    if len(found) > 1:
        raise DataError(
            f"{where}: two labels for one key: {key!r} is in {' and in '.join(found)}; keep one, "
            "or store them under different keys and name the one to use"
        )
    return next(iter(found.values()), None)


def refuse_stale_results(atoms: Atoms, keys: Iterable[str], where: str) -> None:
    """Raise if the calculator holds a result under one of `keys` that belongs to other atoms.

    Raises
    ------
    DataError
        If the structure has changed since the calculation.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase.calculators.singlepoint import SinglePointCalculator
    >>> atoms = Atoms("H")
    >>> atoms.calc = SinglePointCalculator(atoms, energy=-13.6)
    >>> atoms.positions += 1.0
    >>> refuse_stale_results(atoms, ["energy"], "train.xyz:0")
    Traceback (most recent call last):
    etn.errors.DataError: train.xyz:0: the calculator's 'energy' belongs to another structure \
(positions changed since); calculate it again or detach the calculator
    """
    results = getattr(atoms.calc, "results", {})
    stored = [key for key in keys if results.get(key) is not None]
    check_state = getattr(atoms.calc, "check_state", None)
    # A NaN differs from itself; Frame refuses it with a better message.
    comparable = np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
    if not stored or check_state is None or not comparable:
        return
    changed = check_state(atoms)
    if changed:
        raise DataError(
            f"{where}: the calculator's {stored[0]!r} belongs to another structure "
            f"({', '.join(changed)} changed since); calculate it again or detach the calculator"
        )
