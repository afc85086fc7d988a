"""Products with rows beside the rows."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain
from etn.network.design import CoreDesign
from etn.sweep.regression.batches import Batches
from etn.sweep.regression.core_rows import CoreRows, weighted_rows
from etn.testing import random_batch

LEG = "2x0e+2x1o+1x2e"


@pytest.mark.parametrize("center", range(3))
def test_products_are_those_of_the_rows(center, rng):
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(center)
    design = CoreDesign(chain[center])
    batches = Batches([random_batch(chain, seed=k, n_tangents=30) for k in range(6)])
    weighted = [weighted_rows(chain, design, batch) for batch in batches]
    phi, y = (np.concatenate(parts) for parts in zip(*weighted, strict=True))
    rows, a = CoreRows(chain, design, batches), rng.normal(size=design.columns)
    slope, loss = rows.residual(a)
    expected = (y - phi @ a) @ phi
    np.testing.assert_allclose(slope, expected, atol=1e-10 * np.abs(expected).max())
    assert loss == pytest.approx(np.sum((y - phi @ a) ** 2), rel=1e-10)
    expected = (phi @ a) @ phi
    np.testing.assert_allclose(rows.product(a), expected, atol=1e-10 * np.abs(expected).max())
    assert rows.count() == (len(phi), np.inf)
    # A sample has whole batches and stands for all.
    n_rows = len(phi)
    every = np.concatenate([part for part, _ in rows.sample(10 * n_rows)])
    np.testing.assert_allclose(every, phi)
    some, targets = next(iter(rows.sample(n_rows // 2)))
    assert len(rows.sample(n_rows // 2)) == 3
    np.testing.assert_allclose(some, np.sqrt(2) * phi[: len(some)])
    np.testing.assert_allclose(targets, np.sqrt(2) * y[: len(some)])
