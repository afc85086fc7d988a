"""The ridge that data make most likely: evidence of a linear model.

Least squares with a ridge is the most likely answer of a Bayesian linear regression ::

    y ~ N(Phi a, sigma^2),        a ~ N(0, sigma^2 / (ridge M)),

M the metric of the ridge.  The evidence is the density of y with a integrated out.  It falls where
the prior is too tight to follow the data and where it is so wide that it says little about them,
so its maximum balances the two without any held-out data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.linalg as sl
from scipy.optimize import minimize_scalar

from etn.backend import FloatArray as Array
from etn.errors import SettingsError

# The ridge is sought between these multiples of the largest eigenvalue: below, it is rounding
# error of the Gram matrix; above, nothing of the data is left in the solution.
LOWEST, HIGHEST = 1e-13, 1e2
# Points in each factor of ten at which the search starts: the evidence may have several maxima.
PER_DECADE = 4


class Evidence(NamedTuple):
    """The evidence of one ridge.

    Attributes
    ----------
    ridge : float
    log_evidence : float
        Log density of the targets, at the most likely noise.
    sigma : float
        That noise: the standard deviation of a row of weight one.
    n_effective : float
        How many parameters the data determine rather than the ridge, sum_i s_i / (s_i + ridge).
    """

    ridge: float
    log_evidence: float
    sigma: float
    n_effective: float


class EvidenceCurve:
    r"""Evidence of linear equations as a function of the ridge.

    With s the eigenvalues of M^-1/2 Phi^T Phi M^-1/2, b the right-hand side M^-1/2 Phi^T y in the
    basis of its eigenvectors and

    .. math:: R(\lambda) = y^T y - \sum_i \frac{b_i^2}{s_i + \lambda}

    the minimum of the penalized squares, the most likely noise is sigma^2 = R / n, and with it

    .. math:: \log p(y) = -\frac n2 \left( \log 2 \pi \frac{R}{n} + 1 \right)
              - \frac12 \sum_i \log \left( 1 + \frac{s_i}{\lambda} \right) .

    Takes one eigendecomposition, about 10 P^3 flops at two further matrices of memory; a value
    then takes P operations.

    Parameters
    ----------
    gram : (P, P)
        Phi^T Phi; only the upper triangle is read.
    rhs : (P,)
        Phi^T y.
    target : float
        y^T y.
    metric : (P,)
        The diagonal of M.
    n_rows : int
        Rows of Phi that are not zero.  Where rows have weights these are part of Phi and of y.

    Raises
    ------
    SettingsError
        If there are no rows, or nothing but zeros in the targets or in the Gram matrix.

    Notes
    -----
    D. J. C. MacKay, Neural Comput. 4, 415 (1992), with sigma in closed form.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = rng.normal(size=(400, 100))
    >>> y = phi @ rng.normal(size=100) / 3 + rng.normal(size=400)
    >>> found = EvidenceCurve(phi.T @ phi, phi.T @ y, y @ y, np.ones(100), 400).maximum()
    >>> 9 / 2 < found.ridge < 9 * 2, 0.9 < found.sigma < 1.1
    (True, True)
    """

    def __init__(self, gram: Array, rhs: Array, target: float, metric: Array, n_rows: int) -> None:
        if n_rows < 1 or not target > 0:
            raise SettingsError(
                "evidence: expected rows with targets that are not all zero, got "
                f"{n_rows} rows with squared targets {target:g}; give the ridge as a number"
            )
        scale = 1 / np.sqrt(metric)
        scaled = gram * scale[:, None]
        scaled *= scale
        values, vectors = sl.eigh(scaled, lower=False, overwrite_a=True, check_finite=False)
        # A Gram matrix has no negative eigenvalue; rounding leaves some.
        self._eigenvalues = np.maximum(values, 0.0)
        self._squares = (vectors.T @ (scale * rhs)) ** 2
        self._target, self._n_rows = target, n_rows
        if not self._eigenvalues[-1] > 0:
            raise SettingsError(
                "evidence: expected a Gram matrix that is not zero; give the ridge as a number"
            )

    def at(self, ridge: float) -> Evidence:
        """Evidence of a positive ridge."""
        s, n = self._eigenvalues, self._n_rows
        left = self._target - float(np.sum(self._squares / (s + ridge)))
        # What rounding leaves of a perfect fit.
        variance = max(left, np.finfo(float).eps * self._target) / n
        log_evidence = -0.5 * n * (math.log(2 * math.pi * variance) + 1)
        log_evidence -= 0.5 * float(np.sum(np.log1p(s / ridge)))
        n_effective = float(np.sum(s / (s + ridge)))
        return Evidence(float(ridge), log_evidence, math.sqrt(variance), n_effective)

    def maximum(self) -> Evidence:
        """The ridge of the largest evidence, between 1e-13 and 100 times the largest eigenvalue."""
        low, high = np.log10(self._eigenvalues[-1] * np.array([LOWEST, HIGHEST]))
        grid = np.linspace(low, high, 1 + round(PER_DECADE * (high - low)))
        best = int(np.argmax([self.at(10**x).log_evidence for x in grid]))
        found = minimize_scalar(
            lambda x: -self.at(10**x).log_evidence,
            bounds=(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]),
            method="bounded",
            options={"xatol": 1e-4},
        )
        return self.at(10**found.x)
