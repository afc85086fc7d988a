"""Energies E0 of isolated atoms: from the data, as far as these have them, and checked by them.

An atom without neighbours within the radius of a potential, periodic or not, has the energy E0 of
its element in every potential of this radius, and a frame of such atoms the sum of theirs.  What
frames like these do not fix is estimated from the energies of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etn.data.cohesive import cohesive_energy
from etn.data.isolated import BY_CONFIG, CONTRADICTION, IsolatedAtoms, count_atoms, energy_of, names
from etn.data.neighbours import is_dissociated
from etn.data.on_disk import Chosen, chosen
from etn.errors import DataError, SettingsError

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.data.frame import Frame

__all__ = ["MODES", "AtomicEnergies", "is_mode"]

MODES = ("auto", "isolated", "lstsq", "cohesive")
# A frame is bound by between these, eV/atom: no structure holds together by more.  What weakly
# bound atoms have in heat lies a little above zero.
_STRONGEST, _UNBOUND = -15.0, 0.1


def is_mode(e0: str) -> bool:
    """Whether a text says how to find E0; otherwise it is a path.

    Examples
    --------
    >>> is_mode("auto"), is_mode("by-config IsolatedAtom"), is_mode("atoms.xyz")
    (True, True, False)
    """
    return e0 in MODES or e0.startswith(BY_CONFIG)


@dataclass(frozen=True)
class AtomicEnergies:
    """E0 of each element, and what should be said of it.

    Attributes
    ----------
    values : mapping of symbol to eV
    warnings : tuple of str
        Which values are estimates although others are known, frames that contradict them, and
        whether free atoms with these energies are compatible with the data.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> AtomicEnergies.find(Dataset.read("etn:Mo/train"), r_max=5.0)
    AtomicEnergies(values={'Mo': -3.630033}, warnings=())
    """

    values: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    @classmethod
    def find(
        cls, dataset: Dataset, e0: str | Mapping[str, float] | Dataset = "auto", *, r_max: float
    ) -> AtomicEnergies:
        """E0 of the elements of a data set.

        Parameters
        ----------
        dataset : Dataset
        e0 : str, mapping or Dataset
            "isolated": from the frames whose atoms have no neighbours; "by-config NAME": from
            the frames with one atom and this ``config_type``, whatever their cell; "lstsq": least
            squares of the energies against the composition, of minimal norm where that does
            not fix them; "cohesive": these plus the measured cohesive energy of each element,
            an estimate of isolated atoms within some tenths of an eV; "auto": isolated atoms,
            and the estimate for elements that have none; a mapping of symbol to energy; or
            another data set with the isolated atoms.
        r_max : float
            Radius of the potential, Å.

        Raises
        ------
        DataError
            If an isolated atom is missing, or no frame has an energy.
        SettingsError
            If ``e0`` is none of these.
        """
        elements = dataset.elements
        if isinstance(e0, Mapping):
            given = _complete(e0, elements, "the given e0")
            return cls(given, tuple(_implausible(dataset, given, r_max)))
        if not isinstance(e0, str):
            atoms = IsolatedAtoms.find(e0, r_max)
            values = _complete(atoms.solve(elements), elements, e0.source or "the data set")
            return cls(values, (*atoms.notes, *_implausible(dataset, values, r_max)))
        if not is_mode(e0):
            raise SettingsError(
                'e0: expected "auto", "isolated", "by-config NAME", "lstsq", "cohesive", a mapping '
                f"of symbol to eV or a data set of isolated atoms, got {e0!r}"
            )
        if e0 == "lstsq":
            return cls(_least_squares(_with_energy(dataset), elements))
        named = e0[len(BY_CONFIG) :].strip() if e0.startswith(BY_CONFIG) else None
        atoms = IsolatedAtoms.find(dataset, r_max, named)
        if e0 == "isolated":
            values = _complete(atoms.solve(elements), elements, "the training set")
            return cls(values, (*atoms.notes, *_implausible(dataset, values, r_max)))
        labelled, apart = _with_energy(dataset), {*atoms.frames.places}
        known = {} if e0 == "cohesive" else atoms.solve(elements)
        bound = Chosen(dataset, [place for place in labelled.places if place not in apart])
        estimate = _estimate(bound or labelled, elements, known)
        values = estimate if e0 == "cohesive" else atoms.correct(estimate)
        guessed = [symbol for symbol in elements if symbol not in known]
        notes = list(atoms.notes)
        if known and guessed:
            notes.insert(
                0,
                f"e0: isolated atoms give E0 of {', '.join(known)}; that of "
                f"{', '.join(f'{s} ({values[s]:.6g} eV)' for s in guessed)} is an estimate, from "
                "the energies of the other frames and cohesive energies: add a frame with one "
                "atom of it",
            )
        return cls(values, (*notes, *_implausible(dataset, values, r_max)))


def _complete(e0: Mapping[str, float], elements: tuple[str, ...], where: str) -> dict[str, float]:
    missing = [symbol for symbol in elements if symbol not in e0]
    if missing:
        raise DataError(
            f"e0: {where} has no isolated atom of {', '.join(missing)} (a frame with an energy and "
            "one atom, which has no neighbour within r_max, not even an image of its own): add it, "
            'give its energy, or set e0 to "auto", which estimates it'
        )
    return {symbol: float(e0[symbol]) for symbol in elements}


def _with_energy(dataset: Dataset) -> Chosen[Frame]:
    frames = chosen(dataset, lambda frame: frame.energy is not None)
    if not frames:
        raise DataError(
            "e0: no frame has an energy, so the energies of the atoms cannot be found: "
            "check the key of the energy, or give e0 as a mapping of symbol to eV"
        )
    return frames


def _least_squares(
    frames: Sequence[Frame], elements: Sequence[str], start: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Energies of the elements in the frames; where these do not fix them, near a start."""
    counts = count_atoms(frames, elements)
    n = counts.sum(1)
    first = np.array([(start or {}).get(symbol, 0.0) for symbol in elements])
    energies = np.array([energy_of(frame) for frame in frames]) - counts @ first
    # Energies per atom: large frames do not count more than small ones.
    solution = first + np.linalg.lstsq(counts / n[:, None], energies / n, rcond=None)[0]
    return {s: float(e) for s, e in zip(elements, solution, strict=True)}


def _estimate(
    frames: Sequence[Frame], elements: Sequence[str], known: Mapping[str, float]
) -> dict[str, float]:
    """Energies of isolated atoms as far above the data as the elements are bound.

    A potential is pinned to them where an atom has no neighbours.  With the energies of the data
    themselves there, it would bend back on the way to surfaces and vacancies.
    """
    start = {symbol: e0 - cohesive_energy(symbol) for symbol, e0 in known.items()}
    unknown = [symbol for symbol in elements if symbol not in known]
    if start and unknown:
        # Where the compositions leave a choice, it is that of the elements that are not known.
        counts, n = count_atoms(frames, unknown), np.array([f.n_atoms for f in frames])
        left = [energy_of(f) - sum(start.get(s, 0.0) for s in f.symbols) for f in frames]
        found = np.linalg.lstsq(counts / n[:, None], np.array(left) / n, rcond=None)[0]
        start |= dict(zip(unknown, map(float, found), strict=True))
    bulk = _least_squares(frames, elements, start)
    return {s: round(e + cohesive_energy(s), 6) for s, e in bulk.items()}


def _implausible(dataset: Dataset, values: Mapping[str, float], r_max: float) -> list[str]:
    """What speaks against these energies of free atoms: frames without, and with, neighbours."""
    apart: list[tuple[float, int]] = []
    binding: dict[str, list[float]] = defaultdict(list)
    for index, frame in enumerate(dataset):
        if frame.energy is None:
            continue
        per_atom = (frame.energy - sum(values[s] for s in frame.symbols)) / frame.n_atoms
        if is_dissociated(frame, r_max):
            apart.append((abs(per_atom), index))
        else:
            binding[", ".join(sorted(set(frame.symbols)))].append(per_atom)
    notes = []
    off = Chosen(dataset, [index for error, index in apart if error > CONTRADICTION])
    if off:
        worst = max(error for error, _ in apart)
        notes.append(
            f"e0: the energies of {len(off)} frames whose atoms have no neighbours within r_max = "
            f"{r_max:g} Å are up to {worst:.3g} eV/atom from the sum of E0, which is what every "
            f"potential of this radius gives them ({names(off)}): correct E0, remove these frames "
            "or enlarge r_max"
        )
    medians = {kind: float(np.median(of_kind)) for kind, of_kind in binding.items()}
    strange = {k: m for k, m in medians.items() if not _STRONGEST < m < _UNBOUND}
    if strange:
        kind = max(strange, key=lambda kind: abs(strange[kind]))
        median = strange[kind]
        side = "above" if median > 0 else "below"
        means = "free atoms would be more stable than these structures" if median > 0 else ""
        means = means or "no structure is bound so strongly"
        e0 = ", ".join(f"{s} {values[s]:.6g} eV" for s in kind.split(", "))
        notes.append(
            f"e0: the energies of the frames of {kind} lie {abs(median):.4g} eV/atom (median) "
            f"{side} the sum of E0 ({e0}), expected a binding energy between {_STRONGEST:g} and 0 "
            f"eV/atom: {means}. E0 and the energies are not of one calculation or not in eV; "
            'correct E0, or set e0 to "cohesive", which estimates it from the energies'
        )
    return notes
