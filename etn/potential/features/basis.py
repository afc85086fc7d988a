"""From atoms to legs: pair distances and directions to equivariant features with gradients.

The leg of atom i carries, for each degree l and radial channel k,

    v_{i, k l m} = sum_j R^l_k(r_ij, Z_j) Y_lm(r_ij / |r_ij|)

with channels that combine the radial functions g_n and the elements of the neighbours (see
:class:`Channels`), and one constant scalar channel 1, which lets one chain hold all body orders
up to its own.
The element of atom i itself is a one-hot vector on the chain's first bond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import DataError, SettingsError
from etn.network.samples import Blocks
from etn.o3 import Irrep, Irreps
from etn.potential.features.channels import Channels, prior_weights
from etn.potential.features.expansion import SCALAR, Expansion
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs
from etn.potential.features.radial import Radial
from etn.stored import build, numbers

if TYPE_CHECKING:
    from etn.data.dataset import Dataset


# The principal components are those of frames with about this many atoms in all.
CHANNEL_ATOMS = 5000


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
        Exponent p of the weights (1 + n)^-p (1 + l)^-p of g_n Y_lm.  A ridge on the network
        then acts as a prior for smooth functions.
    channels : Channels, optional
        Combinations of radial functions and elements, weights included; by default every radial
        function of every element is a channel, times its weight.
    inner : Inner, optional
        The inner end of the data, below which the potential is continued by something bounded.
        Without it the features stay polynomials down to zero; a fit sets it.

    Raises
    ------
    SettingsError
        If a parameter is out of range, or the channels are of other radial functions.

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
    channels: Channels | None = field(default=None, repr=False)
    inner: Inner | None = field(default=None, repr=False)
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
        if self.inner is not None and (self.inner.elements, self.inner.r_max) != (
            self.elements,
            self.r_max,
        ):
            raise SettingsError(
                f"inner: expected the end of data of {', '.join(self.elements)} within "
                f"{self.r_max} Å, got one of {', '.join(self.inner.elements)} within "
                f"{self.inner.r_max} Å"
            )
        if self.channels is None:
            return
        found = (len(self.channels.matrices), self.channels.n_elements, self.channels.n_max)
        wanted = (self.l_max + 1, len(self.elements), self.n_max)
        if found != wanted:
            raise SettingsError(
                "channels: expected degrees, elements and radial functions "
                f"{wanted} of the basis, got {found}"
            )

    @classmethod
    def for_dataset(
        cls,
        dataset: Dataset,
        *,
        r_max: float = 5.2,
        n_max: int = 8,
        l_max: int = 4,
        smoothness: float = 1.0,
        max_channels: int | Sequence[int] | None = (16, 12, 10, 8),
    ) -> Basis:
        """Basis whose inner radius, scale and channels follow the data.

        ``r_min`` is 0.9 of the shortest distance and ``scale`` is (mean number density in the
        neighbourhoods)^(-1/2), which gives features of unit variance for uncorrelated
        neighbours.

        Parameters
        ----------
        max_channels : int or sequence of int, optional
            Most channels for l = 1, 2, ... (the last number repeats): the principal components of
            the features where there are more.  Scalars, which all pair terms go through, keep
            every radial function of every element; so does all with None.

        Raises
        ------
        DataError
            If no two atoms are within ``r_max``, or atoms coincide.
        SettingsError
            If a parameter is out of range.
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
        basis = cls(
            dataset.elements,
            r_max=r_max,
            n_max=n_max,
            l_max=l_max,
            r_min=round(0.9 * shortest, 3),
            scale=float(f"{density**-0.5:.4g}"),
            smoothness=smoothness,
        ).informed(dataset)
        most = most_channels(max_channels, l_max)
        sizes = [matrix.shape[2] for matrix in basis.contraction.matrices]
        if all(number is None or number >= size for number, size in zip(most, sizes, strict=True)):
            return basis
        every = -(-dataset.n_atoms // CHANNEL_ATOMS)
        legs = (
            basis.expand(Pairs.find([frame], basis.elements, r_max)).values
            for frame in dataset.frames[::every]
        )
        return replace(basis, channels=basis.contraction.principal(legs, most))

    @cached_property
    def contraction(self) -> Channels:
        """The channels, also where every radial function of every element is one."""
        if self.channels is not None:
            return self.channels
        weights = prior_weights(
            self.n_max, self.l_max, scale=self.scale, smoothness=self.smoothness
        )
        return Channels.all(weights, len(self.elements))

    def informed(self, data: Dataset) -> Basis:
        """The same basis with the inner end of the data."""
        return replace(self, inner=Inner.of(data, self.elements, self.r_max))

    def radial_functions(self, pairs: Pairs, n_max: int | None = None) -> tuple[Array, Array]:
        """Radial functions of pairs, as many as asked for, and their derivatives.

        Returns
        -------
        values, derivatives : (pairs, n_max)
        """
        radial = self.radial if n_max is None else Radial(n_max, self.r_min, self.r_max)
        if self.inner is None:
            return radial.compute(pairs.distance)
        return self.inner.radial_functions(radial, pairs)

    @cached_property
    def leg(self) -> Irreps:
        """Irreps of a site leg; scalar channel 0 is the constant."""
        return Irreps([(mul + (ir == SCALAR), ir) for mul, ir in self.contraction.leg])

    @cached_property
    def start(self) -> Irreps:
        """Irreps of the first bond: one scalar for each element of the central atom."""
        return Irreps([(len(self.elements), SCALAR)])

    def start_values(self, pairs: Pairs) -> Blocks:
        """One-hot element of every sample: {0e: (elements, 1, samples)}."""
        return {SCALAR: np.eye(len(self.elements))[:, None, pairs.element[pairs.sample]]}

    def vacuum(self) -> tuple[Blocks, Blocks]:
        """Start and site values of one atom without neighbours of each element."""
        n_elements = len(self.elements)
        site = {ir: np.zeros((self.leg.count(ir), ir.dim, n_elements)) for ir in self.leg.unique}
        site[SCALAR][0] = 1.0
        return {SCALAR: np.eye(n_elements)[:, None]}, site

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        names = [
            each.name for each in fields(self) if each.name not in ("radial", "channels", "inner")
        ]
        header = {name: getattr(self, name) for name in names} | {"elements": list(self.elements)}
        matrices = () if self.channels is None else self.channels.matrices
        arrays = {f"channels.{l}": matrix for l, matrix in enumerate(matrices)}
        return header, arrays | (self.inner.to_arrays() if self.inner else {})

    @classmethod
    def from_arrays(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Basis:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        basis = build(cls, header, "basis")
        if "inner.closest" in arrays:
            basis = replace(basis, inner=Inner.from_arrays(basis.elements, basis.r_max, arrays))
        if "channels.0" not in arrays:
            return basis
        matrices = tuple(numbers(arrays, f"channels.{l}") for l in range(basis.l_max + 1))
        return replace(basis, channels=Channels(matrices))

    def describe(self) -> str:
        """The numbers of the basis in two or three lines, for people."""
        text = (
            f"r_max {self.r_max:g} Å, n_max {self.n_max}, l_max {self.l_max}\n"
            f"r_min {self.r_min:g} Å, scale {self.scale:g}, smoothness {self.smoothness:g}"
        )
        return text if self.inner is None else f"{text}\n{self.inner.describe()}"

    def expand(self, pairs: Pairs) -> Expansion:
        """Radial functions and harmonics of all pairs, with derivatives."""
        return Expansion(self, pairs)


def most_channels(max_channels: int | Sequence[int] | None, l_max: int) -> list[int | None]:
    """Most channels of each l = 0..l_max, None where all are kept.

    Examples
    --------
    >>> most_channels((16, 12), 4)
    [None, 16, 12, 12, 12]
    """
    if max_channels is None:
        return [None] * (l_max + 1)
    each = [max_channels] if isinstance(max_channels, int) else list(max_channels)
    if not each or min(each) < 1:
        raise SettingsError(
            "max_channels: expected a positive number, or one for each l = 1, 2, ..., "
            f"got {max_channels}"
        )
    return [None, *(each[min(l, len(each)) - 1] for l in range(1, l_max + 1))]


def bond_irreps(max_bond: int | Sequence[int] | Irreps | str, basis: Basis) -> Irreps:
    """Irreps of the widest bond: natural parity, l up to that of the basis."""
    if isinstance(max_bond, str):
        return Irreps(max_bond).regroup()
    if isinstance(max_bond, Irreps):
        return max_bond.regroup()
    degrees = basis.l_max + 1
    each = [max_bond] * degrees if isinstance(max_bond, int) else list(max_bond)[:degrees]
    if not each or min(each) < 0 or each[0] < 1:
        raise SettingsError(
            "max_bond: expected a positive number, or one number for each l starting with a "
            f"positive one, got {max_bond}"
        )
    return Irreps([(mul, Irrep(l, (-1) ** l)) for l, mul in enumerate(each) if mul])
