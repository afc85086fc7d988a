r"""Alternating least squares: one factor after another, on the sweep engine.

With all factors but one fixed, and the columns of these of norm 1, the error is a quadratic
function of the one that is left.  A step D of the factor X at the center minimizes

.. math:: \|E + D K^T\|^2 + \rho\, \epsilon^2 \|D\|^2 + \mu \|X + D\|^2
    \quad\Rightarrow\quad D\,[G + (\rho \epsilon^2 + \mu)\, 1] = -(E K + \mu X),

with E the unfolded residual, of relative size epsilon, K the Khatri-Rao product of the other
factors and G = K^T K the elementwise product of their Gram matrices.  The proximal term moves no
fixed point and fades with the residual; mu is zero unless a term grows beyond the bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from etn.errors import SettingsError
from etn.product.cp import CPTensor
from etn.product.solve.mttkrp import Matrix, gram, mttkrp, residual
from etn.sweep import LocalSolution, Schedule, Step, Sweepable, sweep

__all__ = ["FactorProblem", "FactorSolution", "alternate"]

# Part of the mean diagonal of G that keeps its Cholesky factor well defined; as a proximal term
# it costs speed in directions that the error hardly sees, not accuracy.
_FLOOR = 1e-14


@dataclass(frozen=True)
class FactorSolution(LocalSolution[Matrix]):
    """What a factor problem returns.

    Attributes
    ----------
    core : (dim, cp_rank) ndarray
        The new factor of the center.
    loss : float
        Relative error of the whole, ||M_hat - M|| / ||M||.
    ridge : float
        The Tikhonov term mu that the bound of the factors needed.
    """

    ridge: float = 0.0


@dataclass(frozen=True)
class FactorProblem:
    """Exact linear least squares for the center factor of a canonical CP form.

    Takes 4 d_1 d_2 ... d_n R operations for residual and right-hand side, R^3 / 3 for the normal
    equations, and stores no array larger than the Khatri-Rao product of the other factors.

    Parameters
    ----------
    proximal : float
        Weight rho of the proximal term.
    max_factor : float
        Largest norm of a column in balanced form: terms stay below its n-th power.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> from etn.product.solve import random_start
    >>> cp = random_start(fused_cg(l_max=1), cp_rank=8, seed=0).canonicalize(1)
    >>> FactorProblem().solve(cp).loss < cp.relative_error
    True
    """

    proximal: float = 0.01
    max_factor: float = math.inf

    def solve(self, cp: CPTensor) -> FactorSolution:
        """Solve at ``cp.center``.

        Raises
        ------
        SettingsError
            If the form has no center.
        """
        site = cp.center
        if site is None:
            raise SettingsError("expected a CP form with a center, got none; canonicalize() first")
        norm = cp.target.norm
        error = residual(cp.factors, cp.target.dense())
        loss = float(np.linalg.norm(error)) / norm
        normal = gram(cp.factors, without=[site])
        slope = mttkrp(error, cp.factors, site)
        old = cp.factors[site]
        close = self.proximal * loss**2 + _FLOOR * len(normal)
        limit = self.max_factor ** len(cp)
        ridge = 0.0
        while True:
            step = _shifted(normal, close + ridge, -(slope + ridge * old))
            new = old + step
            if ridge > 1.0 or np.linalg.norm(new, axis=0).max() <= limit:
                break
            ridge = 10.0 * ridge if ridge else 1e-6
        # The residual squared plus the change of it: no cancellation beyond that of the step.
        change = 2.0 * np.vdot(step, slope) + np.vdot(step @ normal, step)
        loss = math.sqrt(max(loss**2 + float(change) / norm**2, 0.0))
        return FactorSolution(new, loss, ridge=ridge)


def _shifted(normal: Matrix, shift: float, right: Matrix) -> Matrix:
    """Rows X with X (normal + shift) = right."""
    matrix = normal + shift * np.eye(len(normal))
    solution: NDArray[np.float64] = cho_solve(cho_factor(matrix, check_finite=False), right.T).T
    return solution


def alternate(
    cp: CPTensor,
    *,
    schedule: Schedule | None = None,
    problem: FactorProblem | None = None,
    tol: float = 0.0,
    on_step: Callable[[Step[Sweepable]], None] | None = None,
) -> CPTensor:
    """Sweep over the factors until the error settles.

    Parameters
    ----------
    cp : CPTensor
        Where to start.
    schedule : Schedule, optional
        ``max_sweeps`` and ``rel_tol`` of the relative error; 200 sweeps and 1e-4 by default.
    problem : FactorProblem, optional
    tol : float
        Relative error that is good enough.
    on_step : callable, optional
        Called with each :class:`~etn.sweep.Step`.

    Returns
    -------
    CPTensor
        In balanced form.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> from etn.product.solve import random_start
    >>> start = random_start(fused_cg(l_max=1), cp_rank=12, seed=0)
    >>> alternate(start).relative_error < 0.1
    True
    """
    schedule = schedule or Schedule(max_sweeps=200, rel_tol=1e-4)
    for step in sweep(cp, problem or FactorProblem(), schedule, center=0):
        cp = step.chain
        if on_step is not None:
            on_step(step)
        if step.loss <= tol:
            break
    return CPTensor(cp.target, cp.factors, method="als").balance()
