"""Interatomic potentials, their fits and their errors; names load on first use."""

from typing import TYPE_CHECKING

from etn.lazy import attach

if TYPE_CHECKING:
    from etn.data import Dataset, Frame, Metrics, Prediction, Weights, compute_metrics
    from etn.potential.base import Potential, load
    from etn.potential.baseline import Baseline
    from etn.potential.features import Basis, Pairs, Radial
    from etn.potential.fitting.calibration import with_uncertainty
    from etn.potential.fitting.fit import FitReport, fit
    from etn.potential.fitting.rows import Rows
    from etn.potential.message_passing import MessagePassingPotential, Messages, fit_layers
    from etn.potential.polynomial import PolynomialPotential
    from etn.potential.response import Response
    from etn.potential.selection import Selection, select
    from etn.potential.uncertainty import Uncertainty
    from etn.tensor.maxvol import maxvol

__all__ = [
    "Baseline", "Basis", "Dataset", "FitReport", "Frame", "MessagePassingPotential", "Messages",
    "Metrics", "Pairs", "PolynomialPotential", "Potential", "Prediction", "Radial", "Response",
    "Rows", "Selection", "Uncertainty", "Weights", "compute_metrics", "fit", "fit_layers", "load",
    "maxvol", "select", "with_uncertainty",
]  # fmt: skip

_HOMES = {
    "etn.data": "Dataset Frame Metrics Prediction Weights compute_metrics",
    "etn.potential.base": "Potential load", "etn.potential.baseline": "Baseline",
    "etn.potential.features": "Basis Pairs Radial", "etn.potential.fitting.rows": "Rows",
    "etn.potential.fitting.calibration": "with_uncertainty",
    "etn.potential.fitting.fit": "FitReport fit", "etn.potential.uncertainty": "Uncertainty",
    "etn.potential.message_passing": "MessagePassingPotential Messages fit_layers",
    "etn.potential.polynomial": "PolynomialPotential", "etn.tensor.maxvol": "maxvol",
    "etn.potential.response": "Response", "etn.potential.selection": "Selection select",
}  # fmt: skip
__getattr__, __dir__ = attach(__name__, _HOMES)
