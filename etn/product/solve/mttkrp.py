r"""Products of a tensor and of a CP form with all factors but one.

With :math:`\hat M = \sum_r a^1_r \otimes \dots \otimes a^n_r`, the derivative of
:math:`\tfrac12 \|\hat M - M\|^2` along the factor of one site is the MTTKRP (matricized tensor
times Khatri-Rao product) of the residual, and its second derivative is the elementwise product of
the Gram matrices of all others (Kolda & Bader, SIAM Rev. 51, 455 (2009), Sec. 3.4).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from etn.backend import FloatArray
from etn.product.cp import CPTensor, khatri_rao

__all__ = ["gram", "largest_norm", "mttkrp", "residual"]

Matrix = FloatArray


def mttkrp(tensor: FloatArray, factors: Sequence[Matrix], site: int) -> Matrix:
    """The tensor contracted with the columns of all factors but one, shape (d_site, R).

    Takes 2 d_1 d_2 ... d_n R floating-point operations in one matrix product.

    Examples
    --------
    >>> eye = np.eye(2)
    >>> mttkrp(np.arange(8.0).reshape(2, 2, 2), [eye, eye, eye], 0)
    array([[0., 3.],
           [4., 7.]])
    """
    unfolded = np.moveaxis(tensor, site, 0).reshape(tensor.shape[site], -1)
    others = [factor for k, factor in enumerate(factors) if k != site]
    return unfolded @ khatri_rao(others)


def gram(factors: Sequence[Matrix], without: Collection[int] = ()) -> Matrix:
    """Elementwise product of the Gram matrices of the factors, some left out, shape (R, R).

    Examples
    --------
    >>> gram([np.eye(2), 2 * np.eye(2), np.ones((1, 2))], without=[0])
    array([[4., 0.],
           [0., 4.]])
    """
    product = np.ones((factors[0].shape[1],) * 2)
    for site, factor in enumerate(factors):
        if site not in without:
            product *= factor.T @ factor
    return product


def residual(factors: Sequence[Matrix], target: FloatArray) -> FloatArray:
    """The CP form less the target, in the shape of the target.

    Formed explicitly: the expanded square of the norm would lose all digits below 1e-8.
    """
    dense = factors[0] @ khatri_rao(factors[1:]).T
    return dense.reshape(target.shape) - target


def largest_norm(factors: Sequence[Matrix]) -> float:
    """Largest norm of a column once every term is spread evenly over its factors."""
    terms = math.prod(np.linalg.norm(factor, axis=0) for factor in factors)
    return float(np.max(terms)) ** (1.0 / len(factors))


def with_factors(cp: CPTensor, factors: Sequence[Matrix], method: str) -> CPTensor:
    """Other factors for the same target, in the form whose terms are balanced."""
    return CPTensor(cp.target, tuple(factors), method=method).balance()
