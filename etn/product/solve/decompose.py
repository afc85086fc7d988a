"""One call that decomposes a fused tensor: a portfolio of solvers and starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from etn.errors import SettingsError, ToleranceError
from etn.product.cp import CPTensor
from etn.product.fused_tensor import FusedTensor
from etn.product.solve.levenberg_marquardt import dense_bytes, levenberg
from etn.product.solve.path_coefficients import clip, rescale
from etn.product.solve.portfolio import EXACT, Method, Options, attempts
from etn.sweep import Callback, Schedule

__all__ = ["decompose"]

# Decompositions that need more than this are refused with an estimate.
MAX_BYTES = 8_000_000_000


def decompose(
    target: FusedTensor,
    cp_rank: int | None = None,
    tol: float | None = None,
    *,
    method: Method = "auto",
    group: str | None = None,
    starts: int | Sequence[CPTensor] | None = None,
    seed: int = 0,
    max_factor: float = 8.0,
    coefficients: Literal["fixed", "free"] = "fixed",
    lowest: float = 0.5,
    allow_worse: bool = False,
    schedule: Schedule | None = None,
    callbacks: Sequence[Callback] = (),
) -> CPTensor:
    r"""Find factors with :math:`M_{k i j \dots} \approx \sum_r A_{kr} B_{ir} C_{jr} \cdots`.

    Errors are in the Frobenius norm, relative to the target.  The minimum is not known to be
    found: no solver guarantees it, and for some ranks there is none, as terms grow against each
    other without end; these are bounded.

    Parameters
    ----------
    target : FusedTensor
        Of any number of inputs.
    cp_rank : int, optional
        Number of terms; without it, the smallest one that reaches ``tol`` is searched for.
    tol : float, optional
        Relative error that is asked for; without it, as small as possible.
    method : {"auto", "als", "lm", "first_order", "joint", "symmetric"}
        Alternating least squares; Levenberg-Marquardt over all factors; Adam; Levenberg-Marquardt
        with free coefficients; Levenberg-Marquardt over terms in orbits of a group of rotations,
        then over all factors, which comes lowest where there are thousands of unknowns.
        ``"auto"``: from each start short alternating sweeps, then Levenberg-Marquardt, for every
        other start under a ridge that is lowered in stages; more of it for the best.  Where there
        are thousands of unknowns and ``tol`` is within their reach, long sweeps come first.
    group : str, optional
        For ``"symmetric"``, which needs it: ``"C3"``, ``"D4"``, ``"T"`` ..., see
        :func:`~etn.product.solve.orbits.orbits_of`; ``cp_rank`` is a sum of sizes of its orbits.
    starts : int or sequence of CPTensor, optional
        How many random starts, or where to start; by default 12, fewer for large problems.
    seed : int
        The same seed gives the same result on the same machine.  Starts of ``"symmetric"`` are
        those of ``seed``, ``seed + 1`` ..., so that the best can be had again alone.
    max_factor : float
        Largest norm of a column in balanced form.
    coefficients : {"fixed", "free"}
        ``"free"``: path coefficients are unknowns too.  The result's target carries them, with
        the separable part of them moved into the factors where the result is exact.
    lowest : float
        Free coefficients stay within ``lowest`` and ``1 / lowest`` times those of the target.
    allow_worse : bool
        Return the best decomposition even if it misses ``tol``.
    schedule : Schedule, optional
        ``max_sweeps`` and ``rel_tol`` of the alternating sweeps.
    callbacks : sequence of Callback
        Their ``on_step`` is called after each local solve of the alternating sweeps.

    Returns
    -------
    CPTensor
        In balanced form, largest terms first.

    Raises
    ------
    SettingsError
        If a setting is out of range, a start does not fit, or memory would not suffice.
    ToleranceError
        If ``tol`` is not reached; its ``best`` is the decomposition that came closest.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> cp = decompose(fused_cg(l_max=1), cp_rank=8, tol=1e-12)
    >>> cp.cp_rank, cp.relative_error < 1e-12
    (8, True)
    >>> decompose(fused_cg(ins=["1e", "1e"], out="1e"), tol=1e-12).cp_rank
    5
    """
    options = Options(
        target=target,
        method=method,
        group=group,
        starts=starts,
        seed=seed,
        max_factor=max_factor,
        lowest=_bounds(method, coefficients, lowest),
        schedule=schedule,
        callbacks=tuple(callbacks),
        tol=_tolerance(tol),
    )
    if not target.norm > 0.0:
        raise SettingsError("target: expected a coefficient other than 0, got zeros only")
    if cp_rank is None and tol is None:
        raise SettingsError("decompose: expected cp_rank, tol or both, got neither")
    if cp_rank is None and method == "symmetric":
        raise SettingsError("cp_rank: method symmetric needs one, a sum of sizes of orbits")
    if cp_rank is None:
        best = _smallest(target, options)
    else:
        best = _at_rank(target, _checked_rank(cp_rank), options)
    if tol is not None and best.relative_error > tol and not allow_worse:
        raise ToleranceError(
            f"relative error {best.relative_error:.3g} at cp_rank {best.cp_rank}, asked for "
            f"{tol:g}: raise cp_rank or tol, take more starts, free the coefficients, or take "
            "what there is with allow_worse=True (the error carries it as .best)",
            best,
        )
    return best


def _at_rank(target: FusedTensor, cp_rank: int, options: Options) -> CPTensor:
    """The best of the portfolio; the first one that is good enough ends it."""
    _check_memory(target, cp_rank)
    best: CPTensor | None = None
    for found in attempts(target, cp_rank, options):
        if best is None or found.relative_error < best.relative_error:
            best = found
        if best.relative_error <= max(options.tol, EXACT):
            break
    assert best is not None
    if options.lowest is None or best.relative_error > 1e-12:
        # Scales weight the error of each path, so that only exact decompositions bear them.
        return best
    return _evened_out(best, options)


def _evened_out(cp: CPTensor, options: Options) -> CPTensor:
    """Free coefficients brought near to their units by scales, unless that breaks the bounds."""
    target, lowest = options.target, options.lowest
    assert lowest is not None
    zero = target.coefficients == 0.0
    ratio = np.where(zero, 0.0, cp.target.coefficients / np.where(zero, 1.0, target.coefficients))
    scaled = rescale(replace(cp, target=target.with_coefficients(ratio)))
    near = scaled.target.coefficients * target.coefficients
    if not np.array_equal(near, clip(near, target.coefficients, lowest)):
        return cp
    # Scaling multiplied what rounding had left; one or two steps take it off again.
    scaled = replace(scaled, target=target.with_coefficients(near), method=cp.method)
    polished = levenberg(scaled, tol=0.1 * EXACT)
    good_enough = max(options.tol, EXACT, cp.relative_error)
    return polished if polished.relative_error <= good_enough else cp


def _smallest(target: FusedTensor, options: Options) -> CPTensor:
    """The smallest rank that reaches the tolerance: doubled until one does, then bisected."""
    if not isinstance(options.starts, int | None):
        raise SettingsError("starts: a search for the rank takes their number, got decompositions")
    dense = target.dense()
    sites = range(dense.ndim)
    # No factor can have fewer columns than its unfolding has independent rows; and unit vectors
    # of all inputs but one always do.
    lower = max(
        int(np.linalg.matrix_rank(np.moveaxis(dense, k, 0).reshape(dense.shape[k], -1)))
        for k in sites
    )
    top = min(dense.size // dim for dim in dense.shape)
    below, cp_rank = lower - 1, lower
    while (best := _at_rank(target, cp_rank, options)).relative_error > options.tol:
        if cp_rank == top:
            return best
        below, cp_rank = cp_rank, min(2 * cp_rank, top)
    above = best.cp_rank
    while above - below > 1:
        middle = (above + below) // 2
        found = _at_rank(target, middle, options)
        if found.relative_error <= options.tol:
            above, best = middle, found
        else:
            below = middle
    return best


def _checked_rank(cp_rank: object) -> int:
    valid = isinstance(cp_rank, int | np.integer) and not isinstance(cp_rank, bool)
    if not valid or cp_rank < 1:  # type: ignore[operator]
        raise SettingsError(f"cp_rank: expected an integer of at least 1, got {cp_rank!r}")
    return int(cp_rank)  # type: ignore[call-overload]


def _tolerance(tol: float | None) -> float:
    if tol is not None and not 0.0 < tol < math.inf:
        raise SettingsError(f"tol: expected a positive number, got {tol!r}")
    return tol or 0.0


def _bounds(method: str, coefficients: str, lowest: float) -> float | None:
    if coefficients not in ("fixed", "free"):
        raise SettingsError(f"coefficients: expected fixed or free, got {coefficients!r}")
    if not 0.0 < lowest <= 1.0:
        raise SettingsError(f"lowest: expected more than 0 and at most 1, got {lowest}")
    if method in ("first_order", "symmetric") and coefficients == "free":
        raise SettingsError(
            f"coefficients: {method} keeps them fixed; take method auto, lm or joint"
        )
    return lowest if coefficients == "free" or method == "joint" else None


def _check_memory(target: FusedTensor, cp_rank: int) -> None:
    size = math.prod(target.shape)
    # Target, residual and its unfolding; the Khatri-Rao product and a temporary of its size.
    n_bytes = 8 * (4 * size + 2 * cp_rank * size // min(target.shape))
    # Gram matrices of every pair of sites, and an inverse for every site.
    n_bytes += 8 * (len(target.shape) + 1) ** 2 * cp_rank**2
    n_bytes += dense_bytes(target, cp_rank)
    if n_bytes > MAX_BYTES:
        raise SettingsError(
            f"decompose: a tensor of shape {target.shape} at cp_rank {cp_rank} would take "
            f"{n_bytes / 1e9:.1f} GB, the limit is {MAX_BYTES / 1e9:.0f} GB; take a smaller l_max, "
            "or fewer inputs at a time"
        )
