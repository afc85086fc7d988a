"""What a run of sweeps did, sweep by sweep; in a log one line for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from etn.network import Chain

Measure = Callable[[Chain], Mapping[str, float]]
"""Figures to record of a chain after each sweep."""


@dataclass(frozen=True)
class SweepRecord:
    """One complete sweep.

    Attributes
    ----------
    n_sites : int
        Length of the chain.
    sweep : int
        Number of the sweep at this length, from 1.
    loss : float
        Objective at the end.
    losses : tuple of float
        Objective after each local solve.
    condition : float or None
        Largest condition estimate of the sweep, if linear systems were solved.
    solver : str
        "cholesky", or "qr" or "cg" if any local solve had to fall back.
    seconds : float
        Wall time.
    n_parameters : int
        Of the chain.
    bond : str
        Widest bond.
    measures : dict of str to float
        Figures measured after the sweep, such as errors on the training and validation sets.
    discarded : float
        Largest norm that the split of a bond dropped.
    spectrum_change : float
        Largest change of the singular values of a bond, scaled to norm one, since the sweep
        before at this length.
    gradient : float
        Largest norm of the local equations before their solution, if known.
    chain : str
        Name of the chain that was swept, of a network with several.
    cycle : int
        Number of the cycle through these chains, from 1; 0 is what they start from.
    """

    n_sites: int
    sweep: int
    loss: float
    losses: tuple[float, ...]
    condition: float | None
    solver: str
    seconds: float
    n_parameters: int
    bond: str
    measures: Mapping[str, float] = field(default_factory=dict)
    discarded: float = 0.0
    spectrum_change: float | None = None
    gradient: float | None = None
    chain: str = ""
    cycle: int = 0

    def __str__(self) -> str:
        """One line, for a log."""
        facts = [f"loss {self.loss:.{self.digits}g}"]
        facts += [f"{name} {value:.4g}" for name, value in self.measures.items()]
        facts += [f"bond {self.bond}", *filter(None, [self.solver]), f"{self.seconds:.1f} s"]
        where = f"{self.n_sites} sites, sweep {self.sweep}"
        if self.chain:
            where = f"cycle {self.cycle}, {self.chain}"
        return f"{where}: {', '.join(facts)}"

    @property
    def digits(self) -> int:
        """Digits of the loss that say something: energies settle to far more than six."""
        return 12 if self.solver == "lanczos" else 6

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {**asdict(self), "losses": list(self.losses), "measures": dict(self.measures)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SweepRecord:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**data, "losses": tuple(data["losses"])})


@dataclass(frozen=True)
class Report:
    """All sweeps of a run and the chain they ended with.

    Attributes
    ----------
    records : tuple of SweepRecord
    chain : Chain
    converged : bool
        Whether the last stage ended because the loss settled.
    reason : str
        Why the run ended.
    """

    records: tuple[SweepRecord, ...]
    chain: Chain
    converged: bool
    reason: str

    @property
    def energy(self) -> float:
        """Loss of the last sweep, under the name it has in eigenvalue problems."""
        return self.records[-1].loss

    @property
    def history(self) -> tuple[SweepRecord, ...]:
        """All sweeps, those of an earlier part of the run included."""
        return self.records

    @property
    def seconds(self) -> float:
        """Wall time of all sweeps."""
        return sum(record.seconds for record in self.history)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON, without the chain."""
        return {
            "records": [record.to_dict() for record in self.history],
            "converged": self.converged,
            "reason": self.reason,
            "seconds": self.seconds,
            "bonds": [str(bond) for bond in self.chain.bonds],
        }

    def __str__(self) -> str:
        measured = dict.fromkeys(key for record in self.records for key in record.measures)
        columns: dict[str, Callable[[SweepRecord], str]] = {}
        if any(r.chain for r in self.records):
            columns |= {"cycle": lambda r: str(r.cycle), "chain": lambda r: r.chain}
        columns |= {
            "sites": lambda r: str(r.n_sites),
            "sweep": lambda r: str(r.sweep),
            "loss": lambda r: f"{r.loss:.{self._digits}g}",
        }
        for key in measured:
            columns[key] = lambda r, key=key: (  # type: ignore[misc]
                f"{r.measures[key]:.4g}" if key in r.measures else "–"
            )
        columns["bond"] = lambda r: r.bond
        if any(r.discarded for r in self.records):
            columns["discarded"] = lambda r: f"{r.discarded:.1e}"
        for name, title in (
            ("spectrum_change", "Δspectrum"),
            ("gradient", "gradient"),
            ("condition", "condition"),
        ):
            if any(getattr(r, name) is not None for r in self.records):
                columns[title] = lambda r, name=name: _scientific(getattr(r, name))  # type: ignore[misc]
        columns["solver"] = lambda r: r.solver
        columns["time/s"] = lambda r: f"{r.seconds:.1f}"
        table = [list(columns), *([cell(r) for cell in columns.values()] for r in self.records)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in table
        ]
        lines.insert(1, "  ".join("─" * width for width in widths))
        return "\n".join([*lines, self.reason])

    @property
    def _digits(self) -> int:
        return max((r.digits for r in self.records), default=6)


def _scientific(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"
