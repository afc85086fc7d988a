"""Reference data: structures with labels, read, checked, weighed and compared.

- :class:`Dataset`, a sequence of :class:`Frame`: read from extended XYZ and what else ASE reads,
  or one of the sets that ship with etn (:mod:`etn.data.embedded`); written, selected and split.
- :class:`LabelKeys`: under which keys labels were looked for; :class:`DatasetSummary`: what was
  found, and what in it looks wrong.
- :func:`check_data` compares the data sets of a fit, :func:`find_duplicates` finds structures
  that stand twice.
- :func:`compute_metrics` compares a :class:`Prediction` for every frame with its labels:
  :class:`Metrics`.

Units are eV, Å, eV/Å and eV/Å³, tension positive, in the Voigt order xx, yy, zz, yz, xz, xy.
Ground floor: nothing here knows a potential.
"""

from etn.data.checks import check_data
from etn.data.dataset import Dataset
from etn.data.duplicates import find_duplicates
from etn.data.frame import Frame
from etn.data.labels import LabelKeys
from etn.data.metrics import Metrics, Prediction, compute_metrics
from etn.data.summary import DatasetSummary
from etn.data.weights import Weights

__all__ = [
    "Dataset",
    "DatasetSummary",
    "Frame",
    "LabelKeys",
    "Metrics",
    "Prediction",
    "Weights",
    "check_data",
    "compute_metrics",
    "find_duplicates",
]
