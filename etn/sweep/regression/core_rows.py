"""Rows of one core over batches that are never formed: products with them and their transpose.

With all cores but one fixed the values of a chain are linear in that one.  So the values with p in
its place are Phi p, and the derivatives of their sum, weighted with r, by its entries are Phi^T r:
a few evaluations of the chain, whatever the number of unknowns.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from etn.backend import FloatArray as Array
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.sweep.regression.batches import Batch, Batches, WeightedRows


class CoreRows:
    """Weighted rows of the center core of a chain over batches, as an operator.

    Parameters
    ----------
    chain : Chain
        With a center.
    design : CoreDesign
        Of the core at the center.
    batches : Batches of Batch
    """

    def __init__(self, chain: Chain, design: CoreDesign, batches: Batches[Batch]) -> None:
        assert chain.center is not None
        self.chain, self.design, self.batches = chain, design, batches
        self.site = chain.center

    def residual(self, a: Array) -> tuple[Array, float]:
        """Phi^T (y - Phi a) and |y - Phi a|^2."""
        total = self._sum(a, 1.0)
        return total[:-1], float(total[-1])

    def product(self, p: Array) -> Array:
        """Phi^T Phi p."""
        return -self._sum(p, 0.0)[:-1]

    def _sum(self, a: Array, targets: float) -> Array:
        moved = self.chain.replace(self.site, self.design.to_core(a))
        slope = partial(_slope, self.chain, self.site, self.design, moved, targets)
        return self.batches.map(slope).sum(np.zeros(len(a) + 1))

    def count(self) -> tuple[int, float]:
        """Number of rows, and multiply-adds of a product with Phi^T Phi."""
        counts = self.batches.map(partial(_count, self.chain)).sum(np.zeros(2))
        return int(counts[0]), float(counts[1])

    def sample(self, n_rows: int) -> Batches[WeightedRows]:
        """About so many weighted rows and targets, scaled as if they were all.

        Batches are taken whole, evenly among all.
        """
        sizes = np.array(self.batches.map(_n_rows).collect())
        count = max(1, round(min(1.0, n_rows / sizes.sum()) * len(sizes)))
        taken = np.linspace(0, len(sizes) - 1, count).round().astype(int)
        some = Batches([self.batches.sources[k] for k in taken], threads=self.batches.threads)
        factor = float(np.sqrt(sizes.sum() / sizes[taken].sum()))
        return some.map(partial(weighted_rows, self.chain, self.design, factor=factor))


def _n_rows(batch: Batch) -> int:
    return len(batch.targets)


def _count(chain: Chain, batch: Batch) -> Array:
    return np.array([len(batch.targets), batch.operations(chain)])


def weighted_rows(
    chain: Chain, design: CoreDesign, batch: Batch, *, factor: float = 1.0
) -> WeightedRows:
    """Rows of the center core and targets, both weighted."""
    assert chain.center is not None
    weights = factor * batch.weights
    return batch.rows(chain, design, chain.center, weights), weights * batch.targets


def _slope(
    chain: Chain, site: int, design: CoreDesign, moved: Chain, targets: float, batch: Batch
) -> Array:
    """Phi^T (t y - Phi a) of a batch, and behind it |t y - Phi a|^2; `moved` has the core a."""
    left = batch.weights * (targets * batch.targets - batch.values(moved))
    slope = batch.pull(chain, batch.weights * left, {site: design})[site]
    return np.append(design.from_core(slope), left @ left)
