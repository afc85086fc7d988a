"""What may be wrong with the data of a fit, beyond what each data set says of itself.

:mod:`etn.data.summary` looks at one data set: missing labels, units and sign of the stress, net
forces. Here data are compared with each other and with the number of unknowns: structures that
stand twice, stresses with the energies of strained crystals, elements and energies without
company, and more unknowns than the data determine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from etn.data.duplicates import find_duplicates
from etn.data.on_disk import Joined, chosen
from etn.data.stress_signs import stress_warnings
from etn.errors import DataError
from etn.surface import name_of, option

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.data.frame import Frame

__all__ = ["check_constants", "check_data", "check_unknowns"]

# Energies of one structure, eV/atom: beyond the first the level of theory differs.
_CONTRADICTION = 0.1
_DISAGREEMENT = 1e-3
_FEW_ATOMS = 10
_OUTLIER_FRAMES = 20  # comparable frames before an energy is judged
_OUTLIER_SIGMAS = 10.0
_MIN_SIGMA = 0.01  # eV/atom; perfect crystals scatter by less


def check_data(datasets: Mapping[str, Dataset]) -> list[str]:
    """Compare the data sets of a fit and say what may be wrong with them.

    Parameters
    ----------
    datasets : mapping of name to Dataset
        "train" and, where there are such data, "valid" and "test".

    Returns
    -------
    list of str
        Warnings, each with what was found, where, and what to do.

    Raises
    ------
    DataError
        If a structure stands in the training set twice with energies more than 0.1 eV/atom
        apart, which no potential can have.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> train = Dataset.read("etn:Mo/train", index="::4")
    >>> check_data({"train": train})
    []
    >>> for warning in check_data({"train": train, "test": train[:2]}):
    ...     print(warning)
    test: 2 of 2 frames are in the training set too (etn:Mo/train:0 is etn:Mo/train:0): errors on
    these frames are training errors; remove them from one of the two
    """
    train = datasets["train"]
    return [
        *_duplicate_warnings(datasets),
        *stress_warnings(train, train.label_keys),
        *_element_warnings(train),
        *_energy_warnings(train),
    ]


def check_constants(train: Dataset, energy_weight: float) -> list[str]:
    """Say what a fit without energies leaves open.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> train = Dataset.read("etn:Mo/test", energy=None)
    >>> print(check_constants(train, energy_weight=30.0)[0])
    train: no energies are fitted: forces and stress determine the energy up to a constant for
    each element (Mo); differences of energy between frames of one composition have a meaning,
    others only with constants of your own, such as e0={"Mo": -4.2}
    """
    if energy_weight and any(frame.energy is not None for frame in train):
        return []
    elements = train.elements
    own = dict.fromkeys(elements[:1], -4.2)
    return [
        "train: no energies are fitted: forces and stress determine the energy up to a constant "
        f"for each element ({', '.join(elements)}); differences of energy between frames of one "
        "composition have a meaning, others only with constants of your own, such as "
        f"{option('e0', own)}"
    ]


def check_unknowns(n_rows: int, n_unknowns: int) -> list[str]:
    """Warn if a core has more unknowns than there are data rows.

    Examples
    --------
    >>> check_unknowns(31619, 3575)
    []
    >>> print(check_unknowns(900, 3575)[0])
    train: 900 data rows for 3575 unknowns in one core: what the data leave open the ridge decides;
    add frames, or choose a smaller size (size="small") or smaller max_bond, l_max or n_max
    """
    if n_rows >= n_unknowns:
        return []
    return [
        f"train: {n_rows} data rows for {n_unknowns} unknowns in one core: what the data leave "
        f"open the ridge decides; add frames, or choose a smaller size ({option('size', 'small')}) "
        f"or smaller {name_of('max_bond')}, {name_of('l_max')} or {name_of('n_max')}"
    ]


def _duplicate_warnings(datasets: Mapping[str, Dataset]) -> list[str]:
    frames = Joined(datasets.values())
    part = [name for name, dataset in datasets.items() for _ in range(len(dataset))]
    # A group of frames with the same structure, by the data set that they are in.
    groups = []
    for group in find_duplicates(frames):
        by_part: dict[str, list[Frame]] = {name: [] for name in datasets}
        for index in group:
            by_part[part[index]].append(frames[index])
        groups.append(by_part)
    warnings = []
    for name, dataset in datasets.items():
        repeated = [by_part[name] for by_part in groups if len(by_part[name]) > 1]
        if repeated:
            count = sum(len(same) - 1 for same in repeated)
            first = f"{_name(repeated[0][1])} is {_name(repeated[0][0])}"
            warnings.append(
                f"{name}: {count} of {len(dataset)} frames repeat another one ({first}): they "
                "count more than once; remove them unless that is meant"
            )
        if name == "train":
            warnings += _disagreement_warnings(repeated)
            continue
        shared = [by_part for by_part in groups if by_part["train"] and by_part[name]]
        if shared:
            count = sum(len(by_part[name]) for by_part in shared)
            first = f"{_name(shared[0][name][0])} is {_name(shared[0]['train'][0])}"
            warnings.append(
                f"{name}: {count} of {len(dataset)} frames are in the training set too ({first}): "
                "errors on these frames are training errors; remove them from one of the two"
            )
    return warnings


def _disagreement_warnings(repeated: Sequence[Sequence[Frame]]) -> list[str]:
    """Different energies of one structure."""
    found = []
    for same in repeated:
        energies = [(f.energy / f.n_atoms, f) for f in same if f.energy is not None]
        energies.sort(key=lambda pair: pair[0])
        if len(energies) > 1:
            found.append((energies[-1][0] - energies[0][0], energies[0][1], energies[-1][1]))
    if not found:
        return []
    spread, low, high = max(found, key=lambda entry: entry[0])
    if spread > _CONTRADICTION:
        raise DataError(
            f"{_name(high)} is the same structure as {_name(low)}, but its energy is {spread:.3g} "
            "eV/atom higher: expected one energy of one structure; remove the wrong frame, or fit "
            "data of one level of theory"
        )
    if spread > _DISAGREEMENT:
        return [
            f"train: the energies of one structure differ by up to {1e3 * spread:.2g} meV/atom "
            f"({_name(low)}, {_name(high)}): no potential has smaller errors on both; check that "
            "all were calculated with the same settings"
        ]
    return []


def _element_warnings(train: Dataset) -> list[str]:
    """Elements that are too rare to be learned."""
    from ase.data import atomic_numbers

    # Isolated atoms give the energy of an element, but nothing about its bonds.
    frames = chosen(train, lambda frame: frame.n_atoms > 1)
    atoms, within = np.zeros(119, dtype=int), np.zeros(119, dtype=int)
    for frame in frames:
        counts = np.bincount(frame.numbers, minlength=119)
        atoms += counts
        within += counts > 0
    warnings = []
    for symbol in train.elements:
        number = atomic_numbers[symbol]
        few = atoms[number] < _FEW_ATOMS
        if few or (within[number] == 1 and len(frames) > 1):
            n_atoms, n_frames = int(atoms[number]), int(within[number])
            warnings.append(
                f"train: {symbol} has {n_atoms} bonded "
                f"atom{'' if n_atoms == 1 else 's'} in {n_frames} "
                f"frame{'' if n_frames == 1 else 's'}, expected at least {_FEW_ATOMS} in several: "
                "its interactions are not determined; add frames with it, or leave it out"
            )
    return warnings


def _energy_warnings(train: Dataset) -> list[str]:
    """Frames whose energy per atom stands alone, far from that of all comparable frames."""
    comparable: dict[tuple[bytes, float, str], list[tuple[float, int]]] = defaultdict(list)
    for index, frame in enumerate(train):
        if frame.energy is not None and frame.n_atoms > 1:
            composition = np.bincount(frame.numbers, minlength=119) / frame.n_atoms
            kind = np.round(composition, 6).tobytes(), frame.charge, frame.config_type
            comparable[kind].append((frame.energy / frame.n_atoms, index))
    found = []
    for of_kind in comparable.values():
        if len(of_kind) < _OUTLIER_FRAMES:
            continue
        of_kind.sort()
        energies = np.array([energy for energy, _ in of_kind])
        median = float(np.median(energies))
        sigma = max(_MIN_SIGMA, 1.4826 * float(np.median(np.abs(energies - median))))
        gaps = [b - a for a, b in pairwise(energies)]
        for place, gap in ((0, gaps[0]), (-1, gaps[-1])):
            away = abs(float(energies[place]) - median)
            # Strong compression and hot liquids lead away step by step; a wrong label jumps.
            if away > _OUTLIER_SIGMAS * sigma and gap > away / 2:
                found.append((away, away / sigma, of_kind[place][1], median))
    if not found:
        return []
    away, sigmas, index, median = max(found, key=lambda entry: entry[0])
    frame = train[index]
    of_type = f' of config type "{frame.config_type}"' if frame.config_type else ""
    return [
        f"train: the energy of {_name(frame)} is {away:.3g} eV/atom ({sigmas:.0f} robust standard "
        f"deviations) from the median of the frames of its composition{of_type}, {median:.4g} "
        "eV/atom, and none is near it: check that the calculation converged, or remove the frame"
    ]


def _name(frame: Frame) -> str:
    return frame.name or repr(frame)
