r"""Search among the CP forms that a finite group of rotations leaves as they are.

With terms in orbits (:mod:`etn.product.solve.orbits`) there are few unknowns, so that
Levenberg-Marquardt follows every start to its minimum; these lie below what the same time gives
over all factors of a large target.  Once the symmetry is released the error falls a little more.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from etn.errors import SettingsError
from etn.product.cp import CPTensor
from etn.product.fused_tensor import FusedTensor
from etn.product.solve.damping import Damping, stagnates
from etn.product.solve.levenberg_marquardt import split
from etn.product.solve.mttkrp import Matrix, largest_norm, residual
from etn.product.solve.orbits import Orbits, orbits_of

__all__ = ["symmetric_search"]

# In units of the root mean square path coefficient, one stage after another.
RIDGES = (1e-2, 1e-3, 1e-4, 0.0)
# The normal equations are dense: three arrays of this size squared are 2.4 GB.
MOST_UNKNOWNS = 10_000


def symmetric_search(
    target: FusedTensor,
    cp_rank: int,
    *,
    group: str,
    seed: int = 0,
    max_steps: int = 200,
    rel_tol: float = 1e-4,
    max_factor: float = math.inf,
) -> CPTensor:
    """Minimize the error among CP forms whose terms are orbits of a group, from a random start.

    A ridge is lowered in stages; a step takes one dense linear system of sum(dims) unknowns an
    orbit.

    Parameters
    ----------
    target : FusedTensor
    cp_rank : int
        A sum of sizes of orbits.
    group : str
        As in :func:`~etn.product.solve.orbits.orbits_of`.
    seed : int
        Of the start.
    max_steps : int
        Most steps of the last stage; those under a ridge take at most 60.
    rel_tol : float
        The last stage ends once ten steps together lower the loss by less than this fraction.
    max_factor : float
        Steps that take the norm of a column in balanced form above this, and above that of the
        start, are refused.

    Returns
    -------
    CPTensor
        In balanced form; every element of the group permutes its terms.

    Raises
    ------
    SettingsError
        If the group or the rank do not fit, or there are too many unknowns.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> symmetric_search(fused_cg(l_max=1), 12, group="T").relative_error < 1e-13
    True
    """
    orbits = orbits_of(target, cp_rank, group)
    n_orbits = len(orbits.terms)
    unknowns = n_orbits * sum(target.shape)
    if unknowns > MOST_UNKNOWNS:
        raise SettingsError(
            f"group {group}: {unknowns} unknowns at cp_rank {cp_rank}, the limit is "
            f"{MOST_UNKNOWNS}; take a larger group"
        )
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((n_orbits, sum(target.shape))).T
    parts = np.split(columns, np.cumsum(target.shape)[:-1])
    factors = orbits.project(parts)
    whole = CPTensor(target, orbits.expand(factors)).dense()
    n_sites = len(factors)
    share = (target.norm / float(np.linalg.norm(whole))) ** (1.0 / n_sites)
    factors = tuple(share * factor for factor in factors)
    # The ridge that has the same effect once the target is scaled by a number.
    unit = (target.norm / math.sqrt(len(target.paths))) ** (2.0 - 2.0 / n_sites)
    for ridge in RIDGES:
        factors = _levenberg(
            orbits,
            target,
            factors,
            ridge=ridge * unit,
            max_steps=60 if ridge else max_steps,
            rel_tol=1e-3 if ridge else rel_tol,
            max_factor=max_factor,
        )
    method = f"symmetric lm, group {group}, {n_orbits} orbits, seed {seed}"
    return CPTensor(target, orbits.expand(factors), method=method).balance()


def _levenberg(
    orbits: Orbits,
    target: FusedTensor,
    factors: tuple[Matrix, ...],
    *,
    ridge: float,
    max_steps: int,
    rel_tol: float,
    max_factor: float,
) -> tuple[Matrix, ...]:
    """Steps of one stage, damped as in :func:`~etn.product.solve.levenberg_marquardt.levenberg`."""
    dense = target.dense()
    # Terms count alike, whatever the size of their orbit.
    weights = np.concatenate([np.tile(orbits.sizes, len(factor)) for factor in factors])
    x = np.concatenate([factor.ravel() for factor in factors])
    limit = max(max_factor, largest_norm(factors))
    error = residual(orbits.expand(factors), dense)
    losses = [float(np.vdot(error, error) + ridge * np.vdot(weights * x, x))]
    damping = Damping(smallest=1e-14)
    matrix: Matrix | None = None
    for _ in range(max_steps):
        if np.linalg.norm(error) <= 1e-15 * target.norm:
            break
        if matrix is None:
            matrix = orbits.gauss_newton(factors)
            matrix[np.diag_indices_from(matrix)] += ridge * weights
            slope = orbits.gradient(factors, error) + ridge * weights * x
            scale = weights * np.median(matrix.diagonal() / weights)
        shifted = matrix.copy()
        shifted[np.diag_indices_from(shifted)] += damping.value * scale
        try:
            factor = cho_factor(shifted, overwrite_a=True, check_finite=False)
        except LinAlgError:
            damping.grow()
            continue
        step = -cho_solve(factor, slope, check_finite=False)
        trial = orbits.project(split(x + step, factors))
        new_error = residual(orbits.expand(trial), dense)
        new_x = np.concatenate([part.ravel() for part in trial])
        loss = float(np.vdot(new_error, new_error) + ridge * np.vdot(weights * new_x, new_x))
        if loss < losses[-1] and largest_norm(trial) <= limit:
            predicted = float(np.vdot(damping.value * scale * step, step) - np.vdot(step, slope))
            damping.accept((losses[-1] - loss) / max(predicted, 1e-300))
            factors, x, error, matrix = trial, new_x, new_error, None
            losses.append(loss)
            if stagnates(losses, rel_tol):
                break
        elif not damping.grow():
            break
    return factors
