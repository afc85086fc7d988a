r"""Models of a loss to second order in all cores of a chain at once, as Gauss and Newton make them.

With J the Jacobian of the weighted predictions by the unknowns of :class:`Tangent`, r the residuals
and C the center core, a step solves

.. math:: \min_\delta |J \delta - r|^2 + \lambda |C + \delta_C|^2
    + \mu \Bigl( \sum_{k \ne c} |\delta_k|^2 + |\delta_C|^2 / |C|^2 \Bigr).

The Jacobian is the designs of the single cores side by side.  Three ways to solve it: through the
triangular factor of J, with the accuracy of J; through J^T J, accumulated over batches; by
conjugate gradients with the products J v and J^T r alone, for chains of many parameters.  The last
two measure a change of a core by channels of its leg (see :class:`Tangent`): features differ in
size by orders of magnitude, and so do the changes that are small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from etn.backend import Array
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.o3 import Irrep
from etn.sweep.problem import JointStep
from etn.sweep.regression.batches import Batch, Batches, WeightedRows
from etn.sweep.regression.normal_equations import NormalEquations
from etn.sweep.regression.tangent import Part, Tangent, pull_back

# Random vectors that estimate the trace of J^T J.
PROBES = 2


class BatchProblem(Protocol):
    """What the models of this module ask of a problem: :class:`~etn.sweep.LeastSquares`."""

    ridge: float

    @property
    def channels(self) -> dict[Irrep, Array]:
        """How much each channel of the site leg does to the rows."""
        ...

    def stream(self) -> Batches[Batch]:
        """All batches."""
        ...

    def accumulate(self, columns: int, rows: Callable[[Batch], WeightedRows]) -> NormalEquations:
        """Normal equations of what a function makes of each batch."""
        ...


class _NormalModel(Tangent):
    """What the models of :class:`LeastSquares` share: the ridge, in units of the cores.

    Attributes
    ----------
    slope : (columns,)
        Minus half the gradient of the loss.
    penalty : (columns,)
        Diagonal that the ridge adds to J^T J.
    scale : float
        Mean diagonal entry of both together.
    """

    def __init__(self, chain: Chain, problem: BatchProblem) -> None:
        super().__init__(chain, problem.channels)
        ridge = problem.ridge
        center = self.parts[self.center].columns
        self.penalty = np.zeros(self.columns)
        self.penalty[center] = ridge * self.units[center] ** 2
        self.slope = np.zeros(self.columns)
        self.slope[center] = -ridge * self.units[center] * self.center_vector
        self.scale = 1.0


class GramModel(_NormalModel):
    """Model of :class:`LeastSquares` by J^T J, accumulated over the batches.

    With N rows and P unknowns N P^2 flops, and 8 P^2 bytes for each thread: as the solve of one
    core that had as many.

    Attributes
    ----------
    hessian : (columns, columns)
        J^T J with the ridge, in units of the cores.
    """

    def __init__(self, chain: Chain, problem: BatchProblem) -> None:
        super().__init__(chain, problem)
        designs = [CoreDesign(core) for core in chain]
        rows = partial(_jacobian_rows, chain, self.parts, self.units, designs)
        normal = problem.accumulate(self.columns, rows)
        self.hessian = np.triu(normal.gram)
        self.hessian += np.triu(self.hessian, 1).T
        self.hessian[np.diag_indices(self.columns)] += self.penalty
        self.slope += normal.rhs
        self.scale = float(np.trace(self.hessian)) / self.columns

    def step(self, damping: float) -> JointStep:
        """By Cholesky; the damping makes the matrix positive."""
        damped = self.hessian.copy()
        damped[np.diag_indices_from(damped)] += damping * self.scale or 1.0
        try:
            factor = sl.cho_factor(damped, overwrite_a=True, check_finite=False)
        except sl.LinAlgError:
            # Not positive by rounding: what helps is more damping.
            return JointStep(np.zeros(self.columns), 0.0)
        x = sl.cho_solve(factor, self.slope, check_finite=False)
        gain = float(2 * self.slope @ x - x @ (self.hessian @ x))
        return JointStep(x * self.units, gain)


class StreamedModel(_NormalModel):
    """Model of :class:`LeastSquares` by products with J and its transpose, batch by batch.

    No matrix is formed: memory and time of a product grow with the samples and the cost of the
    chain, not with the square of its parameters.  A step takes one product for each iteration of
    conjugate gradients, whose number grows as the damping falls.

    Parameters
    ----------
    chain : Chain
    problem : BatchProblem
    tol : float
        Conjugate gradients end once the residual of the linear system is below this fraction.
    max_products : int
        Or after as many iterations: every one of them lowers the model.
    """

    def __init__(
        self, chain: Chain, problem: BatchProblem, *, tol: float = 1e-2, max_products: int = 200
    ) -> None:
        super().__init__(chain, problem)
        self.problem, self.tol, self.max_products = problem, tol, max_products
        self._designs = {site: CoreDesign(core) for site, core in enumerate(chain)}
        self.slope += self._sum(partial(_residual_slope, chain, self.parts, self._designs))
        # |J z|^2 of random signs z has the trace as its mean (M. F. Hutchinson, 1990).
        rng = np.random.default_rng(0)
        signs = [rng.choice([-1.0, 1.0], size=self.columns) for _ in range(PROBES)]
        self.scale = sum(float(z @ self.product(z)) for z in signs) / (PROBES * self.columns)

    def product(self, x: Array) -> Array:
        """J^T J x with the ridge, in units of the cores."""
        changes = self.changes(self.units * x)
        moved = [self.chain.replace(site, change) for site, change in enumerate(changes)]
        slope = partial(_gram_slope, self.chain, self.parts, self._designs, moved)
        return self._sum(slope) + self.penalty * x

    def _sum(self, slope: Callable[[Batch], Array]) -> Array:
        """Sum of slopes over the batches, in units of the cores."""
        return self.units * self.problem.stream().map(slope).sum(np.zeros(self.columns))

    def step(self, damping: float) -> JointStep:
        """By conjugate gradients from zero."""
        weight = damping * self.scale or 1.0
        x, rest = np.zeros(self.columns), self.slope.copy()
        direction, size = rest, float(rest @ rest)
        end = self.tol**2 * size
        for _ in range(self.max_products):
            if size <= end:
                break
            image = self.product(direction) + weight * direction
            length = size / float(direction @ image)
            x = x + length * direction
            rest = rest - length * image
            before, size = size, float(rest @ rest)
            direction = rest + (size / before) * direction
        # J^T J x with the ridge is what the residual leaves of the slope.
        gain = float(2 * self.slope @ x - x @ (self.slope - rest - weight * x))
        return JointStep(x * self.units, gain)


def _jacobian_rows(
    chain: Chain, parts: Sequence[Part], units: Array, designs: Sequence[CoreDesign], batch: Batch
) -> WeightedRows:
    """Weighted rows of the Jacobian in units of the cores, and the weighted residuals."""
    n_rows, cores = len(batch.targets), chain.cores
    out = np.empty((n_rows, len(units)))
    for site, (part, design) in enumerate(zip(parts, designs, strict=True)):
        rows = np.empty((n_rows, design.columns))
        rows[:, design.order] = batch.rows(chain, design, site)
        out[:, part.columns] = part.restrict(cores[site], rows)
    out *= batch.weights[:, None]
    out *= units
    return out, batch.weights * (batch.targets - batch.values(chain))


def _residual_slope(
    chain: Chain, parts: Sequence[Part], designs: Mapping[int, CoreDesign], batch: Batch
) -> Array:
    """J^T r of a batch."""
    left = batch.weights**2 * (batch.targets - batch.values(chain))
    return pull_back(parts, list(batch.pull(chain, left, designs).values()))


def _gram_slope(
    chain: Chain,
    parts: Sequence[Part],
    designs: Mapping[int, CoreDesign],
    moved: Sequence[Chain],
    batch: Batch,
) -> Array:
    """J^T J x of a batch, from chains with the changes of the cores that x stands for."""
    pushed = batch.weights**2 * batch.push(chain, moved)
    return pull_back(parts, list(batch.pull(chain, pushed, designs).values()))


def channel_weights(batches: Batches[Batch]) -> dict[Irrep, NDArray[np.float64]]:
    """How much each channel of the site leg does to the rows of a chain, whatever the chain.

    The weighted sum of the squared entries of all directions, over 2 l + 1; at least a millionth
    of the largest one.

    Returns
    -------
    {ir: (multiplicity,)}
    """
    sums = batches.map(_channel_squares).sum({}, _add_channels)
    floor = 1e-6 * max(float(w.max(initial=0.0)) for w in sums.values()) or 1.0
    return {ir: np.maximum(w, floor) for ir, w in sums.items()}


def _channel_squares(batch: Batch) -> dict[Irrep, Array]:
    return {
        ir: batch.weights**2 @ np.einsum("msrn,msrn->rn", d, d) / ir.dim
        for ir, d in batch.samples.directions.items()
    }


def _add_channels(one: dict[Irrep, Array], two: dict[Irrep, Array]) -> dict[Irrep, Array]:
    return one | {ir: one[ir] + w if ir in one else w for ir, w in two.items()}
