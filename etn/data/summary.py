"""What a set of frames holds, and what in it looks wrong."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray
from etn.data.labels import GPA, LABELS, LabelKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etn.data.frame import Frame

__all__ = ["DatasetSummary", "LabelCount", "count_labels", "summarize"]

# Beyond these a label is more likely in another unit, or wrong, than physical.
_NET_FORCE = 1e-2  # eV/Å
_LARGE_FORCE = 100.0  # eV/Å
_ENERGY_SPREAD = 20.0  # eV/atom around the best sum of atomic energies
_STRESS_RMS = 1.0  # eV/Å³, 160 GPa
_STRESS_LARGE = 10.0  # eV/Å³
_SIGN_FRAMES = 10  # frames of one composition before the sign of the stress is judged
_SIGN_SPREAD = 0.01  # relative spread of their volumes
_SIGN_WINDOW = 0.15  # around the median volume
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
        others = f"; not read: {_list_keys(count.others)}" if count.others else ""
        if count.present == 0:
            return f'not found (key "{count.key}"{others})'
        missing = f", {count.missing} without" if count.missing else ""
        found = f'{count.present} of {self.n_frames} frames{missing} (key "{count.key}"{others})'
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


def _list_keys(counts: dict[str, int]) -> str:
    return ", ".join(f"{key} ({_frames(count)})" for key, count in counts.items())


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"


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
    numbers = np.concatenate([frame.numbers for frame in frames])
    elements, counts = np.unique(numbers, return_counts=True)
    used, others = keys.used(), keys.others
    energies = np.array(
        [frame.energy / frame.n_atoms for frame in frames if frame.energy is not None]
    )
    forces = [frame.forces for frame in frames if frame.forces is not None]
    components = np.concatenate(forces) if forces else np.zeros((0, 3))
    stresses = np.array([frame.stress for frame in frames if frame.stress is not None])
    volumes = np.array([frame.volume / frame.n_atoms for frame in frames if frame.pbc.all()])
    return DatasetSummary(
        source=source,
        n_frames=len(frames),
        n_atoms=int(sizes.sum()),
        atoms_per_frame=(int(sizes.min()), int(sizes.max())),
        elements={
            chemical_symbols[number]: int(count)
            for number, count in zip(elements, counts, strict=True)
        },
        config_types=dict(Counter(frame.config_type for frame in frames).most_common()),
        labels={
            label: LabelCount(
                used.get(label), count, len(frames) - count, dict(others.get(label, {}))
            )
            for label, count in count_labels(frames).items()
        },
        energy_per_atom=_range(energies),
        max_force=float(np.linalg.norm(components, axis=1).max()) if forces else None,
        rms_force=float(np.sqrt(np.mean(components**2))) if forces else None,
        stress=_range(stresses),
        volume_per_atom=_range(volumes),
        warnings=(
            *_label_warnings(frames, keys),
            *_energy_warnings(frames),
            *_force_warnings(frames),
            *_stress_warnings(frames),
        ),
    )


def _range(values: FloatArray) -> tuple[float, float] | None:
    return (float(values.min()), float(values.max())) if values.size else None


def _label_warnings(frames: Sequence[Frame], keys: LabelKeys) -> list[str]:
    """Labels that no frame or not every frame has, and other keys that may hold them."""
    warnings = []
    periodic = any(frame.pbc.any() for frame in frames)
    counts = count_labels(frames)
    for label, key in keys.used().items():
        missing = len(frames) - counts[label]
        others = dict(keys.others.get(label, {}))
        if missing == 0 or (label == "stress" and not periodic and not others):
            continue
        what = f"{label}: {missing} of {_frames(len(frames))} have no {key!r}"
        if others:
            what += f", but there is {_list_keys(others)}"
            what += f': to use it, pass {label}="{next(iter(others))}"'
        elif missing == len(frames):
            what += ": nothing can be fitted to it or tested on it"
        warnings.append(what)
    return warnings


def _energy_warnings(frames: Sequence[Frame]) -> list[str]:
    labelled = [frame for frame in frames if frame.energy is not None]
    if not labelled:
        return []
    elements = np.unique(np.concatenate([frame.numbers for frame in labelled]))
    composition = np.array([[np.sum(f.numbers == number) for number in elements] for f in labelled])
    composition = composition / composition.sum(axis=1, keepdims=True)
    energies = np.array([(frame.energy or 0.0) / frame.n_atoms for frame in labelled])
    atomic = np.linalg.lstsq(composition, energies, rcond=None)[0]
    residual = np.abs(energies - composition @ atomic)
    worst = int(residual.argmax())
    if residual[worst] <= _ENERGY_SPREAD:
        return []
    return [
        f"energy: {labelled[worst].name or worst} lies {residual[worst]:.3g} eV/atom from the "
        "best sum of atomic energies: total energies in eV expected, of one level of theory"
    ]


def _force_warnings(frames: Sequence[Frame]) -> list[str]:
    labelled = [frame for frame in frames if frame.forces is not None]
    forces = [frame.forces for frame in labelled if frame.forces is not None]
    net = np.array([np.linalg.norm(force.sum(axis=0)) for force in forces])
    largest = np.array([np.linalg.norm(force, axis=1).max() for force in forces])
    warnings = []
    if np.any(net > _NET_FORCE):
        worst = int(net.argmax())
        warnings.append(
            f"forces: {_frames(int(np.sum(net > _NET_FORCE)))} with a net force above "
            f"{_NET_FORCE} eV/Å ({labelled[worst].name or worst}: {net[worst]:.3g}): atoms held "
            "fixed, an external field, or forces not converged"
        )
    if np.any(largest > _LARGE_FORCE):
        worst = int(largest.argmax())
        warnings.append(
            f"forces: {_frames(int(np.sum(largest > _LARGE_FORCE)))} with a force above "
            f"{_LARGE_FORCE:g} eV/Å ({labelled[worst].name or worst}: {largest[worst]:.4g}): atoms "
            "too close, or another unit than eV/Å"
        )
    return warnings


def _stress_warnings(frames: Sequence[Frame]) -> list[str]:
    labelled = [frame for frame in frames if frame.stress is not None]
    if not labelled:
        return []
    warnings = []
    isolated = [frame for frame in labelled if not frame.pbc.all() or frame.volume == 0]
    if isolated:
        warnings.append(
            f"stress: {_frames(len(isolated))} with a stress but not periodic in all directions "
            f"({isolated[0].name or 'the first'}): a stress means nothing without a volume"
        )
    stress = np.array([frame.stress for frame in labelled])
    rms, largest = float(np.sqrt(np.mean(stress**2))), float(np.abs(stress).max())
    if rms > _STRESS_RMS or largest > _STRESS_LARGE:
        warnings.append(
            f"stress: rms {rms:.3g} and largest {largest:.3g} eV/Å³ are implausible: probably in "
            f"GPa, kbar or a virial (1 eV/Å³ = {GPA:.1f} GPa = {10 * GPA:.0f} kbar)"
        )
    warnings += _stress_sign_warnings(frames)
    return warnings


def _stress_sign_warnings(frames: Sequence[Frame]) -> list[str]:
    """Tension positive: stretching a structure must raise the mean of its diagonal stress."""
    groups: dict[bytes, list[tuple[float, float]]] = {}
    for frame in frames:
        if frame.stress is not None and frame.pbc.all():
            composition = np.bincount(frame.numbers, minlength=119) / frame.n_atoms
            row = (frame.volume / frame.n_atoms, float(frame.stress[:3].mean()))
            groups.setdefault(composition.tobytes(), []).append(row)
    if not groups:
        return []
    volume, tension = np.array(max(groups.values(), key=len)).T
    # Slabs are large because of their vacuum, not because they are stretched.
    bulk = np.abs(volume / np.median(volume) - 1) < _SIGN_WINDOW
    volume, tension = volume[bulk], tension[bulk]
    spread = volume.std() / volume.mean()
    if len(volume) < _SIGN_FRAMES or spread < _SIGN_SPREAD or tension.std() == 0:
        return []
    correlation = np.corrcoef(volume, tension)[0, 1]
    if correlation > -0.5:
        return []
    return [
        f"stress: falls as the volume grows (correlation {correlation:.2f} over {len(volume)} "
        "frames of one composition): probably the opposite sign, as VASP prints it"
    ]
