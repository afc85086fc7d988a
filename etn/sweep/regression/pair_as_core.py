"""A pair of neighbouring cores as one wide core, so that the design of one core serves for two.

Where one of the two cores is the isometry that fuses its outer bond and leg into all their product
irreps, the other one, with that wide bond, holds the entries of the pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.network import Chain
from etn.o3 import Irreps
from etn.sweep.regression.bond_matrices import matrix_entries
from etn.sweep.regression.pair_squares import PairSquares
from etn.tensor import Core, Pair, matricize, merge, tensorize

if TYPE_CHECKING:
    from etn.network.design import CoreDesign
    from etn.sweep.regression.normal_equations import NormalEquations


class Widened(NamedTuple):
    """A pair of cores as one core with a wide bond, the other one an isometry.

    Attributes
    ----------
    chain : Chain
        The same tensor, its center at the wide core.
    leg : {0, 2}
        The wide leg of that core.
    pair : Pair
        The two cores as they were.
    """

    chain: Chain
    leg: int
    pair: Pair

    @property
    def core(self) -> Core:
        """The wide core."""
        assert self.chain.center is not None
        return self.chain[self.chain.center]

    def to_pair(self, core: Core) -> Pair:
        """The pair that a core with the legs of the wide core stands for."""
        matrices = matricize(core, self.leg)
        return Pair(self.pair.legs, {ir: m if self.leg == 2 else m.T for ir, m in matrices.items()})

    def squares(
        self, design: CoreDesign, normal: NormalEquations, ridge: float, offset: float = 0.0
    ) -> PairSquares:
        """Objective of the pair from the normal equations of the wide core.

        Parameters
        ----------
        design : CoreDesign
            Of the wide core; the order of its columns is that of the equations.
        normal : NormalEquations
            Without ridge.
        ridge, offset : float
            What the objective has besides: a weight of |x|^2 and a constant.
        """
        entries = self._entries
        column = np.empty_like(design.order)
        column[design.order] = np.arange(design.columns)
        columns = column[entries]
        # Entries of sqrt(2 j + 1) Theta_j are those of the core times the root of its metric.
        unit = 1 / np.sqrt(self.core.metric()[entries])
        gram = np.triu(normal.gram)
        gram += np.triu(gram, 1).T
        hessian = gram[np.ix_(columns, columns)]
        hessian *= unit[:, None]
        hessian *= unit
        hessian[np.diag_indices_from(hessian)] += ridge
        shapes = {ir: self.pair.matrices[ir].shape for ir in sorted(self.pair.matrices)}
        return PairSquares(
            self.pair.legs, shapes, hessian, unit * normal.rhs[columns], normal.target + offset
        )

    @property
    def _entries(self) -> NDArray[np.int64]:
        """Entry of the wide core's ``to_vector()`` that each entry of the pair stands for."""
        parts = []
        for _, (entries, _) in sorted(matrix_entries(self.core, self.leg).items()):
            parts.append((entries if self.leg == 2 else entries.T).ravel())
        return np.concatenate(parts)


def widen(chain: Chain, site: int) -> Widened:
    """Put all of the cores at ``site`` and ``site + 1`` in one of them.

    The side with fewer product states becomes the isometry, so that the wide bond is the
    narrower one of the two that are possible.  Irreps that the other side does not reach are
    left out.

    Parameters
    ----------
    chain : Chain
        Canonical around ``site`` or ``site + 1``.
    site : int

    Examples
    --------
    >>> chain = Chain.random(["1x0e+1x1o"] * 3, max_bond=1, seed=0).canonicalize(1)
    >>> wide = widen(chain, 1).chain
    >>> wide.bonds, wide.center, bool(abs(wide.norm() - chain.norm()) < 1e-14)
    ((1x0e+1x1o, 1x0e+1x1o), 1, True)
    """
    left, right = chain[site], chain[site + 1]
    pair = merge(left, right)
    rows, columns = (
        Irreps([(m.shape[axis], ir) for ir, m in pair.matrices.items()]) for axis in (0, 1)
    )
    outer, none = pair.legs, Irreps()
    if rows.dim <= columns.dim:
        eye = {ir: np.eye(rows.count(ir)) for ir in pair.matrices}
        cores = (
            tensorize(eye, (outer[0], outer[1], none), 2, left.kind),
            tensorize(
                {ir: m.T for ir, m in pair.matrices.items()},
                (none, outer[2], outer[3]),
                0,
                left.kind,
            ),
        )
        leg, center = 0, site + 1
    else:
        eye = {ir: np.eye(columns.count(ir)) for ir in pair.matrices}
        cores = (
            tensorize(pair.matrices, (outer[0], outer[1], none), 2, left.kind),
            tensorize(eye, (none, outer[2], outer[3]), 0, left.kind),
        )
        leg, center = 2, site
    widened = Chain([*chain.cores[:site], *cores, *chain.cores[site + 2 :]], center=center)
    return Widened(widened, leg, pair)
