"""What sweeps carry over the cores of a chain to each bond, remembered from step to step.

A sweep goes to and fro, and at each step one core is new.  What the cores left of a bond make of
the samples, of an operator or of another state follows from the bond before, so that a step costs
one core, whatever the length of the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from etn.tensor import Core

Value = TypeVar("Value")


class Carried(Generic[Value]):
    """Something carried over the cores of a chain from one end, remembered core by core.

    Parameters
    ----------
    start : Value
        At the end of the chain.
    step : callable
        ``step(number, core, value)``: the value after this core.

    Examples
    --------
    >>> cores = [Core.random(["1x0e"] * 3, seed=seed) for seed in range(3)]
    >>> length = Carried(0, lambda number, core, value: value + 1)
    >>> length.after(cores[:2]), length.after(cores)
    (2, 3)
    """

    def __init__(self, start: Value, step: Callable[[int, Core, Value], Value]) -> None:
        self.step = step
        self.known: list[tuple[Core | None, Value]] = [(None, start)]

    def after(self, cores: Sequence[Core]) -> Value:
        """The value after these cores; only what has changed since the last call is computed."""
        keep = 1
        while keep < len(self.known) and keep <= len(cores):
            if self.known[keep][0] is not cores[keep - 1]:
                break
            keep += 1
        # What lies beyond the cores asked for may still be of use when the sweep comes back.
        if keep <= len(cores):
            del self.known[keep:]
        for number in range(keep, len(cores) + 1):
            core = cores[number - 1]
            self.known.append((core, self.step(number - 1, core, self.known[-1][1])))
        return self.known[len(cores)][1]
