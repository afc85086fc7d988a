"""Interatomic potentials: features, baselines, models, their fits and their errors.

The names below load on first use: reading a model file and predicting loads no code of fits.
"""

from typing import TYPE_CHECKING

from etn.lazy import attach

if TYPE_CHECKING:
    from etn.data import Dataset, Frame, Metrics, Prediction, compute_metrics
    from etn.potential.base import Potential, load
    from etn.potential.baseline import Baseline
    from etn.potential.features.basis import Basis
    from etn.potential.features.pairs import Pairs
    from etn.potential.features.radial import Radial
    from etn.potential.fitting.calibration import with_uncertainty
    from etn.potential.fitting.fit import FitReport, fit
    from etn.potential.fitting.maxvol import maxvol
    from etn.potential.fitting.rows import Rows
    from etn.potential.fitting.weights import Weights
    from etn.potential.message_passing import MessagePassingPotential, Messages, fit_layers
    from etn.potential.polynomial import PolynomialPotential
    from etn.potential.selection import Selection, select
    from etn.potential.uncertainty import Uncertainty

__all__ = [
    "Baseline",
    "Basis",
    "Dataset",
    "FitReport",
    "Frame",
    "MessagePassingPotential",
    "Messages",
    "Metrics",
    "Pairs",
    "PolynomialPotential",
    "Potential",
    "Prediction",
    "Radial",
    "Rows",
    "Selection",
    "Uncertainty",
    "Weights",
    "compute_metrics",
    "fit",
    "fit_layers",
    "load",
    "maxvol",
    "select",
    "with_uncertainty",
]

_PARTS = {
    "base": ("Potential", "load"),
    "baseline": ("Baseline",),
    "features.basis": ("Basis",),
    "features.pairs": ("Pairs",),
    "features.radial": ("Radial",),
    "fitting.calibration": ("with_uncertainty",),
    "fitting.fit": ("FitReport", "fit"),
    "fitting.maxvol": ("maxvol",),
    "fitting.rows": ("Rows",),
    "fitting.weights": ("Weights",),
    "message_passing": ("MessagePassingPotential", "Messages", "fit_layers"),
    "polynomial": ("PolynomialPotential",),
    "selection": ("Selection", "select"),
    "uncertainty": ("Uncertainty",),
}
_DATA = ("Dataset", "Frame", "Metrics", "Prediction", "compute_metrics")
__getattr__, __dir__ = attach(
    __name__,
    {name: f"{__name__}.{part}" for part, names in _PARTS.items() for name in names}
    | dict.fromkeys(_DATA, "etn.data"),
)
