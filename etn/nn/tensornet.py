r"""TensorNet: messages of 3x3 matrices, multiplied as matrices.

A node has F matrices X = I + A + S, a multiple of the identity, a skew part and a symmetric
traceless part.  They are kept in the 1 + 3 + 5 orthonormal coordinates of
:mod:`etn.o3.cartesian.rank2`, channels last: nine numbers that linear maps mix within the parts,
and a square norm that is the sum of squares.  3x3 matrices are formed where they are multiplied.

Source: G. Simeon, G. De Fabritiis, arXiv:2306.06482; charges: arXiv:2403.15073.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import silu

from etn.errors import SettingsError
from etn.nn.graph import Edges, Graph
from etn.nn.network import Network
from etn.nn.radial import CutoffName, RadialName, cutoff, radial_basis
from etn.o3.cartesian.rank2 import Group, unpack

__all__ = ["TensorNet"]

# Coordinates of the parts I, A and S, and their number.
PARTS = (slice(0, 1), slice(1, 4), slice(4, 9))
SIZES = (1, 3, 5)
# Columns: the nine matrices of unit coordinates, flat.
_UNITS = np.asarray(unpack(np.eye(9))).reshape(9, 9).T.copy()


class TensorNet(Network):
    r"""TensorNet, O(3)-invariant or, with one product, SO(3)-invariant.

    .. math:: X_i = \sum_j \bigl( f_I 1 + f_A [\hat r_{ij}]_\times
        + f_S (\hat r_{ij} \hat r_{ij}^T - 1/3) \bigr), \qquad
        X \leftarrow X + \Delta X + (1 + 0.1 q)\, \Delta X^2

    with an embedding f(r, Z_i, Z_j), and a change of X by
    (1 + 0.1 q)(Y M + M Y), of the matrices Y of an atom and the messages M of its neighbours, in
    each of `layers` interactions.  Energies come from the square norms of the parts.

    Parameters
    ----------
    elements : sequence of str
    r_max : float
        Å.
    channels : int
        F, an even number.
    layers : int
        Interactions: an atom feels what is within ``(1 + layers) r_max``.
    n_max : int
        Radial functions.
    radial : {"expnormal", "bessel", "gaussian"}
    cutoff_name : {"polynomial", "cosine"}
        As published, "cosine", forces have a kink where a neighbour comes or goes.
    group : {"O(3)", "SO(3)"}
        "SO(3)" multiplies matrices once, 2 Y M, and tells mirror images apart.
    n_embeddings : int, optional
        Rows of the table of elements: one for each by default; published models have 128.

    Raises
    ------
    SettingsError
        If a number or a name is out of range.

    Examples
    --------
    >>> network = TensorNet(("C", "H", "O"), r_max=4.5, channels=128, layers=1, n_embeddings=128)
    >>> sum(weight.numel() for weight in network.parameters())
    535681
    """

    NAME = "tensornet"
    has_charge = True

    def __init__(
        self,
        elements: Sequence[str],
        r_max: float = 4.5,
        *,
        channels: int = 64,
        layers: int = 2,
        n_max: int = 32,
        radial: RadialName = "expnormal",
        cutoff_name: CutoffName = "polynomial",
        group: Group = "O(3)",
        n_embeddings: int | None = None,
    ) -> None:
        super().__init__(
            elements, r_max, channels=channels, layers=layers, n_max=n_max, radial=radial,
            cutoff_name=cutoff_name, group=group, n_embeddings=n_embeddings,
        )  # fmt: skip
        if channels < 2 or channels % 2:
            raise SettingsError(f"channels: expected an even number from 2 on, got {channels}")
        if layers < 0:
            raise SettingsError(f"layers: expected at least 0, got {layers}")
        if group not in ("O(3)", "SO(3)"):
            raise SettingsError(f'group: expected "O(3)" or "SO(3)", got {group!r}')
        rows = len(self.elements) if n_embeddings is None else n_embeddings
        if rows < len(self.elements):
            raise SettingsError(
                f"n_embeddings: expected at least {len(self.elements)}, one for each element, got "
                f"{rows}"
            )
        self.radial = radial_basis(radial, n_max, self.r_max, cutoff_name)
        self.cutoff = cutoff(cutoff_name)
        self.embedding = Embedding(rows, n_max, channels)
        self.interactions = nn.ModuleList(
            Interaction(n_max, channels, group) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(3 * channels)
        self.mix = nn.Linear(3 * channels, channels)
        self.readout = nn.Sequential(
            nn.Linear(channels, channels // 2), nn.SiLU(), nn.Linear(channels // 2, 1)
        )

    def tensors(self, graph: Graph) -> torch.Tensor:
        """The matrices of every atom after the last interaction, (atoms, 9, channels)."""
        values = self.radial(graph.distance)
        ends = self.cutoff(graph.distance, self.r_max)[:, None]
        # What an atom tells itself, at distance zero.
        zero = graph.distance.new_zeros(1)
        own, own_end = self.radial(zero), self.cutoff(zero, self.r_max)[:, None]
        edges = graph.edges()
        radial = torch.cat([values, own]), torch.cat([ends, own_end])
        X = self.embedding(graph.element, edges, *radial)
        for interaction in self.interactions:
            X = interaction(X, edges, *radial, 1.0 + 0.1 * graph.charge)
        return X

    def forward(self, graph: Graph) -> torch.Tensor:
        """The answer of every atom, (atoms,)."""
        X = self.tensors(graph)
        x = silu(self.mix(self.norm(part_norms(X).flatten(1))))
        return self.readout(x)[:, 0]

    def describe(self) -> dict[str, str]:
        """Facts about the network."""
        s = self.settings
        return {
            "network": f"TensorNet, {s['channels']} channels, {s['layers']} interactions, "
            f"{s['group']}",
            "basis": f"{s['n_max']} radial functions ({s['radial']}), {s['cutoff_name']} cutoff",
        }


class Embedding(nn.Module):
    """The first matrices of every atom, of its element and its neighbours.

    Parameters
    ----------
    rows : int
        Of the table of elements.
    n_max, channels : int
    """

    def __init__(self, rows: int, n_max: int, channels: int) -> None:
        super().__init__()
        self.elements = nn.Embedding(rows, channels)
        self.pair = nn.Linear(2 * channels, channels)
        self.distance = nn.ModuleList(nn.Linear(n_max, channels) for _ in PARTS)
        self.parts = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in PARTS)
        self.norm = nn.LayerNorm(channels)
        self.gate = nn.ModuleList(
            [nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, 3 * channels)]
        )

    def forward(
        self, element: torch.Tensor, edges: Edges, radial: torch.Tensor, ends: torch.Tensor
    ) -> torch.Tensor:
        """Matrices (atoms, 9, channels)."""
        z = self.elements(element)
        # The linear map of two elements side by side is a sum, formed of nodes instead of edges.
        one, two = self.pair.weight.chunk(2, dim=1)
        as_center = z @ one.T + self.pair.bias
        as_neighbor = z @ two.T
        pair = as_center[edges.center] + as_neighbor[edges.neighbor]
        weights = torch.stack([layer(radial) for layer in self.distance], 1) * ends[:, None]
        own, weights = weights[-1], weights[:-1]
        weights = torch.cat([weights, weights]) * pair[:, None]
        X = pair.new_zeros((len(element), 9, pair.shape[1]))
        X = X.index_add(0, edges.center, _spread(weights) * shapes(edges.direction)[:, :, None])
        lone = math.sqrt(3.0) * own[0] * (as_center + as_neighbor)
        X = torch.cat([X[:, :1] + lone[:, None], X[:, 1:]], 1)
        gates = self.norm((X * X).sum(1))
        for layer in self.gate:
            gates = silu(layer(gates))
        gates = gates.unflatten(1, (3, -1))
        return mix_parts(X, self.parts) * _spread(gates)


class Interaction(nn.Module):
    """Messages of the neighbours, multiplied with the matrices of an atom.

    Parameters
    ----------
    n_max, channels : int
    group : {"O(3)", "SO(3)"}
    """

    def __init__(self, n_max: int, channels: int, group: Group) -> None:
        super().__init__()
        self.group = group
        self.distance = nn.ModuleList(
            nn.Linear(*sizes)
            for sizes in ((n_max, channels), (channels, 2 * channels), (2 * channels, 3 * channels))
        )
        self.before = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in PARTS)
        self.after = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in PARTS)

    def forward(
        self,
        X: torch.Tensor,
        edges: Edges,
        radial: torch.Tensor,
        ends: torch.Tensor,
        charge: torch.Tensor,
    ) -> torch.Tensor:
        """Matrices (atoms, 9, channels) after the interaction."""
        weights = radial
        for layer in self.distance:
            weights = silu(layer(weights))
        weights = (weights * ends).unflatten(1, (3, -1))
        own, weights = weights[-1:], weights[:-1]
        X = X / (norm(X) + 1.0)
        Y = mix_parts(X, self.before)
        spread = _spread(torch.cat([weights, weights]))
        M = Y * _spread(own)
        M = M.index_add(0, edges.center, spread * Y[edges.neighbor])
        factor = charge[:, None, None]
        C = factor * self._product(Y, M)
        change = mix_parts(C / (norm(C) + 1.0), self.after)
        D = matrices(change)
        return X + change + factor * coordinates(multiply(D, D))

    def _product(self, Y: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
        y, m = matrices(Y), matrices(M)
        if self.group == "SO(3)":
            return coordinates(2.0 * multiply(y, m))
        return coordinates(multiply(y, m) + multiply(m, y))


def matrices(X: torch.Tensor) -> torch.Tensor:
    """3x3 matrices (atoms, 3, 3, channels) of coordinates (atoms, 9, channels)."""
    return torch.matmul(_to_matrices(X), X).unflatten(1, (3, 3))


def coordinates(M: torch.Tensor) -> torch.Tensor:
    """Coordinates (atoms, 9, channels) of 3x3 matrices (atoms, 3, 3, channels)."""
    flat = M.flatten(1, 2)
    return torch.matmul(_to_matrices(flat).T, flat)


def multiply(X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Products of matrices (atoms, 3, 3, channels), channel by channel."""
    return (X[:, :, :, None] * Y[:, None]).sum(2)


def norm(X: torch.Tensor) -> torch.Tensor:
    """Square norms (atoms, 1, channels) of matrices in coordinates."""
    return (X * X).sum(1, keepdim=True)


def part_norms(X: torch.Tensor) -> torch.Tensor:
    """Square norms of the parts, (atoms, 3, channels)."""
    squares = X * X
    return torch.stack([squares[:, part].sum(1) for part in PARTS], 1)


def mix_parts(X: torch.Tensor, layers: nn.ModuleList) -> torch.Tensor:
    """Channels mixed by one linear map for each part."""
    return torch.cat([layer(X[:, part]) for layer, part in zip(layers, PARTS, strict=True)], 1)


def shapes(direction: torch.Tensor) -> torch.Tensor:
    """Coordinates (edges, 9) of 1, the cross product with a unit vector, and its quadrupole."""
    x, y, z = direction.unbind(-1)
    root2, root3 = math.sqrt(2.0), math.sqrt(3.0)
    parts = (
        torch.full_like(x, root3),
        -root2 * y, -root2 * z, -root2 * x,
        root2 * x * y, root2 * y * z, (2 * z * z - x * x - y * y) / (root2 * root3),
        root2 * x * z, (x * x - y * y) / root2,
    )  # fmt: skip
    return torch.stack(parts, -1)


def _spread(weights: torch.Tensor) -> torch.Tensor:
    """One number for each coordinate from one for each part: (..., 3, F) to (..., 9, F)."""
    one, three, five = weights.unbind(-2)
    parts = zip((one, three, five), SIZES, strict=True)
    return torch.cat([part[..., None, :].expand(*part.shape[:-1], n, -1) for part, n in parts], -2)


def _to_matrices(like: torch.Tensor) -> torch.Tensor:
    """The 9 unit coordinates as columns of flat matrices."""
    return torch.as_tensor(_UNITS, dtype=like.dtype, device=like.device)
