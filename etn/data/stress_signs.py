"""Signs and units of stresses, found from the energies of strained copies of one structure.

Along a path exp(t H), 0 <= t <= 1, from one cell to another the energy changes by the work

    E_b - E_a = integral V sigma : H dt ~ (V_a sigma_a + V_b sigma_b) : H / 2,

so stresses have to agree with differences of energies, whatever the reference method is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray
from etn.data.duplicates import linked
from etn.data.labels import LabelKeys
from etn.data.on_disk import Chosen
from etn.data.stress import GPA, STRESS_UNITS, VASP_ORDER
from etn.surface import option, options

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["StrainWork", "strain_work", "stress_warnings"]

# Fractional coordinates of strained copies differ by less than this.
_SAME_SITES = 0.01
# Largest strain between two copies: beyond, the energy is far from quadratic; pairs
# of a few percent alone would be outweighed by jumps of the energy, as the molybdenum set has some.
_MAX_STRAIN = 0.1
_MAX_COPIES = 60  # of one structure that are compared with each other
# Atoms of frames with the same atoms that are searched for strained copies: the first ones.
_MAX_ATOMS = 1_000_000
_FEWEST_PAIRS = 5
_MIN_CORRELATION = 0.9
# Stresses agree with the energies up to this ratio, and are taken for those of another unit up to
# the other: sparse grids and fixed plane waves cost some percent.
_AGREES, _NAMED = 1.3, 1.07
# Scatter from which the order of the six numbers is doubted, and what the right one leaves of it.
_SCATTER, _REORDERED = 0.01, 0.2


@dataclass(frozen=True, eq=False)
class StrainWork:
    """Differences of energy between strained copies, and the work of their stresses.

    Attributes
    ----------
    energy : (pairs,)
        E_b - E_a, less the work of the forces where the atoms moved within the cell, eV.
    stress : (pairs,)
        (V_a sigma_a + V_b sigma_b) : H / 2, in eV if sigma is in eV/Å³, tension positive.
    virial : (pairs,)
        The same without the volumes: what equals the energy if the labels are V sigma.
    reordered : (pairs,)
        That of the stress if its six numbers had been in the order of VASP.
    """

    energy: FloatArray
    stress: FloatArray
    virial: FloatArray
    reordered: FloatArray


def strain_work(frames: Sequence[Frame]) -> StrainWork:
    """Compare stresses with energies over all pairs of frames that are one strained structure.

    The path from a to b is H = 2 (F - 1) (F + 1)^-1, the logarithm of F to second order, with
    ``cell_b = cell_a F``; antisymmetric parts, rotations, do no work.  The error is of third
    order in H.

    Parameters
    ----------
    frames : sequence of Frame, or Dataset
        Those without energy, stress or three periodic directions are left out.  Copies have
        their atoms in the same order.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> work = strain_work(Dataset.read("etn:Mo/test"))
    >>> len(work.energy)
    15
    >>> slope = work.stress @ work.energy / work.energy @ work.energy
    """
    rows = [_work(one, other) for group in _copies(frames) for one, other in combinations(group, 2)]
    found = np.array([row for row in rows if row is not None]).reshape(-1, 4)
    return StrainWork(*found.T)


def _copies(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    """Frames that are, nearly, affine images of each other."""
    alike: dict[tuple[bytes, float], list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        if frame.energy is not None and frame.stress is not None:
            alike[frame.numbers.tobytes(), frame.charge].append(index)
    for (numbers, _), indices in alike.items():
        most = max(_MAX_COPIES, _MAX_ATOMS * 8 // len(numbers))
        members = Chosen(frames, indices[:most])
        phases = []
        for frame in members:
            fractional = frame.positions @ np.linalg.inv(frame.cell)
            angle = 2 * np.pi * (fractional - fractional[0]).ravel()
            phases.append(np.concatenate([np.cos(angle), np.sin(angle)]))
        for group in linked(phases, 2 * np.pi * _SAME_SITES):
            yield [members[i] for i in group[:_MAX_COPIES]]


def _work(one: Frame, other: Frame) -> tuple[float, float, float, float] | None:
    """Energy, and the work of the stress, of the virial and of the stress in another order."""
    assert one.energy is not None
    assert one.stress is not None
    assert other.energy is not None
    assert other.stress is not None
    deformation = np.linalg.solve(one.cell, other.cell)
    unit = np.eye(3)
    path = 2 * (deformation - unit) @ np.linalg.inv(deformation + unit)
    path = (path + path.T) / 2
    if np.abs(path).max() > _MAX_STRAIN:
        return None
    strain = path[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]
    moved = other.positions @ np.linalg.inv(other.cell) - one.positions @ np.linalg.inv(one.cell)
    moved -= moved[0]
    moved -= np.rint(moved)
    if np.abs(moved).max() > _SAME_SITES:  # linked through other copies only
        return None
    energy = other.energy - one.energy
    if one.forces is not None and other.forces is not None:
        moved -= moved.mean(axis=0)
        energy += 0.5 * float(
            np.sum((one.forces @ one.cell.T + other.forces @ other.cell.T) * moved)
        )
    virial = 0.5 * float(strain @ (one.stress + other.stress))
    tau = 0.5 * (one.volume * one.stress + other.volume * other.stress)
    return energy, float(strain @ tau), virial, float(strain @ tau[list(VASP_ORDER)])


def stress_warnings(frames: Sequence[Frame], keys: LabelKeys | None = None) -> list[str]:
    """Warn if the stresses contradict the energies of strained copies, and say what they may be.

    Labels of another unit are the true stress times a factor: the slope of the work of the
    labels over the differences of energy.  Nothing is said where there are too few strained
    copies, or where labels and energies have nothing in common.

    Parameters
    ----------
    frames : sequence of Frame, or Dataset
    keys : LabelKeys, optional
        How the stresses were read, and so what has to be told otherwise.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from etn.data import Dataset
    >>> test = Dataset.read("etn:Mo/test")
    >>> stress_warnings(test)
    []
    >>> turned = [replace(frame, stress=-frame.stress) for frame in test]
    >>> print(stress_warnings(turned)[0][:76])
    train: the stresses contradict the energies of strained copies of structures
    """
    work = strain_work(frames)
    if len(work.energy) < _FEWEST_PAIRS:
        return []
    factor, correlation = _slope(work.energy, work.stress)
    keys = keys or LabelKeys()
    # What six numbers in another order leave unexplained, and what they leave in this one.
    swapped, better = _slope(work.energy, work.reordered)
    scatter = 1 - correlation**2
    reordered = scatter > _SCATTER and 1 - better**2 < _REORDERED * scatter
    if reordered:
        factor, correlation = swapped, better
    agrees = 1 / _AGREES < factor < _AGREES and not reordered
    if agrees or abs(correlation) < _MIN_CORRELATION:
        return []
    virial_factor = _slope(work.energy, work.virial)[0]
    found, changes = _reading(factor, virial_factor, keys, reordered=reordered)
    remedy = f"read it with {options(**changes)}" if changes else "convert it"
    return [
        f"train: the stresses contradict the energies of strained copies of structures: they are "
        f"{factor:.4g} times the derivative of the energy (correlation {correlation:.2f} over "
        f"{len(work.energy)} pairs), so what was read is probably {found}; expected "
        f"{'-V·stress in eV' if keys.virial else 'eV/Å³, tension positive'}: "
        f"{remedy}, or leave it out "
        f"({option('virial_key' if keys.virial else 'stress_key', None)})"
    ]


def _reading(
    factor: float, virial_factor: float, keys: LabelKeys, *, reordered: bool
) -> tuple[str, dict[str, object]]:
    """What labels are that came out as so many times the stress, and settings that read them."""
    if keys.virial:
        if _near(abs(factor), 1.0) and not reordered:
            return "a virial of the other sign", {"stress_convention": keys.opposite}
        return "not the virial, or in another unit or order", {}
    # What the file says, over the stress and over V sigma.
    raw, raw_virial = factor / keys.stress_factor, virial_factor / keys.stress_factor
    sign = "" if raw > 0 else "minus "
    convention = "tension" if raw > 0 else "vasp" if reordered else "compression"
    found: list[tuple[str, dict[str, object]]] = []
    for unit, size in STRESS_UNITS.items():
        if _near(abs(raw), size):
            changes: dict[str, object] = {} if unit == keys.stress_unit else {"stress_unit": unit}
            if reordered or raw * keys.stress_factor < 0:
                changes["stress_convention"] = convention
            found.append((f"{sign}the stress in {unit}", changes))
    if _near(abs(raw), 1 / GPA):
        text = f"{sign}the stress in eV/Å³ over 160.2, converted as if it had been in GPa"
        found.append((text, {}))
    if _near(abs(raw_virial), 1.0):
        changes = {"virial_key": keys.stress, "stress_key": None}
        if reordered or raw * keys.virial_sign < 0:
            changes["stress_convention"] = convention
        found.append((f"{sign}the virial V·stress in eV", changes))
    what = " or ".join(text for text, _ in found) or "the stress in another unit, or not the stress"
    if reordered:
        what += ", its six numbers in the order xx yy zz xy yz zx of VASP"
        # No convention has that order with the sign of a tension.
        found = [] if raw > 0 else found
    return what, found[0][1] if len(found) == 1 else {}


def _slope(energy: FloatArray, work: FloatArray) -> tuple[float, float]:
    """Slope of the work over the energy, both through the origin, and their correlation."""
    ee, ww, we = float(energy @ energy), float(work @ work), float(work @ energy)
    return (we / ee, we / math.sqrt(ee * ww)) if ee and ww else (1.0, 0.0)


def _near(factor: float, known: float) -> bool:
    return known / _NAMED < factor < known * _NAMED
