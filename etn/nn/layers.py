r"""Layers that networks of irreps share.

Features of an atom are ``(dim, channels)`` numbers, flat: the components of all irreps one after
the other, each with the same number of channels, channels last (the layout ``"ir_mul"`` of
:mod:`etn.product`).  Products and linear maps come from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.functional import silu

from etn.nn.rounding import unrounded
from etn.o3 import Irrep, Irreps, spherical_harmonics
from etn.product import SharedLinear
from etn.product.symmetric_powers import coupling_matrix

__all__ = [
    "Gate",
    "Harmonics",
    "PartNorm",
    "RadialWeights",
    "channels_of",
    "equivariant_linear",
    "scatter_sum",
]

# Of SiLU for normal numbers: what comes out has variance one.
SILU = 1.6765324703310907


def scatter_sum(values: torch.Tensor, index: torch.Tensor, size: int) -> torch.Tensor:
    """Sums of the rows of `values` that belong to each of `size` places."""
    return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


def channels_of(irreps: Irreps) -> int:
    """The number of channels of features, which all irreps share."""
    (channels,) = {term.mul for term in irreps}
    return channels


def equivariant_linear(
    irreps_in: Irreps, irreps_out: Irreps, *, weights: str = "per_irrep", bias: bool = False
) -> nn.Module:
    """A linear map, its weights drawn from the generator of torch.

    See :class:`etn.product.SharedLinear`.
    """
    seed = int(torch.randint(2**31 - 1, ()))
    linear = SharedLinear(irreps_in, irreps_out, weights=weights, bias=bias)  # type: ignore[arg-type]
    module: nn.Module = linear.module(seed=seed)
    return module


class Harmonics(nn.Module):
    r"""Spherical harmonics of unit vectors up to a degree, with a mean square of one.

    .. math:: Y_l = c_l (Y_{l-1} \otimes Y_1)_l

    The numbers are those of :func:`etn.o3.spherical_harmonics` times :math:`\sqrt{4 \pi}`; each
    degree is one product with a matrix, where formulas take many small steps.

    Parameters
    ----------
    l_max : int

    Examples
    --------
    >>> z = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    >>> Harmonics(1).double()(z).round(decimals=3)
    tensor([[1.0000, 0.0000, 1.7320, 0.0000]], dtype=torch.float64)
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        # At one point the size of what is coupled is compared; any point does.
        point = np.array([0.36, 0.48, 0.8])
        size = math.sqrt(4.0 * math.pi)
        known = spherical_harmonics(max(1, l_max), point) * size
        degrees = np.split(known, [l * l for l in range(1, max(1, l_max) + 1)])
        self.first: torch.Tensor
        axes = spherical_harmonics(1, np.eye(3))[:, 1:] * size
        self.register_buffer("first", torch.tensor(axes), persistent=False)
        for l in range(2, l_max + 1):
            matrix = coupling_matrix(l - 1, 1, l)
            coupled = matrix @ np.outer(degrees[l - 1], degrees[1]).ravel()
            scaled = matrix * (degrees[l] @ coupled / (coupled @ coupled))
            self.register_buffer(f"next{l}", torch.tensor(scaled.T), persistent=False)

    @unrounded
    def forward(self, direction: torch.Tensor) -> torch.Tensor:
        """Harmonics (n, (l_max + 1)^2) of unit vectors (n, 3)."""
        found = [torch.ones_like(direction[:, :1])]
        if self.l_max:
            found.append(direction @ self.first)
        for l in range(2, self.l_max + 1):
            outer = (found[-1][:, :, None] * found[1][:, None]).flatten(1)
            found.append(outer @ getattr(self, f"next{l}"))
        return torch.cat(found, 1)


class RadialWeights(nn.Module):
    """Weights of products from radial functions: a network of some layers without biases.

    What vanishes at ``r_max`` with its derivatives goes in, and so what comes out does.

    Parameters
    ----------
    sizes : sequence of int
        Of its layers, input and output included.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ParameterList(
            nn.Parameter(torch.randn(a, b, dtype=torch.float64)) for a, b in pairwise(sizes)
        )

    def forward(self, radial: torch.Tensor) -> torch.Tensor:
        """Numbers (pairs, last) of functions (pairs, first)."""
        for k, matrix in enumerate(self.layers):
            radial = radial @ (matrix * (1.0 / math.sqrt(len(matrix))))
            if k + 1 < len(self.layers):
                radial = silu(radial) * SILU
        return radial


class PartNorm(nn.Module):
    r"""Normalization of each degree of the features of an atom.

    .. math:: x_{lmc} \to
        \gamma_{lc}\, x_{lmc} / \sqrt{\langle x_{lmc}^2 \rangle_{mc} + \epsilon}

    with the mean taken away first and a bias added where l = 0.  Smooth, as epsilon is no small
    number.

    Parameters
    ----------
    irreps : Irreps
    epsilon : float
    """

    def __init__(self, irreps: Irreps, epsilon: float = 1e-2) -> None:
        super().__init__()
        self.irreps, self.epsilon = irreps, epsilon
        self.channels = channels_of(irreps)
        shape = (len(irreps), self.channels)
        self.scale = nn.Parameter(torch.ones(shape, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(self.channels, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalized features."""
        parts = x.unflatten(-1, (-1, self.channels)).split([t.ir.dim for t in self.irreps], dim=-2)
        found = [
            self._normalized(k, part, term.ir == Irrep("0e"))
            for k, (term, part) in enumerate(zip(self.irreps, parts, strict=True))
        ]
        return torch.cat(found, -2).flatten(-2)

    def _normalized(self, k: int, part: torch.Tensor, is_scalar: bool) -> torch.Tensor:
        centred = part - part.mean(-1, keepdim=True) if is_scalar else part
        size = (centred * centred).mean((-2, -1), keepdim=True)
        part = centred * torch.rsqrt(size + self.epsilon) * self.scale[k]
        return part + self.bias if is_scalar else part


class Gate(nn.Module):
    """Scalars through SiLU; everything else times the sigmoid of scalars of its own.

    Takes features of ``irreps`` behind the gates, one scalar for each channel of each irrep but
    the scalars.

    Parameters
    ----------
    irreps : Irreps
        Of the output, the scalars 0e first.
    """

    def __init__(self, irreps: Irreps) -> None:
        super().__init__()
        self.irreps = irreps
        self.channels = channels_of(irreps)
        self.n_gates = (len(irreps) - 1) * self.channels
        self.dims = [term.ir.dim for term in irreps]

    def forward(self, gates: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Gated features (..., irreps.dim).

        Parameters
        ----------
        gates : (..., n_gates)
        x : (..., irreps.dim)
        """
        scalars, *rest = x.unflatten(-1, (-1, self.channels)).split(self.dims, dim=-2)
        found = [silu(scalars) * SILU]
        if rest:
            opened = torch.sigmoid(gates.unflatten(-1, (-1, self.channels))).split(1, dim=-2)
            found += [part * gate for part, gate in zip(rest, opened, strict=True)]
        return torch.cat(found, -2).flatten(-2)
