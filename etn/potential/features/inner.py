r"""Where the data end: atoms closer to each other, or more crowded, than any that were seen.

Polynomials grow without bound where no data hold them.  Two things bound them, both smooth to the
second derivative, and both without effect on the atoms of the data, so that a fit stays linear.

Some way below the closest distance c of two elements the radial functions are continued by what
they are there, g_n(r) -> g_n(s(r)): s(r) = r from 0.9 c outwards, and inwards it comes to rest over
a tenth of c.  Elements that nowhere met have no radial functions of each other.

The crowding of an atom counts its neighbours of each element Z, one at the closest distance of the
data as one, and takes what is most unusual:

.. math:: X_{iZ} = \sum_{j \in Z} (c_{ij} / r_{ij})^4 (1 - r_{ij} / r_{max})^3, \qquad
          x_i = \Big[ \sum_Z (X_{iZ} / X^{max}_{Z_i Z})^8 \Big]^{1/8}

with the largest sums that the data hold.  Beyond x = 2 the answer P_i of a network is led over into
a wall that rises further in,

.. math:: P_i \to f(x_i) P_i + (1 - f(x_i)) W (x_i / 3.5)^{1/2},

with f falling from one to zero at x = 3.5.  Closer still the repulsion of the nuclei, which is part
of the baseline (:mod:`etn.potential.zbl`), outgrows all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import SettingsError
from etn.potential.features.pairs import Pairs
from etn.potential.features.radial import Radial
from etn.potential.zbl import covalent_distances, fall

if TYPE_CHECKING:
    from etn.data.dataset import Dataset

__all__ = ["Crowd", "Inner", "elements_of"]

# How far below the closest distance polynomials are trusted, and the length over which s(r) then
# comes to rest, both relative to that distance.
MARGIN, REST = 0.05, 0.1
# Where the repulsion of the nuclei, which begins with the continuation, is complete.
FULL = 0.7
# Crowding at which the wall begins and at which it is all that is left; its height there, eV: more
# than a network that was continued so far answers.
BEGIN, END, WALL = 2.0, 3.5, 50.0
# Powers of the distance in the crowding, and of the norm over elements.
POWER, NORM = 4, 8


@dataclass(frozen=True)
class Inner:
    """The inner end of the data, in distances and in crowding.

    Parameters
    ----------
    elements : tuple of str
    r_max : float
        Radius of the neighbourhoods, Å.
    closest : table of float
        Closest distance of every two elements in the data, Å; infinite where they never met.
    fullest : table of float
        Largest sum X of an atom of each element (rows) over its neighbours of each (columns) in
        the data.

    Raises
    ------
    SettingsError
        If the numbers are not positive, the table not symmetric, or not those of the elements.

    Examples
    --------
    >>> inner = Inner(("Mo",), 5.0, ((1.9,),), ((0.5,),))
    >>> s, slope = inner.continue_inwards(np.array([2.5, 1.6, 1.2]), np.full(3, inner.onset[0, 0]))
    >>> s.round(3)
    array([2.5  , 1.623, 1.615])
    """

    elements: tuple[str, ...]
    r_max: float
    closest: tuple[tuple[float, ...], ...]
    fullest: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        n, table = len(self.elements), self.table
        if table.shape != (n, n) or not (table > 0).all() or (table != table.T).any():
            raise SettingsError(
                f"closest: expected a symmetric table of {n} times {n} positive distances, "
                f"got {self.closest}"
            )
        most = np.array(self.fullest, dtype=float)
        if most.shape != (n, n) or not ((most > 0) & (most < np.inf)).all():
            raise SettingsError(
                f"fullest: expected a table of {n} times {n} positive numbers, got {self.fullest}"
            )

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
        >>> Inner.of(Dataset.read("etn:Mo/train"), ("Mo",), 5.0).table.round(3)
        array([[1.883]])
        """
        closest = np.full((len(elements),) * 2, np.inf)
        for frame in data:
            pairs = Pairs.find([frame], elements, r_max)
            # Each pair stands there twice, once from either atom.
            np.minimum.at(closest, elements_of(pairs), pairs.distance)
        table = tuple(map(tuple, closest.tolist()))
        bare = cls(tuple(elements), r_max, table, ((1.0,) * len(elements),) * len(elements))
        fullest = np.zeros_like(closest)
        for frame in data:
            crowd = bare.crowd(Pairs.find([frame], elements, r_max))
            np.maximum.at(fullest, crowd.pairs.element[crowd.pairs.sample], crowd.parts)
        # Elements that nowhere met: as full as with one neighbour.
        fullest[fullest == 0] = 1.0
        return cls(tuple(elements), r_max, table, tuple(map(tuple, fullest.tolist())))

    @cached_property
    def table(self) -> Array:
        """Closest distances: (elements, elements), Å."""
        return np.array(self.closest, dtype=float)

    @cached_property
    def onset(self) -> Array:
        """Where the radial functions begin to rest: (elements, elements), Å."""
        return (1 - MARGIN) * self.table

    def radial_functions(self, radial: Radial, pairs: Pairs) -> tuple[Array, Array]:
        """Radial functions of pairs and their derivatives by the distance.

        Returns
        -------
        values, derivatives : (pairs, n_max)
        """
        g, dg = radial.compute(pairs.distance)
        onset = self.onset[elements_of(pairs)]
        near = np.flatnonzero(pairs.distance < onset)
        if len(near):
            s, slope = self.continue_inwards(pairs.distance[near], onset[near])
            met = np.isfinite(onset[near])
            value, derivative = radial.compute(s)
            g[near] = value * met[:, None]
            dg[near] = derivative * (met * slope)[:, None]
        return g, dg

    @staticmethod
    def continue_inwards(r: Array, onset: Array) -> tuple[Array, Array]:
        """s(r) and its derivative, for pairs that begin to rest at `onset`."""
        length = REST / (1 - MARGIN) * np.where(np.isfinite(onset), onset, 1.0)
        # The slope falls from 1 to 0; s is its integral.
        u = np.clip(np.where(np.isfinite(onset), (onset - r) / length, 0.0), 0.0, None)
        v = np.minimum(u, 1.0)
        return r + length * (u - v + v**4 * (2.5 - 3 * v + v**2)), fall(u)[0]

    def crowd(self, pairs: Pairs) -> Crowd:
        """How crowded the centers of pairs are."""
        one, two = elements_of(pairs)
        edge = np.maximum(1 - pairs.distance / self.r_max, 0.0)
        close = (self._unit[one, two] / pairs.distance) ** POWER * edge**2
        close /= np.array(self.fullest)[one, two]
        n = len(self.elements)
        sums = np.bincount(pairs.center * n + two, close * edge, pairs.n_samples * n)
        slopes = -close * (POWER * edge / pairs.distance + 3 / self.r_max)
        return Crowd(pairs, sums.astype(float).reshape(-1, n), slopes)

    @cached_property
    def _unit(self) -> Array:
        """Distances at which a neighbour counts as one."""
        return np.where(np.isfinite(self.table), self.table, covalent_distances(self.elements))


@dataclass(frozen=True, eq=False)
class Crowd:
    """Crowding of the centers of a batch.

    Attributes
    ----------
    pairs : Pairs
    parts : (samples, elements)
        Sums over the neighbours of each element, relative to the largest in the data.
    slopes : (pairs,), 1/Å
        Derivative of the sum that a pair is part of by its distance.
    """

    pairs: Pairs
    parts: Array
    slopes: Array

    @cached_property
    def x(self) -> Array:
        """Crowding of every center: (samples,)."""
        return np.sum(self.parts**NORM, axis=1) ** (1 / NORM)

    @cached_property
    def is_beyond(self) -> bool:
        """Whether any atom has met the wall."""
        return bool((self.x > BEGIN).any())

    @cached_property
    def share(self) -> Array:
        """What is left of the answer of each center: f(x), (samples,)."""
        return fall((self.x - BEGIN) / (END - BEGIN))[0]

    def blend(self, energies: Array) -> tuple[Array, Array]:
        """Energies of centers with the wall, and what it adds to the slopes of the pairs.

        Parameters
        ----------
        energies : (samples,), eV

        Returns
        -------
        energies : (samples,), eV
        slopes : (pairs,), eV/Å
            Derivative by the distance that comes with the crowding of the center.
        """
        share, by_x = fall((self.x - BEGIN) / (END - BEGIN))
        x = np.maximum(self.x, BEGIN)
        wall = WALL * np.sqrt(x / END)
        by_x = by_x / (END - BEGIN) * (energies - wall) + (1 - share) * wall / (2 * x)
        by_part = by_x[:, None] * (self.parts / x[:, None]) ** (NORM - 1)
        two = self.pairs.element[self.pairs.neighbor]
        slopes = by_part[self.pairs.center, two] * self.slopes
        return share * energies + (1 - share) * wall, slopes


def elements_of(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Elements of the center and of the neighbour of every pair, as indices."""
    return pairs.element[pairs.sample[pairs.center]], pairs.element[pairs.neighbor]
