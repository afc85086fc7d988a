"""Canonical forms of tensor trains, on sequences of cores.

The functions move the orthogonality center from core to core; :class:`etn.network.Chain` keeps
track of where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from etn.tensor import Core, Spectrum, Truncation, absorb, qr, svd
from etn.tensor.scale import unscaled


def canonical(cores: Sequence[Core], old: int | None, new: int) -> list[Core]:
    """The same tensor around another center; only the cores between the two change.

    Raises
    ------
    CoreError
        If the norm is beyond the range of floating point.
    """
    moved, power = canonical_unscaled(cores, old, new)
    moved[new] = moved[new].rescaled(power, "the norm of the tensor")
    return moved


def canonical_unscaled(cores: Sequence[Core], old: int | None, new: int) -> tuple[list[Core], int]:
    """Cores around another center, and the power of two that they leave out.

    Whatever the scale of the cores, nothing on the way leaves the range of floating point.

    Parameters
    ----------
    cores : sequence of Core
    old : int or None
        Where the center is, None if the train is not canonical.
    new : int
        Where it shall be.
    """
    moved, total = list(cores), 0
    steps = [(site, 1) for site in range(0 if old is None else old, new)]
    steps += [(site, -1) for site in range(len(moved) - 1 if old is None else old, new, -1)]
    for site, to in steps:
        moved[site], bond = qr(moved[site], 1 + to)
        bond, one = unscaled(bond)
        neighbour, two = moved[site + to].unscaled()
        moved[site + to] = absorb(neighbour, bond, 1 - to)
        total += one + two
    return moved, total


def truncated(cores: Sequence[Core], truncation: Truncation) -> tuple[list[Core], float]:
    """Truncate every bond of a train that has its center at the last core, from there on.

    Each step projects what the one before left on a subspace of one bond, and all later steps
    stay in that subspace: the errors are orthogonal, and their squares add up.

    Returns
    -------
    cores : list of Core
        With the center at the first core.
    discarded : float
        Frobenius norm of the whole error.
    """
    small = list(cores)
    total = 0.0
    for site in range(len(small) - 1, 0, -1):
        small[site], _, bond, discarded = svd(small[site], 0, truncation)
        small[site - 1] = absorb(small[site - 1], bond, 2)
        total = math.hypot(total, discarded)
    return small, total


def spectra(cores: Sequence[Core]) -> list[Spectrum]:
    """Singular values of every bond of a train that has its center at the last core."""
    found = []
    core = cores[-1]
    for left in reversed(cores[:-1]):
        factors = svd(core, 0)
        found.append(factors.spectrum)
        core = absorb(left, factors.bond, 2)
    return found[::-1]
