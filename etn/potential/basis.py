"""From atoms to legs: pair distances and directions to equivariant features with gradients.

The leg of atom i carries, for each neighbour element Z, radial index n and degree l,

    v_{i, Z n l m} = s w_n w_l  sum_{j of element Z}  g_n(r_ij) Y_lm(r_ij / |r_ij|)

and one constant scalar channel 1, which lets one chain hold all body orders up to its own.
The element of atom i itself is a one-hot vector on the chain's first bond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn.errors import DataError, SettingsError
from etn.network.samples import Blocks
from etn.o3 import Irrep, Irreps
from etn.potential.expansion import SCALAR, Expansion
from etn.potential.pairs import Pairs
from etn.potential.radial import Radial

if TYPE_CHECKING:
    from etn.potential.dataset import Dataset

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Basis:
    """Radial functions times spherical harmonics, summed over neighbours.

    Parameters
    ----------
    elements : tuple of str
        Chemical symbols, in the order of the one-hot start and of the channels.
    r_max : float
        Radius of the neighbourhood, Å; features are smooth to the second derivative there.
    n_max : int
        Radial functions for each neighbour element.
    l_max : int
        Highest degree of the harmonics.
    r_min : float
        Shortest distance that the radial polynomials resolve, Å.
    scale : float
        Common factor s of all features.
    smoothness : float
        Exponent p of the weights w_n = (1 + n)^-p, w_l = (1 + l)^-p.  A ridge on the network
        then acts as a prior for smooth functions.

    Examples
    --------
    >>> Basis(("Mo",), r_max=5.0, n_max=8, l_max=3).leg
    9x0e+8x1o+8x2e+8x3o
    """

    elements: tuple[str, ...]
    r_max: float = 5.2
    n_max: int = 8
    l_max: int = 4
    r_min: float = 1.0
    scale: float = 1.0
    smoothness: float = 1.0
    radial: Radial = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(self.elements))
        if not self.elements:
            raise SettingsError("elements: expected at least one chemical symbol, got none")
        if len(set(self.elements)) < len(self.elements):
            raise SettingsError(f"elements: a symbol stands twice in {', '.join(self.elements)}")
        if self.l_max < 0 or self.l_max > 12:
            raise SettingsError(f"l_max: expected 0..12, got {self.l_max}")
        object.__setattr__(self, "radial", Radial(self.n_max, self.r_min, self.r_max))

    @classmethod
    def for_dataset(
        cls,
        dataset: Dataset,
        *,
        r_max: float = 5.2,
        n_max: int = 8,
        l_max: int = 4,
        smoothness: float = 1.0,
    ) -> Basis:
        """Basis whose inner radius and scale follow the data.

        ``r_min`` is 0.9 of the shortest distance and ``scale`` is (mean number density in the
        neighbourhoods)^(-1/2), which gives features of unit variance for uncorrelated
        neighbours.

        Raises
        ------
        DataError
            If no two atoms are within ``r_max``, or atoms coincide.
        """
        distances = [Pairs.find([f], dataset.elements, r_max).distance for f in dataset]
        n_pairs = sum(map(len, distances))
        if not n_pairs:
            raise DataError(
                f"no two atoms of the {len(dataset)} frames are within r_max = {r_max} Å: "
                "expected a larger r_max, or positions in Å"
            )
        shortest = min(float(d.min()) for d in distances if len(d))
        density = n_pairs / dataset.n_atoms / (4 / 3 * math.pi * r_max**3)
        return cls(
            dataset.elements,
            r_max=r_max,
            n_max=n_max,
            l_max=l_max,
            r_min=round(0.9 * shortest, 3),
            scale=float(f"{density**-0.5:.4g}"),
            smoothness=smoothness,
        )

    @cached_property
    def leg(self) -> Irreps:
        """Irreps of a site leg; scalar channel 0 is the constant."""
        mul = self.n_max * len(self.elements)
        return Irreps([(mul + (l == 0), Irrep(l, (-1) ** l)) for l in range(self.l_max + 1)])

    @cached_property
    def start(self) -> Irreps:
        """Irreps of the first bond: one scalar for each element of the central atom."""
        return Irreps([(len(self.elements), SCALAR)])

    def start_values(self, pairs: Pairs) -> Blocks:
        """One-hot element of every sample: {0e: (elements, 1, samples)}."""
        return {SCALAR: np.eye(len(self.elements))[:, None, pairs.element[pairs.sample]]}

    def with_vacuum(self, start: Blocks, site: Blocks) -> tuple[Blocks, Blocks]:
        """Append one atom without neighbours of each element to start and site values."""
        n_elements = len(self.elements)
        alone = {ir: np.zeros((len(v), ir.dim, n_elements)) for ir, v in site.items()}
        alone[SCALAR][0] = 1.0
        here = {SCALAR: np.concatenate([start[SCALAR], np.eye(n_elements)[:, None]], axis=2)}
        return here, {ir: np.concatenate([v, alone[ir]], axis=2) for ir, v in site.items()}

    def expand(self, pairs: Pairs) -> Expansion:
        """Radial functions and harmonics of all pairs, with derivatives."""
        return Expansion(self, pairs)
