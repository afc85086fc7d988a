r"""TDN: attention over messages, products with one path weight for all paths.

Blocks of an equivariant transformer in which every product couples features with the harmonics of
a direction, all paths with the same radial weight of each channel:

.. math:: z_{k c} = w_c(r) \sum_{ij} M_{kij}\, x_{ic}\, Y_j(\hat r)

Exact products form the matrix M Y once for each edge and use it in all blocks; a CP form of M, of a
stated rank, comes with the certificate of its error.

Source: Y. Lin et al., arXiv:2507.01131; the blocks are those of Equiformer, Y.-L. Liao, T. Smidt,
arXiv:2206.11990.  Attention here leaves room for a silent neighbour, so that it is smooth where
neighbours come and go.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from etn.errors import SettingsError
from etn.nn.graph import Edges, Graph
from etn.nn.layers import (
    Gate,
    Harmonics,
    PartNorm,
    RadialWeights,
    equivariant_linear,
    scatter_sum,
)
from etn.nn.network import Network
from etn.nn.radial import CutoffName, RadialName, cutoff, radial_basis
from etn.nn.rounding import unrounded
from etn.o3 import Irreps
from etn.o3.cartesian.rank2 import Group
from etn.product import DecomposedProduct, SphericalProduct, decompose, fused_cg

__all__ = ["TDN", "ForcesName"]

ForcesName: TypeAlias = Literal["conservative", "direct"]

# Highest degree of the CP tables that are shipped.
MAX_TABLE = 6


class TDN(Network):
    """Equivariant attention with products of shared path weights.

    Parameters
    ----------
    elements : sequence of str
    r_max : float
        Å.
    channels : int
        Of every degree, a multiple of `heads`.
    l_max : int
        Highest degree of features and harmonics.
    layers : int
        Blocks: an atom feels what is within ``(1 + layers) * r_max``.
    heads : int
        Of the attention.
    products : str
        "exact"; "cp", the shipped exact CP table; "cp:RANK", the best decomposition found of that
        rank, not quite equivariant; "even", the CP table of the paths with even l1 + l2 + l3.
    group : {"O(3)", "SO(3)"}
        "SO(3)" couples along all paths and tells mirror images apart, as published.
    forces : {"conservative", "direct"}
        "direct" predicts forces beside the energy; they conserve no energy, and there is no
        stress.
    n_max, radial, cutoff_name
        Radial functions; as published, "gaussian".
    hidden : int
        Width of the radial network.
    n_neighbors : float
        Mean number of neighbours.

    Raises
    ------
    SettingsError
        If a number or a name is out of range.

    Examples
    --------
    >>> TDN(("C", "H"), channels=8, heads=2).describe()["network"]
    'TDN, 8 channels, 3 blocks, l_max 1, 2 heads, O(3), conservative forces'
    """

    NAME = "tdn"

    def __init__(
        self,
        elements: Sequence[str],
        r_max: float = 5.0,
        *,
        channels: int = 64,
        l_max: int = 1,
        layers: int = 3,
        heads: int = 4,
        products: str = "exact",
        group: Group = "O(3)",
        forces: ForcesName = "conservative",
        n_max: int = 8,
        radial: RadialName = "bessel",
        cutoff_name: CutoffName = "polynomial",
        hidden: int = 64,
        n_neighbors: float = 10.0,
    ) -> None:
        super().__init__(
            elements, r_max, channels=channels, l_max=l_max, layers=layers, heads=heads,
            products=products, group=group, forces=forces, n_max=n_max, radial=radial,
            cutoff_name=cutoff_name, hidden=hidden, n_neighbors=n_neighbors,
        )  # fmt: skip
        for name, value, least in (
            ("channels", channels, 1), ("l_max", l_max, 1), ("layers", layers, 1),
            ("heads", heads, 1), ("hidden", hidden, 1),
        ):  # fmt: skip
            if value < least:
                raise SettingsError(f"{name}: expected at least {least}, got {value}")
        if channels % heads:
            raise SettingsError(f"channels: expected a multiple of heads = {heads}, got {channels}")
        if group not in ("O(3)", "SO(3)"):
            raise SettingsError(f'group: expected "O(3)" or "SO(3)", got {group!r}')
        if forces not in ("conservative", "direct"):
            raise SettingsError(f"forces: expected conservative or direct, got {forces!r}")
        self.harmonics, self.channels = Harmonics(l_max), channels
        parity = -1 if group == "O(3)" else 1
        self.irreps = Irreps([(channels, (l, parity**l)) for l in range(l_max + 1)])
        directions = Irreps([(1, (l, parity**l)) for l in range(l_max + 1)])
        self.product = Product(self.irreps, directions, products)
        self.radial = radial_basis(radial, n_max, self.r_max, cutoff_name)
        self.cutoff = cutoff(cutoff_name)
        n = len(self.elements)
        self.embedding = nn.Parameter(torch.randn(n, channels, dtype=torch.float64))
        self.neighbor = nn.Parameter(torch.randn(n, channels, dtype=torch.float64))
        sizes = [n_max, hidden, hidden, channels]
        self.around = RadialWeights(sizes)
        self.entry = equivariant_linear(self.irreps, self.irreps, weights="shared")
        self.scale = 1.0 / math.sqrt(n_neighbors)
        self.blocks = nn.ModuleList(
            Block(self.irreps, self.product, sizes, heads) for _ in range(layers)
        )
        self.norm = PartNorm(self.irreps)
        self.readout = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 1)
        )
        self.has_forces = forces == "direct"
        self.pull = Attention(self.irreps, self.product, sizes, heads) if self.has_forces else None
        self.out = nn.Parameter(torch.randn(channels, dtype=torch.float64))
        self.double()

    def forward(self, graph: Graph) -> torch.Tensor:
        """The answer of every atom, (atoms,)."""
        return self.answers(graph)[0]

    def answers(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Answers (atoms,) and, if they are predicted, forces (atoms, 3)."""
        edges = graph.edges()
        y = self.harmonics(edges.direction)
        radial = self.radial(graph.distance)
        ends = self.cutoff(graph.distance, self.r_max)
        surroundings = Surroundings(edges, self.product.fold(y), radial, torch.cat([ends, ends]))
        weights = self.around(radial)
        weights = torch.cat([weights, weights]) * self.neighbor[graph.element[edges.neighbor]]
        degree = scatter_sum(y[:, :, None] * weights[:, None], edges.center, graph.n_atoms)
        x = self.entry(degree.flatten(1) * self.scale)
        x = torch.cat([x[:, : self.channels] + self.embedding[graph.element],
                       x[:, self.channels :]], 1)  # fmt: skip
        for block in self.blocks:
            x = block(x, surroundings)
        x = self.norm(x)
        answer = self.readout(x[:, : self.channels])[:, 0]
        if self.pull is None:
            return answer, None
        vectors = self.pull(x, surroundings).unflatten(1, (-1, self.channels))[:, 1:4]
        y, z, x = (vectors @ self.out * (1.0 / math.sqrt(self.channels))).unbind(1)
        return answer, torch.stack([x, y, z], 1)

    @property
    def last_weights(self) -> tuple[nn.Parameter, ...]:
        """Weights in which the answers are linear."""
        return () if self.has_forces else (self.readout[-1].get_parameter("weight"),)

    def describe(self) -> dict[str, str]:
        """Facts about the network."""
        s = self.settings
        return {
            "network": f"TDN, {s['channels']} channels, {s['layers']} blocks, l_max {s['l_max']}, "
            f"{s['heads']} heads, {s['group']}, {s['forces']} forces",
            "basis": f"{s['n_max']} radial functions ({s['radial']}), {s['cutoff_name']} cutoff",
            "products": self.product.describe(),
        }


class Product(nn.Module):
    """Features times the harmonics of a direction, one weight a channel for all paths.

    Parameters
    ----------
    irreps, directions : Irreps
    products : str
        See :class:`TDN`.
    """

    def __init__(self, irreps: Irreps, directions: Irreps, products: str) -> None:
        super().__init__()
        self.exact: SphericalProduct | None = None
        self.decomposed: DecomposedProduct | None = None
        rank = re.fullmatch(r"cp:([1-9][0-9]*)", products)
        legs = (irreps, directions, irreps)
        if products == "exact":
            # With the coefficients of the CP table of the same paths it is the same function.
            same = "even" if irreps[1].ir.p == -1 else "exact"
            options: dict[str, Any] = {}
            if irreps.l_max <= MAX_TABLE:
                options["coefficients"] = DecomposedProduct(*legs, cp=same, mode="uvu").coefficients
            self.exact = SphericalProduct(*legs, mode="uvu", scheme="y_first", **options)
            return
        if products in ("cp", "even"):
            table = {"cp": "exact", "even": "even"}[products]
            self.decomposed = DecomposedProduct(*legs, cp=table, mode="uvu")
        elif rank:
            best = decompose(fused_cg(irreps.l_max), cp_rank=int(rank[1]))
            self.decomposed = DecomposedProduct(*legs, cp=best, mode="uvu")
        else:
            raise SettingsError(f"products: expected exact, cp, cp:RANK or even, got {products!r}")
        self.module = self.decomposed.module()

    @unrounded
    def fold(self, y: torch.Tensor) -> torch.Tensor:
        """What is kept of harmonics (edges, d) for all products with them."""
        return y if self.exact is None else self.exact.fold(y)

    @unrounded
    def forward(self, x: torch.Tensor, folded: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """The product of features of edges."""
        if self.exact is not None:
            return self.exact.apply_folded(x, folded, w)
        product: torch.Tensor = self.module(x, folded, w)
        return product

    def describe(self) -> str:
        """How products are computed, and how far from equivariant they are."""
        if self.decomposed is None:
            return "exact"
        found = self.decomposed.certificate()
        kind = "exact" if found.is_exact else "not equivariant"
        return (
            f"CP of rank {self.decomposed.cp_rank}, {kind}: relative error {found.mean_error:.1e}"
        )


class Surroundings:
    """What all blocks know of the edges."""

    def __init__(
        self, edges: Edges, folded: torch.Tensor, radial: torch.Tensor, ends: torch.Tensor
    ) -> None:
        self.edges, self.folded, self.radial, self.ends = edges, folded, radial, ends


class Attention(nn.Module):
    """Messages, weighed against each other by what they say in scalars."""

    def __init__(self, irreps: Irreps, product: Product, sizes: Sequence[int], heads: int) -> None:
        super().__init__()
        self.product, self.heads, self.channels = product, heads, irreps[0].mul
        self.source = equivariant_linear(irreps, irreps, weights="shared")
        self.target = equivariant_linear(irreps, irreps, weights="shared")
        self.weights = RadialWeights(sizes)
        self.query = nn.Parameter(torch.randn(heads, self.channels // heads, dtype=torch.float64))
        self.look = nn.Linear(self.channels, self.channels)
        self.gate = Gate(irreps)
        self.gates = nn.Linear(self.channels, self.gate.n_gates)
        self.between = equivariant_linear(irreps, irreps, weights="shared", bias=True)
        self.last = equivariant_linear(irreps, irreps, weights="shared", bias=True)

    def forward(self, x: torch.Tensor, around: Surroundings) -> torch.Tensor:
        """What the neighbours tell every atom."""
        edges = around.edges
        weights = self.weights(around.radial)
        weights = torch.cat([weights, weights])
        message = self.source(x).index_select(0, edges.neighbor)
        message = message + self.target(x).index_select(0, edges.center)
        message = self.product(message, around.folded, weights)
        scalars = message[:, : self.channels]
        looks = _smooth_leaky(self.look(scalars)).unflatten(1, (self.heads, -1))
        scores = (looks * self.query).sum(-1) * (1.0 / math.sqrt(looks.shape[-1]))
        attention = _softmax(scores, around.ends, edges.center, len(x))
        value = self.gate(self.gates(scalars), self.between(message))
        # Shares are weights of the product as well: there they meet no components.
        shared = weights.unflatten(1, (self.heads, -1)) * attention[:, :, None]
        value = self.product(value, around.folded, shared.flatten(1))
        told: torch.Tensor = self.last(scatter_sum(value, edges.center, len(x)))
        return told


class Block(nn.Module):
    """Attention and a network of each atom by itself, each on top of what was there."""

    def __init__(self, irreps: Irreps, product: Product, sizes: Sequence[int], heads: int) -> None:
        super().__init__()
        self.channels = irreps[0].mul
        self.before = PartNorm(irreps)
        self.attention = Attention(irreps, product, sizes, heads)
        self.after = PartNorm(irreps)
        self.gate = Gate(irreps)
        self.gates = nn.Linear(self.channels, self.gate.n_gates)
        self.up = equivariant_linear(irreps, irreps, weights="shared", bias=True)
        self.down = equivariant_linear(irreps, irreps, weights="shared", bias=True)

    def forward(self, x: torch.Tensor, around: Surroundings) -> torch.Tensor:
        """Features of the atoms after the block."""
        x = x + self.attention(self.before(x), around)
        own = self.after(x)
        gates = self.gates(own[:, : self.channels])
        told: torch.Tensor = self.down(self.gate(gates, self.up(own)))
        return x + told


def _smooth_leaky(x: torch.Tensor) -> torch.Tensor:
    """A leaky rectifier of slope 0.2 without a kink."""
    return 0.6 * x + 0.4 * x * (2.0 * torch.sigmoid(x) - 1.0)


def _softmax(
    scores: torch.Tensor, ends: torch.Tensor, center: torch.Tensor, n_atoms: int
) -> torch.Tensor:
    r"""Shares of the edges of an atom and of a silent neighbour of score zero.

    .. math:: a_e = \frac{\phi_e e^{s_e}}{1 + \sum_{e'} \phi_{e'} e^{s_{e'}}}
    """
    top = scores.detach().new_zeros((n_atoms, scores.shape[1]))
    index = center[:, None].expand_as(scores)
    top = top.scatter_reduce(0, index, scores.detach(), "amax", include_self=True)
    parts = ends[:, None] * torch.exp(scores - top[center])
    total = torch.exp(-top) + scatter_sum(parts, center, n_atoms)
    return parts / total[center]
