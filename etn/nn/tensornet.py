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
from typing import TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn.functional import silu

from etn.errors import SettingsError
from etn.nn.graph import Graph
from etn.nn.network import Network
from etn.nn.radial import CutoffName, RadialName, cutoff, radial_basis
from etn.nn.rounding import unrounded
from etn.o3.cartesian.rank2 import Group, unpack

__all__ = ["TensorNet"]

Parts: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Coordinates (atoms, 1, F), (atoms, 3, F) and (atoms, 5, F) of the parts of F matrices."""

# Numbers of coordinates of I, A and S, and how they change with the sign of the vector.
SIZES, SIGNS = [1, 3, 5], (1, -1, 1)


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
        self.double()

    def tensors(self, graph: Graph) -> Parts:
        """The matrices of every atom after the last interaction, by parts."""
        # The last row is what an atom tells itself, at distance zero.
        distance = torch.cat([graph.distance, graph.distance.new_zeros(1)])
        radial, ends = self.radial(distance), self.cutoff(distance, self.r_max)[:, None]
        X: Parts = self.embedding(graph, radial, ends)
        for interaction in self.interactions:
            X = interaction(X, graph, radial, ends)
        return X

    def features(self, graph: Graph) -> tuple[Parts, torch.Tensor]:
        """The last matrices, and invariants (atoms, channels) of them."""
        X = self.tensors(graph)
        norms = torch.cat([(part * part).sum(1) for part in X], 1)
        return X, silu(self.mix(self.norm(norms)))

    def forward(self, graph: Graph) -> torch.Tensor:
        """The answer of every atom, (atoms,)."""
        return self.readout(self.features(graph)[1])[:, 0]

    @property
    def last_weights(self) -> tuple[nn.Parameter, ...]:
        """Weights in which the answers are linear."""
        return (self.readout[-1].get_parameter("weight"),)

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
        self.distance = nn.ModuleList(nn.Linear(n_max, channels) for _ in SIZES)
        self.parts = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in SIZES)
        self.norm = nn.LayerNorm(channels)
        self.gate = nn.ModuleList(
            [nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, 3 * channels)]
        )

    def forward(self, graph: Graph, radial: torch.Tensor, ends: torch.Tensor) -> Parts:
        """Matrices of the atoms, by parts."""
        z = self.elements(graph.element)
        # The linear map of two elements side by side is a sum, formed of nodes instead of pairs.
        one, two = self.pair.weight.chunk(2, dim=1)
        as_center, as_neighbor = z @ one.T + self.pair.bias, z @ two.T
        first, second = graph.first, graph.second
        told = [
            (as_center.index_select(0, i) + as_neighbor.index_select(0, j))[:, None]
            for i, j in ((first, second), (second, first))
        ]
        found: list[torch.Tensor] = []
        # Turned round, a pair has the opposite vector, and else the same.
        for layer, shape, sign in zip(self.distance, shapes(graph.direction), SIGNS, strict=True):
            weights = (layer(radial) * ends)[:, None]
            value = weights[:-1] * shape[:, :, None]
            part = value.new_zeros((graph.n_atoms, *value.shape[1:]))
            part = part.index_add(0, first, value * told[0])
            part = part.index_add(0, second, value * told[1], alpha=sign)
            if not found:
                part = part + math.sqrt(3.0) * weights[-1] * (as_center + as_neighbor)[:, None]
            found.append(part)
        gates = self.norm(norm((found[0], found[1], found[2]))[:, 0])
        for layer in self.gate:
            gates = silu(layer(gates))
        pieces = zip(self.parts, found, gates.chunk(3, dim=1), strict=True)
        scalar, vector, tensor = (mix(part) * gate[:, None] for mix, part, gate in pieces)
        return scalar, vector, tensor


class Interaction(nn.Module):
    """Messages of the neighbours, multiplied with the matrices of an atom.

    Parameters
    ----------
    n_max, channels : int
    group : {"O(3)", "SO(3)"}
    """

    def __init__(self, n_max: int, channels: int, group: Group) -> None:
        super().__init__()
        self.group, self.units = group, Units()
        self.distance = nn.ModuleList(
            nn.Linear(*sizes)
            for sizes in ((n_max, channels), (channels, 2 * channels), (2 * channels, 3 * channels))
        )
        self.before = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in SIZES)
        self.after = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in SIZES)

    def forward(self, X: Parts, graph: Graph, radial: torch.Tensor, ends: torch.Tensor) -> Parts:
        """Matrices of the atoms after the interaction, by parts."""
        weights = radial
        for layer in self.distance:
            weights = silu(layer(weights))
        X = scaled(X, 1.0 / (norm(X) + 1.0))
        Y = mixed(X, self.before)
        heard = []
        for part, weight in zip(Y, (weights * ends)[:, None].chunk(3, dim=2), strict=True):
            pairs, total = weight[:-1], part * weight[-1:]
            for i, j in ((graph.first, graph.second), (graph.second, graph.first)):
                total = total.index_add(0, i, pairs * part.index_select(0, j))
            heard.append(total)
        factor = (1.0 + 0.1 * graph.charge)[:, None, None]
        matrices, parts = self.units.matrices, self.units.parts
        y, m = matrices(Y), matrices((heard[0], heard[1], heard[2]))
        C = 2.0 * multiply(y, m) if self.group == "SO(3)" else multiply(y, m) + multiply(m, y)
        product = scaled(parts(C), factor)
        change = mixed(scaled(product, 1.0 / (norm(product) + 1.0)), self.after)
        D = matrices(change)
        square = parts(multiply(D, D))
        scalar, vector, tensor = (
            x + dx + factor * dd for x, dx, dd in zip(X, change, square, strict=True)
        )
        return scalar, vector, tensor


class Units(nn.Module):
    """The matrices of unit coordinates: from coordinates to matrices, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.units: torch.Tensor
        units = np.asarray(unpack(np.eye(9))).reshape(9, 9).T.copy()
        self.register_buffer("units", torch.as_tensor(units), persistent=False)

    @unrounded
    def matrices(self, X: Parts) -> torch.Tensor:
        """3x3 matrices (atoms, 3, 3, channels)."""
        return torch.matmul(self.units, torch.cat(X, 1)).unflatten(1, (3, 3))

    @unrounded
    def parts(self, M: torch.Tensor) -> Parts:
        """The parts of 3x3 matrices (atoms, 3, 3, channels)."""
        scalar, vector, tensor = torch.matmul(self.units.T, M.flatten(1, 2)).split(SIZES, dim=1)
        return scalar, vector, tensor


def multiply(X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Products of matrices (atoms, 3, 3, channels), channel by channel."""
    return (X[:, :, :, None] * Y[:, None]).sum(2)


def norm(X: Parts) -> torch.Tensor:
    """Square norms (atoms, 1, channels)."""
    scalar, vector, tensor = ((part * part).sum(1, keepdim=True) for part in X)
    return scalar + vector + tensor


def mixed(X: Parts, layers: nn.ModuleList) -> Parts:
    """Channels mixed by one linear map for each part."""
    scalar, vector, tensor = (layer(part) for layer, part in zip(layers, X, strict=True))
    return scalar, vector, tensor


def scaled(X: Parts, factor: torch.Tensor) -> Parts:
    """Matrices times numbers (atoms, 1, channels)."""
    return X[0] * factor, X[1] * factor, X[2] * factor


def shapes(direction: torch.Tensor) -> Parts:
    """Coordinates of 1, the cross product with a unit vector, and its quadrupole.

    (pairs, 1), (pairs, 3) and (pairs, 5).
    """
    x, y, z = direction.unbind(-1)
    root2, root3 = math.sqrt(2.0), math.sqrt(3.0)
    vector = torch.stack([-root2 * y, -root2 * z, -root2 * x], -1)
    quadrupole = (
        root2 * x * y, root2 * y * z, (2 * z * z - x * x - y * y) / (root2 * root3),
        root2 * x * z, (x * x - y * y) / root2,
    )  # fmt: skip
    return torch.full_like(x, root3)[:, None], vector, torch.stack(quadrupole, -1)
