"""Matrices of a bond as one vector, and where their entries stand in a core.

A core, a pair of cores and the free directions of a core are all one matrix for each irrep j of a
bond (see :func:`etn.tensor.matricize`).  In the entries of sqrt(2 j + 1) times these matrices the
norm of the tensor is that of the vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from etn.backend import Array, kind_of
from etn.o3 import Irrep
from etn.tensor.core import Core
from etn.tensor.factor import matricize


def to_vector(matrices: Mapping[Irrep, Array]) -> Array:
    """Entries of sqrt(2 j + 1) Theta_j, irrep after irrep, row after row.

    Examples
    --------
    >>> to_vector({Irrep("0e"): np.array([[3.0, 4.0]]), Irrep("1o"): np.array([[1.0]])})
    array([3.        , 4.        , 1.73205081])
    """
    xp = kind_of(*matrices.values()).xp
    ordered = [math.sqrt(ir.dim) * matrices[ir] for ir in sorted(matrices)]
    return xp.concat([xp.reshape(matrix, (-1,)) for matrix in ordered])


def from_vector(vector: Array, shapes: Mapping[Irrep, tuple[int, int]]) -> dict[Irrep, Array]:
    """Inverse of :func:`to_vector`, with the shapes in the order of the vector."""
    matrices, at = {}, 0
    for ir, (rows, columns) in shapes.items():
        part = vector[at : at + rows * columns]
        matrices[ir] = part.reshape(rows, columns) / math.sqrt(ir.dim)
        at += rows * columns
    return matrices


def matrix_entries(core: Core, leg: int) -> dict[Irrep, tuple[NDArray[np.int64], Array]]:
    """Where the matrices of a core on a leg have their entries from.

    Returns
    -------
    dict of Irrep to (indices, weights), each shaped as the matrix
        ``matricize(core, leg)[ir] == weights * core.to_vector()[indices]``.
    """
    n = core.n_parameters
    # Counted from 1: zero times a weight would say nothing.
    numbers = matricize(core.from_vector(np.arange(1.0, n + 1)), leg)
    weights = matricize(core.from_vector(np.ones(n)), leg)
    return {
        ir: (np.rint(numbers[ir] / weights[ir]).astype(np.int64) - 1, weights[ir]) for ir in numbers
    }
