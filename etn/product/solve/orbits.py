r"""Terms of a CP form in orbits of a finite group of rotations.

The target is invariant under all rotations.  A CP form whose terms are whole orbits of a finite
group G is invariant under G,

.. math:: \hat M = \sum_o \sum_{g \in G / H_o} D(g) a_o \otimes D(g) b_o \otimes D(g) c_o \cdots

and has |G| times fewer unknowns.  Factors of an orbit whose terms are not all different are left
as they are by a subgroup H, here that of the rotations about one axis of G, so that it has
|G| / |H| terms.  With :math:`w_o = 1 / |H_o|` the inner sum may run over all of G.  Between
components i, j and orbits o, u of the sites p, q the Gauss-Newton matrix is then

.. math::
    H^{pp}_{io,ju} &= |G| w_o w_u \sum_g D^p_{ij}(g)\, \Gamma^p_{ou}(g), \\
    H^{pq}_{io,ju} &= |G| w_o w_u \sum_g [D^p(g) a^p_u]_i\, [D^q(g)^T a^q_o]_j\,
        \Gamma^{pq}_{ou}(g), \qquad
    \Gamma_{ou}(g) = \prod_r a^r_o \cdot D^r(g)\, a^r_u

with the products over all sites r but p, or but p and q.  It commutes with the subgroups H and
the gradient is invariant under them: the factors of a short orbit stay so without a constraint.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.o3 import irreps_d
from etn.product.fused_tensor import FusedTensor
from etn.product.point_groups import axes, images, point_group, stabilizer
from etn.product.solve.mttkrp import Matrix, mttkrp

__all__ = ["Orbits", "orbits_of"]


@dataclass(frozen=True, eq=False)
class Orbits:
    """Orbits of a finite group that acts on the legs of a tensor.

    Attributes
    ----------
    actions : tuple of (order, dim, dim) ndarray
        D(g) on each leg, the identity first.
    terms : tuple of (n_terms,) ndarray
        For each orbit, elements of the group that lead to its different terms.
    fixed : tuple of ndarray
        For each orbit, the elements that leave its first term as it is.
    """

    actions: tuple[FloatArray, ...]
    terms: tuple[NDArray[np.int64], ...]
    fixed: tuple[NDArray[np.int64], ...]

    @cached_property
    def sizes(self) -> FloatArray:
        """Number of terms of each orbit."""
        return np.array([len(elements) for elements in self.terms], float)

    def images(self, factors: Sequence[Matrix]) -> list[FloatArray]:
        """All D(g) a, shape (order, dim, n_orbits) a leg."""
        return [action @ factor for action, factor in zip(self.actions, factors, strict=True)]

    def expand(self, factors: Sequence[Matrix]) -> tuple[Matrix, ...]:
        """Columns of all terms, shape (dim, cp_rank) a leg, from those of one term an orbit."""
        return tuple(
            np.concatenate([whole[g, :, o].T for o, g in enumerate(self.terms)], axis=1)
            for whole in self.images(factors)
        )

    def project(self, factors: Sequence[Matrix]) -> tuple[Matrix, ...]:
        """The parts of the columns that are left as they are where they have to be."""
        out = []
        for action, factor in zip(self.actions, factors, strict=True):
            columns = [action[h].mean(axis=0) @ factor[:, o] for o, h in enumerate(self.fixed)]
            out.append(np.stack(columns, axis=1))
        return tuple(out)

    def gradient(self, factors: Sequence[Matrix], error: FloatArray) -> Matrix:
        """Derivative of half the squared residual, which is invariant too; flattened."""
        parts = [mttkrp(error, factors, site) * self.sizes for site in range(len(factors))]
        return np.concatenate([part.ravel() for part in parts])

    def gauss_newton(self, factors: Sequence[Matrix]) -> Matrix:
        """The matrix H, shape (n, n), in about 2 order n^2 operations."""
        order, n_orbits = len(self.actions[0]), len(self.terms)
        moved = self.images(factors)
        back = [
            action.transpose(0, 2, 1) @ factor
            for action, factor in zip(self.actions, factors, strict=True)
        ]
        grams = [factor.T @ whole for factor, whole in zip(factors, moved, strict=True)]
        weights = np.multiply.outer(self.sizes, self.sizes) / order
        bounds = np.cumsum([0, *(factor.size for factor in factors)])
        matrix = np.empty((bounds[-1],) * 2)
        for p, one in enumerate(factors):
            rows = slice(bounds[p], bounds[p + 1])
            between = _product(grams, [p], weights).reshape(order, -1)
            block = self.actions[p].reshape(order, -1).T @ between
            block = block.reshape(len(one), len(one), n_orbits, n_orbits).transpose(0, 2, 1, 3)
            matrix[rows, rows] = block.reshape(one.size, one.size)
            # (u, i, g) and, with the weights, (o, u, g, j).
            left = moved[p].transpose(2, 1, 0)
            for q in range(p):
                two = factors[q]
                between = _product(grams, [p, q], weights).transpose(1, 2, 0)
                right = between[..., None] * back[q].transpose(2, 0, 1)[:, None]
                block = (left @ right).transpose(2, 0, 3, 1).reshape(one.size, two.size)
                columns = slice(bounds[q], bounds[q + 1])
                matrix[rows, columns] = block
                matrix[columns, rows] = block.T
        return matrix


def _product(grams: Sequence[FloatArray], without: Collection[int], weights: Matrix) -> FloatArray:
    """Elementwise product of the Gram matrices between all images, some left out."""
    product = np.broadcast_to(weights, grams[0].shape).copy()
    for site, one in enumerate(grams):
        if site not in without:
            product *= one
    return product


def orbits_of(target: FusedTensor, cp_rank: int, group: str) -> Orbits:
    """As few orbits as there can be that have a number of terms in total.

    Parameters
    ----------
    target : FusedTensor
    cp_rank : int
    group : str
        ``"C1"``, ``"C2"``, ..., ``"D2"``, ``"D3"``, ..., ``"T"``, ``"O"``, ``"I"``, see
        :func:`~etn.product.point_groups.point_group`; rotations only.

    Raises
    ------
    SettingsError
        If there is no such group, it has reflections, or the rank is no sum of sizes of orbits.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> orbits_of(fused_cg(l_max=1), 22, "T").sizes
    array([12.,  4.,  6.])
    """
    elements = point_group(group)
    if np.linalg.det(elements).min() < 0.0:
        # Where every irrep is even, the inversion would make the same terms twice.
        raise SettingsError(f"group: expected one of rotations only, got {group!r}")
    everything, nothing = np.arange(len(elements)), np.zeros(1, int)
    # By their first term: any at all, then one along an axis of the group.
    choices = [(everything, nothing)]
    choices += [(images(elements, axis), stabilizer(elements, axis)) for axis in axes(elements)]
    # The fewest orbits for every rank up to the one asked for, by the one that comes last.
    fewest: list[float] = [0.0] + [math.inf] * cp_rank
    last = [0] * (cp_rank + 1)
    for total in range(1, cp_rank + 1):
        for number, (terms, _) in enumerate(choices):
            rest = total - len(terms)
            if rest >= 0 and fewest[rest] + 1 < fewest[total]:
                fewest[total], last[total] = fewest[rest] + 1, number
    if math.isinf(fewest[cp_rank]):
        sizes = ", ".join(str(size) for size in sorted({len(terms) for terms, _ in choices}))
        raise SettingsError(
            f"cp_rank: expected a sum of sizes of orbits of {group}, which are {sizes}, got "
            f"{cp_rank}"
        )
    chosen = []
    while cp_rank > 0:
        chosen.append(last[cp_rank])
        cp_rank -= len(choices[chosen[-1]][0])
    chosen.sort()
    return Orbits(
        actions=tuple(irreps_d(leg, elements) for leg in target.legs),
        terms=tuple(choices[number][0] for number in chosen),
        fixed=tuple(choices[number][1] for number in chosen),
    )
