"""What a fit shows while it runs."""

from __future__ import annotations

import math
import textwrap
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from etn.potential import PolynomialPotential
from etn.run.settings import CommonSettings
from etn.sweep import Callback, Schedule, State, Step, Sweepable, SweepRecord

if TYPE_CHECKING:
    from etn.run.plan import Plan

# A local solve takes about as long as its number of unknowns plus this.
_OVERHEAD = 200


class TimeLeft:
    """Estimates the wall time that a growing chain still needs.

    A solve at the end of a chain and one inside it differ in cost, so each kind has its own
    mean. The estimate counts every sweep that the schedule allows.

    Parameters
    ----------
    schedule : Schedule
    n_sites : int
        Length of the final chain.
    inner_cost : float
        How much longer a solve inside the chain takes than one at its ends, until one has been
        seen.

    Examples
    --------
    >>> left = TimeLeft(Schedule(max_sweeps=1), n_sites=3, inner_cost=5)
    >>> left.add(n_sites=2, site=0, sweep=0, index=0, seconds=1.0)
    >>> left.seconds()  # one more end of two sites; two ends and two inner solves of three
    13.0
    """

    def __init__(self, schedule: Schedule, n_sites: int, *, inner_cost: float) -> None:
        self._schedule, self._n_sites, self._inner_cost = schedule, n_sites, inner_cost
        self._seconds: dict[bool, list[float]] = {False: [], True: []}
        self._at = (2, 0, 0)

    def add(self, *, n_sites: int, site: int, sweep: int, index: int, seconds: float) -> None:
        """Take note of a local solve; `sweep` and `index` count from 0."""
        self._seconds[0 < site < n_sites - 1].append(seconds)
        self._at = (n_sites, sweep, index + 1)

    def seconds(self) -> float:
        """Return the estimate; infinite before the first solve."""
        if not self._seconds[False] and not self._seconds[True]:
            return math.inf
        end, inner = (_mean(self._seconds[kind]) for kind in (False, True))
        end = inner / self._inner_cost if end is None and inner is not None else end
        assert end is not None
        inner = self._inner_cost * end if inner is None else inner
        n_sites, sweep, done = self._at
        total = 0.0
        for length in range(n_sites, self._n_sites + 1):
            per_sweep = 2 * end + 2 * (length - 2) * inner
            sweeps = float(self._schedule.sweeps(length - 2))
            if length == n_sites:
                sweeps -= sweep + done / (2 * (length - 1))
            total += max(0.0, sweeps) * per_sweep
        return total


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


class Lines:
    """Lines on the terminal and, where there is one, a bar with the time left below them."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console()
        self._bar: Any = None
        self._task: Any = None

    def start(self, text: str) -> None:
        """Show the bar."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[left]}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(text, total=None, left="")

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def print(self, text: str) -> None:
        """Print lines as they are, above the bar where there is one."""
        if self._bar is None:
            typer.echo(text)
        else:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def move(self, text: str, spent: float, left: float, told: str = "") -> None:
        """Move the bar on; an infinite time left leaves it where it is."""
        if self._bar is None:
            return
        if math.isfinite(left):
            self._bar.update(self._task, total=spent + left, completed=spent)
        self._bar.update(self._task, description=text, left=told)

    def describe(self, plan: Plan) -> None:
        """Say which data are fitted with which potential."""
        self.print(str(plan.train))
        for name, dataset in plan.datasets.items():
            if name != "train":
                self.print(f"{name:<15}{dataset!r}")
                for text in dataset.summary().warnings:
                    self.print(_wrapped("warning", f"{name}: {text}"))
        for text in plan.warnings:
            self.print(_wrapped("warning", text))
        if left_out := plan.describe_left_out():
            self.print(_wrapped("max force", left_out))
        self.print(_wrapped("size", plan.size))
        facts = plan.model.describe()
        for title, name in (("model", "network"), ("basis", "basis"), ("messages", "messages")):
            if name in facts:
                self.print(f"{title:<15}{facts[name].splitlines()[0]}")


class Display(Callback):
    """Prints one line a sweep and, on a terminal, a bar with the time left."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._left: TimeLeft | None = None
        self._has_valid = False
        self._start = self._last = time.perf_counter()

    def __enter__(self) -> Display:
        self._lines.start("reading the data")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.stop()

    def print(self, text: str) -> None:
        """Print lines as they are, above the bar where there is one."""
        self._lines.print(text)

    def announce(self, plan: Plan) -> None:
        """Say what is about to be fitted."""
        model = plan.model
        if isinstance(model, PolynomialPotential):
            chain = model.initial_chain(seed=0).insert(1)
            end, inner = (chain[site].n_parameters + _OVERHEAD for site in (0, 1))
            assert isinstance(plan.settings, CommonSettings)
            self._left = TimeLeft(
                plan.settings.schedule(), model.body_order - 1, inner_cost=inner / end
            )
        self._has_valid = plan.valid is not None
        self._lines.describe(plan)
        self.print("")
        for line in _head(self._has_valid):
            self.print(line)
        self._last = time.perf_counter()
        if self._left is None:
            self._lines.move("one layer", 0.0, math.inf)
        else:
            self._update("2 sites, sweep 1")

    def on_step(self, step: Step[Sweepable]) -> None:
        """Move the bar on."""
        now = time.perf_counter()
        if self._left is None:
            return
        n_sites = len(step.chain)
        self._left.add(
            n_sites=n_sites,
            site=step.site,
            sweep=step.sweep,
            index=step.index,
            seconds=now - self._last,
        )
        self._last = now
        self._update(f"{n_sites} sites, sweep {step.sweep + 1}")

    def on_sweep(self, state: State) -> None:
        """Print the line of a sweep."""
        last = state.records[-1]
        # A cycle through several chains has a record for each of them.
        new = [r for r in state.records if r.chain and r.cycle == last.cycle] or [last]
        for record in new:
            self.print(_row(record, self._has_valid, self._time_left()))
        if self._left is None:
            now = f"cycle {last.cycle + 1}" if last.chain else f"one layer, {last.n_sites} sites"
            self._lines.move(now, 0.0, math.inf)

    def on_joint(self, record: SweepRecord) -> None:
        """Print the line of a joint step."""
        self.print(_row(record, self._has_valid, ""))

    def _time_left(self) -> str:
        seconds = math.inf if self._left is None else self._left.seconds()
        return "" if not math.isfinite(seconds) else f"{duration(seconds)} left"

    def _update(self, text: str) -> None:
        if self._left is not None:
            spent = time.perf_counter() - self._start
            self._lines.move(text, spent, self._left.seconds(), self._time_left())


def _wrapped(name: str, text: str) -> str:
    return textwrap.fill(
        text, 100, initial_indent=f"{name:<15}", subsequent_indent=" " * 15, break_on_hyphens=False
    )


def _head(has_valid: bool) -> list[str]:
    names, units = "sites  sweep         loss", "                        "
    for kind in ("train", "valid") if has_valid else ("train",):
        names += f"  {kind} E  {kind} F"
        units += "  meV/at.     eV/Å"
    return [f"{names}  condition    time", units.rstrip()]


def _row(record: SweepRecord, has_valid: bool, left: str) -> str:
    where = f"{record.n_sites:5d}  {record.sweep:5d}"
    if record.chain:
        where = f"{f'{record.cycle} {record.chain}':<12}"
    text = f"{where}  {record.loss:11.5g}"
    for kind in ("train", "valid") if has_valid else ("train",):
        for label, digits in (("E", 2), ("F", 4)):
            value = record.measures.get(f"{kind} {label}")
            text += f"  {'-' if value is None else format(value, f'.{digits}f'):>7}"
    condition = "-" if record.condition is None else f"{record.condition:.1e}"
    text += f"  {condition:>9}  {record.seconds:4.1f} s"
    return f"{text}  {left}".rstrip()


def duration(seconds: float) -> str:
    """Write a time in the unit that fits.

    Examples
    --------
    >>> duration(12.3), duration(250), duration(9000)
    ('12 s', '4 min', '2 h 30 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
