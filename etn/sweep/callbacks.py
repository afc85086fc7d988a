"""Callbacks of a run: progress, early stop, checkpoints.

A callback is a :class:`Callback`; each of its methods may be overridden.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etn.errors import SettingsError
from etn.io import load, save
from etn.network import Chain
from etn.network.storage import Arrays, chain_from_arrays, chain_to_arrays
from etn.stored import build, conform, unpacking
from etn.sweep.engine import Step
from etn.sweep.problem import Sweepable
from etn.sweep.report import SweepRecord


@dataclass(frozen=True)
class State:
    """Where a run stands after a complete sweep.

    Attributes
    ----------
    chain : Chain
    records : tuple of SweepRecord
    best : Chain
        The chain of the sweep that did best on the selected measure.
    note : dict
        What was stored beside it.
    others, best_others : dict of str to Chain
        The other chains of a network with several, and those of the best sweep.
    """

    chain: Chain
    records: tuple[SweepRecord, ...]
    best: Chain
    note: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Chain] = field(default_factory=dict)
    best_others: Mapping[str, Chain] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str], *, note: Mapping[str, Any]) -> None:
        """Write the state, atomically."""
        header, arrays = chain_to_arrays(self.chain)
        best_header, best_arrays = chain_to_arrays(self.best, name="best")
        stored: dict[str, dict[str, Any]] = {"others": {}, "best_others": {}}
        for group, headers in stored.items():
            for name, chain in getattr(self, group).items():
                headers[name], more = chain_to_arrays(chain, name=f"{group}-{name}")
                arrays |= more
        save(
            path,
            kind="checkpoint",
            header={
                "chain": header,
                "best": best_header,
                "records": [record.to_dict() for record in self.records],
                "note": dict(note),
                **stored,
            },
            arrays={**arrays, **best_arrays},
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged or of another kind.
        """
        stored = load(path, kind="checkpoint")
        with unpacking(path, "checkpoint"):
            return cls._unpack(stored.header, stored.arrays)

    @classmethod
    def _unpack(cls, header: Mapping[str, Any], arrays: Arrays) -> State:
        records = conform(header["records"], list[Any], "records")

        def chains(group: str) -> dict[str, Chain]:
            # Checkpoints of version 0.1.0 know a single chain.
            return {
                name: chain_from_arrays(chain, arrays, name=f"{group}-{name}")
                for name, chain in header.get(group, {}).items()
            }

        return cls(
            chain_from_arrays(header["chain"], arrays),
            tuple(build(SweepRecord, record, "records") for record in records),
            chain_from_arrays(header["best"], arrays, name="best"),
            conform(header["note"], dict[str, Any], "note"),
            chains("others"),
            chains("best_others"),
        )


class Callback:
    """Does nothing; subclasses override what they need."""

    def on_step(self, step: Step[Sweepable]) -> None:
        """Called after each local solve."""

    def on_sweep(self, state: State) -> None:
        """Called after each complete sweep."""

    def on_joint(self, record: SweepRecord) -> None:
        """Called after each joint step that follows the sweeps."""

    def verdict(self, records: Sequence[SweepRecord]) -> str:
        """Why the stage should end after these sweeps; empty if it should go on.

        A pure function of the records, so that a continued run comes to the same verdict.
        """
        return ""


@dataclass
class Progress(Callback):
    """Hands steps and sweep records to functions, for progress displays.

    Parameters
    ----------
    step, sweep : callable, optional
        Called with the :class:`Step` and the :class:`SweepRecord`.
    """

    step: Callable[[Step[Sweepable]], None] | None = None
    sweep: Callable[[SweepRecord], None] | None = None

    def on_step(self, step: Step[Sweepable]) -> None:
        """Hand on the step."""
        if self.step is not None:
            self.step(step)

    def on_sweep(self, state: State) -> None:
        """Hand on the newest record."""
        self.on_joint(state.records[-1])

    def on_joint(self, record: SweepRecord) -> None:
        """Hand on the record of a joint step."""
        if self.sweep is not None:
            self.sweep(record)


@dataclass
class EarlyStop(Callback):
    """Ends a stage when a measure stops falling.

    Parameters
    ----------
    measure : str
        Name among the measures of a record; the loss on the validation split by default.
        Without that measure (no validation split) the training loss is watched.
    rel_tol : float
        A sweep counts as progress if it lowers the best value by more than this fraction.
    patience : int
        Sweeps without progress that are tolerated.
    """

    measure: str = "valid loss"
    rel_tol: float = 1e-3
    patience: int = 1

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise SettingsError(f"patience: expected at least 1, got {self.patience}")

    def verdict(self, records: Sequence[SweepRecord]) -> str:
        """Judge the sweeps of the current length."""
        # The cycles through several chains are one stage, whichever chain they end with.
        stage = [r for r in records if _stage(r) == _stage(records[-1])]
        values = [r.measures.get(self.measure, r.loss) for r in stage]
        best = values[0]
        idle = 0
        for value in values[1:]:
            idle = 0 if value < best - self.rel_tol * abs(best) else idle + 1
            best = min(best, value)
        if idle >= self.patience:
            name = self.measure if self.measure in records[-1].measures else "loss"
            return f"{name} fell by less than {self.rel_tol:g} in {idle} sweep(s)"
        return ""


def _stage(record: SweepRecord) -> int:
    return 0 if record.chain else record.n_sites


@dataclass
class Checkpoint(Callback):
    """Writes the state after each complete sweep, atomically.

    Parameters
    ----------
    path : path-like
    note : dict
        Anything JSON-able to be stored beside the state, such as the settings of the run.
    """

    path: str | os.PathLike[str]
    note: dict[str, Any] = field(default_factory=dict)

    def on_sweep(self, state: State) -> None:
        """Write the file."""
        state.save(self.path, note=self.note)
