"""Rows of maximal volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import CoreError, SettingsError

if TYPE_CHECKING:
    pass


def maxvol(rows: Array, *, tolerance: float = 1.01) -> NDArray[np.int64]:
    """Square submatrix whose volume no exchange of one row raises by more than `tolerance`.

    With A the chosen rows, every entry of B = rows A^-1 stays at or below `tolerance`: an
    exchange of row j of A for row i multiplies |det A| by |B_ij|.  It starts from the pivots of
    an LU factorisation and exchanges the pair of the largest entry until none is left
    (Goreinov, Oseledets, Savostyanov, Tyrtyshnikov and Zamarashkin, "How to find a good
    submatrix", in Matrix Methods, 2010).

    Parameters
    ----------
    rows : (n, k)
        At least as many rows as columns, of full rank.
    tolerance : float
        Above 1.

    Returns
    -------
    (k,) int
        Indices of the chosen rows.

    Raises
    ------
    SettingsError
        If `tolerance` is not above 1.
    CoreError
        If the rows are fewer than the columns or not of full rank.

    Examples
    --------
    >>> maxvol(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 2.0]])).tolist()
    [0, 2]
    """
    n, k = rows.shape
    if not tolerance > 1:
        raise SettingsError(f"tolerance: expected a number above 1, got {tolerance}")
    if n < k:
        raise CoreError(f"maxvol: expected at least {k} rows for {k} columns, got {n}")
    factors, pivots, _ = sl.lapack.dgetrf(rows)
    diagonal = np.abs(np.diagonal(factors))
    if k and diagonal.min() <= n * np.finfo(float).eps * np.abs(rows).max():
        raise CoreError(f"maxvol: expected {k} independent rows; remove columns without use")
    order = np.arange(n)
    for at, pivot in enumerate(pivots):
        order[[at, pivot]] = order[[pivot, at]]
    chosen = order[:k]
    while True:
        # Anew after each round of exchanges, whose updates lose digits.
        ratios = np.asfortranarray(sl.solve(rows[chosen].T, rows.T).T)
        exchanged = False
        while True:
            i, j = np.unravel_index(np.argmax(np.abs(ratios)), ratios.shape)
            if abs(ratios[i, j]) <= tolerance:
                break
            change = ratios[i].copy()
            change[j] -= 1
            ratios = sl.blas.dger(
                -1 / ratios[i, j], ratios[:, j].copy(), change, a=ratios, overwrite_a=True
            )
            chosen[j] = i
            exchanged = True
        if not exchanged:
            return chosen
