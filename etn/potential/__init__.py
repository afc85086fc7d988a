"""Interatomic potentials: data, features, baseline, model, fit and errors."""

from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.metrics import Metrics, Prediction, compute_metrics
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.features.pairs import Pairs
from etn.potential.features.radial import Radial
from etn.potential.fitting.fit import FitReport, fit
from etn.potential.fitting.maxvol import maxvol
from etn.potential.fitting.rows import Rows
from etn.potential.fitting.weights import Weights
from etn.potential.polynomial import PolynomialPotential, load
from etn.potential.select import Selection, select
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
