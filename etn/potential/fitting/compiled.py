"""The chains of a fit, compiled: rows and errors without features in memory."""

from __future__ import annotations

from etn.native import Evaluator, compiled, is_built, is_on
from etn.native.library import MAX_DEGREE
from etn.network import Chain
from etn.potential.features.basis import Basis
from etn.potential.polynomial import PolynomialPotential

# Components of a bond up to which operands of directions are small: pairs of cores have wider ones.
MAX_BOND = 600


class CompiledChains:
    """Evaluators of the chains of a fit, one after the other.

    Parameters
    ----------
    basis : Basis
    """

    def __init__(self, basis: Basis) -> None:
        self.basis = basis
        self._last: tuple[Chain | None, Evaluator | None] = (None, None)

    @property
    def is_available(self) -> bool:
        """Whether chains with narrow bonds have one."""
        return is_on() and is_built() and self.basis.l_max <= MAX_DEGREE

    def of(self, chain: Chain) -> Evaluator | None:
        """The evaluator of a chain, without a baseline; None where there is none for it."""
        if not self.is_available:
            return None
        # Two threads may both make it, which costs a millisecond.
        known, found = self._last
        if known is not chain:
            found = self._compile(chain)
            self._last = (chain, found)
        return found

    def _compile(self, chain: Chain) -> Evaluator | None:
        if len(chain) < 2 or any(bond.dim > MAX_BOND for bond in chain.bonds):
            return None
        potential = PolynomialPotential(self.basis, body_order=len(chain) + 1, chain=chain)
        return compiled(potential.KIND, *potential.stored())
