"""Solvers and starts of one search, and what each start leads to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from etn.errors import SettingsError
from etn.product.cp import CPTensor, khatri_rao
from etn.product.fused_tensor import FusedTensor
from etn.product.point_groups import point_group
from etn.product.solve.alternating import FactorProblem, alternate
from etn.product.solve.first_order import descend
from etn.product.solve.levenberg_marquardt import levenberg
from etn.product.solve.orbit_search import symmetric_search
from etn.product.solve.path_coefficients import fit_coefficients
from etn.sweep import Callback, Schedule, Step, Sweepable

__all__ = ["EXACT", "Method", "Options", "attempts", "random_start"]

Method = Literal["auto", "als", "lm", "first_order", "joint", "symmetric"]

# Errors below this are those of rounding: no solver goes on.
EXACT = 1e-14
# Alternating sweeps alone seldom come below this error.
SWEEPS_REACH = 1e-6
# From here on many sweeps cost less than one step of Levenberg-Marquardt.
MANY_UNKNOWNS = 2000
PATIENT = Schedule(max_sweeps=4000, rel_tol=1e-6)
# In units of the root mean square path coefficient.
RIDGES = (1e-2, 1e-3, 1e-4, 1e-5)
# Most turns of alternating sweeps and coefficients, where these are free.
ROUNDS = 20


@dataclass(frozen=True)
class Options:
    """Settings of a search; its methods are the solvers with these settings."""

    target: FusedTensor
    method: Method
    group: str | None
    starts: int | Sequence[CPTensor] | None
    seed: int
    max_factor: float
    lowest: float | None
    schedule: Schedule | None
    callbacks: tuple[Callback, ...]
    tol: float

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise SettingsError(f"method: expected one of {known}, got {self.method!r}")
        if (self.group is None) == (self.method == "symmetric"):
            raise SettingsError(
                f"group: expected one with method symmetric and none without, got {self.group!r} "
                f"with method {self.method}"
            )
        if self.method == "symmetric" and not isinstance(self.starts, int | None):
            raise SettingsError("starts: method symmetric takes their number, got decompositions")
        if not self.max_factor > 0.0:
            raise SettingsError(f"max_factor: expected a positive number, got {self.max_factor}")
        if isinstance(self.starts, int) and self.starts < 1:
            raise SettingsError(f"starts: expected at least one, got {self.starts}")
        if not isinstance(self.starts, int | None) and len(self.starts) == 0:
            raise SettingsError("starts: expected at least one, got none")

    def on_step(self, step: Step[Sweepable]) -> None:
        """Pass a step on to the callbacks."""
        for callback in self.callbacks:
            callback.on_step(step)

    def alternate(self, start: CPTensor, *, short: bool = False) -> CPTensor:
        """Alternating sweeps, in turn with coefficients where these are free."""
        schedule = self.schedule or Schedule(
            max_sweeps=50 if short else 1000, rel_tol=1e-3 if short else 1e-5
        )
        problem = FactorProblem(max_factor=self.max_factor)
        rel_tol = schedule.for_problem(problem).rel_tol
        assert rel_tol is not None
        found, before = start, math.inf
        # Factors and coefficients in turn, until neither helps the other.
        for _ in range(1 if self.lowest is None or short else ROUNDS):
            found = alternate(
                found, schedule=schedule, problem=problem, tol=self.tol, on_step=self.on_step
            )
            if self.lowest is not None:
                found = fit_coefficients(found, lowest=self.lowest, units=self.target)
            error = found.relative_error
            if error <= self.tol or error >= (1 - rel_tol) * before:
                break
            before = error
        return found

    def anneal(self, start: CPTensor) -> CPTensor:
        """Levenberg-Marquardt under a ridge that is lowered in stages.

        The ridge keeps terms from growing against each other while the rest falls into place;
        without it nearly every start ends in a worse minimum.
        """
        n_sites = len(start)
        # The ridge that has the same effect once the target is scaled by a number.
        unit = (start.target.norm / math.sqrt(len(start.target.paths))) ** (2.0 - 2.0 / n_sites)
        for ridge in RIDGES:
            start = self.levenberg(start, max_steps=50, ridge=ridge * unit, rel_tol=1e-3)
        return start

    def levenberg(
        self, start: CPTensor, max_steps: int = 400, ridge: float = 0.0, rel_tol: float = 1e-5
    ) -> CPTensor:
        """Levenberg-Marquardt over all factors."""
        return levenberg(
            start,
            max_steps=max_steps,
            ridge=ridge,
            rel_tol=rel_tol,
            max_factor=self.max_factor,
            lowest=self.lowest,
            units=self.target,
            tol=max(0.1 * EXACT, self.tol),
        )


def attempts(target: FusedTensor, cp_rank: int, options: Options) -> Iterator[CPTensor]:
    """What each start leads to, one after another."""
    if options.group is not None:
        for start in _symmetric(target, cp_rank, options.group, options):
            released = options.levenberg(start)
            yield replace(released, method=f"{start.method}, then lm over all factors")
        return
    starts = list(_starts(target, cp_rank, options))
    if options.method == "als":
        yield from map(options.alternate, starts)
    elif options.method in ("lm", "joint"):
        yield from map(options.levenberg, starts)
    elif options.method == "first_order":
        yield from map(descend, starts)
    else:
        if options.tol > SWEEPS_REACH and cp_rank * sum(target.shape) > MANY_UNKNOWNS:
            patient = replace(options, schedule=options.schedule or PATIENT)
            yield from map(patient.alternate, starts)
        polished = []
        for number, start in enumerate(starts):
            swept = options.alternate(start, short=True)
            # With the ridge most minima are lower, but there are ranks at which only starts
            # without it reach an exact decomposition: 8 at l_max 1.
            swept = options.anneal(swept) if number % 2 else swept
            polished.append(options.levenberg(swept, max_steps=60))
            yield polished[-1]
        yield options.levenberg(min(polished, key=lambda cp: cp.relative_error))


def _symmetric(
    target: FusedTensor, cp_rank: int, group: str, options: Options
) -> Iterator[CPTensor]:
    order = len(point_group(group))
    starts = options.starts
    assert starts is None or isinstance(starts, int)
    for number in range(starts or _number_of_starts(target, cp_rank // order)):
        yield symmetric_search(
            target,
            cp_rank,
            group=group,
            seed=options.seed + number,
            max_factor=options.max_factor,
        )


def random_start(target: FusedTensor, cp_rank: int, seed: int) -> CPTensor:
    """Normal random factors of the norm of the target, balanced.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> random_start(fused_cg(l_max=1), cp_rank=3, seed=0).factors[0].shape
    (4, 3)
    """
    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((dim, cp_rank)) for dim in target.shape]
    size = np.linalg.norm(factors[0] @ khatri_rao(factors[1:]).T)
    share = math.exp(math.log(target.norm / size) / len(factors))
    return CPTensor(target, tuple(share * factor for factor in factors), method="random").balance()


def _number_of_starts(target: FusedTensor, n_columns: int) -> int:
    return int(np.clip(10_000 // max(n_columns * sum(target.shape), 1), 2, 12))


def _starts(target: FusedTensor, cp_rank: int, options: Options) -> Iterator[CPTensor]:
    given = options.starts
    if given is None:
        given = _number_of_starts(target, cp_rank)
    if isinstance(given, int):
        seeds = np.random.SeedSequence(options.seed).generate_state(given)
        for seed in seeds:
            yield random_start(target, cp_rank, int(seed))
        return
    for number, start in enumerate(given):
        if start.target.shape != target.shape or start.cp_rank != cp_rank:
            raise SettingsError(
                f"start {number}: expected shape {target.shape} and cp_rank {cp_rank}, got "
                f"{start.target.shape} and {start.cp_rank}"
            )
        yield CPTensor(target, start.factors, method=start.method)
