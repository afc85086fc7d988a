"""Frames whose atoms have no neighbours, and what they say of the energies of isolated atoms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.neighbours import is_dissociated
from etn.data.on_disk import Chosen, chosen
from etn.errors import DataError

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.data.frame import Frame

__all__ = ["BY_CONFIG", "CONTRADICTION", "IsolatedAtoms", "count_atoms", "energy_of", "names"]

# In a setting, before the config_type of the isolated atoms.
BY_CONFIG = "by-config "
# Beyond this, two energies of what a potential gives one energy contradict each other, eV/atom.
CONTRADICTION = 0.02


@dataclass(frozen=True, eq=False)
class IsolatedAtoms:
    """Frames without neighbours, each an equation sum n(element) E0(element) = E."""

    frames: Chosen[Frame]
    notes: Sequence[str]

    @classmethod
    def find(cls, dataset: Dataset, r_max: float, config_type: str | None = None) -> IsolatedAtoms:
        """Those of a data set that have an energy, or the single atoms of a `config_type`."""
        if config_type is not None:
            return cls._by_config(dataset, config_type, r_max)
        places, near = [], []
        for place, frame in enumerate(dataset):
            if frame.energy is None or frame.charge:  # E0 is that of a neutral atom
                continue
            if is_dissociated(frame, r_max):
                places.append(place)
            elif frame.n_atoms == 1 and _is_called_isolated(frame):
                near.append(frame)
        frames = Chosen(dataset, places)
        notes = _several_energies(frames)
        if near:
            notes.append(
                f'e0: {names(near)} is one atom of config type "{near[0].config_type}", but '
                f"feels its own images within r_max = {r_max:g} Å, so it is not taken for an "
                f'isolated atom: set e0 to "{BY_CONFIG}{near[0].config_type}" if its energy is E0'
            )
        return cls(frames, notes)

    @classmethod
    def _by_config(cls, dataset: Dataset, name: str, r_max: float) -> IsolatedAtoms:
        found = chosen(dataset, lambda frame: frame.config_type == name and not frame.charge)
        if not found:
            types = sorted({frame.config_type for frame in dataset} - {""})
            there = ", ".join(f'"{kind}"' for kind in types) or "none with a config_type"
            raise DataError(
                f'e0: no neutral frame has the config_type "{name}", expected one of {there}'
            )
        wrong = [frame for frame in found if frame.n_atoms > 1 or frame.energy is None]
        if wrong:
            raise DataError(
                f'e0: expected one atom with an energy in each frame of config_type "{name}", but '
                f"{names(wrong)} has {wrong[0].n_atoms} atoms and "
                f"{'no' if wrong[0].energy is None else 'an'} energy: give the config_type of "
                "the isolated atoms alone"
            )
        notes = _several_energies(found)
        near = [frame for frame in found if not is_dissociated(frame, r_max)]
        if near:
            notes.append(
                f"e0: {names(near)} gives E0, but feels its own images within r_max = "
                f"{r_max:g} Å: the potential will give it another energy; use a larger cell, or "
                "take the frame out and give its energy"
            )
        return cls(found, notes)

    def solve(self, elements: Sequence[str]) -> dict[str, float]:
        """E0 of the elements that the frames fix."""
        values, fixed = self._least_norm(dict.fromkeys(elements, 0.0))
        return {s: e for s, e in values.items() if fixed[s]}

    def correct(self, estimate: Mapping[str, float]) -> dict[str, float]:
        """The values nearest to an estimate that satisfy the equations of the frames."""
        return self._least_norm(estimate)[0]

    def _least_norm(
        self, estimate: Mapping[str, float]
    ) -> tuple[dict[str, float], dict[str, bool]]:
        """Values nearest to an estimate, and which ones do not depend on it.

        Single atoms come first: of several of one element the one of lowest energy counts.
        """
        values, fixed = dict(estimate), dict.fromkeys(estimate, False)
        several = []
        for frame in sorted(self.frames, key=lambda frame: -(frame.energy or 0.0)):
            if frame.n_atoms > 1:
                several.append(frame)
            elif frame.symbols[0] in values:
                values[frame.symbols[0]] = frame.energy or 0.0
                fixed[frame.symbols[0]] = True
        free = [symbol for symbol in values if not fixed[symbol]]
        several = [f for f in several if set(f.symbols) <= set(values) and set(f.symbols) & {*free}]
        if several:
            counts = count_atoms(several, free)
            left = [energy_of(f) - sum(values[symbol] for symbol in f.symbols) for f in several]
            inverse = np.linalg.pinv(counts)
            moved, rows = inverse @ np.array(left), inverse @ counts
            for k, symbol in enumerate(free):
                values[symbol] += float(moved[k])
                fixed[symbol] = bool(abs(rows[k, k] - 1) < 1e-9)
        return values, fixed


def _is_called_isolated(frame: Frame) -> bool:
    name = "".join(filter(str.isalnum, frame.config_type.lower()))
    return name in ("isolatedatom", "isolated", "singleatom", "atom")


def _several_energies(frames: Sequence[Frame]) -> list[str]:
    """Single atoms of one element with different energies."""
    by_element: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        if frame.n_atoms == 1:
            by_element[frame.symbols[0]].append(frame)
    notes = []
    for symbol, of_element in by_element.items():
        low, high = min(of_element, key=energy_of), max(of_element, key=energy_of)
        if energy_of(high) - energy_of(low) > CONTRADICTION:
            notes.append(
                f"e0: isolated atoms of {symbol} have energies from {energy_of(low):.6g} eV "
                f"({names([low])}) to {energy_of(high):.6g} eV ({names([high])}): the lowest is "
                "used; remove the others"
            )
    return notes


def energy_of(frame: Frame) -> float:
    """The energy of a frame that has one."""
    assert frame.energy is not None
    return frame.energy


def count_atoms(frames: Sequence[Frame], elements: Sequence[str]) -> Array:
    """Atoms of each element in each frame: (frames, elements)."""
    return np.array([[f.symbols.count(s) for s in elements] for f in frames], dtype=float)


def names(frames: Sequence[Frame]) -> str:
    """The first frames, for a message."""
    shown = ", ".join(frame.name or repr(frame) for frame in frames[:3])
    return shown + (", ..." if len(frames) > 3 else "")
