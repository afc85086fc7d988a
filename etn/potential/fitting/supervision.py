"""What happens to a fit between two sweeps: errors, robust weights and the ridge, taken anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from etn.network import Chain
from etn.potential.fitting.labelled import LabelledRows
from etn.potential.fitting.objective import Objective
from etn.sweep import SweepRecord
from etn.sweep.regression.evidence import Evidence

Network = TypeVar("Network")


class HasEvidence(Protocol):
    """A local problem that knows how likely a ridge makes its labels."""

    ridge: float

    def evidence(self, chain: Chain, n_rows: int) -> Evidence | None:
        """The ridge of largest evidence with all cores but the center fixed, if it is known."""
        ...


class Supervision(Generic[Network]):
    """Measures a network after each sweep, and prepares the next one.

    Held-out labels may be wrong as well: they are judged on one scale, that of the first sweep.

    Parameters
    ----------
    objective : Objective
    rows : LabelledRows
        Of the training data.
    checks : LabelledRows, optional
        Of the validation data, with a robust function of their own.
    n_rows : int
        Labels of the training data that have a weight.

    Attributes
    ----------
    ridge : float
        As it was given, or as the evidence chose it last.
    """

    def __init__(
        self,
        objective: Objective,
        rows: LabelledRows[Network],
        checks: LabelledRows[Network] | None,
        *,
        n_rows: int,
    ) -> None:
        self._objective, self._rows, self._checks = objective, rows, checks
        self._n_rows = n_rows
        self.ridge = objective.ridge

    def restore(self, records: Sequence[SweepRecord], network: Network) -> None:
        """Stand where an interrupted fit stood after these sweeps."""
        measured = [record.measures for record in records if record.measures]
        if not measured:
            return
        self.ridge = measured[-1].get("ridge", self.ridge)
        self._rows.retarget(network, measured[-1].get("train F"))
        if self._rows.robust is None:
            return
        if self._checks is not None and self._checks.robust is not None:
            self._checks.robust.restore(measured[0])
        self._rows.robust.restore(measured[-1])
        self._rows.reweigh(network)

    def measure(self, network: Network) -> dict[str, float]:
        """Errors on training and validation data; robust weights and bounds are taken anew."""
        errors = self._rows.errors(network)
        measured = self._rows.measure(network, errors)
        self._rows.retarget(network, measured.get("F"))
        found = {f"train {name}": value for name, value in measured.items() if name != "loss"}
        if self._rows.robust is not None:
            found |= self._rows.reweigh(network, errors)
        if self._checks is not None:
            judge = self._checks.robust
            if judge is not None and self._rows.robust is not None and not judge.scales:
                judge.restore(self._rows.robust.measures())
            checked = self._checks.measure(network)
            found |= {f"valid {name}": value for name, value in checked.items()}
        return found

    def choose_ridge(self, problem: HasEvidence, chain: Chain) -> dict[str, float]:
        """The ridge of the next sweep as a measure, where the evidence chooses it.

        To be called after :meth:`measure`, so that weights and ridge are both those of the next
        sweep.
        """
        if not self._objective.by_evidence:
            return {}
        best = problem.evidence(chain, self._n_rows)
        self.ridge = problem.ridge = problem.ridge if best is None else best.ridge
        return {"ridge": self.ridge}
