r"""Least squares on two neighbouring cores: one wide core to solve for, and how to split it again.

A pair is one matrix Theta_j for each irrep j of the bond between its cores (see
:mod:`etn.tensor.pair`).  Its unknowns are those of a single core: where one of the two cores is
the isometry that fuses its outer bond and leg into all their product irreps, the other one, with
that wide bond, holds the entries of Theta, and the design of one core serves for two.

With x the entries of sqrt(2 j + 1) Theta_j the objective is

.. math:: f(x) = x^T H x - 2 b^T x + c, \qquad H = \Phi^T \Phi + \lambda 1,

and :math:`f(x) - f(x^*) = (x - x^*)^T H (x - x^*)`.  So it is H, not the plain norm, that says
what a singular value is worth.  For each irrep its block is replaced by the nearest Kronecker
product :math:`A_j \otimes B_j` (C. F. Van Loan and N. Pitsianis, Approximation with Kronecker
products, 1993): A_j and B_j are what the left and the right environment weigh their couplings
with.  The singular values of :math:`L_A^T X_j L_B`, with A = L_A L_A^T and B = L_B L_B^T, rank
the multiplets.  What stays is fitted again, one side at a time, with H and b: exact solves of few
unknowns, without another look at the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg as sl

from etn.backend import FloatArray as Array
from etn.backend import Kind
from etn.o3 import Irrep, Irreps
from etn.tensor import Pair, Spectrum, Truncation, tensorize
from etn.tensor.pair import Split

Factors = dict[Irrep, tuple[Array, Array]]
"""X_j = left right^T for each irrep of a bond: (rows, multiplicity), (columns, multiplicity)."""

# Rounds of the refit: each solves for the right side, then for the left one.
MAX_ROUNDS = 20
# It ends once a round takes less than this share of what the truncation costs.
SETTLED = 1e-2


@dataclass(frozen=True)
class PairSquares:
    """The objective of a pair, f(x) = x^T H x - 2 b^T x + c.

    x runs over the entries of sqrt(2 j + 1) Theta_j, irrep after irrep, row after row; see
    :func:`etn.sweep.regression.bond_matrices.to_vector`.

    Parameters
    ----------
    legs : (left bond, left site, right site, right bond)
    shapes : {ir: (rows, columns)}
        Of the Theta_j, in the order of x.
    hessian : (n, n)
        H, the ridge included; symmetric and not negative.
    rhs : (n,)
    constant : float
    """

    legs: tuple[Irreps, Irreps, Irreps, Irreps]
    shapes: Mapping[Irrep, tuple[int, int]]
    hessian: Array
    rhs: Array
    constant: float

    @cached_property
    def _parts(self) -> dict[Irrep, slice]:
        parts, at = {}, 0
        for ir, (rows, columns) in self.shapes.items():
            parts[ir] = slice(at, at + rows * columns)
            at += rows * columns
        return parts

    @property
    def parameters(self) -> dict[Irrep, int]:
        """Parameters of the two cores that a multiplet of each irrep takes."""
        return {ir: rows + columns for ir, (rows, columns) in self.shapes.items()}

    def value(self, x: Array) -> float:
        """f(x)."""
        return float(self.constant - 2 * self.rhs @ x + x @ (self.hessian @ x))

    def environments(self, ir: Irrep) -> tuple[Array, Array]:
        """A and B of the Kronecker product nearest to the block of an irrep.

        By power iteration from the partial traces; both are symmetric and not negative, as the
        block is.

        Returns
        -------
        (rows, rows), (columns, columns)
        """
        rows, columns = self.shapes[ir]
        part = self._parts[ir]
        block = self.hessian[part, part].reshape(rows, columns, rows, columns)
        right = np.einsum("abac->bc", block)
        left = np.eye(rows)
        for _ in range(4):
            left = np.tensordot(block, right, axes=([1, 3], [0, 1])) / (np.sum(right**2) or 1.0)
            right = np.tensordot(block, left, axes=([0, 2], [0, 1])) / (np.sum(left**2) or 1.0)
        return left, right

    @cached_property
    def _roots(self) -> dict[Irrep, tuple[Array, Array]]:
        """Lower triangles L_A and L_B of the environments of each irrep."""
        pairs = {ir: self.environments(ir) for ir in self.shapes}
        return {ir: (_root(a), _root(b)) for ir, (a, b) in pairs.items()}

    def truncate(self, x: Array, truncation: Truncation) -> Factors:
        """The best of x in the metric of the environments, before any refit.

        Tolerances are relative to the norm of x in that metric, which is what x predicts.

        Raises
        ------
        CoreError
            If the truncation leaves nothing.
        """
        decomposed = {}
        for ir, matrix in self._matrices(x).items():
            a, b = self._roots[ir]
            decomposed[ir] = sl.svd(a.T @ matrix @ b, full_matrices=False)
        # A multiplet counts once in x, which has its 2 j + 1 components in it.
        spectrum = Spectrum({ir: s / math.sqrt(ir.dim) for ir, (_, s, _) in decomposed.items()})
        factors: Factors = {}
        for ir, n in truncation.cut(spectrum, self.parameters).kept.items():
            u, s, vh = decomposed[ir]
            a, b = self._roots[ir]
            left = sl.solve_triangular(a.T, u[:, :n], lower=False)
            right = sl.solve_triangular(b.T, vh[:n].T * s[:n], lower=False)
            factors[ir] = left, right
        return factors

    def refit(self, factors: Factors, *, optimum: float) -> tuple[Factors, float]:
        """Lower f over both factors, one side at a time.

        Parameters
        ----------
        factors : dict of Irrep to (left, right)
            Only the spans of the left factors matter.
        optimum : float
            f of the best pair without truncation.

        Returns
        -------
        factors : dict of Irrep to (left, right)
            The left ones with orthonormal columns.
        loss : float
        """
        lefts = {ir: _orthonormal(left) for ir, (left, _) in factors.items()}
        rights, loss = self._solve(lefts, side=1)
        for _ in range(MAX_ROUNDS):
            before = loss
            found, _ = self._solve({ir: _orthonormal(v) for ir, v in rights.items()}, side=0)
            turned = {ir: _orthonormal(u) for ir, u in found.items()}
            solved, after = self._solve(turned, side=1)
            if not after < before:
                break
            lefts, rights, loss = turned, solved, after
            if before - loss <= SETTLED * (loss - optimum):
                break
        return {ir: (lefts[ir], rights[ir]) for ir in lefts}, loss

    def reduce(self, factors: Factors, *, allowed: float, optimum: float) -> Factors:
        """As few multiplets as keep f, fitted again, at or below what is allowed.

        Where data leave the pair open the singular values of one of its solutions say little about
        the rank that another one could have.  The number of multiplets is bisected, each trial
        cut from the smallest bond that was found to do.

        Parameters
        ----------
        factors : dict of Irrep to (left, right)
            With f at or below what is allowed.
        allowed, optimum : float
        """
        enough, too_few = _multiplets(factors), 0
        while enough - too_few > 1:
            n = (enough + too_few) // 2
            trial, value = self.refit(
                self.truncate(self.product(factors), Truncation(max_multiplets=n)), optimum=optimum
            )
            if value <= allowed:
                factors, enough = trial, n
            else:
                too_few = n
        return factors

    def product(self, factors: Factors) -> Array:
        """The entries x of these factors; zero where an irrep is missing."""
        x = np.zeros(len(self.rhs))
        for ir, (left, right) in factors.items():
            x[self._parts[ir]] = (left @ right.T).ravel()
        return x

    def _solve(
        self, fixed: Mapping[Irrep, Array], *, side: int
    ) -> tuple[dict[Irrep, Array], float]:
        """Optimal factors of one side (0 left, 1 right), those of the other side fixed."""
        reduced, rhs = [], []
        for ir, basis in fixed.items():
            rows, columns = self.shapes[ir]
            part = self._parts[ir]
            x = self.rhs[part].reshape(rows, columns)
            if side == 1:
                band = basis.T @ self.hessian[part].reshape(rows, -1)
                rhs.append((basis.T @ x).ravel())
            else:
                band = basis.T @ self.hessian[part].reshape(rows, columns, -1)
                rhs.append((x @ basis).ravel())
            reduced.append(band.reshape(-1, self.hessian.shape[1]))
        bands, b = np.concatenate(reduced), np.concatenate(rhs)
        blocks = []
        for ir, basis in fixed.items():
            rows, columns = self.shapes[ir]
            band = bands[:, self._parts[ir]].reshape(len(bands), rows, columns)
            block = basis.T @ band if side == 1 else band @ basis
            blocks.append(block.reshape(len(bands), -1))
        matrix = np.concatenate(blocks, axis=1)
        y = _solve_symmetric(matrix, b)
        loss = float(self.constant - 2 * b @ y + y @ (matrix @ y))
        factors, at = {}, 0
        for ir, basis in fixed.items():
            rows, columns = self.shapes[ir]
            n = basis.shape[1]
            size = n * (columns if side == 1 else rows)
            entries = y[at : at + size]
            factors[ir] = entries.reshape(n, columns).T if side == 1 else entries.reshape(rows, n)
            at += size
        return factors, loss

    def _matrices(self, x: Array) -> dict[Irrep, Array]:
        """Entries of x as sqrt(2 j + 1) Theta_j."""
        return {
            ir: x[self._parts[ir]].reshape(rows, columns)
            for ir, (rows, columns) in self.shapes.items()
        }

    def split(self, factors: Factors, *, center: str, discarded: float) -> Split:
        """Two cores with the singular values in the one that is named."""
        left, right, values = {}, {}, {}
        for ir, (a, b) in factors.items():
            q, r = sl.qr(a, mode="economic")
            p, t = sl.qr(b, mode="economic")
            u, s, vh = sl.svd(r @ t.T / math.sqrt(ir.dim))
            u, v = q @ u, p @ vh.T
            left[ir] = u * s if center == "left" else u
            right[ir] = v * s if center == "right" else v
            values[ir] = s
        bond0, site0, site1, bond1 = self.legs
        return Split(
            tensorize(left, (bond0, site0, Irreps()), 2, Kind()),
            tensorize(right, (Irreps(), site1, bond1), 0, Kind()),
            Spectrum(values),
            discarded,
        )


def squares_of_triangle(pair: Pair, triangle: Array, ridge: float) -> PairSquares:
    """Objective of a pair from the triangular factor of its design and targets.

    Parameters
    ----------
    pair : Pair
        Its legs and shapes count.
    triangle : (n, unknowns + 1)
        Of [Phi, y], columns in the order of x.
    ridge : float
    """
    phi, y = triangle[:, :-1], triangle[:, -1]
    hessian = phi.T @ phi
    hessian[np.diag_indices_from(hessian)] += ridge
    shapes = {ir: tuple(pair.matrices[ir].shape) for ir in sorted(pair.matrices)}
    return PairSquares(pair.legs, shapes, hessian, phi.T @ y, float(y @ y))


def _multiplets(factors: Factors) -> int:
    return sum(left.shape[1] for left, _ in factors.values())


def _root(gram: Array) -> Array:
    """Lower L with gram = L L^T; what is open to rounding counts as much as rounding."""
    n = len(gram)
    floor = n * np.finfo(float).eps * (float(np.trace(gram)) or 1.0)
    symmetric = (gram + gram.T) / 2
    try:
        return sl.cholesky(symmetric + floor * np.eye(n), lower=True)
    except sl.LinAlgError:
        w, v = np.linalg.eigh(symmetric)
        return sl.qr((v * np.sqrt(np.maximum(w, floor))).T, mode="r")[0].T


def _orthonormal(matrix: Array) -> Array:
    return sl.qr(matrix, mode="economic")[0]


def _solve_symmetric(matrix: Array, rhs: Array) -> Array:
    """Solution where a symmetric matrix is not negative; small where it is singular."""
    lifted = matrix.copy()
    # Directions that nothing determines must not be filled with rounding.
    lifted[np.diag_indices_from(lifted)] += np.finfo(float).eps * float(np.trace(matrix)) or 1.0
    try:
        factor = sl.cho_factor(lifted, overwrite_a=True, check_finite=False)
    except sl.LinAlgError:
        w, v = sl.eigh(matrix, check_finite=False)
        seen = w > len(w) * np.finfo(float).eps * w[-1]
        return v[:, seen] @ ((v[:, seen].T @ rhs) / w[seen])
    return sl.cho_solve(factor, rhs, check_finite=False)
