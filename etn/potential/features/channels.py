"""Radial channels of a leg: a few combinations of all radial functions and elements.

For each degree l the radial functions g_n and the elements Z of the neighbours are contracted to

    R^l_k(r, Z) = sum_n W^l_{Z n, k} g_n(r),        k = 0..K_l - 1,

so that the size of a leg, and with it the cost of a potential, need not grow with the number of
elements.  The prior of smooth functions gives each g_n Y_lm the weight

    w_{l n} = s (1 + n)^-p (1 + l)^-p,

and the channels are the principal components of the weighted features of the data.  They are
orthonormal in the metric of the prior: a ridge on a network says the same with few channels as
with all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import SettingsError
from etn.network.samples import Blocks
from etn.o3 import Irrep, Irreps

__all__ = ["Channels", "natural", "prior_weights"]


def natural(l: int) -> Irrep:
    """Irrep of the harmonics of degree l."""
    return Irrep(l, (-1) ** l)


def prior_weights(n_max: int, l_max: int, *, scale: float, smoothness: float) -> Array:
    """Weights s ((1 + l) (1 + n))^-p of all g_n Y_lm: (l_max + 1, n_max)."""
    l, n = np.arange(l_max + 1), np.arange(n_max)
    return scale * np.asarray(((1.0 + l)[:, None] * (1.0 + n)) ** -smoothness)


@dataclass(frozen=True, eq=False)
class Channels:
    """Contraction of radial functions and elements of the neighbours, for each degree.

    Parameters
    ----------
    matrices : tuple of arrays
        W^l for l = 0..l_max, elements times n_max times K_l, the weights of the prior included.

    Raises
    ------
    SettingsError
        If the matrices are not of one number of elements and radial functions.

    Examples
    --------
    >>> weights = prior_weights(4, 2, scale=1.0, smoothness=1.0)
    >>> Channels.all(weights, n_elements=2).leg
    8x0e+8x1o+8x2e
    """

    matrices: tuple[Array, ...]

    def __post_init__(self) -> None:
        # Products go another way through the BLAS for another memory order: stored channels, whose
        # arrays come back in C order, must say the same to the last bit.
        matrices = tuple(np.ascontiguousarray(m, float) for m in self.matrices)
        object.__setattr__(self, "matrices", matrices)
        if len({m.shape[:2] for m in self.matrices}) != 1 or any(
            m.ndim != 3 for m in self.matrices
        ):
            raise SettingsError(
                "channels: expected one matrix (elements, n_max, channels) for each l, got shapes "
                + ", ".join(str(m.shape) for m in self.matrices)
            )

    @classmethod
    def all(cls, weights: Array, n_elements: int) -> Channels:
        """Each radial function of each element is a channel of its own, ordered (Z, n).

        Parameters
        ----------
        weights : (l_max + 1, n_max)
            See :func:`prior_weights`.
        n_elements : int
        """
        if (size := n_elements * weights.shape[1]) > 2000:  # 32 MB for each l
            raise SettingsError(f"n_max: expected at most 2000 over all elements, got {size}")
        each = np.eye(size).reshape(n_elements, weights.shape[1], -1)
        return cls(tuple(each * w[:, None] for w in weights))

    def principal(self, legs: Iterable[Blocks], most: Sequence[int | None]) -> Channels:
        """The principal components of the values that these channels have in data.

        The components of each degree diagonalise sum_i sum_m v_{i k l m} v_{i k' l m}: those
        of largest mean square are kept.

        Parameters
        ----------
        legs : iterable of Blocks
            Values {ir: (K_l, 2 l + 1, samples)} of these channels in batches of samples; what
            comes before the last K_l, such as a constant, does not count.
        most : sequence of int or None
            Most channels of each l; None, or a number that is not below what there is, leaves
            the channels of that l as they are.

        Notes
        -----
        A. Goscinski, F. Musil, S. Pozdnyakov, J. Nigam, M. Ceriotti, J. Chem. Phys. 155, 104106
        (2021): optimal radial bases.
        """
        cut = [
            number is not None and number < matrix.shape[2]
            for matrix, number in zip(self.matrices, most, strict=True)
        ]
        covariances = [np.zeros((matrix.shape[2],) * 2) for matrix in self.matrices]
        for values in legs:
            for l in np.flatnonzero(cut):
                flat = values[natural(int(l))][-len(covariances[l]) :]
                flat = flat.reshape(len(flat), -1)
                covariances[l] += flat @ flat.T
        kept = []
        for matrix, number, covariance, fewer in zip(
            self.matrices, most, covariances, cut, strict=True
        ):
            if not fewer:
                kept.append(matrix)
                continue
            vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :number]
            largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
            # A sign that does not depend on the LAPACK at hand.
            kept.append(matrix @ (vectors * np.sign(largest)))
        return Channels(tuple(kept))

    @property
    def n_elements(self) -> int:
        """Elements of the neighbours."""
        return self.matrices[0].shape[0]

    @property
    def n_max(self) -> int:
        """Radial functions that are contracted."""
        return self.matrices[0].shape[1]

    @property
    def leg(self) -> Irreps:
        """Irreps of the channels."""
        return Irreps([(m.shape[2], natural(l)) for l, m in enumerate(self.matrices)])

    def contract(self, ir: Irrep, values: Array) -> Array:
        """Contract the last two axes, (elements, n_max), to the channels of an irrep."""
        matrix = self.matrices[ir.l]
        flat = values.reshape(-1, matrix.shape[0] * matrix.shape[1])
        mixed = flat @ matrix.reshape(flat.shape[1], -1)
        return mixed.reshape(*values.shape[:-2], matrix.shape[2])

    def expand(self, ir: Irrep, values: Array) -> Array:
        """Transpose of :meth:`contract`: the last axis back to (elements, n_max)."""
        matrix = self.matrices[ir.l]
        back = values.reshape(-1, matrix.shape[2]) @ matrix.reshape(-1, matrix.shape[2]).T
        return back.reshape(*values.shape[:-1], *matrix.shape[:2])

    def of_pairs(self, ir: Irrep, values: Array, element: NDArray[np.int64]) -> Array:
        """Channels (pairs, K_l) of radial functions (pairs, n_max) of neighbours of an element."""
        matrix = self.matrices[ir.l]
        if len(matrix) == 1:
            return values @ matrix[0]
        out = np.empty((len(values), matrix.shape[2]))
        for index, part in enumerate(matrix):
            here = element == index
            out[here] = values[here] @ part
        return out

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Channels):
            return NotImplemented
        return len(self.matrices) == len(other.matrices) and all(
            map(np.array_equal, self.matrices, other.matrices)
        )

    def __hash__(self) -> int:
        return hash(tuple(chain.from_iterable(m.shape for m in self.matrices)))
