"""The damping of Levenberg-Marquardt steps, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Damping", "stagnates"]

_LARGEST = 1e8


@dataclass
class Damping:
    """Damping relative to the curvature, by the rule of Nielsen.

    After a step that lowers the loss it follows the ratio of the actual to the predicted gain;
    after one that does not it grows, faster each time.  Source: H. B. Nielsen, IMM-REP-1999-05.

    Attributes
    ----------
    value : float
        What multiplies the scale of the curvature.
    smallest : float

    Examples
    --------
    >>> damping = Damping(1e-3)
    >>> damping.grow(), damping.grow(), damping.value
    (True, True, 0.008)
    >>> damping.accept(gain=1.0)
    >>> damping.value
    0.0008
    """

    value: float = 1e-3
    smallest: float = 1e-13
    _growth: float = 2.0

    def accept(self, gain: float) -> None:
        """After a step: `gain` is the decrease of the loss over the predicted one."""
        self.value = max(self.value * max(0.1, 1.0 - (2.0 * gain - 1.0) ** 3), self.smallest)
        self._growth = 2.0

    def grow(self) -> bool:
        """After a step that was not taken; whether another one is worth a try."""
        self.value, self._growth = self.value * self._growth, 2.0 * self._growth
        return self.value <= _LARGEST


def stagnates(losses: Sequence[float], rel_tol: float) -> bool:
    """Whether the last ten steps together lowered the loss by less than a share of it."""
    return len(losses) > 10 and losses[-11] - losses[-1] < rel_tol * losses[-11]
