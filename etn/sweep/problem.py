"""What the sweep engine asks of what it moves through, and of the problems that it solves there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

from etn.backend import Array
from etn.network import Chain
from etn.o3 import Irrep
from etn.tensor import Pair, Truncation
from etn.tensor.pair import Split


class Sweepable(Protocol):
    """A row of sites of which one, the center, carries the norm: a chain, or the factors of a CP.

    Immutable: methods return a new one.
    """

    @property
    def center(self) -> int | None:
        """The site that carries the norm, if there is one."""
        ...

    def __len__(self) -> int:
        """Number of sites."""
        ...

    def canonicalize(self, center: int, /) -> Self:
        """The same whole with its norm at another site."""
        ...

    def replace(self, site: int, core: Any, /) -> Self:
        """The same whole with another value at a site; sites have cores, or what else is swept."""
        ...


SweepableT = TypeVar("SweepableT", bound=Sweepable)
SweepableT_contra = TypeVar("SweepableT_contra", bound=Sweepable, contravariant=True)
CoreT_co = TypeVar("CoreT_co", covariant=True)


@dataclass(frozen=True)
class LocalSolution(Generic[CoreT_co]):
    """What a local problem returns.

    Attributes
    ----------
    core : Core or Pair
        The new center: one core, or two neighbouring cores as one; a value of the site where
        sweeps move through something else than a chain.
    loss : float
        Objective at the solution; an energy, or a loss with its ridge term.
    condition : float
        Condition estimate (1-norm) of a linear system that was solved, if one was.
    solver : str
        How the solution was found, such as "cholesky", "qr" or "lanczos".
    gradient : float
        Norm of what is left of the local equations at the start of the solve, if known.
    """

    core: CoreT_co
    loss: float
    condition: float | None = None
    solver: str = ""
    gradient: float | None = None

    def split(
        self: LocalSolution[Pair], truncation: Truncation, *, center: str
    ) -> tuple[Split, LocalSolution[Pair]]:
        """A pair as two cores, and this solution with their loss, as far as that is known.

        By singular values in the plain norm; its effect on the loss is not known.  A problem that
        knows it returns a solution that splits better.

        Parameters
        ----------
        truncation : Truncation
        center : {"left", "right"}
        """
        return self.core.split(truncation, center=center), self


@runtime_checkable
class LocalProblem(Protocol[SweepableT_contra]):
    """Finds the best value of the center, all other sites fixed."""

    def solve(self, chain: SweepableT_contra, /) -> LocalSolution[object]:
        """Solve at ``chain.center``; the solution has the legs of that core."""
        ...


@runtime_checkable
class PairProblem(LocalProblem[Chain], Protocol):
    """Finds the best pair of neighbouring cores as well, as two-site updates need it."""

    def solve_pair(self, chain: Chain, site: int, /) -> LocalSolution[Pair]:
        """Solve at ``site`` and ``site + 1``; the chain has its center at one of the two."""
        ...


@runtime_checkable
class EnrichedProblem(LocalProblem[Chain], Protocol):
    """Proposes directions in which one-site updates may widen a bond."""

    def enrichment(self, chain: Chain, direction: int, /) -> Mapping[Irrep, Array]:
        """Extra columns for the bond right (direction 1) or left (-1) of the center.

        Returns
        -------
        {ir: (couplings of the other legs, extra copies)}
            In the bases of :func:`etn.tensor.matricize`, of the size of the center core.
        """
        ...


class JointModel(Protocol):
    """A loss to second order in all cores of a canonical chain at once."""

    center: int

    def step(self, damping: float) -> JointStep:
        """The best change of all cores, kept short by a damping relative to the curvature."""
        ...

    def move(self, x: Array) -> Chain:
        """The chain with all cores changed."""
        ...


class JointStep(NamedTuple):
    """A change of all cores and how much it should lower the loss."""

    x: Array
    gain: float


class JointProblem(Protocol):
    """Has a loss that all cores can be fitted to together."""

    @property
    def size(self) -> float:
        """Loss of a chain that is zero."""
        ...

    def loss(self, chain: Chain) -> float:
        """Objective of a canonical chain."""
        ...

    def linearize(self, chain: Chain, *, exact: bool | None = None) -> JointModel:
        """Model of the loss around a canonical chain."""
        ...
