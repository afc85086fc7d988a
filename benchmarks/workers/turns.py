"""Contestants that take turns, one call each."""

from __future__ import annotations

import time
from collections.abc import Callable

Contestant = Callable[[], float]
"""Seconds of one evaluation."""


class Turns:
    """Contestants, what is to be said of each, and which are left out."""

    def __init__(self) -> None:
        self.runs: dict[str, Contestant] = {}
        self.notes: dict[str, str] = {}
        self.left_out: list[str] = []

    def add(self, name: str, run: Contestant, note: str = "") -> None:
        self.runs[name], self.notes[name] = run, note

    def leave_out(self, name: str, reason: Exception | str) -> None:
        # The reason is not kept: it may hold paths of this machine.
        self.left_out.append(name)
        line = (str(reason).strip().splitlines() or [repr(reason)])[0][:160]
        print(f"{name}: left out, {line}", flush=True)

    def take(self, n: int) -> dict[str, list[float]]:
        """Seconds of the calls of each, after two that do not count."""
        times: dict[str, list[float]] = {}
        for name, call in self.runs.items():
            try:
                call()
                call()
            except (RuntimeError, OSError) as error:
                self.leave_out(name, error)
            else:
                times[name] = []
        for _ in range(n):
            for name, each in times.items():
                each.append(self.runs[name]())
        return times


def timed(call: Callable[[], object]) -> Contestant:
    def seconds() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return seconds
