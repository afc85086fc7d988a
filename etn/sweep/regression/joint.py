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

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from etn.backend import Array
from etn.network import Chain, left_environment, right_environment
from etn.network.derivatives import BatchRows
from etn.network.design import CoreDesign
from etn.o3 import Irrep
from etn.sweep.problem import JointStep
from etn.sweep.regression.tangent import Tangent
from etn.sweep.threads import share
from etn.tensor import Core

if TYPE_CHECKING:
    from etn.sweep.regression.batches import Batch
    from etn.sweep.regression.least_squares import LeastSquares

# Random vectors that estimate the trace of J^T J.
PROBES = 2


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

    def __init__(self, chain: Chain, problem: LeastSquares) -> None:
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

    def __init__(self, chain: Chain, problem: LeastSquares) -> None:
        super().__init__(chain, problem)
        designs = [CoreDesign(core) for core in chain]
        normal = problem.accumulate(self.columns, partial(self._rows, designs))
        self.hessian = np.triu(normal.gram)
        self.hessian += np.triu(self.hessian, 1).T
        self.hessian[np.diag_indices(self.columns)] += self.penalty
        self.slope += normal.rhs
        self.scale = float(np.trace(self.hessian)) / self.columns

    def _rows(self, designs: list[CoreDesign], batch: Batch) -> tuple[Array, Array]:
        """Weighted rows of the Jacobian and the residuals."""
        samples, targets, weights = batch
        cores = self.chain.cores
        out = np.empty((samples.n_rows, self.columns))
        for site, design in enumerate(designs):
            left = left_environment(cores[:site], samples, jacobian=True)
            right = right_environment(cores[site + 1 :], samples, jacobian=True)
            rows = np.empty((samples.n_rows, design.columns))
            rows[:, design.order] = design.rows(samples, left, right)
            out[:, self.parts[site].columns] = self.restrict(site, rows)
        out *= weights[:, None]
        out *= self.units
        return out, weights * (targets - BatchRows(self.chain, samples).values)

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
    problem : LeastSquares
    tol : float
        Conjugate gradients end once the residual of the linear system is below this fraction.
    max_products : int
        Or after as many iterations: every one of them lowers the model.
    """

    def __init__(
        self, chain: Chain, problem: LeastSquares, *, tol: float = 1e-2, max_products: int = 200
    ) -> None:
        super().__init__(chain, problem)
        self.problem, self.tol, self.max_products = problem, tol, max_products
        self.slope += self._sum(self._residual_slope)
        # |J z|^2 of random signs z has the trace as its mean (M. F. Hutchinson, 1990).
        rng = np.random.default_rng(0)
        signs = [rng.choice([-1.0, 1.0], size=self.columns) for _ in range(PROBES)]
        self.scale = sum(float(z @ self.product(z)) for z in signs) / (PROBES * self.columns)

    def product(self, x: Array) -> Array:
        """J^T J x with the ridge, in units of the cores."""
        changes = self.changes(self.units * x)
        return self._sum(partial(self._gram_slope, changes)) + self.penalty * x

    def _sum(self, slope: Callable[[Batch], list[Core]]) -> Array:
        """Sum of slopes over the batches, in units of the cores."""

        def accumulate(batches: Iterator[Batch | Callable[[], Batch]]) -> Array:
            total = np.zeros(self.columns)
            for batch in batches:
                total += self.pull_back(slope(batch() if callable(batch) else batch))
            return total

        batches = list(self.problem.batches())
        return self.units * sum(share(accumulate, batches, most=self.problem.threads))

    def _residual_slope(self, batch: Batch) -> list[Core]:
        rows = BatchRows(self.chain, batch.samples)
        return rows.pull(batch.weights**2 * (batch.targets - rows.values))

    def _gram_slope(self, changes: list[Core], batch: Batch) -> list[Core]:
        rows = BatchRows(self.chain, batch.samples)
        return rows.pull(batch.weights**2 * rows.push(changes))

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


def channel_weights(
    batches: Sequence[Batch | Callable[[], Batch]], *, threads: int | None = None
) -> dict[Irrep, NDArray[np.float64]]:
    """How much each channel of the site leg does to the rows of a chain, whatever the chain.

    The weighted sum of the squared entries of all directions, over 2 l + 1; at least a millionth
    of the largest one.

    Parameters
    ----------
    batches : sequence of Batch, or of functions that build one
    threads : int, optional
        Most threads to use.

    Returns
    -------
    {ir: (multiplicity,)}
    """

    def squares(batches: Iterator[Batch | Callable[[], Batch]]) -> dict[Irrep, Array]:
        total: dict[Irrep, Array] = {}
        for batch in batches:
            samples, _, weights = batch() if callable(batch) else batch
            for ir, d in samples.directions.items():
                found = weights**2 @ np.einsum("msrn,msrn->rn", d, d) / ir.dim
                total[ir] = total[ir] + found if ir in total else found
        return total

    parts = [part for part in share(squares, batches, most=threads) if part]
    sums = {ir: np.sum([part[ir] for part in parts], axis=0) for ir in parts[0]}
    floor = 1e-6 * max(float(w.max(initial=0.0)) for w in sums.values()) or 1.0
    return {ir: np.maximum(w, floor) for ir, w in sums.items()}
