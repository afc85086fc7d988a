"""What data leave open of the unknowns of least squares."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg as sl

from etn.backend import FloatArray as Array
from etn.sweep.regression.normal_equations import NormalEquations


def posterior(normal: NormalEquations, at: Array, penalty: Array, n_rows: float) -> Array:
    """Square root S of the covariance of the unknowns of Bayesian linear regression.

    S S^T = sigma^2 (G + R)^-1, with sigma^2 = residual / (rows - degrees of freedom).

    Parameters
    ----------
    normal : NormalEquations
        With the Gram matrix G of the weighted rows.
    at : (P,)
        Unknowns whose squared residuals tell sigma.
    penalty : (P,)
        The diagonal of R: sigma^2 / R is the variance of the unknowns without data.
    n_rows : float
        Number of rows.

    Returns
    -------
    (P, P)

    Examples
    --------
    >>> normal = NormalEquations(1)
    >>> normal.add(np.array([[2.0], [0.0]]), np.array([4.0, 1.0]))
    >>> posterior(normal, np.array([2.0]), np.zeros(1), n_rows=2)
    array([[0.5]])
    """
    values, vectors = sl.eigh(np.triu(normal.gram) + np.diag(penalty), lower=False)
    # Without a penalty a direction may have no data: as wide as the arithmetic allows.
    values = np.maximum(values, len(values) * np.finfo(float).eps * (values[-1] or 1.0))
    # Each direction takes as many degrees of freedom as its share of precision from data.
    shares = np.sum(penalty[:, None] * vectors**2, axis=0) / values
    n_used = float(np.sum(1 - np.minimum(shares, 1)))
    sigma = math.sqrt(max(normal.value(at), 0.0) / max(n_rows - n_used, 1.0))
    return np.asarray(sigma * vectors / np.sqrt(values))
