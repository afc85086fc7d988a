"""TDN with the products of e3nn: every path has weights of its own, as in Equiformer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from e3nn import o3
from e3nn.nn import Gate
from torch import nn

from etn.nn.graph import Edges, Graph
from etn.nn.layers import RadialWeights, scatter_sum
from etn.nn.network import Network
from etn.nn.radial import cutoff, radial_basis
from etn.nn.tdn import _smooth_leaky, _softmax


class PerPath(Network):
    """Blocks of :class:`etn.nn.TDN` with as many messages and channels, in e3nn.

    What goes out of a product are all its paths one beside the other; the linear maps that follow
    bring them back to the width. The second product is followed by a sum over neighbours, and its
    linear map comes after that, where it costs least; the shares of attention are weights of the
    product. Radial weights are computed for each direction of a pair, as codes of e3nn do.
    """

    def __init__(
        self,
        elements: Sequence[str],
        r_max: float,
        *,
        channels: int,
        l_max: int,
        layers: int,
        heads: int,
        n_max: int,
        hidden: int,
        n_neighbors: float = 10.0,
    ) -> None:
        super().__init__(elements, r_max)
        self.channels, self.scale = channels, 1.0 / math.sqrt(n_neighbors)
        irreps = o3.Irreps([(channels, (l, (-1) ** l)) for l in range(l_max + 1)])
        self.sphere = o3.Irreps.spherical_harmonics(l_max)
        scalars = irreps[:1]
        self.harmonics = o3.SphericalHarmonics(self.sphere, False, "component")
        self.radial = radial_basis("bessel", n_max, self.r_max, "polynomial")
        self.cutoff = cutoff("polynomial")
        self.embedding = nn.Parameter(torch.randn(len(self.elements), channels))
        self.neighbor = nn.Parameter(torch.randn(len(self.elements), channels))
        sizes = [n_max, hidden, hidden]
        self.degree, mid = product(scalars, self.sphere, irreps)
        self.around = RadialWeights([*sizes, self.degree.weight_numel])
        self.entry = o3.Linear(mid, irreps)
        self.blocks = nn.ModuleList(Block(irreps, self.sphere, sizes, heads) for _ in range(layers))
        self.norm = Norm(irreps)
        self.readout = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 1)
        )

    def forward(self, graph: Graph) -> torch.Tensor:
        edges = graph.edges()
        y = self.harmonics(edges.direction)
        distance = torch.cat([graph.distance, graph.distance])
        radial, ends = self.radial(distance), self.cutoff(distance, self.r_max)
        kinds = self.neighbor[graph.element[edges.neighbor]]
        told = self.degree(kinds, y, self.around(radial))
        degree = scatter_sum(told, edges.center, graph.n_atoms)
        x = self.entry(degree * self.scale)
        scalars = x[:, : self.channels] + self.embedding[graph.element]
        x = torch.cat([scalars, x[:, self.channels :]], 1)
        for block in self.blocks:
            x = block(x, edges, y, radial, ends)
        answer: torch.Tensor = self.readout(self.norm(x)[:, : self.channels])[:, 0]
        return answer


class Block(nn.Module):
    """Attention and a network of each atom by itself, each on top of what was there."""

    def __init__(self, irreps: Any, sphere: Any, sizes: Sequence[int], heads: int) -> None:
        super().__init__()
        self.before, self.after = Norm(irreps), Norm(irreps)
        self.attention = Attention(irreps, sphere, sizes, heads)
        self.gate = gate_of(irreps)
        self.up = o3.Linear(irreps, self.gate.irreps_in, biases=True)
        self.down = o3.Linear(irreps, irreps, biases=True)

    def forward(self, x: torch.Tensor, edges: Edges, *around: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.before(x), edges, *around)
        told: torch.Tensor = self.down(self.gate(self.up(self.after(x))))
        return x + told


class Attention(nn.Module):
    """Messages, weighed against each other by what they say in scalars."""

    def __init__(self, irreps: Any, sphere: Any, sizes: Sequence[int], heads: int) -> None:
        super().__init__()
        self.heads, self.channels = heads, irreps[0].mul
        self.source, self.target = o3.Linear(irreps, irreps), o3.Linear(irreps, irreps)
        self.product, mid = product(irreps, sphere, irreps)
        self.weights = RadialWeights([*sizes, self.product.weight_numel])
        self.gate = gate_of(irreps)
        looks = o3.Irreps([(self.channels, "0e")])
        self.between = o3.Linear(mid, looks + self.gate.irreps_in, biases=True)
        self.query = nn.Parameter(torch.randn(heads, self.channels // heads))
        self.last = o3.Linear(mid, irreps, biases=True)

    def forward(
        self, x: torch.Tensor, edges: Edges, y: torch.Tensor, radial: torch.Tensor,
        ends: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        weights = self.weights(radial)
        message = self.source(x)[edges.neighbor] + self.target(x)[edges.center]
        told = self.between(self.product(message, y, weights))
        looks = _smooth_leaky(told[:, : self.channels]).unflatten(1, (self.heads, -1))
        scores = (looks * self.query).sum(-1) * (1.0 / math.sqrt(looks.shape[-1]))
        shares = _softmax(scores, ends, edges.center, len(x))
        value = self.gate(told[:, self.channels :])
        own = weights.unflatten(1, (-1, self.heads, self.channels // self.heads))
        weighed = (own * shares[:, None, :, None]).flatten(1)
        value = self.product(value, y, weighed)
        heard: torch.Tensor = self.last(scatter_sum(value, edges.center, len(x)))
        return heard


class Norm(nn.Module):
    """The normalization of :class:`etn.nn.layers.PartNorm` in the layout of e3nn."""

    def __init__(self, irreps: Any, epsilon: float = 1e-2) -> None:
        super().__init__()
        self.irreps, self.epsilon = irreps, epsilon
        self.scale = nn.Parameter(torch.ones(len(irreps), irreps[0].mul))
        self.bias = nn.Parameter(torch.zeros(irreps[0].mul))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        parts = x.split([term.dim for term in self.irreps], dim=1)
        for k, (flat, term) in enumerate(zip(parts, self.irreps, strict=True)):
            part = flat.unflatten(1, (term.mul, term.ir.dim))
            centred = part if k else part - part.mean(1, keepdim=True)
            size = (centred * centred).mean((1, 2), keepdim=True)
            own = centred * torch.rsqrt(size + self.epsilon) * self.scale[k][:, None]
            found.append((own if k else own + self.bias[:, None]).flatten(1))
        return torch.cat(found, 1)


def product(one: Any, sphere: Any, out: Any) -> tuple[Any, Any]:
    """The product with a weight of every path and channel, and the irreps that it gives."""
    terms, paths = [], []
    for i, (mul, a) in enumerate(one):
        for j, (_, b) in enumerate(sphere):
            for ir in a * b:
                if ir in out:
                    paths.append((i, j, len(terms), "uvu", True))
                    terms.append((mul, ir))
    mid, order, _ = o3.Irreps(terms).sort()
    paths = sorted(((i, j, order[k], *rest) for i, j, k, *rest in paths), key=lambda path: path[2])
    made = o3.TensorProduct(one, sphere, mid, paths, shared_weights=False, internal_weights=False)
    return made, mid.simplify()


def gate_of(irreps: Any) -> Any:
    """Scalars through SiLU, everything else times the sigmoid of scalars of its own."""
    rest = irreps[1:]
    gates = o3.Irreps([(term.mul, "0e") for term in rest])
    return Gate(irreps[:1], [torch.nn.functional.silu], gates, [torch.sigmoid] * len(gates), rest)
