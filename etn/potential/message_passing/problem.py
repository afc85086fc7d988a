"""The local problem of sweeps over one chain of a two-layer potential."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from etn.backend import FloatArray as Array
from etn.errors import CoreError
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.potential.message_passing.frame_rows import FrameRows
from etn.potential.message_passing.layers import Layers
from etn.potential.message_passing.rows import LayerRows
from etn.sweep import LocalSolution
from etn.sweep.kept import Kept
from etn.sweep.regression.batches import Batches
from etn.sweep.regression.evidence import Evidence, EvidenceCurve
from etn.sweep.regression.normal_equations import NormalEquations, accumulate, solve_direct
from etn.tensor import Core

# Above this estimate of their condition number normal equations are not trusted.
MAX_CONDITION = 1e15


class LayerProblem:
    """Least squares on one core of one chain, all others of both layers fixed.

        min_a  sum_rows w^2 (Phi a - y)^2 + ridge (||T_readout||^2 + ||T_value||^2 + ...)

    Robust weights are those that the rows have when it is made.

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
        self._rest = sum(chain.norm() ** 2 for chain in others)
        self._views = Kept[FrameRows](
            0.5 * rows.memory.kept, lambda view: view.nbytes, threads=rows.memory.threads
        )

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
        normal = self._normal_equations(chain, design)
        solution, condition, solver = solve_direct(
            normal, penalty, partial(self._rows, chain, design), max_condition=MAX_CONDITION
        )
        assert solution is not None
        loss = max(normal.value(solution), 0.0) + float(penalty @ solution**2)
        loss += self.ridge * self._rest + self.rows.offset
        return LocalSolution(design.to_core(solution), loss, condition, solver)

    def loss(self, chain: Chain) -> float:
        """Objective of a canonical chain."""
        data = float(np.sum(self.residuals(chain) ** 2))
        return data + self.ridge * (chain.norm() ** 2 + self._rest) + self.rows.offset

    def evidence(self, chain: Chain, n_rows: int) -> Evidence:
        """The ridge that the data make most likely, with all cores but the center fixed.

        Parameters
        ----------
        chain : Chain
            Canonical around its center.
        n_rows : int
            Rows with a weight.

        Raises
        ------
        CoreError
            If the chain has no center.
        SettingsError
            If all targets are zero.
        """
        design = self._design(chain)
        assert chain.center is not None
        normal = self._normal_equations(chain, design)
        metric = chain[chain.center].metric()[design.order]
        return EvidenceCurve(normal.gram, normal.rhs, normal.target, metric, n_rows).maximum()

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

    def _normal_equations(self, chain: Chain, design: CoreDesign) -> NormalEquations:
        self._keep()
        blocks = Batches(self.rows.blocks(), threads=self.rows.memory.threads)
        most = max(1, int(self.rows.memory.grams / (8.0 * design.columns**2)))
        rows = blocks.map(partial(self._block, chain, design))
        return accumulate(design.columns, rows, most=most)

    def _rows(self, chain: Chain, design: CoreDesign) -> Iterator[tuple[Array, Array]]:
        self._keep()
        for block in self.rows.blocks():
            yield self._block(chain, design, block)

    def _block(self, chain: Chain, design: CoreDesign, block: range) -> tuple[Array, Array]:
        parts = [(self._views.get(k) or self._view(k)).rows(chain, design) for k in block]
        rows, targets = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(targets)

    def _keep(self) -> None:
        """Build what is kept for the whole sweep, before work on it is shared out."""
        self.rows.keep()
        self._views.fill(range(len(self.rows.all_groups)), self._view)

    def _view(self, index: int) -> FrameRows:
        return self.rows.view(self.layers, self.name, index)
