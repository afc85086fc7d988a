"""What a fit minimises, and on which data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from etn.data.dataset import Dataset
from etn.data.robust import Huber
from etn.data.weights import Weights
from etn.errors import SettingsError

__all__ = ["FIRST_RIDGE", "Objective"]

# The ridge of the first sweep where the evidence chooses that of the others.
FIRST_RIDGE = 1e-3


@dataclass(frozen=True)
class Objective:
    """Weighted squares of the residuals, or Huber's function of them, plus a ridge.

    Attributes
    ----------
    weights : Weights
    is_robust : bool
        Whether labels far from the fit pull on it less.
    ridge : float
        Weight of ||T||^2; that of the first sweep where the evidence chooses the others.
    by_evidence : bool
    missing : {"error", "skip"}
        What to do with a frame that lacks a label with a weight.
    """

    weights: Weights
    is_robust: bool
    ridge: float
    by_evidence: bool
    missing: str

    @classmethod
    def of(
        cls,
        weights: Weights | Mapping[str, float] | None,
        *,
        robust: str | None,
        ridge: float | Literal["evidence"],
        missing: str,
    ) -> Objective:
        """The objective that the arguments of a fit describe.

        Raises
        ------
        SettingsError
            If one of them is out of range.
        """
        if missing not in ("error", "skip"):
            raise SettingsError(f'missing: expected "error" or "skip", got {missing!r}')
        if isinstance(ridge, str) and ridge != "evidence":
            raise SettingsError(f'ridge: expected a number or "evidence", got {ridge!r}')
        number = FIRST_RIDGE if isinstance(ridge, str) else ridge
        if not number >= 0:
            raise SettingsError(f"ridge: expected zero or more, got {ridge}")
        if robust not in (None, "huber"):
            raise SettingsError(f'robust: expected None or "huber", got {robust!r}')
        return cls(Weights.of(weights), robust is not None, number, isinstance(ridge, str), missing)

    def huber(self) -> Huber | None:
        """A robust function of its own, or None."""
        return Huber() if self.is_robust else None

    def hold_out(
        self, data: Dataset, valid: float | Dataset | None, seed: int
    ) -> tuple[Dataset, Dataset | None]:
        """Training and validation data, checked for the labels that have a weight.

        Raises
        ------
        DataError
            If a label is missing where `missing` is "error".
        SettingsError
            If no frame is of a kind that has a weight, or the fraction is out of range.
        """
        train, held_out = data, valid if isinstance(valid, Dataset) else None
        if valid and held_out is None:
            train, held_out = data.split(float(valid), seed)  # type: ignore[arg-type]
        if self.missing == "error":
            self.weights.require(train, what="training set")
            if held_out is not None:
                self.weights.require(held_out, what="validation set")
        self.weights.check_kinds(train, *(() if held_out is None else (held_out,)))
        return train, held_out
