"""What the training data have shown of the neighbourhoods of each element.

The features of the last core know only what the fit gave a weight: an element that never had a
neighbour has none, and what a pair of elements does that never met is told by others.  So grades
have a second part, of three plain facts for each element of the central atom: how near each other
element came, how many neighbours of it there were at most, and which numbers of neighbours in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.potential.features.batching import frame_batches
from etn.potential.features.inner import elements_of
from etn.potential.features.pairs import Pairs

if TYPE_CHECKING:
    from etn.data.frame import Frame

# Grade 2 at distances 6 % below the shortest one seen: as steep as a repulsion.
DISTANCE_POWER = 12
# Grade 2 where the number of neighbours is 1.44 times the nearest one seen, or that less.
NUMBER_POWER = 3
# Number of neighbours that counts as seen where there were none.
UNSEEN = 0.01
# Logarithms of the numbers of neighbours that are told apart, 5 % from each other, up to 10^4.
LOG_NUMBERS = np.log(UNSEEN) + np.log(1.05) * np.arange(284)
# Grades at which an error bar begins to widen, and at which it is as wide as the data spread.
WIDENED, IGNORANT = 2.0, 10.0
_ARRAYS = ("closest", "most", "numbers")


@dataclass(frozen=True, eq=False)
class Coverage:
    """Distances and numbers of neighbours that the training data hold.

    With d the shortest distance seen between the elements of a pair, and the smooth number of
    neighbours of element Z, which a neighbour leaves as it nears ``r_max``,

        q_Z = sum_{j of Z} (1 - (r_j / r_max)^6)^3,      q = sum_Z q_Z,

    the terms of an atom are (d / r)^12 - (d / r_max)^12 of its nearest neighbour of each element,
    q_Z / largest q_Z seen of each element, and s^3 - 1 of the ratio s >= 1 of q to the nearest q
    seen.  With less than one neighbour the last is at most q times what it is with one.

    All are continuous and zero for an atom without neighbours, whose energy is that of the
    baseline, and none is above 1 within the training data.

    Parameters
    ----------
    r_max : float
        Å.
    closest : (elements, elements)
        Shortest distance, Å; zero where two elements never met, of which the numbers of
        neighbours tell.
    most : (elements, elements)
        Largest q_Z by the element of the central atom and Z.
    numbers : (elements, 284) bool
        Which q were seen, on the grid 0.01 · 1.05^k.
    spread : mapping of str to float
        Root mean square of the ``"energy"`` of the atoms without their E0, eV, and of the
        components of the ``"forces"``, eV/Å: what is known of an atom of which nothing is known.

    Examples
    --------
    >>> from etn.potential import Dataset
    >>> seen = Coverage.of(Dataset.read("etn:Mo/train"), ("Mo",), 5.0)
    >>> round(float(seen.closest[0, 0]), 2)
    1.88
    """

    r_max: float
    closest: Array
    most: Array
    numbers: NDArray[np.bool_]
    spread: Mapping[str, float]

    @classmethod
    def of(cls, frames: Sequence[Frame], elements: Sequence[str], r_max: float) -> Coverage:
        """What frames show, such as those of the training data; :attr:`spread` is left empty."""
        size = len(elements)
        closest, most = np.full((size, size), np.inf), np.zeros((size, size))
        numbers = np.zeros((size, len(LOG_NUMBERS)), dtype=bool)
        for batch in frame_batches(frames):
            pairs = Pairs.find(batch, elements, r_max)
            np.minimum.at(closest, elements_of(pairs), pairs.distance)
            counts = _counts(pairs, size, r_max)
            np.maximum.at(most, pairs.element, counts)
            bonded = counts.any(axis=1)
            place = np.rint(_place(counts[bonded].sum(axis=1))).astype(np.int64)
            numbers[pairs.element[bonded], place] = True
        closest[np.isinf(closest)] = 0.0
        return cls(r_max, closest, most, numbers, {})

    def terms(self, pairs: Pairs) -> Array:
        """Grades of every atom by what they are about.

        Returns
        -------
        (samples, 2 elements + 1)
            Distances and numbers of neighbours by their element, then the number in all.
        """
        size = len(self.closest)
        own = pairs.element[pairs.sample]
        two = elements_of(pairs)[1]
        inverse = np.full((pairs.n_samples, size), 1 / self.r_max)
        np.maximum.at(inverse, (pairs.center, two), 1 / pairs.distance)
        at_end = (self.closest / self.r_max) ** DISTANCE_POWER
        counts = _counts(pairs, size, self.r_max)
        number = counts.sum(axis=1)
        unlike = self._unlike(own, number)
        leaving = number * self._unlike(own, np.ones_like(number))
        parts = (
            (self.closest[own] * inverse) ** DISTANCE_POWER - at_end[own],
            counts / np.maximum(self.most, UNSEEN)[own],
            np.where(number < 1, np.minimum(unlike, leaving), unlike)[:, None],
        )
        return np.concatenate(parts, axis=1)

    def _unlike(self, element: NDArray[np.int64], number: Array) -> Array:
        """s^3 - 1 of the ratio s of numbers of neighbours to the nearest one seen."""
        place = _place(number)
        low = np.minimum(place.astype(np.int64), len(LOG_NUMBERS) - 2)
        gap, after = self._gaps[element, low], self._gaps[element, low + 1]
        return np.asarray(np.expm1(NUMBER_POWER * (gap + (place - low) * (after - gap))))

    @cached_property
    def _gaps(self) -> Array:
        """Distance from each logarithm of the grid to the nearest one seen: (elements, grid)."""
        between = np.abs(LOG_NUMBERS[:, None] - LOG_NUMBERS)
        # Of an element that had no neighbours the least number is as good as seen.
        seen = [row if row.any() else LOG_NUMBERS[0] >= LOG_NUMBERS for row in self.numbers]
        return np.array([between[:, row].min(axis=1) for row in seen])

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        arrays = {f"coverage.{name}": getattr(self, name) for name in _ARRAYS}
        return {"r_max": self.r_max, "spread": dict(self.spread)}, arrays

    @classmethod
    def from_arrays(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Coverage:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        closest, most, numbers = (arrays[f"coverage.{name}"] for name in _ARRAYS)
        return cls(header["r_max"], closest, most, numbers, dict(header["spread"]))


def ignorance(terms: Array) -> Array:
    """Share of the spread of the data in the error bar of every atom: 0 to grade 2, 1 from 10.

    Examples
    --------
    >>> ignorance(np.array([[0.5, 1.0], [2.0, 6.0], [1.0, 100.0]])).tolist()
    [0.0, 0.5, 1.0]
    """
    grades = terms.max(axis=1, initial=0.0)
    return np.asarray(np.clip((grades - WIDENED) / (IGNORANT - WIDENED), 0.0, 1.0))


def _counts(pairs: Pairs, n_elements: int, r_max: float) -> Array:
    """Smooth numbers of neighbours of each element: (samples, elements)."""
    group = pairs.center * n_elements + pairs.element[pairs.neighbor]
    weight = np.maximum(1 - (pairs.distance / r_max) ** 6, 0.0) ** 3
    counts = np.bincount(group, weight, pairs.n_samples * n_elements)
    return np.asarray(counts.reshape(-1, n_elements))


def _place(number: Array) -> Array:
    """Where numbers of neighbours stand on the grid of logarithms."""
    step = LOG_NUMBERS[1] - LOG_NUMBERS[0]
    found = (np.log(np.maximum(number, UNSEEN)) - LOG_NUMBERS[0]) / step
    return np.asarray(np.clip(found, 0.0, len(LOG_NUMBERS) - 1.0))
