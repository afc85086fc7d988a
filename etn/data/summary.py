"""What a set of frames holds, and what in it looks wrong."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray
from etn.data.labels import LABELS, LabelKeys
from etn.data.missing import list_keys, named_keys, unperiodic
from etn.data.plausibility import label_warnings
from etn.data.stress import GPA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etn.data.frame import Frame

__all__ = ["DatasetSummary", "LabelCount", "count_labels", "summarize"]

_MAX_TYPES = 20  # config types listed before "and n more"

_NAME_WIDTH = 15
_LINE_WIDTH = 100
_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³, tension positive"}


@dataclass(frozen=True)
class LabelCount:
    """How many frames have a label."""

    key: str | None
    """The key it was looked for under; None if it was left out."""
    present: int
    missing: int
    others: dict[str, int] = field(default_factory=dict)
    """Other keys that may hold this label, and how many frames have them; they are not read."""
    unperiodic: int = 0
    """How many frames have a stress that is not read, for want of three periodic directions."""
    form: str = ""
    """The key, or keys, with the form of the label where it is not that of etn."""


@dataclass(frozen=True)
class DatasetSummary:
    """What a set of frames holds; printing it gives a table.

    Ranges are (smallest, largest) and None where no frame has the label. Units are eV, Å, eV/Å,
    eV/Å³.
    """

    source: str
    n_frames: int
    n_atoms: int
    atoms_per_frame: tuple[int, int]
    elements: dict[str, int]
    """The number of atoms of each element."""
    config_types: dict[str, int]
    """The number of frames of each config type, the most frequent first."""
    labels: dict[str, LabelCount]
    energy_per_atom: tuple[float, float] | None
    max_force: float | None
    """The largest length of a force."""
    rms_force: float | None
    """The root mean square of the force components."""
    stress: tuple[float, float] | None
    volume_per_atom: tuple[float, float] | None
    """Over the frames that are periodic in all directions."""
    charges: tuple[float, float]
    """The smallest and the largest total charge, elementary charges."""
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        low, high = self.atoms_per_frame
        per_frame = f"{low} per frame" if low == high else f"{low} to {high} per frame"
        rows = [
            ("Dataset", self.source or "(in memory)"),
            ("frames", str(self.n_frames)),
            ("atoms", f"{self.n_atoms} ({per_frame})"),
            ("elements", ", ".join(f"{symbol} {n}" for symbol, n in self.elements.items())),
            ("config types", self._config_types()),
            *((label, self._label(label)) for label in self.labels),
        ]
        if self.energy_per_atom is not None:
            low_energy, high_energy = self.energy_per_atom
            rows.append(("energy range", f"{low_energy:.3f} to {high_energy:.3f} eV/atom"))
        if self.max_force is not None:
            text = f"largest {self.max_force:.2f} eV/Å, rms component {self.rms_force:.2f} eV/Å"
            rows.append(("force range", text))
        if self.stress is not None:
            text = f"{self.stress[0]:.4g} to {self.stress[1]:.4g} eV/Å³ (1 eV/Å³ = {GPA:.1f} GPa)"
            rows.append(("stress range", text))
        if self.volume_per_atom is not None:
            text = f"{self.volume_per_atom[0]:.2f} to {self.volume_per_atom[1]:.2f} Å³/atom"
            rows.append(("volume range", text))
        if any(self.charges):
            rows.append(("charge range", "{:g} to {:g}".format(*self.charges)))
        rows.append(("warnings", "none" if not self.warnings else str(len(self.warnings))))
        rows += [("  -", text) for text in self.warnings]
        return "\n".join(_wrap(name, text) for name, text in rows)

    def _config_types(self) -> str:
        shown = [f"{name or '(none)'} {count}" for name, count in self.config_types.items()]
        more = len(shown) - _MAX_TYPES
        return ", ".join(shown[:_MAX_TYPES] + ([f"and {more} more"] if more > 0 else []))

    def _label(self, label: str) -> str:
        count = self.labels[label]
        if count.key is None:
            return "left out"
        others = f"; not read: {list_keys(count.others)}" if count.others else ""
        if count.unperiodic:
            others += f"; not read, as not periodic: {count.unperiodic}"
        if count.present == 0:
            return f"not found ({count.form}{others})"
        missing = f", {count.missing} without" if count.missing else ""
        found = f"{count.present} of {self.n_frames} frames{missing} ({count.form}{others})"
        return f"{found}, {_UNITS[label]}"


def _wrap(name: str, text: str) -> str:
    return textwrap.fill(
        text,
        _LINE_WIDTH,
        initial_indent=f"{name:<{_NAME_WIDTH}}",
        subsequent_indent=" " * _NAME_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )


def count_labels(frames: Sequence[Frame]) -> dict[str, int]:
    """The number of frames that have each label.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> count_labels(Dataset.read("etn:Mo/test", stress=None))
    {'energy': 23, 'forces': 23, 'stress': 0}
    """
    return {label: sum(getattr(frame, label) is not None for frame in frames) for label in LABELS}


def summarize(
    frames: Sequence[Frame], *, source: str = "", keys: LabelKeys | None = None
) -> DatasetSummary:
    """Count and range what frames hold, and look for implausible labels.

    Parameters
    ----------
    frames : sequence of Frame, or Dataset
        At least one.
    source : str
        Where they come from.
    keys : LabelKeys, optional
        Where the labels were looked for.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> summary = summarize(Dataset.read("etn:NbMoTaW/test"))
    >>> summary.elements, summary.labels["stress"].present, summary.warnings
    ({'Nb': 388, 'Mo': 388, 'Ta': 389, 'W': 395}, 80, ())
    """
    from ase.data import chemical_symbols

    keys = keys or LabelKeys()
    sizes = np.array([frame.n_atoms for frame in frames])
    atoms: Counter[int] = Counter()
    for frame in frames:
        numbers, counts = np.unique(frame.numbers, return_counts=True)
        atoms.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    used, charges = keys.used(), [frame.charge for frame in frames]
    energies = np.array(
        [frame.energy / frame.n_atoms for frame in frames if frame.energy is not None]
    )
    forces = np.array(
        [
            (np.linalg.norm(f.forces, axis=1).max(), np.sum(f.forces**2), f.forces.size)
            for f in frames
            if f.forces is not None
        ]
    ).reshape(-1, 3)
    stresses = np.array([frame.stress for frame in frames if frame.stress is not None])
    volumes = np.array([frame.volume / frame.n_atoms for frame in frames if frame.pbc.all()])
    return DatasetSummary(
        source=source,
        n_frames=len(frames),
        n_atoms=int(sizes.sum()),
        atoms_per_frame=(int(sizes.min()), int(sizes.max())),
        elements={chemical_symbols[number]: atoms[number] for number in sorted(atoms)},
        config_types=dict(Counter(frame.config_type for frame in frames).most_common()),
        labels={
            label: LabelCount(
                used[label][0],
                count,
                len(frames) - count,
                named_keys(frames, label, keys),
                len(unperiodic(frames, keys)) if label == "stress" else 0,
                keys.describe(label),
            )
            if label in used
            else LabelCount(None, count, len(frames) - count)
            for label, count in count_labels(frames).items()
        },
        energy_per_atom=_range(energies),
        max_force=float(forces[:, 0].max()) if len(forces) else None,
        rms_force=float(np.sqrt(forces[:, 1].sum() / forces[:, 2].sum())) if len(forces) else None,
        stress=_range(stresses),
        volume_per_atom=_range(volumes),
        charges=(min(charges), max(charges)),
        warnings=tuple(label_warnings(frames, keys)),
    )


def _range(values: FloatArray) -> tuple[float, float] | None:
    return (float(values.min()), float(values.max())) if values.size else None
