"""Sizes of a batch of samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from etn.network import Samples
from etn.o3 import Irrep

SCALAR, VECTOR = Irrep("0e"), Irrep("1o")


@pytest.mark.parametrize(("n_sums", "n_rows"), [(0, 4), (2, 2), (3, 7)])
def test_samples_and_rows_are_counted(n_sums, n_rows):
    site = {SCALAR: np.ones((2, 1, 5)), VECTOR: np.ones((1, 3, 5))}
    directions = {ir: np.zeros((ir.dim, 5, n_rows, len(block))) for ir, block in site.items()}
    samples = Samples({SCALAR: np.ones((1, 1, 5))}, site, directions, n_sums)
    assert (samples.n_samples, samples.n_rows, samples.n_sums) == (5, n_rows, n_sums)
    with pytest.raises(dataclasses.FrozenInstanceError):
        samples.n_sums = 1
