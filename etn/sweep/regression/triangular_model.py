"""The model of a loss in all cores at once, by QR of its rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from etn.backend import to_numpy
from etn.network import Blocks, Chain
from etn.sweep.problem import JointStep
from etn.sweep.regression.tangent import Tangent

if TYPE_CHECKING:
    from etn.sweep.regression.sample_regression import Regression


class TriangularModel(Tangent):
    """Model of a :class:`Regression` by the triangular factor of its Jacobian.

    Attributes
    ----------
    jacobian : (n, columns)
        Triangular factor, one column for each unknown in units of its core, and the ridge.
    rhs : (n,)
        The residuals in the same basis.
    """

    def __init__(self, chain: Chain, problem: Regression) -> None:
        super().__init__(chain)
        xp = self.kind.xp
        sides = [self._sides(problem, site) for site in range(len(chain))]
        triangle = problem.triangle(sides, problem.residuals(chain))
        rows, rhs = [triangle[:, :-1]], [triangle[:, -1]]
        if problem.ridge:
            root = math.sqrt(problem.ridge)
            rows.append(root * self.kind.eye(self.columns)[self.parts[self.center].columns])
            rhs.append(-root * self.center_vector)
        self.jacobian = xp.concat(rows) * self.units
        self.rhs = xp.concat(rhs)
        self.scale = float(to_numpy((self.jacobian**2).sum())) / self.columns

    def _sides(self, problem: Regression, site: int) -> tuple[Blocks, Blocks]:
        """The two sides of the design of a core, in its free directions."""
        part = self.parts[site]
        if part.leg == 2:
            u = problem.enlarged_left(self.chain, site, part.matrices)
            return self._free(u, site), problem.right(self.chain, site)
        w = problem.enlarged_right(self.chain, site, part.matrices)
        return problem.left(self.chain, site), self._free(w, site)

    def _free(self, side: Blocks, site: int) -> Blocks:
        complement = self.parts[site].complement
        if complement is None:
            return side
        return {ir: self.kind.xp.tensordot(q.T, side[ir], axes=1) for ir, q in complement.items()}

    def step(self, damping: float) -> JointStep:
        """Least squares with damping: its rows make the triangular factor invertible."""
        xp, j, b = self.kind.xp, self.jacobian, self.rhs
        n = j.shape[1]
        weight = math.sqrt(damping * self.scale) or 1.0
        q, r = xp.linalg.qr(xp.concat([j, weight * self.kind.eye(n)]))
        x = xp.linalg.solve(r, q[: len(b)].T @ b)
        rest = b - j @ x
        gain = float(to_numpy((b * b).sum() - (rest * rest).sum()))
        return JointStep(x * self.units, gain)
