r"""How deep an atom may fall: the energy of a network is bounded from below.

A network knows nothing of neighbourhoods unlike those of its data, and a polynomial may answer to
one of them with any number.  Too high a number drives atoms out of there; too low a one draws them
in, and a relaxation ends in a well that no data ever had.  So the answers P of a fitted potential
come to rest somewhat below the lowest ones of its training data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import SettingsError
from etn.potential.features.batching import frame_batches
from etn.potential.features.pairs import element_indices
from etn.potential.features.zbl import fall, settle
from etn.stored import numbers

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.potential.base import Potential

__all__ = ["Floor"]

# The margin below the lowest answer: shares of its depth and of its distance to the usual one, for
# structures bound more strongly than any of the data, and the least margin, eV.
DEPTH, TAIL, LEAST = 0.25, 0.5, 0.5


@dataclass(frozen=True, eq=False)
class Floor:
    r"""Where the answers of a network to the atoms of each element come to rest.

    .. math:: P \to P + m\, [\, u - h(u) \,], \qquad u = (b - m - P) / m,

    with b the lowest answer in the training data, m a margin, and h(u) = u for u <= 0, of which
    the slope falls from 1 to 0 as u grows to 1 (:func:`~etn.potential.features.zbl.settle`).
    Nothing changes above b - m, nothing lies below b - 1.5 m, and all is smooth to the second
    derivative.

    Parameters
    ----------
    lowest : (elements,), eV
        b, at most zero: the answer to an atom without neighbours.
    margin : (elements,), eV
        m, the largest of a quarter of b, half the distance of b from the median, and 0.5 eV.

    Raises
    ------
    SettingsError
        If an answer is above zero, or a margin is not.

    Examples
    --------
    >>> floor = Floor(np.array([-7.0]), np.array([2.0]))
    >>> floor.lift(np.array([-8.0, -10.0, -1e6]), np.zeros(3, int))
    (array([ -8.     ,  -9.84375, -10.     ]), array([1. , 0.5, 0. ]))
    """

    lowest: Array
    margin: Array

    def __post_init__(self) -> None:
        if not ((self.lowest <= 0).all() and (self.margin > 0).all()):
            raise SettingsError(
                "floor: expected lowest answers of zero or less and margins above zero, got "
                f"{self.lowest.tolist()} and {self.margin.tolist()}"
            )

    @classmethod
    def of(cls, potential: Potential, data: Dataset) -> Floor:
        """The floor of a potential that was fitted to these data and has none yet."""
        elements = potential.elements
        e0 = np.array([potential.baseline.e0[symbol] for symbol in elements])
        answers, element = [np.empty(0)], [np.empty(0, dtype=np.int64)]
        for batch in frame_batches(data):  # of all data together forces would take much memory
            for frame, prediction in zip(batch, potential.predict(batch), strict=True):
                element.append(element_indices(frame, elements))
                answers.append(prediction.energies - e0[element[-1]])
        found, owner = np.concatenate(answers), np.concatenate(element)
        every = [np.append(found[owner == k], 0.0) for k in range(len(elements))]
        lowest = np.array([own.min() for own in every])
        tail = np.array([np.median(own) for own in every]) - lowest
        return cls(lowest, np.maximum(np.maximum(-DEPTH * lowest, TAIL * tail), LEAST))

    def lift(self, energies: Array, element: NDArray[np.int64]) -> tuple[Array, Array]:
        """Answers with the floor, and their derivatives by the answers without.

        Parameters
        ----------
        energies : (samples,), eV
        element : (samples,)
            Of each center, counted as in the tables.

        Returns
        -------
        energies, slopes : (samples,)
        """
        begin, margin = (self.lowest - self.margin)[element], self.margin[element]
        u = (begin - energies) / margin
        return energies + margin * (u - settle(u)), fall(u)[0]

    def to_arrays(self) -> dict[str, Array]:
        """Arrays for a model file; :meth:`from_arrays` is the inverse."""
        return {"floor.lowest": self.lowest, "floor.margin": self.margin}

    @classmethod
    def from_arrays(
        cls, elements: Sequence[str], arrays: Mapping[str, NDArray[Any]]
    ) -> Floor | None:
        """What :meth:`to_arrays` described; None for files of versions before."""
        if "floor.lowest" not in arrays:
            return None
        names = ("floor.lowest", "floor.margin")
        return cls(*(numbers(arrays, name, (len(elements),)) for name in names))
