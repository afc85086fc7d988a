r"""Path coefficients as unknowns, and the scales that come for free.

Scaling the rows of a factor by a number of its own for each irrep, s(l3) for the output and
s1(l1), s2(l2) ... for the inputs, scales the coefficient of path (l1, l2, ... -> l3) by the
product of these and keeps the rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.product.cp import CPTensor
from etn.product.fused_tensor import FusedTensor
from etn.product.solve.mttkrp import Matrix, mttkrp

__all__ = ["clip", "fit_coefficients", "path_slopes", "rescale"]


def fit_coefficients(
    cp: CPTensor, *, lowest: float = 0.5, units: FusedTensor | None = None
) -> CPTensor:
    """The target whose coefficients fit given factors best, within bounds.

    Paths are orthonormal, so the best coefficients are projections of the CP form.

    Parameters
    ----------
    cp : CPTensor
    lowest : float
        Each coefficient stays within ``lowest`` and ``1 / lowest`` times its unit.
    units : FusedTensor, optional
        Its coefficients are the units of the bounds, those of the target by default; where they
        are zero, coefficients are too.

    Raises
    ------
    SettingsError
        If the bound is not above 0 and at most 1.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> from etn.product.solve import random_start
    >>> start = random_start(fused_cg(l_max=1), cp_rank=8, seed=0)
    >>> bool(fit_coefficients(start).target.coefficients.min() >= 0.5)
    True
    """
    if not 0.0 < lowest <= 1.0:
        raise SettingsError(f"lowest: expected more than 0 and at most 1, got {lowest}")
    free = cp.target.project(cp.dense())
    coefficients = clip(free, (units or cp.target).coefficients, lowest)
    return replace(cp, target=cp.target.with_coefficients(coefficients))


def clip(coefficients: FloatArray, units: FloatArray, lowest: float) -> FloatArray:
    """Coefficients moved to the nearest ones within ``lowest`` and ``1 / lowest`` of the units."""
    ends = np.sort([units * lowest, units / lowest], axis=0)
    return np.clip(coefficients, ends[0], ends[1])


def path_slopes(target: FusedTensor, factors: Sequence[Matrix]) -> FloatArray:
    """MTTKRP of every path tensor along every factor, one row a path, shape (n_paths, n)."""
    bounds = np.cumsum([0, *(factor.size for factor in factors)])
    slopes = np.zeros((len(target.paths), bounds[-1]))
    for row, path in zip(slopes, target.paths, strict=True):
        block, parts = target.path_tensor(path), target.slices(path)
        cut = [factor[part] for factor, part in zip(factors, parts, strict=True)]
        for site, factor in enumerate(factors):
            whole = row[bounds[site] : bounds[site + 1]].reshape(factor.shape)
            whole[parts[site]] = mttkrp(block, cut, site)
    return slopes


def rescale(cp: CPTensor) -> CPTensor:
    r"""Move separable scales from the coefficients into the factors.

    The scales minimize :math:`\sum_p \log^2 |\alpha_p\, s(l_3) s_1(l_1) s_2(l_2) \cdots|`, so that
    coefficients come as near to 1 in size as the rank and the error-free part allow.  A
    decomposition that is exact stays exact.

    Parameters
    ----------
    cp : CPTensor

    Returns
    -------
    CPTensor
        Its target carries the new coefficients.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> t = fused_cg(l_max=0)
    >>> cp = CPTensor(t.with_coefficients([3.0]), (np.full((1, 1), 3.0), np.eye(1), np.eye(1)))
    >>> cp = rescale(cp)
    >>> bool(np.allclose(cp.target.coefficients, 1.0)), cp.relative_error < 1e-15
    (True, True)
    """
    target = cp.target
    used = np.flatnonzero(target.coefficients)
    first = np.cumsum([0, *(len(leg) for leg in target.legs)])
    terms = np.array([(path.out, *path.ins) for path in target.paths]) + first[:-1]
    design = np.zeros((len(target.paths), first[-1]))
    np.put_along_axis(design, terms, 1.0, axis=1)
    sizes = np.log(np.abs(target.coefficients[used]))
    # The least-norm solution: scales that no path fixes stay 1.
    logs, *_ = np.linalg.lstsq(design[used], -sizes, rcond=None)
    scales = np.exp(logs)
    factors = []
    for leg, start, factor in zip(target.legs, first, cp.factors, strict=False):
        of_row = [scales[start + k] for k, term in enumerate(leg) for _ in range(term.ir.dim)]
        factors.append(factor * np.array(of_row)[:, None])
    coefficients = target.coefficients * np.exp(design @ logs)
    return CPTensor(target.with_coefficients(coefficients), tuple(factors), method=cp.method)
