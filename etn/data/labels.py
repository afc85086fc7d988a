"""Labels of structures: where they stand, in which form and unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from etn.backend import FloatArray
from etn.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import ArrayLike

__all__ = [
    "GPA",
    "LABELS",
    "VOIGT",
    "LabelKeys",
    "OtherKeys",
    "find_label",
    "refuse_stale_results",
    "show",
    "voigt",
    "voigt_stress",
]

LABELS = ("energy", "forces", "stress")
"""What a structure may be labelled with, in eV, eV/Å and eV/Å³ (tension positive)."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Cartesian components of the Voigt order xx, yy, zz, yz, xz, xy."""

GPA = 160.21766208
"""One eV/Å³ in GPa."""


@dataclass(frozen=True)
class LabelKeys:
    """Under which key each label was looked for, and which other keys look like that label.

    Examples
    --------
    >>> LabelKeys(energy="REF_energy").energy
    'REF_energy'
    """

    energy: str | None = "energy"
    forces: str | None = "forces"
    stress: str | None = "stress"
    others: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """For each label, the other keys that may hold it and the number of frames that have them."""

    def used(self) -> dict[str, str]:
        """Return the keys by label, without the labels that were left out."""
        keys = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        return {label: key for label, key in keys.items() if key is not None}


class OtherKeys:
    """Counts the keys that look like a label but were not asked for."""

    def __init__(self, keys: LabelKeys) -> None:
        self._keys = keys
        self._used = frozenset(keys.used().values())
        self._counts = {label: Counter[str]() for label in keys.used()}

    def count(self, atoms: Atoms) -> None:
        """Look through the calculator, the info and the arrays of one structure."""
        results = getattr(atoms.calc, "results", {})
        for key, value in (*results.items(), *atoms.info.items(), *atoms.arrays.items()):
            if key in self._used or "weight" in (lowered := key.lower()):
                continue
            shape = np.shape(value) if isinstance(value, np.ndarray | float | int) else None
            if "energy" in lowered and shape == ():
                label = "energy"
            elif "force" in lowered and shape == (len(atoms), 3):
                label = "forces"
            elif ("stress" in lowered or "virial" in lowered) and shape in ((3, 3), (6,), (9,)):
                label = "stress"
            else:
                continue
            if label in self._counts:
                self._counts[label][key] += 1

    def keys(self) -> LabelKeys:
        """Return the keys with what was counted."""
        others = {label: dict(counts) for label, counts in self._counts.items() if counts}
        return replace(self._keys, others=others)


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


def voigt_stress(value: ArrayLike) -> FloatArray:
    """Return a stress given as 3x3, as nine numbers or in Voigt order as xx, yy, zz, yz, xz, xy.

    Raises
    ------
    ValueError
        If the shape is another or the 3x3 tensor is not symmetric to 1e-3 of its largest entry.

    Examples
    --------
    >>> voigt_stress([[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    array([1., 2., 3., 4., 5., 6.])
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the stress must be numbers, came {show(value)}") from error
    if array.shape == (6,):
        return array
    if array.shape not in ((3, 3), (9,)):
        raise ValueError(
            f"expected a stress of shape (3, 3), (9,) or (6,) (Voigt), came {array.shape}"
        )
    tensor = array.reshape(3, 3)
    if not np.isfinite(tensor).all():  # passes here; Frame refuses it with a better message
        return tensor[tuple(zip(*VOIGT, strict=True))]
    asymmetry = np.abs(tensor - tensor.T).max()
    if asymmetry > 1e-6 + 1e-3 * np.abs(tensor).max():
        raise ValueError(
            f"the stress tensor must be symmetric, but mirrored entries differ by "
            f"{asymmetry:.3g} eV/Å³; check the order of the nine numbers"
        )
    return voigt(tensor)


def show(value: object) -> str:
    """Return the `repr` of what came instead of a label, cut to fit a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def voigt(tensor: FloatArray) -> FloatArray:
    """Voigt components of symmetric 3 x 3 tensors (..., 3, 3): (..., 6)."""
    return np.stack([(tensor[..., a, b] + tensor[..., b, a]) / 2 for a, b in VOIGT], axis=-1)
