"""Interatomic potentials: data, features, baseline, model, fit and errors."""

from etn.potential.baseline import Baseline
from etn.potential.basis import Basis
from etn.potential.dataset import Dataset
from etn.potential.fitting import FitReport, fit
from etn.potential.frame import Frame
from etn.potential.metrics import Metrics, Prediction, compute_metrics
from etn.potential.model import PolynomialPotential, load
from etn.potential.pairs import Pairs
from etn.potential.radial import Radial
from etn.potential.rows import Rows, Weights
from etn.potential.select import Selection, maxvol, select
from etn.potential.uncertainty import Uncertainty

__all__ = [
    "Baseline",
    "Basis",
    "Dataset",
    "FitReport",
    "Frame",
    "Metrics",
    "Pairs",
    "PolynomialPotential",
    "Prediction",
    "Radial",
    "Rows",
    "Selection",
    "Uncertainty",
    "Weights",
    "compute_metrics",
    "fit",
    "load",
    "maxvol",
    "select",
]
