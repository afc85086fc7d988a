"""Reference data: structures with labels, read, checked, weighed and compared.

Ground floor: nothing here knows a potential.  :mod:`etn.data.embedded` are the sets that ship with
etn.
"""

from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.metrics import Metrics, Prediction, compute_metrics
from etn.data.weights import Weights

__all__ = ["Dataset", "Frame", "Metrics", "Prediction", "Weights", "compute_metrics"]
