"""One frame as a chain of either layer sees it: legs, what closes the chain, labels."""

from __future__ import annotations

from dataclasses import dataclass

from etn.backend import FloatArray as Array
from etn.network import Blocks, Chain, Environment, Samples, left_environment
from etn.network.design import CoreDesign
from etn.network.environment import direct_jacobian, propagate, transfer_matrix
from etn.tensor import Core


@dataclass(frozen=True)
class Along(Environment):
    """Environment whose derivatives along the rows of a design are known.

    Attributes
    ----------
    slopes : {ir: (2 l + 1, samples, rows - n_sums, multiplicity)} or None
        None if the values are constant.
    """

    slopes: Blocks | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the values are the same along all rows."""
        return self.slopes is None

    def push_forward(self, samples: Samples) -> Blocks:
        """Derivatives of the values along the rows beyond the sums."""
        return self.slopes or {}


@dataclass(frozen=True)
class FrameRows:
    """One frame as a chain of either layer sees it.

    Attributes
    ----------
    samples : Samples
        Leg of the basis.
    last : Samples
        Leg of the last site.
    end : Along
        What closes the last bond.
    targets, weights : (rows,)
    """

    samples: Samples
    last: Samples
    end: Along
    targets: Array
    weights: Array

    @property
    def nbytes(self) -> int:
        """Memory beyond the leg of the basis, which the rows of the data set keep."""
        new = self.end.slopes or {} if self.last is self.samples else self.last.directions
        return sum(array.nbytes for array in new.values())

    def rows(self, chain: Chain, design: CoreDesign) -> tuple[Array, Array]:
        """Weighted rows and targets of the center core of a chain."""
        assert chain.center is not None
        center, last = chain.center, len(chain) - 1
        left = left_environment(chain.cores[:center], self.samples, jacobian=True)
        if center == last and not left.is_constant:
            # It was differentiated by the leg of the basis; the last site may read another one.
            left = Along(left.irreps, left.values, slopes=left.push_forward(self.samples))
        right = self.end
        for site in range(last, center, -1):
            right = carry(chain[site], right, self._leg(site, last))
        rows = design.rows(self._leg(center, last), left, right)
        return rows * self.weights[:, None], self.weights * self.targets

    def _leg(self, site: int, last: int) -> Samples:
        return self.last if site == last else self.samples


def carry(core: Core, env: Along, leg: Samples) -> Along:
    """Take what stands right of a core to its left bond, derivatives along."""
    values = propagate(core, env.values, leg.site, to=0)
    jacobian = direct_jacobian(core, env.values, leg, to=0)
    slopes = Environment(core.legs[0], values, jacobian=jacobian).push_forward(leg)
    if env.slopes is not None:
        transfer = transfer_matrix(core, env, leg, to=0)
        moving = Samples(leg.start, env.values, env.slopes, 0)
        through = Environment(core.legs[0], values, jacobian=transfer).push_forward(moving)
        slopes = {ir: slope + through[ir] for ir, slope in slopes.items()}
    return Along(core.legs[0], values, slopes=slopes)
