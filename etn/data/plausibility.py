"""What looks wrong with the labels of one data set: missing ones, zeros, units and signs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray
from etn.data.labels import LabelKeys
from etn.data.missing import key_hint, lacks, unperiodic
from etn.data.on_disk import chosen
from etn.data.stress import GPA
from etn.surface import option, options

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["label_warnings"]

# Beyond these a label is more likely in another unit, or wrong, than physical.
_NET_FORCE = 1e-2  # eV/Å
_LARGE_FORCE = 100.0  # eV/Å
_ENERGY_SPREAD = 20.0  # eV/atom around the best sum of atomic energies
_STRESS_RMS = 1.0  # eV/Å³, 160 GPa
_STRESS_LARGE = 10.0  # eV/Å³
_SIGN_FRAMES = 10  # frames of one composition before the sign of the stress is judged
_SIGN_SPREAD = 0.01  # relative spread of their volumes
_SIGN_WINDOW = 0.15  # around the median volume
# Means over the atoms describe energies per atom this much better than sums do.
_PER_ATOM = 0.5
_PER_ATOM_FRAMES = 4  # beyond the number of elements


def label_warnings(frames: Sequence[Frame], keys: LabelKeys) -> list[str]:
    """Say what may be wrong with the labels, and what to do about it.

    Parameters
    ----------
    frames : sequence of Frame, or Dataset
    keys : LabelKeys
        Where the labels were looked for.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from etn.data import Dataset
    >>> test = Dataset.read("etn:Mo/test")
    >>> label_warnings(test, test.label_keys)
    []
    >>> print(label_warnings([replace(f, energy=0.0) for f in test], test.label_keys)[0])
    energy: 0 in all 23 frames: if it was not calculated, leave it out (energy=None)
    """
    return [
        *_missing(frames, keys),
        *_zeros(frames, keys),
        *_energies(frames),
        *_forces(frames),
        *_stresses(frames, keys),
    ]


def _missing(frames: Sequence[Frame], keys: LabelKeys) -> list[str]:
    """Labels that no frame or not every frame has, and other keys that may hold them."""
    warnings = []
    for label in keys.used():
        missing = chosen(frames, partial(lacks, label=label))
        if not missing:
            continue
        what = (
            f"{label}: {len(missing)} of {_count(len(frames))} have none ({keys.describe(label)})"
        )
        hint = key_hint(missing, label, keys)
        if hint.startswith("but"):
            what += f", {hint}"
        elif len(missing) == len(frames):
            what += ": nothing can be fitted to it or tested on it"
        warnings.append(what)
    left = unperiodic(frames, keys)
    if left:
        warnings.append(
            f"stress: that of {_count(len(left))} is not read ({left[0].name or 'the first'}): "
            "they are not periodic in all three directions, and a stress means nothing without a "
            "volume; if they are periodic, set pbc"
        )
    return warnings


def _zeros(frames: Sequence[Frame], keys: LabelKeys) -> list[str]:
    """Labels that are exactly zero, as some programs write what they have not calculated."""
    warnings = []
    for label in keys.used():
        # An atom may be the zero of energy, and one alone feels no force.
        present = 0
        zeros: list[tuple[str, bool]] = []
        for frame in frames:
            value = getattr(frame, label)
            if value is not None and frame.n_atoms > 1:
                present += 1
                if not np.any(value):
                    zeros.append((frame.name, bool(frame.pbc.any())))
        they = "they were" if label == "forces" else "it was"
        if zeros and len(zeros) == present:
            perfect = label == "forces" and any(periodic for _, periodic in zeros)
            setting = "virial_key" if label == "stress" and keys.virial else f"{label}_key"
            warnings.append(
                f"{label}: 0 in all {_count(len(zeros))}"
                f"{', as in perfect crystals alone' if perfect else ''}: if {they} not calculated, "
                f"leave {'them' if label == 'forces' else 'it'} out ({option(setting, None)})"
            )
            continue
        # Perfect crystals have no forces by symmetry; clusters in equilibrium have small ones.
        zeros = [zero for zero in zeros if label != "forces" or not zero[1]]
        if zeros:
            warnings.append(
                f"{label}: exactly 0 in {len(zeros)} of {_count(present)} "
                f"({zeros[0][0] or 'the first'}): if {they} not calculated there, remove the "
                "label from these frames"
            )
    return warnings


def _energies(frames: Sequence[Frame]) -> list[str]:
    labelled = chosen(frames, lambda frame: frame.energy is not None)
    if not labelled:
        return []
    found = [(frame.energy or 0.0, np.bincount(frame.numbers)) for frame in labelled]
    counts = np.zeros((len(found), max(len(row) for _, row in found)))
    for into, (_, row) in zip(counts, found, strict=True):
        into[: len(row)] = row
    counts = counts[:, counts.any(axis=0)]
    sizes = counts.sum(axis=1)
    total = np.array([energy for energy, _ in found])
    residual = np.abs(_residual(counts / sizes[:, None], total / sizes))
    warnings = [*_per_atom(counts, total, labelled)]
    worst = int(residual.argmax())
    if not warnings and residual[worst] > _ENERGY_SPREAD:
        warnings.append(
            f"energy: {labelled[worst].name or worst} lies {residual[worst]:.3g} eV/atom from the "
            "best sum of atomic energies: total energies in eV expected, of one level of theory"
        )
    return warnings


def _residual(design: FloatArray, values: FloatArray) -> FloatArray:
    found: FloatArray = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return found


def _per_atom(counts: FloatArray, energies: FloatArray, frames: Sequence[Frame]) -> list[str]:
    """Energies that depend on the composition, but not on the number of atoms."""
    several = counts.sum(axis=1) > 1  # of one atom both are the same
    counts, energies = counts[several], energies[several]
    frames = chosen(frames, lambda frame: frame.n_atoms > 1)
    sizes = counts.sum(axis=1)
    if len(np.unique(sizes)) < 2 or len(frames) < counts.shape[1] + _PER_ATOM_FRAMES:
        return []
    mean = np.linalg.norm(_residual(counts / sizes[:, None], energies))
    total = np.linalg.norm(_residual(counts, energies))
    if mean >= _PER_ATOM * total:
        return []
    small, large = frames[int(sizes.argmin())], frames[int(sizes.argmax())]
    return [
        f"energy: equal for frames of different sizes ({energies[sizes.argmin()]:.4g} eV for the "
        f"{small.n_atoms} atoms of {small.name or 'one'}, {energies[sizes.argmax()]:.4g} eV for "
        f"the {large.n_atoms} of {large.name or 'another'}): "
        "probably energies per atom; the total energy of each frame is expected: multiply by the "
        "number of atoms, or name the key of the total energy "
        f"({option('energy_key', 'NAME')})"
    ]


def _forces(frames: Sequence[Frame]) -> list[str]:
    labelled = chosen(frames, lambda frame: frame.forces is not None)
    sizes = [
        (np.linalg.norm(f.forces.sum(axis=0)), np.linalg.norm(f.forces, axis=1).max())
        for f in labelled
        if f.forces is not None
    ]
    net, largest = np.array(sizes).reshape(-1, 2).T
    warnings = []
    if np.any(net > _NET_FORCE):
        worst = int(net.argmax())
        warnings.append(
            f"forces: {_count(int(np.sum(net > _NET_FORCE)))} with a net force above "
            f"{_NET_FORCE} eV/Å ({labelled[worst].name or worst}: {net[worst]:.3g}): atoms held "
            "fixed, an external field, or forces not converged"
        )
    if np.any(largest > _LARGE_FORCE):
        worst = int(largest.argmax())
        warnings.append(
            f"forces: {_count(int(np.sum(largest > _LARGE_FORCE)))} with a force above "
            f"{_LARGE_FORCE:g} eV/Å ({labelled[worst].name or worst}: {largest[worst]:.4g}): atoms "
            "too close, or another unit than eV/Å"
        )
    return warnings


def _stresses(frames: Sequence[Frame], keys: LabelKeys) -> list[str]:
    labelled = chosen(frames, lambda frame: frame.stress is not None)
    if not labelled:
        return []
    warnings = []
    key = keys.stress
    if key and not keys.virial and "virial" in key.lower() and "stress" not in key.lower():
        warnings.append(
            f"stress: read under {key!r}, which sounds like a virial: if it is -V·stress in eV, "
            f"read it with {_as_virial(key)}"
        )
    stress = np.array([frame.stress for frame in labelled])
    rms, largest = float(np.sqrt(np.mean(stress**2))), float(np.abs(stress).max())
    if rms > _STRESS_RMS or largest > _STRESS_LARGE:
        units = f"{option('stress_unit', 'GPa')} or {option('stress_unit', 'kbar')}"
        guess = (
            f"name the unit ({units})" + (f", or the virial ({_as_virial(key)})" if key else "")
            if not keys.virial
            else "a virial in eV is expected, the stress times the volume"
        )
        warnings.append(
            f"stress: rms {rms:.3g} and largest {largest:.3g} eV/Å³ are implausible: probably in "
            f"GPa, kbar or a virial (1 eV/Å³ = {GPA:.1f} GPa = {10 * GPA:.0f} kbar); {guess}"
        )
    return warnings + _stress_sign(labelled, keys)


def _stress_sign(frames: Sequence[Frame], keys: LabelKeys) -> list[str]:
    """Tension positive: stretching a structure must raise the mean of its diagonal stress."""
    groups: dict[bytes, list[tuple[float, float]]] = {}
    for frame in frames:
        if frame.stress is not None:
            composition = np.bincount(frame.numbers, minlength=119) / frame.n_atoms
            row = (frame.volume / frame.n_atoms, float(frame.stress[:3].mean()))
            groups.setdefault(composition.tobytes(), []).append(row)
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
    order = (
        ""
        if keys.opposite == "tension"
        else (
            f" (six numbers in the order xx yy zz xy yz zx: {option('stress_convention', 'vasp')})"
        )
    )
    return [
        f"stress: falls as the volume grows (correlation {correlation:.2f} over {len(volume)} "
        f"frames of one composition): probably of the opposite sign, as VASP prints it; read it "
        f"with {option('stress_convention', keys.opposite)}{order}"
    ]


def _as_virial(key: str) -> str:
    return options(virial_key=key, stress_key=None)


def _count(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"
