"""How long and how to sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from etn.errors import SettingsError


@dataclass(frozen=True)
class Schedule:
    """Numbers that steer the sweeps.

    A fit that grows in body order has one stage for each chain length, two sites first.

    Parameters
    ----------
    sites : int
        Cores that are updated together; 1 is the only choice so far.
    max_sweeps : int or sequence of int
        Most sweeps in each stage; the last value repeats.
    min_sweeps : int
        Fewest sweeps in each stage.
    rel_tol : float
        A stage ends once a sweep lowers the loss by less than this fraction.

    Raises
    ------
    SettingsError
        If a value is out of range.

    Examples
    --------
    >>> schedule = Schedule(max_sweeps=[3, 1])
    >>> [schedule.sweeps(stage) for stage in range(3)]
    [3, 1, 1]
    """

    sites: int = 1
    max_sweeps: int | Sequence[int] = (3, 2)
    min_sweeps: int = 1
    rel_tol: float = 1e-3

    def __post_init__(self) -> None:
        if self.sites != 1:
            raise SettingsError(f"sites: only one-site updates exist, got {self.sites}")
        sweeps = [self.max_sweeps] if isinstance(self.max_sweeps, int) else list(self.max_sweeps)
        if not sweeps or min(sweeps) < 1:
            raise SettingsError(f"max_sweeps: expected positive numbers, got {self.max_sweeps}")
        if self.min_sweeps < 1:
            raise SettingsError(f"min_sweeps: expected at least 1, got {self.min_sweeps}")
        if not self.rel_tol >= 0:
            raise SettingsError(f"rel_tol: expected zero or more, got {self.rel_tol}")
        object.__setattr__(self, "max_sweeps", tuple(sweeps))

    def sweeps(self, stage: int) -> int:
        """Most sweeps in a stage."""
        assert isinstance(self.max_sweeps, tuple)
        most = self.max_sweeps[min(stage, len(self.max_sweeps) - 1)]
        return max(int(most), self.min_sweeps)

    def verdict(self, stage: int, sweep: int, before: float, after: float) -> str:
        """Why a stage ends after the sweep of this number (from 0); empty if it goes on.

        Parameters
        ----------
        before, after : float
            Loss before and after that sweep.
        """
        settled = math.isfinite(before) and before - after <= self.rel_tol * abs(before)
        if settled and sweep + 1 >= self.min_sweeps:
            return f"settled: the last sweep lowered the loss by less than {self.rel_tol:g}"
        if sweep + 1 >= self.sweeps(stage):
            return f"reached max_sweeps = {self.sweeps(stage)}"
        return ""
