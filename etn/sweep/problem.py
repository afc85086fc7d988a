"""What the sweep engine asks of a local problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from etn.backend import Array
from etn.network import Chain
from etn.o3 import Irrep
from etn.tensor import Core, Pair


@dataclass(frozen=True)
class LocalSolution:
    """What a local problem returns.

    Attributes
    ----------
    core : Core or Pair
        The new center: one core, or two neighbouring cores as one.
    loss : float
        Objective at the solution; an energy, or a loss with its ridge term.
    condition : float
        Condition estimate (1-norm) of a linear system that was solved, if one was.
    solver : str
        How the solution was found, such as "cholesky", "qr" or "lanczos".
    gradient : float
        Norm of what is left of the local equations at the start of the solve, if known.
    """

    core: Core | Pair
    loss: float
    condition: float | None = None
    solver: str = ""
    gradient: float | None = None


class LocalProblem(Protocol):
    """Finds the best center core of a canonical chain, all other cores fixed."""

    def solve(self, chain: Chain) -> LocalSolution:
        """Solve at ``chain.center``; the solution has the legs of that core."""
        ...


class PairProblem(LocalProblem, Protocol):
    """Finds the best pair of neighbouring cores as well, as two-site updates need it."""

    def solve_pair(self, chain: Chain, site: int) -> LocalSolution:
        """Solve at ``site`` and ``site + 1``; the chain has its center at one of the two."""
        ...


class EnrichedProblem(LocalProblem, Protocol):
    """Proposes directions in which one-site updates may widen a bond."""

    def enrichment(self, chain: Chain, direction: int) -> Mapping[Irrep, Array]:
        """Extra columns for the bond right (direction 1) or left (-1) of the center.

        Returns
        -------
        {ir: (couplings of the other legs, extra copies)}
            In the bases of :func:`etn.tensor.matricize`, of the size of the center core.
        """
        ...
