r"""Where the data end: atoms closer to each other, or more crowded, than any that were seen.

Polynomials grow without bound where no data hold them.  Two things bound them, both smooth to the
second derivative, and both without effect on the atoms of the data, so that a fit stays linear.

Below an onset o the radial functions of two elements are continued by what they are there,
g_n(r) -> g_n(s(r)): s(r) = r from o outwards, and inwards it comes to rest over a tenth of the
closest distance c of the data.  Near the usual distance d of neighbours a polynomial may be trusted
as far beyond the data as they reach from there, deep in the repulsion it may not: o is the larger
of 0.8 d and c - (d - c), but at most c and at least 0.9 c.  The usual distance is the median of
those from atoms to their nearest neighbour of the other element; beyond a gap none counts, since
those atoms are not bound.  Elements that nowhere met have no radial functions of each other.

The crowding of an atom counts its neighbours of each element Z, one at the closest distance of the
data as one, and takes what is most unusual:

.. math:: X_{iZ} = \sum_{j \in Z} (c_{ij} / r_{ij})^4 (1 - r_{ij} / r_{max})^3, \qquad
          x_i = \Big[ \sum_Z (X_{iZ} / X^{max}_{Z_i Z})^8 \Big]^{1/8}

with the largest sums that the data hold or, where that is more, 0.7 of what all neighbours that mix
make together: few frames of an alloy seldom hold the most neighbours of one element that its next
frame has.  Elements mix that bond with themselves and each other (c within 1.2 of the sum of their
covalent radii), or met beyond r_max / 2 alone, which counts as there; those of molecules do not.
Nor do elements that met beyond r_max / 2 alone, near r_max perhaps in few frames, crowd each other
there: one neighbour at r_max / 2 counts as data.
Beyond x = 1.5 the answer P_i of a network is led over to a wall that rises further in,

.. math:: P_i \to f(x_i) P_i + (1 - f(x_i)) W (x_i / 2.5)^{1/2},

with f falling from one to zero at x = 2.5.  Closer still the repulsion of the nuclei, which is part
of the baseline (:mod:`etn.potential.features.zbl`) and begins at o as well, outgrows all else.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import SettingsError
from etn.potential.features.pairs import Pairs
from etn.potential.features.radial import Radial
from etn.potential.features.zbl import covalent_distances, fall, settle
from etn.stored import numbers

if TYPE_CHECKING:
    from etn.data.dataset import Dataset

__all__ = ["Crowd", "Inner", "elements_of"]

# Where polynomials are not trusted any more: this fraction of the usual distance of neighbours, or
# this much below the closest one, relative to it; and the length over which s(r) then rests.
TRUSTED, MARGIN, REST = 0.8, 0.1, 0.1
# Ratio of two distances between which there are no other nearest neighbours: those beyond the gap
# are of another kind.
GAP = 1.15
# Where the repulsion of the nuclei is complete, relative to the onset.
FULL = 0.8
# Sums over one element that are no crowd, of those over all; multiple of covalent radii of a bond.
MIXED, BONDED = 0.7, 1.2
# Crowding at which the wall begins and at which it is all that is left; its height there, eV: more
# than a network that was continued so far answers.
BEGIN, END, WALL = 1.5, 2.5, 50.0
# The norm over elements: what is most unusual counts.
NORM = 8
_TABLES = ("closest", "onset", "fullest")


@dataclass(frozen=True, eq=False)
class Inner:
    """The inner end of the data, in distances and in crowding.

    Parameters
    ----------
    elements : tuple of str
    r_max : float
        Radius of the neighbourhoods, Å.
    closest, onset : (elements, elements), Å
        Closest distance of every two elements in the data, and where their radial functions begin
        to rest; symmetric, and infinite where they never met.
    fullest : (elements, elements)
        Sums X of atoms of each element (rows) over neighbours of each (columns) that are no crowd.

    Raises
    ------
    SettingsError
        If the tables are not of these elements, symmetric and positive.

    Examples
    --------
    >>> inner = Inner(("Mo",), 5.0, *np.array([1.9, 1.8, 0.5]).reshape(3, 1, 1))
    >>> s, slope = inner.continue_inwards(np.array([2.5, 1.7, 1.2]), *np.zeros((2, 3), int))
    >>> s.round(3), slope.round(3)
    (array([2.5  , 1.717, 1.705]), array([1.   , 0.451, 0.   ]))
    """

    elements: tuple[str, ...]
    r_max: float
    closest: Array
    onset: Array
    fullest: Array

    def __post_init__(self) -> None:
        shape = (len(self.elements),) * 2
        for name in _TABLES:
            table = np.ascontiguousarray(getattr(self, name), dtype=float)
            even = name == "fullest" or np.array_equal(table, table.T)
            if table.shape != shape or not (table > 0).all() or not even:
                raise SettingsError(
                    f"inner end: expected {name} as a table of {shape[0]} times {shape[1]} "
                    f"positive numbers, got {table.tolist()}"
                )
            object.__setattr__(self, name, table)

    @classmethod
    def of(cls, data: Dataset, elements: Sequence[str], r_max: float) -> Inner:
        """The inner end of a data set.

        Raises
        ------
        DataError
            If the data hold other elements, or atoms coincide.

        Examples
        --------
        >>> from etn.data import Dataset
        >>> Inner.of(Dataset.read("etn:Mo/train"), ("Mo",), 5.0).closest.round(3)
        array([[1.883]])
        """
        n = len(elements)
        # Distances of the atoms of an element to their nearest neighbour of another.
        nearest: dict[tuple[int, int], array[float]] = defaultdict(lambda: array("d"))
        for frame in data:
            pairs = Pairs.find([frame], elements, r_max)
            table = np.full((pairs.n_atoms, n), np.inf)
            np.minimum.at(table, (pairs.center, elements_of(pairs)[1]), pairs.distance)
            here = np.unique(pairs.element)
            for a in here:
                for b in here:
                    of_atoms = table[pairs.element == a, b]
                    nearest[int(a), int(b)].frombytes(of_atoms[of_atoms < np.inf].tobytes())
        closest, usual = np.full((2, n, n), np.inf)
        for (a, b), distances in nearest.items():
            found = np.sort(distances)
            if len(found):
                shell = 1 + np.flatnonzero(np.append(found[1:] > GAP * found[:-1], True))[0]
                closest[a, b], usual[a, b] = found[0], np.median(found[:shell])
        # The element that has the fewer of such neighbours is the one that is bound by them.
        usual = np.minimum(usual, usual.T)
        with np.errstate(invalid="ignore"):
            trusted = np.maximum(TRUSTED * usual, 2 * closest - usual)
        trusted[np.isinf(closest)] = np.inf
        onset = np.clip(trusted, (1 - MARGIN) * closest, closest)
        bare = cls(tuple(elements), r_max, closest, onset, np.ones((n, n)))
        covalent = covalent_distances(elements)
        end = np.maximum(covalent, r_max / 2)
        nearer = np.minimum(end / bare._unit, 1.0) ** 4
        bonds = closest <= BONDED * covalent
        mixes = (bonds | (closest > end)) & np.outer(bonds.diagonal(), bonds.diagonal())
        fullest, total = np.zeros((n, n)), np.zeros(n)
        for frame in data:
            pairs = Pairs.find([frame], elements, r_max)
            parts = bare.crowd(pairs).parts
            np.maximum.at(fullest, pairs.element, parts)
            np.maximum.at(
                total, pairs.element, np.sum(parts * (mixes * nearer)[pairs.element], axis=1)
            )
        # Elements that nowhere met: as full as with one neighbour.  Those that met beyond the end
        # alone are not crowded by one there, however small the sums of the data are.
        fullest[fullest == 0] = 1.0
        one = (bare._unit / end) ** 4 * np.maximum(1 - end / r_max, 0.0) ** 3
        fullest = np.where(
            np.isfinite(closest) & (closest > end), np.maximum(fullest, one), fullest
        )
        fullest = np.maximum(fullest, mixes * MIXED * total[:, None] / nearer)
        return cls(tuple(elements), r_max, closest, onset, fullest)

    def radial_functions(self, radial: Radial, pairs: Pairs) -> tuple[Array, Array]:
        """Radial functions of pairs and their derivatives by the distance.

        Returns
        -------
        values, derivatives : (pairs, n_max)
        """
        g, dg = radial.compute(pairs.distance)
        one, two = elements_of(pairs)
        near = np.flatnonzero(pairs.distance < self.onset[one, two])
        if len(near):
            one, two = one[near], two[near]
            s, slope = self.continue_inwards(pairs.distance[near], one, two)
            met = np.isfinite(self.closest[one, two])
            value, derivative = radial.compute(s)
            g[near] = value * met[:, None]
            dg[near] = derivative * (met * slope)[:, None]
        return g, dg

    def continue_inwards(
        self, r: Array, one: NDArray[np.int64], two: NDArray[np.int64]
    ) -> tuple[Array, Array]:
        """s(r) and its derivative, for pairs of elements; r where they never met."""
        met = np.isfinite(self.closest[one, two])
        length = REST * np.where(met, self.closest[one, two], 1.0)
        u = np.maximum(np.where(met, self.onset[one, two] - r, 0.0) / length, 0.0)
        return r + length * (u - settle(u)), fall(u)[0]

    def crowd(self, pairs: Pairs) -> Crowd:
        """How crowded the centers of pairs are."""
        one, two = elements_of(pairs)
        edge = np.maximum(1 - pairs.distance / self.r_max, 0.0)
        # The fourth power as two squares, which NumPy forms ten times as fast.
        close = np.square(np.square(self._unit[one, two] / pairs.distance) * edge)
        close /= self.fullest[one, two]
        n = len(self.elements)
        sums = np.bincount(pairs.center * n + two, close * edge, pairs.n_samples * n)
        return Crowd(pairs, sums.astype(float).reshape(-1, n), close, edge, self.r_max)

    @cached_property
    def _unit(self) -> Array:
        """Distances at which a neighbour counts as one."""
        met = np.isfinite(self.closest)
        return np.where(met, self.closest, covalent_distances(self.elements))

    def describe(self) -> str:
        """The closest distances in one line, for people."""
        pairs = list(zip(*np.triu_indices(len(self.elements)), strict=True))
        met = [(float(self.closest[i, j]), i, j) for i, j in pairs if self.closest[i, j] < np.inf]
        if not met:
            return "no two atoms in the data"
        r, i, j = min(met)
        text = f"data down to {r:.3g} Å ({self.elements[i]}-{self.elements[j]})"
        never = len(pairs) - len(met)
        return f"{text}, {never} pairs of elements never met" if never else text

    def to_arrays(self) -> dict[str, Array]:
        """Arrays for a model file; :meth:`from_arrays` is the inverse."""
        tables = {name: getattr(self, name) for name in _TABLES}
        return {f"inner.{name}": np.where(t < np.inf, t, 0.0) for name, t in tables.items()}

    @classmethod
    def from_arrays(
        cls, elements: tuple[str, ...], r_max: float, arrays: Mapping[str, NDArray[Any]]
    ) -> Inner:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        shape = (len(elements),) * 2
        tables = [numbers(arrays, f"inner.{name}", shape) for name in _TABLES]
        return cls(elements, r_max, *(np.where(table == 0, np.inf, table) for table in tables))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Inner):
            return NotImplemented
        same = (self.elements, self.r_max) == (other.elements, other.r_max)
        return same and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in _TABLES
        )

    def __hash__(self) -> int:
        return hash((self.elements, self.r_max))


@dataclass(frozen=True, eq=False)
class Crowd:
    """Crowding of the centers of a batch.

    Attributes
    ----------
    pairs : Pairs
    parts : (samples, elements)
        Sums over the neighbours of each element, relative to the largest in the data.
    close, edge : (pairs,)
        Factors of what each pair adds to its sum.
    r_max : float
        Å.
    """

    pairs: Pairs
    parts: Array
    close: Array
    edge: Array
    r_max: float

    @cached_property
    def x(self) -> Array:
        """Crowding of every center: (samples,)."""
        return np.asarray(np.sum(self.parts**NORM, axis=1) ** (1 / NORM))

    @cached_property
    def is_beyond(self) -> bool:
        """Whether any atom has met the wall."""
        return bool((self.x > BEGIN).any())

    @cached_property
    def share(self) -> Array:
        """What is left of the answer of each center: f(x), (samples,)."""
        return self._fall[0]

    @cached_property
    def share_slope(self) -> Array:
        """Derivative of the share by the crowding: (samples,)."""
        return self._fall[1] / (END - BEGIN)

    @cached_property
    def _fall(self) -> tuple[Array, Array]:
        return fall((self.x - BEGIN) / (END - BEGIN))

    def blend(self, energies: Array) -> tuple[Array, Array]:
        """Energies of centers with the wall, and their derivatives by the crowding.

        Parameters
        ----------
        energies : (samples,), eV

        Returns
        -------
        energies, by_x : (samples,), eV
        """
        x, f = np.maximum(self.x, BEGIN), self.share
        wall = WALL * np.sqrt(x / END)
        by_x = self.share_slope * (energies - wall) + (1 - f) * wall / (2 * x)
        return f * energies + (1 - f) * wall, by_x

    def pull_back(self, by_x: Array) -> Array:
        """Derivative by the distance of each pair from those by the crowding of its center.

        Parameters
        ----------
        by_x : (samples,), eV

        Returns
        -------
        (pairs,), eV/Å
        """
        pairs, x = self.pairs, np.maximum(self.x, BEGIN)
        by_part = by_x[:, None] * (self.parts / x[:, None]) ** (NORM - 1)
        # Of (c / r)^4 (1 - r / r_max)^3, which each pair adds to its sum.
        by_distance = -self.close * (4 * self.edge / pairs.distance + 3 / self.r_max)
        return by_part[pairs.center, pairs.element[pairs.neighbor]] * by_distance


def elements_of(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Elements of the center and of the neighbour of every pair, as indices."""
    return pairs.element[pairs.sample[pairs.center]], pairs.element[pairs.neighbor]
