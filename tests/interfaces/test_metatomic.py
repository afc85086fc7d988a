"""metatomic: saved models have the numbers of the ASE calculator, and hold all of a potential."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

from metatensor.torch import Labels  # noqa: E402
from metatomic.torch import (  # noqa: E402
    ModelEvaluationOptions,
    ModelOutput,
    load_atomistic_model,
    systems_to_torch,
)
from metatomic_ase import MetatomicCalculator  # noqa: E402
