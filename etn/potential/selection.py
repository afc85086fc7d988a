"""Choose the frames of a pool to label next.

A potential that is linear in P unknowns learns most from atoms whose features span the largest
volume: D-optimal design.  The active set behind extrapolation grades is chosen that way among the
training atoms (:mod:`etn.tensor.maxvol`); here whole frames are.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import SettingsError

if TYPE_CHECKING:
    from etn.data.frame import Frame
    from etn.potential.base import Potential

__all__ = ["Selection", "select"]


@dataclass(frozen=True, eq=False)
class Selection:
    """Frames chosen from a pool, the most telling first.

    Attributes
    ----------
    indices : (n,) int
        Frames of the pool.
    gains : (n,)
        By how much each of them, added to those before, raises log det of the information.
    gamma : (pool,)
        Largest extrapolation grade of every frame of the pool.
    """

    indices: NDArray[np.int64]
    gains: Array
    gamma: Array


def select(model: Potential, pool: Sequence[Frame], n: int) -> Selection:
    """Choose the frames of a pool from which a potential would learn most.

    With the coefficients c_i of the atoms with respect to the active set, phi_i = c_i A, the
    next frame is the one that raises

        log det (1 + sum_{chosen frames} sum_{i in frame} c_i^T c_i)

    most: the volume that the active set and all chosen atoms span.  To it add, for every element of
    the central atom and every term of :class:`etn.potential.coverage.Coverage`,

        log (1 + sum_{atoms of the element in chosen frames} max(term - 1, 0)^2):

    elements and pairs of elements that were never seen, distances and numbers of neighbours far
    from all that were.  What the training data or an earlier choice show already adds little, so
    the frames differ among themselves.  The gain of
    a frame never rises as others are chosen, so only the front runners are computed anew
    (M. Minoux, Accelerated greedy algorithms for maximizing submodular set functions, 1978).

    Labels are not used: the pool may have none.

    Parameters
    ----------
    model : Potential
        With an uncertainty, as every fit makes one.
    pool : sequence of Frame, or Dataset
    n : int
        How many frames to choose.

    Raises
    ------
    SettingsError
        If `n` is not between 1 and the number of frames, or the potential has no uncertainty.
    DataError
        If a frame holds an unknown element or coincident atoms.

    Examples
    --------
    >>> from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
    >>> from etn.sweep import Schedule
    >>> train = Dataset.read("etn:Mo/train", index="::20")
    >>> model = PolynomialPotential(
    ...     Basis.for_dataset(train, r_max=4.0, n_max=4, l_max=1),
    ...     body_order=3, max_bond=2, baseline=Baseline.fit(train))
    >>> model = fit(model, train, schedule=Schedule(max_sweeps=1)).model
    >>> pool = Dataset.read("etn:Mo/test")
    >>> chosen = pool[select(model, pool, 3).indices]
    >>> len(chosen)
    3
    """
    if not 1 <= n <= len(pool):
        raise SettingsError(
            f"n: expected a number from 1 to the {len(pool)} frames of the pool, got {n}"
        )
    uncertainty = model.uncertainty
    # The information of a frame needs no more rows than there are unknowns.
    frames, beyond = [], []
    gamma = np.empty(len(pool))
    for k, (element, phi, terms) in enumerate(uncertainty.atoms(pool)):
        gamma[k] = uncertainty.grades(phi, terms).max()
        frames.append(_compress(phi @ uncertainty.inverse))
        excess = np.zeros((len(model.elements), terms.shape[1]))
        np.add.at(excess, element, np.maximum(terms - 1, 0) ** 2)
        beyond.append(excess)
    size = len(uncertainty.inverse)
    root = np.eye(size)  # of the covariance: root root^T = (1 + sum c^T c)^-1
    known = np.ones_like(beyond[0])  # of the terms: 1 + sum of squares

    def gain(k: int) -> float:
        return _gain(frames[k] @ root) + float(np.sum(np.log1p(beyond[k] / known)))

    queue = [(-gain(k), k, 0) for k in range(len(frames))]
    heapq.heapify(queue)
    indices: list[int] = []
    gains: list[float] = []
    while len(indices) < n:
        most, k, at = heapq.heappop(queue)
        if at < len(indices):
            heapq.heappush(queue, (-gain(k), k, len(indices)))
            continue
        indices.append(k)
        gains.append(-most)
        known += beyond[k]
        # Grades may be large: by QR, which does not square them.
        triangle = sl.qr(np.concatenate([frames[k] @ root, np.eye(size)]), mode="r")[0][:size]
        root = sl.solve_triangular(triangle, root.T, trans="T").T
    return Selection(np.array(indices, dtype=np.int64), np.array(gains), gamma)


def _compress(rows: Array) -> Array:
    """Rows of the same Gram matrix, no more than columns."""
    return sl.qr(rows, mode="r")[0][: rows.shape[1]] if len(rows) > rows.shape[1] else rows


def _gain(rows: Array) -> float:
    """Return log det (1 + rows rows^T)."""
    stacked = np.concatenate([rows.T, np.eye(len(rows))])
    return 2 * float(np.sum(np.log(np.abs(np.diagonal(sl.qr(stacked, mode="r")[0])))))
