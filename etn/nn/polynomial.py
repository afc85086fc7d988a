r"""The polynomial potential in torch: the chain of a fit as a network.

.. math:: v_{i, lmk} = \sum_j \sum_n W^l_{Z_j n, k}\, g_n(r_{ij})\, Y_{lm}(\hat r_{ij}), \qquad
    N_i = \mathrm{chain}(Z_i; v_i, \dots, v_i)

with the cores of the chain and the radial channels W as weights: so a fit by sweeps can be polished
by gradients, evaluated on a GPU, or stand below another network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from etn.backend import Kind
from etn.errors import CoreError, SettingsError
from etn.network import Chain
from etn.network.values import left_values
from etn.nn.graph import Graph
from etn.nn.model import AtomicModel
from etn.nn.network import Network
from etn.nn.potential import NeuralPotential
from etn.o3 import Irrep, Irreps, spherical_harmonics
from etn.potential import PolynomialPotential
from etn.potential.features.channels import Channels, natural
from etn.potential.features.radial import Radial
from etn.tensor import Core
from etn.tensor.core import allowed_paths

if TYPE_CHECKING:
    from etn.tensor.core import Path

__all__ = ["PolynomialNetwork", "from_module", "to_module"]

SCALAR = Irrep(0, 1)


class PolynomialNetwork(Network):
    """A chain over the features of an atom, of the energies in eV.

    Parameters
    ----------
    elements : sequence of str
    r_max : float
        Å.
    n_max : int
        Radial functions.
    r_min : float
        Inner end of their orthonormality, Å.
    channels : sequence of int
        Radial channels of each degree.
    bonds : sequence of str
        Irreps of the bonds behind each core, the last ``"1x0e"``.

    Raises
    ------
    SettingsError
        If a number is out of range.

    Examples
    --------
    >>> network = PolynomialNetwork(("Mo",), 4.0, channels=[4, 3], bonds=["2x0e+1x1o", "0e"])
    >>> network.describe()["network"]
    'chain of 2 cores, bonds 2x0e+1x1o  1x0e'
    """

    NAME = "polynomial"

    def __init__(
        self,
        elements: Sequence[str],
        r_max: float = 5.2,
        *,
        n_max: int = 8,
        r_min: float = 0.0,
        channels: Sequence[int] = (8, 8, 8),
        bonds: Sequence[str] = ("3x0e+2x1o", "1x0e"),
    ) -> None:
        bonds = [str(Irreps(bond)) for bond in bonds]
        super().__init__(
            elements, r_max, n_max=n_max, r_min=r_min, channels=list(channels), bonds=bonds
        )
        if not bonds or bonds[-1] != "1x0e":
            raise SettingsError(f"bonds: expected irreps that end in 1x0e, got {', '.join(bonds)}")
        if not channels or min(channels) < 1:
            raise SettingsError(f"channels: expected positive numbers, got {list(channels)}")
        basis = Radial(n_max, float(r_min), self.r_max)
        self.r_min, self.n_max = float(r_min), n_max
        self.table: torch.Tensor
        self.register_buffer("table", torch.as_tensor(basis.coefficients), persistent=False)
        n = len(self.elements)
        self.channels = nn.ParameterList(
            nn.Parameter(torch.zeros(n, n_max, count, dtype=torch.float64)) for count in channels
        )
        leg = Irreps([(count + (l == 0), natural(l)) for l, count in enumerate(channels)])
        ends = [Irreps([(n, SCALAR)]), *map(Irreps, bonds)]
        self.legs = [(one, leg, two) for one, two in pairwise(ends)]
        self.paths: list[list[Path]] = [list(allowed_paths(legs)) for legs in self.legs]
        self.cores = nn.ModuleList(
            nn.ParameterList(
                nn.Parameter(torch.zeros(_shape(legs, path), dtype=torch.float64)) for path in paths
            )
            for legs, paths in zip(self.legs, self.paths, strict=True)
        )

    def forward(self, graph: Graph) -> torch.Tensor:
        """The answer of every atom, (atoms,)."""
        n, kind = graph.n_atoms, _kind_of(self.table)
        eye = torch.eye(len(self.elements), dtype=self.table.dtype, device=self.table.device)
        start = {SCALAR: eye[:, None, graph.element]}
        site = self._features(graph)
        cores = enumerate(self.legs)
        chain = Chain([Core.trusted(legs, {**self.blocks(k)}, kind) for k, legs in cores])
        values: torch.Tensor = left_values(chain, start, [site] * len(chain))[-1][SCALAR][0, 0]
        return values.reshape(n)

    def _features(self, graph: Graph) -> dict[Irrep, torch.Tensor]:
        """The leg of every atom: {ir: (multiplicity, 2 l + 1, atoms)}."""
        n, n_elements = graph.n_atoms, len(self.elements)
        l_max = len(self.channels) - 1
        edges = graph.edges()
        g = self._radial(graph.distance)
        y = spherical_harmonics(l_max, edges.direction)
        place = edges.center * n_elements + graph.element[edges.neighbor]
        products = y[:, :, None] * torch.cat([g, g])[:, None]
        sums = products.new_zeros((n * n_elements, *products.shape[1:]))
        sums = sums.index_add(0, place, products).reshape(n, n_elements, -1, self.n_max)
        legs = {}
        for l, matrix in enumerate(self.channels):
            lm = slice(l * l, (l + 1) ** 2)
            legs[natural(l)] = torch.einsum("azmn,znk->kma", sums[:, :, lm], matrix).contiguous()
        one = torch.ones_like(legs[SCALAR][:1])
        legs[SCALAR] = torch.cat([one, legs[SCALAR]])
        return legs

    def _radial(self, r: torch.Tensor) -> torch.Tensor:
        """Radial functions (pairs, n_max), see :class:`~etn.potential.features.radial.Radial`."""
        x = 2.0 / (self.r_max - self.r_min) * (r - self.r_min) - 1.0
        polynomials = [torch.ones_like(x), x]
        for _ in range(2, self.n_max):
            polynomials.append(2.0 * x * polynomials[-1] - polynomials[-2])
        inside = torch.clamp(1.0 - r / self.r_max, min=0.0) ** 3
        return inside[:, None] * (torch.stack(polynomials[: self.n_max], -1) @ self.table)

    def blocks(self, k: int) -> dict[Path, nn.Parameter]:
        """The weights of a core by their paths."""
        return dict(zip(self.paths[k], self.cores[k].parameters(), strict=True))

    def describe(self) -> dict[str, str]:
        """Facts about the network."""
        bonds = "  ".join(self.settings["bonds"])
        return {
            "network": f"chain of {len(self.cores)} cores, bonds {bonds}",
            "basis": f"{self.n_max} radial functions, channels "
            + ", ".join(map(str, self.settings["channels"])),
        }


def to_module(potential: PolynomialPotential, dtype: torch.dtype = torch.float64) -> AtomicModel:
    """A fitted polynomial potential, without its baseline, as a torch module.

    Raises
    ------
    CoreError
        If the potential has no chain.
    """
    chain, basis = potential.chain, potential.basis
    if chain is None:
        raise CoreError("module: expected a fitted potential, this one has no chain")
    matrices = basis.contraction.matrices
    network = PolynomialNetwork(
        potential.elements,
        potential.r_max,
        n_max=basis.n_max,
        r_min=basis.r_min,
        channels=[matrix.shape[2] for matrix in matrices],
        bonds=[str(core.legs[2]) for core in chain],
    )
    with torch.no_grad():
        for weight, matrix in zip(network.channels, matrices, strict=True):
            weight.copy_(torch.as_tensor(np.asarray(matrix)))
        for k, core in enumerate(chain):
            for path, weight in network.blocks(k).items():
                weight.copy_(torch.as_tensor(np.asarray(core.blocks[path])))
    return AtomicModel(network, basis.inner, floor=potential.floor, dtype=dtype)


def from_module(potential: NeuralPotential, like: PolynomialPotential) -> PolynomialPotential:
    """The polynomial potential of a module, after its weights have changed.

    Error bars and grades are those of other cores, so it has none:
    :func:`etn.potential.with_uncertainty` makes new ones from the data.

    Parameters
    ----------
    potential : NeuralPotential
        Of a :class:`PolynomialNetwork`.
    like : PolynomialPotential
        The potential that the module was made of.

    Raises
    ------
    SettingsError
        If the network is another one.
    """
    network = potential.network
    if not isinstance(network, PolynomialNetwork):
        raise SettingsError(f"expected the network of a polynomial potential, got {network.NAME}")
    cores = [
        Core(legs, {path: _array(weight) for path, weight in network.blocks(k).items()})
        for k, legs in enumerate(network.legs)
    ]
    channels = Channels(tuple(map(_array, network.channels)))
    basis = replace(like.basis, channels=channels)
    rest = potential.model.rest
    return like.with_chain(Chain(cores), basis=basis, floor=None if rest is None else rest.floor)


def _shape(legs: tuple[Irreps, Irreps, Irreps], path: Path) -> tuple[int, ...]:
    return tuple(leg.count(ir) for leg, ir in zip(legs, path, strict=True))


def _array(weight: torch.Tensor) -> np.ndarray:
    return weight.detach().double().cpu().numpy()


def _kind_of(tensor: torch.Tensor) -> Kind:
    return Kind("torch", str(tensor.dtype).removeprefix("torch."), str(tensor.device))
