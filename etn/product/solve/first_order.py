r"""First-order descent: Adam on the exact gradient, its step decaying along a cosine.

It takes far more steps than the other solvers, but slips through valleys in which these settle,
and ends in lower minima where no exact decomposition exists (D. P. Kingma & J. Ba, ICLR 2015).
"""

from __future__ import annotations

import math

import numpy as np

from etn.product.cp import CPTensor
from etn.product.solve.mttkrp import mttkrp, residual, with_factors

__all__ = ["descend"]


def descend(
    cp: CPTensor,
    *,
    n_steps: int = 10_000,
    step_size: float = 0.02,
    ridge: float = 0.0,
) -> CPTensor:
    r"""Descend along the gradient of :math:`\tfrac12 \|\hat M - M\|^2 + \tfrac12 \mu \|x\|^2`.

    A step takes 2 (n + 1) d_1 d_2 ... d_n R operations.

    Parameters
    ----------
    cp : CPTensor
        Where to start.
    n_steps : int
    step_size : float
        Of the first steps, in units of the root mean square entry of a balanced factor; it falls
        to zero along half a cosine.
    ridge : float
        The weight mu, which decays with the step.

    Returns
    -------
    CPTensor
        The last point, in balanced form.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> from etn.product.solve import random_start
    >>> start = random_start(fused_cg(l_max=1), cp_rank=8, seed=0)
    >>> descend(start, n_steps=500).relative_error < start.relative_error
    True
    """
    target = cp.target.dense()
    shapes = [factor.shape for factor in cp.factors]
    bounds = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    x = np.concatenate([factor.ravel() for factor in cp.balance().factors])
    # Views: a change of x is a change of the factors.
    factors = [
        x[a:b].reshape(shape) for a, b, shape in zip(bounds, bounds[1:], shapes, strict=False)
    ]
    scale = step_size * math.sqrt(np.vdot(x, x) / x.size)
    first, second = np.zeros_like(x), np.zeros_like(x)
    for n in range(1, n_steps + 1):
        decay = 0.5 * (1.0 + math.cos(math.pi * (n - 1) / n_steps))
        error = residual(factors, target)
        slopes = [mttkrp(error, factors, site).ravel() for site in range(len(factors))]
        slope = np.concatenate(slopes) + ridge * decay * x
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        size = np.sqrt(second / (1.0 - 0.999**n)) + 1e-30
        x -= scale * decay * first / (1.0 - 0.9**n) / size
    return with_factors(cp, factors, "first_order")
