r"""Least squares by the triangular factor of the rows: of a core or pair, of all cores at once.

With weighted rows Phi and targets y the factor R of [Phi, y] = Q R has all that least squares asks
of the data,

.. math:: |\Phi x - y|^2 = |R\, (x, -1)|^2,

in as many rows as there are unknowns, with the condition number of the rows and not its square.
What the rows are is the business of the problem, see :class:`SampleProblem`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from etn.backend import Array, kind_of, to_numpy
from etn.network import Blocks, Chain
from etn.o3 import Irrep
from etn.sweep.problem import JointStep
from etn.sweep.regression.tangent import Tangent
from etn.tensor.factor import thin_svd

Sides = tuple[Blocks, Blocks]
"""u and w of a design: {j: (a, 2 j + 1, samples)} and {j: (b, 2 j + 1, components * samples)}."""


class Solved(NamedTuple):
    """Solution of linear least squares on one core or pair.

    Attributes
    ----------
    x : (columns,)
    loss : float
        Squared residuals with the ridge, without the proximal term.
    condition : float
        Ratio of the largest and the smallest singular value that counts, columns of norm one.
    gradient : float
        Norm of half the gradient of the loss at the start.
    """

    x: Array
    loss: float
    condition: float
    gradient: float


def solve_triangle(
    triangle: Array, start: Array, ridge: float = 0.0, proximal: float = 0.0
) -> Solved:
    r"""Minimize :math:`|\Phi x - y|^2 + \lambda |x|^2 + \mu |x - x_0|^2`.

    Where that leaves x open, the solution of least norm.

    Parameters
    ----------
    triangle : (n, columns + 1)
        Of [Phi, y]; see :meth:`Regression.triangle`.
    start : (columns,)
        x_0.
    ridge, proximal : float

    Examples
    --------
    >>> import numpy as np
    >>> solve_triangle(np.array([[1.0, 1.0, 2.0], [0.0, 0.0, 0.5]]), np.zeros(2)).x
    array([1., 1.])
    """
    kind = kind_of(triangle)
    xp = kind.xp
    phi, y = triangle[:, :-1], triangle[:, -1]
    columns = phi.shape[1]
    a, b = phi, y
    if ridge + proximal > 0:
        weight = math.sqrt(ridge + proximal)
        a = xp.concat([phi, weight * kind.eye(columns)])
        b = xp.concat([y, (proximal / weight) * start])
    # Singular values tell open directions from determined ones only among columns of one size.
    # A column that cancels to rounding is open too; it must not be scaled up.
    tolerance = max(1000, columns) * kind.eps
    norms = xp.linalg.vector_norm(a, axis=0)
    seen = norms > tolerance * xp.max(norms)
    a = xp.where(seen, a, xp.zeros_like(a))
    norms = xp.where(seen, norms, xp.ones_like(norms))
    u, s, vh = thin_svd(a / norms, kind)
    n = int((s > tolerance * s[0]).sum())
    x = (vh[:n].T @ ((u[:, :n].T @ b) / s[:n])) / norms
    if n < columns:
        # What spans the rows in the scaled unknowns, carried back, is orthogonal to all that is
        # open; the part of x in its span has the least norm.
        rows, _ = xp.linalg.qr((vh[:n] * norms).T)
        x = rows @ (rows.T @ x)
    rest = phi @ x - y
    slope = phi.T @ (phi @ start - y) + ridge * start
    loss = float(to_numpy((rest * rest).sum())) + ridge * float(to_numpy((x * x).sum()))
    condition = float(s[0] / s[n - 1]) if n else 1.0
    return Solved(x, loss, condition, float(to_numpy(xp.linalg.vector_norm(slope))))


def triangular(matrix: Array) -> Array:
    """R of the factorisation Q R of a matrix."""
    r = kind_of(matrix).xp.linalg.qr(matrix, mode="r")
    # torch hands back both factors, the first one empty.
    return r[1] if isinstance(r, tuple) else r


class SampleProblem(Protocol):
    """What the model asks of a problem: :class:`~etn.sweep.Regression`."""

    ridge: float

    def residuals(self, chain: Chain) -> Array:
        """Targets less predictions, (samples, components)."""
        ...

    def triangle(self, sides: Sequence[Sides], targets: Array) -> Array:
        """Triangular factor of a weighted design and its targets."""
        ...

    def left(self, chain: Chain, site: int) -> Blocks:
        """What the bond left of a site is fed with."""
        ...

    def right(self, chain: Chain, site: int) -> Blocks:
        """What the bond right of a site is fed with."""
        ...

    def enlarged_left(self, chain: Chain, site: int, irreps: Iterable[Irrep]) -> Blocks:
        """Couplings of the left bond and a site."""
        ...

    def enlarged_right(self, chain: Chain, site: int, irreps: Iterable[Irrep]) -> Blocks:
        """Couplings of a site and the right bond."""
        ...


class TriangularModel(Tangent):
    """Model of a loss in all cores at once, by the triangular factor of its Jacobian.

    Attributes
    ----------
    jacobian : (n, columns)
        Triangular factor, one column for each unknown in units of its core, and the ridge.
    rhs : (n,)
        The residuals in the same basis.
    """

    def __init__(self, chain: Chain, problem: SampleProblem) -> None:
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

    def _sides(self, problem: SampleProblem, site: int) -> Sides:
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
