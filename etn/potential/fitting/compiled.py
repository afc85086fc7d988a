"""The chains of a fit, compiled: rows and errors without features in memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from etn.native import Evaluator, compiled, is_built, is_on
from etn.native.evaluator import MAX_DEGREE
from etn.network import Chain
from etn.potential.features.basis import Basis
from etn.potential.polynomial import PolynomialPotential

# Components of a bond up to which operands of directions are small: pairs of cores have wider ones.
MAX_BOND = 600
# Chains whose evaluators are kept: those of a product with the Jacobian differ in one core each.
KEPT = 8


class CompiledChains:
    """Evaluators of the chains of a fit; the last ones are kept.

    Parameters
    ----------
    basis : Basis
    """

    def __init__(self, basis: Basis) -> None:
        self.basis = basis
        self._compiled = lru_cache(KEPT)(self._compile)

    def __reduce__(self) -> tuple[Any, ...]:
        return CompiledChains, (self.basis,)

    @property
    def is_available(self) -> bool:
        """Whether chains with narrow bonds have one."""
        return is_on() and is_built() and self.basis.l_max <= MAX_DEGREE

    def of(self, chain: Chain, *, linear: bool = False) -> Evaluator | None:
        """The evaluator of a chain, without a baseline; None where there is none for it.

        With `linear` crowded atoms answer as all others, so that answers are linear in each core.
        """
        return self._compiled(chain, linear) if self.is_available else None

    def _compile(self, chain: Chain, linear: bool) -> Evaluator | None:
        if len(chain) < 2 or any(bond.dim > MAX_BOND for bond in chain.bonds):
            return None
        potential = PolynomialPotential(self.basis, body_order=len(chain) + 1, chain=chain)
        header, arrays = potential.stored()
        if linear and "inner.fullest" in arrays:
            # Nothing is crowded beside infinitely many neighbours.
            arrays["inner.fullest"] = np.full_like(arrays["inner.fullest"], np.inf)
        return compiled(potential.KIND, header, arrays)
