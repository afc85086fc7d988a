"""How long and how to sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.tensor import Truncation

_LISTED = ("max_bond", "max_multiplets", "max_parameters", "tol", "noise")

# What holds where neither the schedule nor the problem says more: the defaults of a fit.
FIT_DEFAULTS: dict[str, Any] = {"sites": 1, "max_sweeps": (3, 2), "rel_tol": 1e-3, "tol": 0.0}


class Rule(NamedTuple):
    """What holds in one sweep.

    Attributes
    ----------
    sites : int
        Cores that are updated together, 1 or 2.
    truncation : Truncation
        Applied to every bond that a two-site or an enriched one-site update splits.
    noise : float
        Weight of the enrichment of one-site updates.
    """

    sites: int
    truncation: Truncation
    noise: float


@dataclass(frozen=True)
class Schedule:
    """Numbers that steer the sweeps.

    ``sites``, ``max_bond``, ``max_multiplets``, ``max_parameters``, ``tol`` and ``noise`` may be
    lists with one entry a sweep; the last entry repeats.  A fit that grows in body order has one
    stage for each chain length, two sites first.

    What is left out of ``sites``, ``max_sweeps``, ``rel_tol`` and ``tol`` is up to the problem, see
    :meth:`for_problem`: fits make 3 sweeps of one site at the first length and 2 at the others, end
    at 1e-3 and discard nothing; :class:`~etn.sweep.EigenProblem` has two sites and ends at eleven
    digits of the energy.

    Parameters
    ----------
    sites : int or sequence of int, optional
        Cores that are updated together, 1 or 2.  Where there is ``noise``, 1 if left out.
    max_sweeps : int or sequence of int, optional
        Most sweeps in each stage; the last value repeats.
    min_sweeps : int
        Fewest sweeps in each stage.
    rel_tol : float, optional
        A stage ends once a sweep lowers the loss by less than this fraction, and all lists have
        come to their last entry.
    spectrum_tol : float
        A stage goes on while the singular values of a bond, scaled to norm one, still change by
        more than this.
    max_bond : int, Irreps or None, or sequence of these
        Most multiplets of each irrep on a bond; see :class:`~etn.tensor.Truncation`.
    max_multiplets : int or None, or sequence of these
        Most multiplets on a bond in total.
    max_parameters : int or None, or sequence of these
        Most parameters of the two cores on either side of a bond that is split.
    tol : float or sequence of float, optional
        Norm that each split may discard, relative to the norm of the tensor; in the fit of a
        potential both are norms of what is predicted.
    noise : float or sequence of float
        Weight of the enrichment with which one-site updates widen bonds.

    Raises
    ------
    SettingsError
        If a value is out of range.

    Examples
    --------
    >>> schedule = Schedule(max_sweeps=[3, 1])
    >>> [schedule.sweeps(stage) for stage in range(3)]
    [3, 1, 1]
    >>> Schedule(sites=2, max_bond=[8, 16], tol=1e-8).at(5)
    Rule(sites=2, truncation=Truncation(max_bond=16, rel_tol=1e-08), noise=0.0)
    """

    sites: int | Sequence[int] | None = None
    max_sweeps: int | Sequence[int] | None = None
    min_sweeps: int = 1
    rel_tol: float | None = None
    spectrum_tol: float = math.inf
    max_bond: int | Irreps | str | Sequence[int | Irreps | str | None] | None = None
    max_multiplets: int | Sequence[int | None] | None = None
    tol: float | Sequence[float] | None = None
    noise: float | Sequence[float] = 0.0
    max_parameters: int | Sequence[int | None] | None = None

    def __post_init__(self) -> None:
        for name in ("sites", "max_sweeps", *_LISTED):
            if name in FIT_DEFAULTS and getattr(self, name) is None:
                continue
            values = _entries(getattr(self, name))
            if not values:
                raise SettingsError(f"{name}: expected at least one entry, got {values}")
            object.__setattr__(self, name, values)
        if self.sites is not None and set(_entries(self.sites)) - {1, 2}:
            raise SettingsError(f"sites: expected 1 or 2, got {self.sites}")
        if self.max_sweeps is not None and min(_entries(self.max_sweeps)) < 1:
            raise SettingsError(f"max_sweeps: expected positive numbers, got {self.max_sweeps}")
        if self.min_sweeps < 1:
            raise SettingsError(f"min_sweeps: expected at least 1, got {self.min_sweeps}")
        for name in ("rel_tol", "spectrum_tol"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise SettingsError(f"{name}: expected zero or more, got {getattr(self, name)}")
        if not all(0 <= noise < math.inf for noise in _entries(self.noise)):
            raise SettingsError(f"noise: expected zero or more, got {self.noise}")
        for sweep in range(self.n_listed):
            self.at(sweep)

    def for_problem(self, problem: object = None) -> Schedule:
        """The schedule with what was left out: as the problem says, or else as a fit has it.

        Parameters
        ----------
        problem : LocalProblem, optional
            May have an attribute ``schedule_defaults``, a mapping with some of ``sites``,
            ``max_sweeps``, ``rel_tol`` and ``tol``.

        Examples
        --------
        >>> whole = Schedule(max_sweeps=5).for_problem()
        >>> whole.sites, whole.max_sweeps, whole.rel_tol, whole.tol
        ((1,), (5,), 0.001, (0.0,))
        """
        missing = [name for name in FIT_DEFAULTS if getattr(self, name) is None]
        if not missing:
            return self
        values = FIT_DEFAULTS | dict(getattr(problem, "schedule_defaults", {}))
        if max(_entries(self.noise)) > 0:
            # Noise is what one-site updates widen a bond with.
            values["sites"] = 1
        return replace(self, **{name: values[name] for name in missing})

    @property
    def n_listed(self) -> int:
        """Length of the longest list of entries by sweep."""
        return max(len(_entries(getattr(self, name))) for name in ("sites", *_LISTED))

    def sweeps(self, stage: int) -> int:
        """Most sweeps in a stage."""
        return max(int(_entry(self.for_problem().max_sweeps, stage)), self.min_sweeps)

    def at(self, sweep: int) -> Rule:
        """What holds in the sweep of this number, from 0."""
        whole = self.for_problem()
        truncation = Truncation(
            max_bond=_entry(whole.max_bond, sweep),
            max_multiplets=_entry(whole.max_multiplets, sweep),
            rel_tol=_entry(whole.tol, sweep),
            max_parameters=_entry(whole.max_parameters, sweep),
        )
        return Rule(_entry(whole.sites, sweep), truncation, _entry(whole.noise, sweep))

    def verdict(
        self,
        stage: int,
        sweep: int,
        before: float,
        after: float,
        spectrum_change: float | None = None,
    ) -> str:
        """Why a stage ends after the sweep of this number (from 0); empty if it goes on.

        Parameters
        ----------
        before, after : float
            Loss before and after that sweep.
        spectrum_change : float
            Largest change of the singular values of a bond in that sweep, if known.
        """
        rel_tol = self.for_problem().rel_tol
        assert rel_tol is not None
        settled = math.isfinite(before) and before - after <= rel_tol * abs(before)
        settled = settled and (spectrum_change or 0.0) <= self.spectrum_tol
        if settled and sweep + 1 >= max(self.min_sweeps, self.n_listed):
            return f"settled: the last sweep lowered the loss by less than {rel_tol:g}"
        if sweep + 1 >= self.sweeps(stage):
            return f"reached max_sweeps = {self.sweeps(stage)}"
        return ""


def _entries(values: Any) -> tuple[Any, ...]:
    # Irreps are tuples, but one entry.
    if isinstance(values, Irreps) or not isinstance(values, (list, tuple)):
        return (values,)
    return tuple(values)


def _entry(values: Any, number: int) -> Any:
    entries = _entries(values)
    return entries[min(number, len(entries) - 1)]
