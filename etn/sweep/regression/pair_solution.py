"""Solution of a pair of cores in least squares, and how it becomes two cores again.

What is cut off the bond between them is judged by the objective, see
:mod:`etn.sweep.regression.pair_squares`, and what stays is fitted again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from etn.backend import FloatArray as Array
from etn.backend import to_numpy
from etn.o3 import Irrep
from etn.sweep.problem import LocalSolution
from etn.sweep.regression.bond_matrices import to_vector
from etn.sweep.regression.pair_squares import Factors, PairSquares
from etn.tensor import Core, Pair, Spectrum, Truncation, matricize
from etn.tensor.pair import Split


@dataclass(frozen=True)
class PairSolution(LocalSolution[Pair]):
    """The best pair of cores, and the objective around it.

    Attributes
    ----------
    before : (Core, Core)
        The two cores as they were.
    build : callable
        Returns the :class:`PairSquares`, which has a copy of the Gram matrix.
    """

    before: tuple[Core, Core] | None = None
    build: Callable[[], PairSquares] | None = field(default=None, repr=False)

    def split(self, truncation: Truncation, *, center: str) -> tuple[Split, LocalSolution[Pair]]:
        """Two cores, chosen by what they predict and fitted again.

        Under the caps of the rule both the truncated optimum and the cores as they were, if they
        have room, are fitted again, and the better ones taken: at fixed caps the objective never
        rises.  Then tolerances take the smallest bond that predicts the same up to their share of
        the norm of what the pair predicts.

        Returns
        -------
        split : Split
            ``discarded`` is the norm of what was dropped in the metric of the data, the root of
            what the objective lies above that of the pair.
        solution : LocalSolution
            With the objective of the two cores.
        """
        assert self.build is not None
        squares = self.build()
        kind = self.core.kind
        x = to_numpy(to_vector(self.core.matrices))
        optimum = squares.value(x)
        caps = replace(truncation, rel_tol=0.0, abs_tol=0.0)
        factors, loss = self._capped(squares, x, caps, optimum)
        size = math.sqrt(max(float(x @ (squares.hessian @ x)), 0.0))
        if tolerance := max(truncation.rel_tol * size, truncation.abs_tol) ** 2:
            allowed = loss + tolerance
            # Most of what can go goes at once; where the metric misjudges it, step by step.
            trial, value = squares.refit(squares.truncate(x, truncation), optimum=optimum)
            factors = squares.reduce(
                trial if value <= allowed else factors, allowed=allowed, optimum=optimum
            )
            loss = squares.value(squares.product(factors))
        excess = max(loss - optimum, 0.0)
        found = squares.split(factors, center=center, discarded=math.sqrt(excess))
        left, right = (core.to(**vars(kind)) for core in (found.left, found.right))
        # Without the equations, which take the memory of a Gram matrix.
        return found._replace(left=left, right=right), LocalSolution(
            self.core, self.loss + excess, self.condition, self.solver, self.gradient
        )

    def _capped(
        self, squares: PairSquares, x: Array, caps: Truncation, optimum: float
    ) -> tuple[Factors, float]:
        """Factors that the caps have room for, and the objective."""
        assert self.before is not None
        factors = squares.truncate(x, caps)
        if all(left.shape[1] == min(squares.shapes[ir]) for ir, (left, _) in factors.items()) and (
            len(factors) == len(squares.shapes)
        ):
            return factors, optimum
        found = [squares.refit(factors, optimum=optimum)]
        old = _factors(*self.before)
        if _keeps(caps, old, squares.parameters):
            found.append(squares.refit(old, optimum=optimum))
        return min(found, key=lambda pair: pair[1])


def _factors(left: Core, right: Core) -> Factors:
    rows, columns = matricize(left, 2), matricize(right, 0)
    return {
        ir: (to_numpy(rows[ir]), math.sqrt(ir.dim) * to_numpy(columns[ir]))
        for ir in rows
        if ir in columns
    }


def _keeps(caps: Truncation, factors: Factors, parameters: Mapping[Irrep, int]) -> bool:
    """Whether caps have room for the bond of these factors."""
    ones = Spectrum({ir: np.ones(a.shape[1]) for ir, (a, _) in factors.items()})
    return caps.cut(ones, parameters).discarded == 0.0
