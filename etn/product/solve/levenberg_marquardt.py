r"""Levenberg-Marquardt: all factors at once, and the path coefficients if these are free.

The residual :math:`r = \hat M(x) - M(\alpha)` has the gradient MTTKRP(r), and the Gauss-Newton
matrix is known in closed form: between rows i, j and columns r, s of the factors of sites p, q

.. math:: H^{pp}_{ir,js} = \delta_{ij}\, \Gamma^p_{rs}, \qquad
    H^{pq}_{ir,js} = a^p_{is}\, a^q_{jr}\, \Gamma^{pq}_{rs},

with Gamma the elementwise product of the Gram matrices of all other sites (A.-H. Phan, P.
Tichavsky & A. Cichocki, SIAM J. Matrix Anal. Appl. 34, 126 (2013)).  Scales that move between the
factors of a term change nothing; H is singular along them, and damping keeps them still.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg

from etn.backend import FloatArray
from etn.product.cp import CPTensor
from etn.product.fused_tensor import FusedTensor
from etn.product.solve.damping import Damping, stagnates
from etn.product.solve.mttkrp import Matrix, gram, largest_norm, mttkrp, residual
from etn.product.solve.path_coefficients import clip, path_slopes

__all__ = ["dense_bytes", "gauss_newton", "gradient", "levenberg"]

Vector = FloatArray

# Above this many unknowns a factorization, of n^3 / 3 operations and 8 n^2 bytes, gives way to
# conjugate gradients.
DENSE_LIMIT = 5000


def dense_bytes(target: FusedTensor, cp_rank: int) -> int:
    """Memory of the dense normal equations and their factorization; 0 where they are not formed."""
    n = cp_rank * sum(target.shape)
    return 3 * 8 * n**2 if n <= DENSE_LIMIT else 0


def gradient(factors: Sequence[Matrix], error: FloatArray) -> Vector:
    """Derivative of half the squared residual along all factors, flattened one after another."""
    return np.concatenate([mttkrp(error, factors, site).ravel() for site in range(len(factors))])


def gauss_newton(factors: Sequence[Matrix]) -> FloatArray:
    """The matrix H = J^T J of all factors, shape (n, n), in (R sum d)^2 n_sites operations."""
    bounds = np.cumsum([0, *(factor.size for factor in factors)])
    matrix = np.empty((bounds[-1],) * 2)
    for p, one in enumerate(factors):
        rows = slice(bounds[p], bounds[p + 1])
        matrix[rows, rows] = np.kron(np.eye(len(one)), gram(factors, [p]))
        for q in range(p):
            two, between = factors[q], gram(factors, [p, q])
            block = (one[:, None, None, :] * between[:, None, :]) * two.T[:, :, None]
            columns = slice(bounds[q], bounds[q + 1])
            matrix[rows, columns] = block.reshape(one.size, two.size)
            matrix[columns, rows] = matrix[rows, columns].T
    return matrix


@dataclass(frozen=True)
class Product:
    """H times a vector without forming H, in 4 n_sites R^2 sum(d) operations."""

    factors: Sequence[Matrix]
    grams: dict[tuple[int, int], Matrix]

    @classmethod
    def of(cls, factors: Sequence[Matrix]) -> Product:
        """Prepare the elementwise products of Gram matrices."""
        sites = range(len(factors))
        return cls(factors, {(p, q): gram(factors, {p, q}) for p in sites for q in range(p + 1)})

    def __call__(self, x: Vector) -> Vector:
        """Multiply."""
        parts = split(x, self.factors)
        out = [part @ self.grams[p, p] for p, part in enumerate(parts)]
        for q, two in enumerate(self.factors):
            inner = two.T @ parts[q]
            for p, one in enumerate(self.factors):
                if p != q:
                    out[p] += one @ (self.grams[max(p, q), min(p, q)] * inner).T
        return np.concatenate([part.ravel() for part in out])


def split(x: Vector, like: Sequence[Matrix]) -> list[Matrix]:
    """Views of a flat vector in the shapes of the factors."""
    bounds = np.cumsum([0, *(factor.size for factor in like)])
    return [
        x[a:b].reshape(factor.shape) for a, b, factor in zip(bounds, bounds[1:], like, strict=False)
    ]


@dataclass(frozen=True)
class _Model:
    """The loss to second order around one point; coefficients are unknowns where free."""

    factors: Sequence[Matrix]
    slope: Vector
    # Rows of the Jacobian of free coefficients against the factors, and what is left of them.
    paths: FloatArray
    path_slope: Vector
    scale: float
    matrix: FloatArray | None
    product: Product

    @classmethod
    def around(
        cls,
        factors: Sequence[Matrix],
        error: FloatArray,
        ridge: float,
        paths: FloatArray,
        path_slope: Vector,
    ) -> _Model:
        x = np.concatenate([factor.ravel() for factor in factors])
        matrix = None
        if x.size <= DENSE_LIMIT:
            matrix = gauss_newton(factors)
            # The path tensors are orthonormal: eliminating free coefficients is one product.
            matrix -= paths.T @ paths
            matrix[np.diag_indices_from(matrix)] += ridge
        slope = gradient(factors, error) + ridge * x
        product = Product.of(factors)
        scale = max(float(product.grams[p, p].diagonal().max()) for p in range(len(factors)))
        return cls(factors, slope, paths, path_slope, scale, matrix, product)

    def step(self, damping: float, ridge: float) -> tuple[Vector, Vector]:
        """Change of the factors and of the free coefficients."""
        shift = damping * self.scale
        # With residual M_hat - M(alpha), coefficients enter with a minus sign.
        right = -(self.slope + self.paths.T @ self.path_slope)
        if self.matrix is not None:
            shifted = self.matrix.copy()
            shifted[np.diag_indices_from(shifted)] += shift
            factor = cho_factor(shifted, overwrite_a=True, check_finite=False)
            x = cho_solve(factor, right, check_finite=False)
        else:
            x = self._iterate(right, shift + ridge)
        return x, self.paths @ x + self.path_slope

    def _iterate(self, right: Vector, shift: float) -> Vector:
        n = len(right)

        def apply(x: Vector) -> Vector:
            return self.product(x) - self.paths.T @ (self.paths @ x) + shift * x

        inverses = [
            np.linalg.inv(self.product.grams[p, p] + shift * np.eye(factor.shape[1]))
            for p, factor in enumerate(self.factors)
        ]

        def precondition(x: Vector) -> Vector:
            parts = zip(split(x, self.factors), inverses, strict=True)
            return np.concatenate([(part @ inverse).ravel() for part, inverse in parts])

        x, _ = cg(
            LinearOperator((n, n), matvec=apply, dtype=float),
            right,
            rtol=1e-3,
            maxiter=200,
            M=LinearOperator((n, n), matvec=precondition, dtype=float),
        )
        return np.asarray(x, float)


def levenberg(
    cp: CPTensor,
    *,
    max_steps: int = 200,
    rel_tol: float = 1e-6,
    tol: float = 1e-15,
    ridge: float = 0.0,
    max_factor: float = math.inf,
    lowest: float | None = None,
    units: FusedTensor | None = None,
) -> CPTensor:
    r"""Minimize :math:`\|\hat M(x) - M(\alpha)\|^2 + \mu \|x\|^2` over all factors at once.

    A step costs the gradient, 2 (n + 1) d_1 ... d_n R operations, and one linear system of
    R (d_1 + ... + d_n) unknowns, dense up to 5000 of them and by preconditioned conjugate
    gradients above.  Steps that lower the loss are taken; the damping follows the ratio of the
    actual to the predicted decrease (H. B. Nielsen, IMM-REP-1999-05).

    Parameters
    ----------
    cp : CPTensor
        Where to start.
    max_steps : int
        Most steps that are tried.
    rel_tol : float
        It ends once ten steps together lower the loss by less than this fraction.
    tol : float
        Relative error that is good enough.
    ridge : float
        The weight mu.
    max_factor : float
        Steps that take the norm of a column in balanced form above this, and above that of the
        start, are refused.
    lowest : float, optional
        If given, path coefficients are unknowns, within ``lowest`` and ``1 / lowest`` times their
        units.
    units : FusedTensor, optional
        Its coefficients are these units.  Runs that follow one another need it: by default the
        units are the coefficients of the start, and the bounds of every run would add up.

    Returns
    -------
    CPTensor
        In balanced form; its target carries the coefficients.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> from etn.product.solve import alternate, random_start
    >>> start = alternate(random_start(fused_cg(l_max=1), cp_rank=10, seed=0))
    >>> levenberg(start).relative_error < 1e-13
    True
    """
    target, ends = cp.target, (units or cp.target).coefficients
    cp = cp.balance()
    limit = max(max_factor, largest_norm(cp.factors))
    factors: Sequence[Matrix] = cp.factors
    alpha = target.coefficients if lowest is None else clip(target.coefficients, ends, lowest)
    dense = target.with_coefficients(alpha).dense()
    error = residual(factors, dense)
    losses = [_loss(error, factors, ridge)]
    damping = Damping()
    model: _Model | None = None
    for _ in range(max_steps):
        # Path tensors are orthonormal: the norm of the target is that of its coefficients.
        if np.linalg.norm(error) <= tol * np.linalg.norm(alpha):
            break
        if model is None:
            free = np.zeros(0, int)
            pull = np.zeros(0)
            if lowest is not None:
                pull = target.project(error)
                free = _free(alpha, pull, ends, lowest)
                pull = pull[free]
            paths = path_slopes(target, factors)[free] if len(free) else np.zeros((0, cp_size(cp)))
            model = _Model.around(factors, error, ridge, paths, pull)
        try:
            x, more = model.step(damping.value, ridge)
        except LinAlgError:
            damping.grow()
            continue
        trial = [f + dx for f, dx in zip(factors, split(x, factors), strict=True)]
        moved = np.array(alpha)
        moved[free] += more
        if lowest is not None:
            moved = clip(moved, ends, lowest)
            dense = target.with_coefficients(moved).dense()
        new_error = residual(trial, dense)
        loss = _loss(new_error, trial, ridge)
        slope = model.slope + model.paths.T @ model.path_slope
        predicted = float(model.scale * damping.value * np.vdot(x, x) - np.vdot(x, slope))
        predicted += float(np.vdot(model.path_slope, model.path_slope))
        if loss < losses[-1] and largest_norm(trial) <= limit:
            damping.accept((losses[-1] - loss) / max(predicted, 1e-300))
            factors, alpha, error, model = trial, moved, new_error, None
            losses.append(loss)
            if stagnates(losses, rel_tol):
                break
        elif not damping.grow():
            break
    found = CPTensor(target.with_coefficients(alpha), tuple(factors), method="lm")
    return found.balance()


def cp_size(cp: CPTensor) -> int:
    """Number of unknowns in the factors."""
    return sum(factor.size for factor in cp.factors)


def _loss(error: FloatArray, factors: Sequence[Matrix], ridge: float) -> float:
    size = sum(float(np.vdot(factor, factor)) for factor in factors) if ridge else 0.0
    return float(np.vdot(error, error)) + ridge * size


def _free(alpha: Vector, pull: Vector, units: Vector, lowest: float) -> NDArray[np.int64]:
    """Coefficients that are not held at a bound: those at one are held if pulled beyond it."""
    beyond = clip(alpha + 1e-3 * pull, units, lowest) != alpha + 1e-3 * pull
    return np.flatnonzero(~beyond & (units != 0.0))
