"""The local problem of sweeps over one chain of a two-layer potential."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etn.errors import CoreError
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.potential.message_passing.frame_rows import Feed
from etn.potential.message_passing.layers import Layers
from etn.potential.message_passing.rows import MAX_KEPT, LayerRows
from etn.sweep import LocalSolution
from etn.sweep.regression.batches import Batches
from etn.sweep.regression.normal_equations import accumulate, solve_direct
from etn.tensor import Core

Array = NDArray[np.float64]
# Above this estimate of their condition number normal equations are not trusted.
MAX_CONDITION = 1e15


class LayerProblem:
    """Least squares on one core of one chain, all others of both layers fixed.

        min_a  sum_rows w^2 (Phi a - y)^2 + ridge (||T_readout||^2 + ||T_value||^2 + ...)

    Parameters
    ----------
    rows : LayerRows
    layers : Layers
        What is fixed; of the chain that is solved for, nothing is used.
    name : str
        Of the chain that is solved for.
    ridge : float
    """

    def __init__(self, rows: LayerRows, layers: Layers, name: str, *, ridge: float) -> None:
        self.rows, self.layers, self.name, self.ridge = rows, layers, name, ridge
        others = [chain for other, chain in layers.chains().items() if other != name]
        self._rest = ridge * sum(chain.norm() ** 2 for chain in others)
        self._kept: dict[int, Feed] = {}
        self._bytes = 0

    def solve(self, chain: Chain) -> LocalSolution[Core]:
        """Optimal center core.

        Parameters
        ----------
        chain : Chain
            Canonical around its center.

        Raises
        ------
        CoreError
            If the chain has no center.
        """
        design = self._design(chain)
        assert chain.center is not None
        penalty = self.ridge * chain[chain.center].metric()[design.order]
        groups = Batches(self.rows.groups()).map(partial(self._group, chain, design))
        normal = accumulate(design.columns, groups)
        solution, condition, solver = solve_direct(
            normal, penalty, partial(self._rows, chain, design), max_condition=MAX_CONDITION
        )
        assert solution is not None
        loss = max(normal.value(solution), 0.0) + float(penalty @ solution**2) + self._rest
        return LocalSolution(design.to_core(solution), loss, condition, solver)

    def loss(self, chain: Chain) -> float:
        """Objective of a canonical chain."""
        data = float(np.sum(self.residuals(chain) ** 2))
        return data + self.ridge * chain.norm() ** 2 + self._rest

    def residuals(self, chain: Chain) -> Array:
        """Weighted prediction minus label of all rows, frame after frame: (rows,)."""
        design = self._design(chain)
        assert chain.center is not None
        a = design.from_core(chain[chain.center])
        return np.concatenate([rows @ a - y for rows, y in self._rows(chain, design)])

    def _design(self, chain: Chain) -> CoreDesign:
        if chain.center is None:
            raise CoreError("least squares needs a canonical chain: canonicalize(center) it first")
        return CoreDesign(chain[chain.center])

    def _rows(self, chain: Chain, design: CoreDesign) -> Iterator[tuple[Array, Array]]:
        for group in self.rows.groups():
            yield self._group(chain, design, group)

    def _group(self, chain: Chain, design: CoreDesign, group: range) -> tuple[Array, Array]:
        parts = [self._feed(index).rows(chain, design) for index in group]
        rows, targets = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(targets)

    def _feed(self, index: int) -> Feed:
        if index in self._kept:
            return self._kept[index]
        feed = self.rows.feed(self.layers, self.name, index)
        # The leg of the basis is kept by the rows; messages or ends are new.
        new = feed.last.directions if feed.last is not feed.samples else (feed.end.slopes or {})
        size = sum(array.nbytes for array in new.values())
        if self._bytes + size < MAX_KEPT:
            self._bytes += size
            self._kept[index] = feed
        return feed
