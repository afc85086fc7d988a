"""The spectral norm of a tensor, bounded from above."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from etn.backend import FloatArray
from etn.errors import CoreError

__all__ = ["spectral_norm_bound", "unfolding"]

# Largest leg dimension for the bound on symmetric squares: its matrix has d (d + 1) / 2 rows.
MAX_SQUARED_DIM = 50


def spectral_norm_bound(tensor: ArrayLike) -> float:
    r"""Bound the spectral norm of a tensor from above.

    .. math:: \|T\|_\sigma = \max_{\|z\| = \|x\| = \dots = 1} \langle z \otimes x \otimes \cdots,
        T \rangle

    The least of these bounds, along any leg:

    - the largest singular value of the unfolding;
    - for three legs, with T_k the slices along the leg, :math:`\sum_k (x^T T_k\, y)^2 =
      \langle x \otimes x, K\, (y \otimes y)\rangle` where :math:`K = \sum_k T_k \otimes T_k`.  A
      unit vector has :math:`x \otimes x = \omega / \sqrt d + s` with :math:`\omega` the normalized
      identity and s symmetric, traceless, of norm :math:`\sqrt{1 - 1/d}`; the four parts of K are
      bounded one by one.  Without this split the part along the identities hides the rest, which
      for irregular tensors is smaller by a power of d.

    Parameters
    ----------
    tensor : array_like
        At least one leg.

    Returns
    -------
    float

    Raises
    ------
    CoreError
        If there is no leg.

    Examples
    --------
    >>> levi_civita = np.zeros((3, 3, 3))
    >>> for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    ...     levi_civita[a, b, c], levi_civita[a, c, b] = 1.0, -1.0
    >>> round(spectral_norm_bound(levi_civita), 6)  # the volume of a unit cube, 1, is the truth
    1.154701
    >>> round(float(np.linalg.norm(levi_civita.reshape(3, 9), 2)), 6)
    1.414214
    """
    T = np.asarray(tensor, float)
    if T.ndim == 0:
        raise CoreError("spectral_norm_bound: expected a tensor with at least one leg, got none")
    bounds = [_largest_singular_value(unfolding(T, leg)) for leg in range(T.ndim)]
    if T.ndim == 3 and max(T.shape) <= MAX_SQUARED_DIM:
        # The leg that is summed over: the one with the best plain bound is the first to try, and
        # the others rarely differ.
        bounds.append(_squared_bound(np.moveaxis(T, int(np.argmin(bounds)), 0)))
    return min(bounds)


def _squared_bound(T: FloatArray) -> float:
    """The bound by K for a tensor T[k, i, j]; its parts as in the docstring above."""
    _, d1, d2 = T.shape
    K = np.tensordot(T, T, axes=(0, 0)).transpose(0, 2, 1, 3)  # (i, i', j, j')
    rows, columns = np.triu_indices(d1), np.triu_indices(d2)
    one, two = (np.where(a == b, 1.0, math.sqrt(2.0)) for a, b in (rows, columns))
    # Coordinates of symmetric matrices: a pair i < i' stands for both orders.
    K = K[*rows][:, *columns] + K[*rows][:, *columns[::-1]]
    K *= 0.5 * one[:, None] * two
    w1, w2 = ((a == b) / math.sqrt(d) for (a, b), d in ((rows, d1), (columns, d2)))
    right, left = K @ w2, w1 @ K
    middle = float(w1 @ right)
    traceless = K - np.outer(w1, left) - np.outer(right, w2) + middle * np.outer(w1, w2)
    c1, c2 = math.sqrt(1.0 - 1.0 / d1), math.sqrt(1.0 - 1.0 / d2)
    square = (
        middle / math.sqrt(d1 * d2)
        + c2 * float(np.linalg.norm(left - middle * w2)) / math.sqrt(d1)
        + c1 * float(np.linalg.norm(right - middle * w1)) / math.sqrt(d2)
        + c1 * c2 * _largest_singular_value(traceless)
    )
    return math.sqrt(max(square, 0.0))


def unfolding(tensor: FloatArray, leg: int) -> FloatArray:
    """The tensor as a matrix: one leg by all others.

    Examples
    --------
    >>> unfolding(np.zeros((2, 3, 4)), 1).shape
    (3, 8)
    """
    return np.moveaxis(tensor, leg, 0).reshape(tensor.shape[leg], -1)


def _largest_singular_value(matrix: FloatArray) -> float:
    """By the smaller Gram matrix, scaled against under- and overflow of the squares."""
    scale = float(np.abs(matrix).max(initial=0.0))
    if scale == 0.0:
        return 0.0
    scaled = matrix / scale
    gram = scaled @ scaled.T if len(scaled) <= scaled.shape[1] else scaled.T @ scaled
    return scale * math.sqrt(float(np.linalg.eigvalsh(gram)[-1]))
