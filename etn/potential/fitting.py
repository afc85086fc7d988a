"""Fit a polynomial potential with DMRG sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etn.errors import SettingsError
from etn.network import Chain
from etn.potential.dataset import Dataset
from etn.potential.model import PolynomialPotential
from etn.potential.rows import Rows, Weights
from etn.potential.uncertainty import Uncertainty
from etn.sweep import Callback, LeastSquares, Report, Schedule, State, grow


@dataclass(frozen=True)
class FitReport(Report):
    """Report of a fit, with the fitted potential.

    Attributes
    ----------
    model : PolynomialPotential
    """

    model: PolynomialPotential


def fit(
    model: PolynomialPotential,
    train: Dataset,
    *,
    valid: float | Dataset | None = None,
    weights: Weights | Mapping[str, float] | None = None,
    ridge: float = 3e-3,
    schedule: Schedule | None = None,
    callbacks: Sequence[Callback] = (),
    missing: str = "error",
    seed: int = 0,
    resume: State | None = None,
    uncertainty: bool = True,
) -> FitReport:
    """Fit the chain of a potential to energies, forces and stress.

    Starts from two sites and grows in body order; every update is the exact least-squares
    solution for one core, all data rows and the gauge-invariant ridge included.

    Parameters
    ----------
    model : PolynomialPotential
        Basis, baseline, body order and bonds; its chain, if any, is not used.
    train : Dataset
    valid : float or Dataset, optional
        Fraction of the training set to hold out, or a data set: measured after each sweep,
        never fitted, and it picks the best sweep.
    weights : Weights or mapping
        See :class:`Weights`.
    ridge : float
        Weight of ||T||^2 in the loss, (eV/Å)^2 with the default weights.
    schedule : Schedule, optional
    callbacks : sequence of Callback
    missing : {"error", "skip"}
        What to do with a frame that lacks a label with a weight: refuse, or leave out that
        label of that frame.
    seed : int
        Of the random start and of the validation split.
    resume : State, optional
        Continue an interrupted fit.
    uncertainty : bool
        Whether to end with ``model.uncertainty``, error bars and extrapolation grades: takes
        about as long as two solves at an end of the chain.

    Returns
    -------
    FitReport

    Raises
    ------
    DataError
        If labels are missing, or atoms coincide.
    SettingsError
        If a setting is out of range.

    Examples
    --------
    >>> from etn.potential import Baseline, Basis, Dataset
    >>> train = Dataset.read("etn:Mo/train", index="::20")
    >>> model = PolynomialPotential(
    ...     Basis.for_dataset(train, r_max=4.0, n_max=4, l_max=1),
    ...     body_order=3, max_bond=2, baseline=Baseline.fit(train))
    >>> report = fit(model, train, schedule=Schedule(max_sweeps=1))
    >>> report.model
    PolynomialPotential(Mo, body order 3, bonds up to 2x0e+2x1o, 36 parameters)
    """
    if missing not in ("error", "skip"):
        raise SettingsError(f'missing: expected "error" or "skip", got {missing!r}')
    if not ridge >= 0:
        raise SettingsError(f"ridge: expected zero or more, got {ridge}")
    weights = Weights.of(weights)
    held_out: Dataset | None
    if isinstance(valid, Dataset):
        held_out = valid
    elif valid:
        train, held_out = train.split(float(valid), seed)
    else:
        held_out = None
    if missing == "error":
        weights.require(train, what="training set")
        if held_out is not None:
            weights.require(held_out, what="validation set")
    rows = Rows(train, model.basis, model.baseline, weights)
    if not len(rows):
        raise SettingsError("weights: no label of the training set has a weight above zero")
    checks = None if held_out is None else Rows(held_out, model.basis, model.baseline, weights)

    def measure(chain: Chain) -> dict[str, float]:
        found = {f"train {name}": value for name, value in rows.measure(chain).items()}
        del found["train loss"]
        if checks is not None:
            found |= {f"valid {name}": value for name, value in checks.measure(chain).items()}
        return found

    report = grow(
        model.initial_chain(seed=seed),
        LeastSquares(rows.builders, ridge=ridge),
        n_sites=model.body_order - 1,
        schedule=schedule or Schedule(),
        callbacks=callbacks,
        measure=measure,
        select="valid loss",
        resume=resume,
    )
    model = model.with_chain(report.chain)
    if uncertainty:
        found = Uncertainty.fit(model, rows, ridge=ridge, valid=held_out)
        model = model.with_chain(report.chain, uncertainty=found)
    return FitReport(report.records, report.chain, report.converged, report.reason, model)
