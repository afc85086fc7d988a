"""What a run of sweeps did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from etn.network import Chain


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
    condition : float
        Largest condition estimate of the sweep.
    solver : str
        "cholesky", or "qr" if any local solve had to fall back.
    seconds : float
        Wall time.
    n_parameters : int
        Of the chain.
    bond : str
        Widest bond.
    measures : dict of str to float
        Figures measured after the sweep, such as errors on the training and validation sets.
    """

    n_sites: int
    sweep: int
    loss: float
    losses: tuple[float, ...]
    condition: float
    solver: str
    seconds: float
    n_parameters: int
    bond: str
    measures: Mapping[str, float] = field(default_factory=dict)

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
    def seconds(self) -> float:
        """Wall time of all sweeps."""
        return sum(record.seconds for record in self.records)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON, without the chain."""
        return {
            "records": [record.to_dict() for record in self.records],
            "converged": self.converged,
            "reason": self.reason,
            "seconds": self.seconds,
            "bonds": [str(bond) for bond in self.chain.bonds],
        }

    def __str__(self) -> str:
        keys = list(dict.fromkeys(key for record in self.records for key in record.measures))
        head = ["sites", "sweep", "loss", *keys, "bond", "condition", "solver", "time/s"]
        rows = [
            [
                str(r.n_sites),
                str(r.sweep),
                f"{r.loss:.6g}",
                *(f"{r.measures[key]:.4g}" if key in r.measures else "–" for key in keys),
                r.bond,
                f"{r.condition:.1e}",
                r.solver,
                f"{r.seconds:.1f}",
            ]
            for r in self.records
        ]
        widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in [head, *rows]
        ]
        lines.insert(1, "  ".join("─" * width for width in widths))
        return "\n".join([*lines, self.reason])
