"""A chain as a linear function of one of its cores, as a matrix: one row for each answer.

With all cores but one fixed every value is linear in that one, and its two environments (see
:mod:`etn.network.environment`) say how.  A row is a sum of chain values over samples, or the
derivative of such a sum along a direction of the site legs; see :class:`~etn.network.Samples`.  It
is never formed through a dense Jacobian of the leg.  With

    U[r1 r3, m2] = sum C L R,     V[n r3, m1] = sum C v R,     W[r1 n, m3] = sum C L v

formed once for each sample and path, the product rule gives the row of a direction as

    U · dv + V · dL + W · dR,

three matrix products for each irrep whose inner index runs over (m, sample): about
2 (2 l2 + 1) P flops for each sample, row and term, P the number of parameters of the core.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.network.environment import Environment, couple, coupling_matrix
from etn.network.samples import Blocks, Samples
from etn.o3 import Irrep
from etn.tensor import Core
from etn.tensor.core import Path


class CoreDesign:
    """Builds design rows for the parameters of a core.

    The columns are ordered so that the leading term needs no permutation: for each irrep of
    the site leg, (n, path, r1, r3).  :meth:`to_core` turns a solution into a core.

    Parameters
    ----------
    core : Core
        Its legs define the unknowns; its values do not matter.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.paths: tuple[list[Path], ...] = ([], [], [])
        self.columns = core.n_parameters
        index = core.from_vector(np.arange(core.n_parameters))
        self._stacks: list[dict[Irrep, list[Path]]] = [{}, {}, {}]
        for path in core.blocks:
            for leg in range(3):
                self._stacks[leg].setdefault(path[leg], []).append(path)
        self._order = [
            _concatenate(
                np.concatenate(
                    [
                        np.moveaxis(index.blocks[p], leg, 0).reshape(index.blocks[p].shape[leg], -1)
                        for p in paths
                    ],
                    axis=1,
                ).ravel()
                for paths in stack.values()
            )
            for leg, stack in enumerate(self._stacks)
        ]

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Entry of ``core.to_vector()`` that each column stands for."""
        return self._order[1].astype(np.int64)

    def _from(self, leg: int) -> NDArray[np.int64]:
        """Where the columns of the term of a leg stand in that term's own order."""
        inverse = np.empty(self.columns, dtype=np.int64)
        inverse[self._order[leg].astype(np.int64)] = np.arange(self.columns)
        return inverse[self.order]

    @cached_property
    def _from_left(self) -> NDArray[np.int64]:
        return self._from(0)

    @cached_property
    def _from_right(self) -> NDArray[np.int64]:
        return self._from(2)

    def to_core(self, solution: Array) -> Core:
        """Core whose parameters, in column order, are the solution."""
        vector = np.empty_like(solution)
        vector[self.order] = solution
        return self.core.from_vector(vector)

    def from_core(self, core: Core) -> Array:
        """Parameters of a core in column order."""
        return core.to_vector()[self.order]

    def rows(self, samples: Samples, left: Environment, right: Environment) -> Array:
        """Design rows of a batch.

        Parameters
        ----------
        samples : Samples
        left, right : Environment
            Of the site of the core, with Jacobians.

        Returns
        -------
        (samples.n_rows, columns)
        """
        out = np.empty((samples.n_rows, self.columns))
        factors = self._factors(1, left.values, right.values)
        self._contract(1, samples.directions, factors, out)
        for leg, env, permutation in (
            (0, left, "_from_left"),
            (2, right, "_from_right"),
        ):
            if env.is_constant:
                continue
            first = left.values if leg == 2 else samples.site
            second = samples.site if leg == 2 else right.values
            part = np.empty((samples.n_rows - samples.n_sums, self.columns))
            self._contract(leg, env.push_forward(samples), self._factors(leg, first, second), part)
            out[samples.n_sums :] += np.take(part, getattr(self, permutation), axis=1)
        return out

    def _factors(self, leg: int, first: Blocks, second: Blocks) -> Blocks:
        """Couple the two other legs of every path to this leg: {ir: (copies, 2 l + 1, samples)}."""
        others = [axis for axis in range(3) if axis != leg]
        factors: Blocks = {}
        for ir, paths in self._stacks[leg].items():
            parts = [
                couple(first[p[others[0]]], second[p[others[1]]], coupling_matrix(p, leg))
                for p in paths
            ]
            factors[ir] = np.concatenate([p.reshape(-1, *p.shape[2:]) for p in parts])
        return factors

    def _contract(self, leg: int, directions: Blocks, factors: Blocks, out: Array) -> None:
        at = 0
        for ir, factor in factors.items():
            copies = len(factor)
            mul = self.core.legs[leg].count(ir)
            width = mul * copies
            target = out[:, at : at + width]
            at += width
            if ir not in directions:
                target[:] = 0.0
                continue
            d = directions[ir]
            inner = d.shape[0] * d.shape[1]
            product = d.reshape(inner, -1).T @ factor.reshape(copies, inner).T
            target[:] = product.reshape(len(out), width)


def _concatenate(parts: Iterable[Array]) -> Array:
    return np.concatenate([*parts, np.empty(0)])
