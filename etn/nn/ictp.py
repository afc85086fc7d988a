r"""ICTP: messages of irreducible Cartesian tensors, and many-body products of what they add up to.

.. math:: A_i = \bar n^{-1/2} W_2 \sum_j R(r_{ij}) \bigl( W_1 h_j \otimes T(\hat r_{ij}) \bigr),
    \qquad h_i' = W_3 \sum_{\nu} \langle w^{\nu}_{Z_i}, B^{\nu}(A_i) \rangle + W_{Z_i} h_i

with all equivariant polynomials B of each degree up to some order.  In the orthonormal packing
Cartesian tensors have the components of spherical harmonics, and a Cartesian product with the
coefficients of the spherical one is the same function: ``products`` chooses how it is computed.

Source: V. Zaverkin et al., arXiv:2405.14253; the form of the network is that of MACE, I. Batatia
et al., arXiv:2206.07697.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from etn.errors import SettingsError
from etn.nn.graph import Edges, Graph
from etn.nn.layers import Harmonics, RadialWeights, equivariant_linear, scatter_sum
from etn.nn.network import Network
from etn.nn.product_basis import WeightedProducts
from etn.nn.radial import CutoffName, RadialName, radial_basis
from etn.o3 import Irreps
from etn.product import (
    CartesianProduct,
    DecomposedProduct,
    SphericalProduct,
    TensorProduct,
)

__all__ = ["ICTP", "Products", "SharingName", "Variant"]

Variant: TypeAlias = Literal["sym", "full", "sym+lt"]
Products: TypeAlias = Literal["cartesian", "spherical", "cp"]
SharingName: TypeAlias = Literal["per_path", "shared"]


class ICTP(Network):
    r"""Message passing with products of irreducible tensors.

    Parameters
    ----------
    elements : sequence of str
    r_max : float
        Å.
    channels : int
        Of every irrep.
    l_max : int
        Degree of the tensors of directions, and of the sums A.
    l_hidden : int
        Degree of what atoms tell each other.
    order : int
        Most factors A in a product.
    layers : int
        Interactions: an atom feels what is within ``layers * r_max``.
    variant : {"sym", "full", "sym+lt"}
        "full" keeps every path of multiplying one factor after the other, most of them linearly
        dependent; "sym" a basis of what they span; "sym+lt" that in `latent` channels, which are
        mixed before and after.
    latent : int, optional
        Channels of the products of "sym+lt"; half of `channels` by default.
    parity : {"even", "full"}
        "even" holds tensors of parity (-1)^l alone and even paths between them, as published;
        "full" both parities and all paths.
    products : {"cartesian", "spherical", "cp"}
        How the products of messages are computed; with "cp" weights are shared.
    sharing : {"per_path", "shared"}
        Radial weights of each path of a message, or of all.
    n_max, radial, cutoff_name
        Radial functions.
    hidden : int
        Width of the radial network.
    n_neighbors : float
        Mean number of neighbours, by the root of which sums are divided.

    Raises
    ------
    SettingsError
        If a number or a name is out of range.

    Examples
    --------
    >>> ICTP(("C", "H", "O"), channels=8).describe()["network"]
    'ICTP, 8 channels, 2 interactions, l_max 2, l_hidden 1, order 3, sym'
    """

    NAME = "ictp"

    def __init__(
        self,
        elements: Sequence[str],
        r_max: float = 5.0,
        *,
        channels: int = 32,
        l_max: int = 2,
        l_hidden: int = 1,
        order: int = 3,
        layers: int = 2,
        variant: Variant = "sym",
        latent: int | None = None,
        parity: Literal["even", "full"] = "even",
        products: Products = "cartesian",
        sharing: SharingName = "per_path",
        n_max: int = 8,
        radial: RadialName = "bessel",
        cutoff_name: CutoffName = "polynomial",
        hidden: int = 64,
        n_neighbors: float = 10.0,
    ) -> None:
        super().__init__(
            elements, r_max, channels=channels, l_max=l_max, l_hidden=l_hidden, order=order,
            layers=layers, variant=variant, latent=latent, parity=parity, products=products,
            sharing=sharing, n_max=n_max, radial=radial, cutoff_name=cutoff_name, hidden=hidden,
            n_neighbors=n_neighbors,
        )  # fmt: skip
        for name, value, least in (
            ("channels", channels, 1), ("l_max", l_max, 0), ("l_hidden", l_hidden, 0),
            ("order", order, 1),
            ("layers", layers, 1), ("hidden", hidden, 1),
        ):  # fmt: skip
            if value < least:
                raise SettingsError(f"{name}: expected at least {least}, got {value}")
        if l_max < l_hidden:
            raise SettingsError(f"l_hidden: expected at most l_max = {l_max}, got {l_hidden}")
        if variant not in ("sym", "full", "sym+lt"):
            raise SettingsError(f"variant: expected sym, full or sym+lt, got {variant!r}")
        if parity not in ("even", "full"):
            raise SettingsError(f"parity: expected even or full, got {parity!r}")
        if products == "cp" and sharing != "shared":
            raise SettingsError(
                f"sharing: products in CP form share weights between paths, got {sharing!r}; "
                "choose shared"
            )
        self.harmonics = Harmonics(l_max)
        self.radial = radial_basis(radial, n_max, self.r_max, cutoff_name)
        n = len(self.elements)
        self.embedding = nn.Parameter(torch.randn(n, channels, dtype=torch.float64))
        scalars = Irreps([(channels, "0e")])
        told = scalars
        self.interactions = nn.ModuleList()
        for k in range(layers):
            # The last interaction has nothing to tell but scalars.
            out = _irreps(channels, l_hidden, parity) if k + 1 < layers else scalars
            self.interactions.append(
                Interaction(
                    n, told, out, l_max=l_max, order=order, parity=parity, products=products,
                    sharing=sharing, reduced=variant != "full", sizes=[n_max, hidden, hidden],
                    latent=(latent or max(1, channels // 2)) if variant == "sym+lt" else None,
                    n_neighbors=n_neighbors,
                )
            )  # fmt: skip
            told = out
        last = self.interactions[-1]
        assert isinstance(last, Interaction)
        self.readouts = nn.ParameterList(
            nn.Parameter(torch.randn(channels, dtype=torch.float64)) for _ in range(layers - 1)
        )
        self.last = RadialWeights([channels, 16, 1])

    def forward(self, graph: Graph) -> torch.Tensor:
        """The answer of every atom, (atoms,)."""
        edges = graph.edges()
        y = self.harmonics(edges.direction)
        radial = self.radial(graph.distance)
        h = self.embedding[graph.element]
        channels = h.shape[1]
        answer = h.new_zeros(graph.n_atoms)
        for k, interaction in enumerate(self.interactions):
            h = interaction(h, graph.element, edges, y, radial)
            scalars = h[:, :channels]
            if k + 1 < len(self.interactions):
                answer = answer + scalars @ self.readouts[k] * (1.0 / math.sqrt(channels))
            else:
                answer = answer + self.last(scalars)[:, 0]
        return answer

    @property
    def last_weights(self) -> tuple[nn.Parameter, ...]:
        """Weights in which the answers are linear."""
        return (*self.readouts, self.last.layers[-1])

    def describe(self) -> dict[str, str]:
        """Facts about the network."""
        s = self.settings
        return {
            "network": f"ICTP, {s['channels']} channels, {s['layers']} interactions, l_max "
            f"{s['l_max']}, l_hidden {s['l_hidden']}, order {s['order']}, {s['variant']}",
            "basis": f"{s['n_max']} radial functions ({s['radial']}), {s['cutoff_name']} cutoff",
            "products": f"{s['products']}, weights {s['sharing']}, {s['parity']} paths",
        }


class Interaction(nn.Module):
    """Messages, their sums A, the products of these, and what an atom is from then on."""

    def __init__(
        self,
        n_elements: int,
        told: Irreps,
        out: Irreps,
        *,
        l_max: int,
        order: int,
        parity: str,
        products: Products,
        sharing: SharingName,
        reduced: bool,
        sizes: Sequence[int],
        latent: int | None,
        n_neighbors: float,
    ) -> None:
        super().__init__()
        channels = told[0].mul
        summed = _irreps(channels, l_max, parity)
        directions = Irreps.spherical_harmonics(l_max)
        product = _product(products, told, directions, summed, sharing)
        self.told = equivariant_linear(told, told)
        self.message = product.module()
        self.weights = RadialWeights([*sizes, product.weight_numel])
        width = channels if latent is None else latent
        factors = Irreps([(width, term.ir) for term in summed])
        self.summed = equivariant_linear(summed, factors)
        reached = Irreps([(width, term.ir) for term in out])
        self.products = WeightedProducts(factors, reached, order, n_elements, reduced=reduced)
        self.mixed = equivariant_linear(reached, out)
        self.kept = nn.Parameter(
            torch.randn(n_elements, *_kept_shape(told, out), dtype=torch.float64)
        )
        self.from_terms = [_find(told, term.ir) for term in out]
        self.out, self.channels = out, channels
        self.told_irreps = told
        self.scale = 1.0 / math.sqrt(n_neighbors)

    def forward(
        self,
        h: torch.Tensor,
        element: torch.Tensor,
        edges: Edges,
        y: torch.Tensor,
        radial: torch.Tensor,
    ) -> torch.Tensor:
        """Features of the atoms after the interaction."""
        weights = self.weights(radial)
        messages = self.message(self.told(h)[edges.neighbor], y, torch.cat([weights, weights]))
        A = self.summed(scatter_sum(messages, edges.center, len(h)) * self.scale)
        products = self.products(A, element)
        mixed: torch.Tensor = self.mixed(products)
        return mixed + self._kept(h, element)

    def _kept(self, h: torch.Tensor, element: torch.Tensor) -> torch.Tensor:
        """What an atom keeps of what it was, by a linear map of its element."""
        parts = dict(
            zip(
                range(len(self.told_irreps)),
                h.unflatten(-1, (-1, self.channels)).split(
                    [term.ir.dim for term in self.told_irreps], dim=-2
                ),
                strict=True,
            )
        )
        matrices = self.kept[element] * (1.0 / math.sqrt(self.channels))
        found, at = [], 0
        for term, source in zip(self.out, self.from_terms, strict=True):
            if source is None:
                found.append(h.new_zeros((len(h), term.ir.dim, self.channels)))
            else:
                found.append(parts[source] @ matrices[:, at])
                at += 1
        return torch.cat(found, -2).flatten(-2)


def _irreps(channels: int, l_max: int, parity: str) -> Irreps:
    """Irreps up to a degree, of parity (-1)^l or of both; the scalars first."""
    if parity == "even":
        return Irreps([(channels, (l, (-1) ** l)) for l in range(l_max + 1)])
    return Irreps([(channels, (l, s * (-1) ** l)) for l in range(l_max + 1) for s in (1, -1)])


def _product(
    products: Products, one: Irreps, two: Irreps, out: Irreps, sharing: SharingName
) -> TensorProduct:
    options: dict[str, Any] = {"mode": "uvu", "weights": sharing}
    if sharing == "shared":
        # All ways take the coefficients of the exact CP table, and so compute one function.
        decomposed = DecomposedProduct(one, two, out, **options)
        if products == "cp":
            return decomposed
        options["coefficients"] = decomposed.coefficients
    if products == "cartesian":
        return CartesianProduct(one, two, out, **options)
    if products == "spherical":
        return SphericalProduct(one, two, out, **options)
    raise SettingsError(f"products: expected cartesian, spherical or cp, got {products!r}")


def _find(irreps: Irreps, ir: Any) -> int | None:
    """Number of the term of an irrep, if there is one."""
    return next((k for k, term in enumerate(irreps) if term.ir == ir), None)


def _kept_shape(told: Irreps, out: Irreps) -> tuple[int, int, int]:
    """Matrices that take what an atom was to what it is: their number and size."""
    shared = sum(_find(told, term.ir) is not None for term in out)
    return shared, told[0].mul, out[0].mul
