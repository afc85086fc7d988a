"""Rows of a regression in batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.network import Samples

Array = NDArray[np.float64]


class Batch(NamedTuple):
    """Samples with a target and a weight for each of their rows.

    Attributes
    ----------
    samples : Samples
    targets : (rows,)
    weights : (rows,)
        The square root of what multiplies the squared residual.
    """

    samples: Samples
    targets: Array
    weights: Array
