"""Functions of a distance: cutoffs that end smoothly at ``r_max``, and bases under them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import nn

from etn.errors import SettingsError

__all__ = [
    "Bessel",
    "CutoffName",
    "ExpNormal",
    "Gaussian",
    "RadialName",
    "cosine_cutoff",
    "cutoff",
    "polynomial_cutoff",
    "radial_basis",
]

RadialName: TypeAlias = Literal["bessel", "expnormal", "gaussian"]
CutoffName: TypeAlias = Literal["polynomial", "cosine"]


def cosine_cutoff(r: torch.Tensor, r_max: float) -> torch.Tensor:
    r"""One at zero, zero from ``r_max`` on with a continuous slope.

    .. math:: \phi(r) = \tfrac12 \left( \cos \frac{\pi r}{r_{max}} + 1 \right)

    Examples
    --------
    >>> cosine_cutoff(torch.tensor([0.0, 2.0, 4.0, 5.0]), 4.0)
    tensor([1.0000, 0.5000, 0.0000, 0.0000])
    """
    inside = torch.clamp(r * (math.pi / r_max), max=math.pi)
    return 0.5 * (torch.cos(inside) + 1.0)


def polynomial_cutoff(r: torch.Tensor, r_max: float, p: int = 5) -> torch.Tensor:
    r"""One at zero, zero from ``r_max`` on with two continuous derivatives.

    .. math:: \phi(x) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p(p+2) x^{p+1} - \tfrac{p(p+1)}{2} x^{p+2},
        \qquad x = r / r_{max}

    Source: J. Gasteiger, J. Gross, S. Günnemann, arXiv:2003.03123, Eq. 8.

    Examples
    --------
    >>> polynomial_cutoff(torch.tensor([0.0, 2.0, 4.0, 5.0]), 4.0)
    tensor([1.0000, 0.7734, 0.0000, 0.0000])
    """
    x = torch.clamp(r / r_max, max=1.0)
    inner = (p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x * x
    return 1.0 - x**p * inner


def cutoff(name: str) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """A cutoff by its name.

    Raises
    ------
    SettingsError
        If there is none of that name.
    """
    if name not in _CUTOFFS:
        raise SettingsError(f"cutoff: expected one of {', '.join(_CUTOFFS)}, got {name!r}")
    return _CUTOFFS[name]


_CUTOFFS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "polynomial": polynomial_cutoff,
    "cosine": cosine_cutoff,
}


class Bessel(nn.Module):
    r"""Spherical waves that vanish at ``r_max``, under a cutoff.

    .. math:: b_n(r) = \sqrt{\tfrac{2}{r_{max}}}\, \frac{\sin(n \pi r / r_{max})}{r}\, \phi(r)

    Source: J. Gasteiger, J. Gross, S. Günnemann, arXiv:2003.03123.

    Examples
    --------
    >>> Bessel(8, 5.0)(torch.tensor([1.0, 5.0])).shape
    torch.Size([2, 8])
    """

    def __init__(self, n_max: int, r_max: float, cutoff_name: str = "polynomial") -> None:
        super().__init__()
        self.n_max, self.r_max, self.cutoff = n_max, r_max, cutoff(cutoff_name)
        waves = torch.arange(1, n_max + 1, dtype=torch.float64) * (math.pi / r_max)
        self.waves: torch.Tensor
        self.register_buffer("waves", waves, persistent=False)

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """Values (..., n_max) at distances (...)."""
        r = r[..., None]
        waves = self.waves.to(r.dtype)
        envelope = math.sqrt(2.0 / self.r_max) * self.cutoff(r, self.r_max)
        # sin(k r) / r = k sinc(k r / pi), which is finite at r = 0 with all its derivatives.
        return waves * torch.sinc(waves * r / math.pi) * envelope


class ExpNormal(nn.Module):
    r"""Gaussians of exp(-alpha r), dense where atoms are near, under a cutoff.

    .. math:: b_n(r) = \phi(r) \exp\bigl( -\beta_n (e^{-\alpha r} - \mu_n)^2 \bigr)

    with alpha = 5 / r_max; mu equally spaced from exp(-r_max) to 1, and one beta.

    Source: O. T. Unke, M. Meuwly, PhysNet, arXiv:1902.08408; alpha as in TensorNet.

    Examples
    --------
    >>> ExpNormal(32, 4.5)(torch.tensor([1.0, 4.5])).shape
    torch.Size([2, 32])
    """

    def __init__(self, n_max: int, r_max: float, cutoff_name: str = "polynomial") -> None:
        super().__init__()
        self.n_max, self.r_max, self.cutoff = n_max, r_max, cutoff(cutoff_name)
        self.alpha = 5.0 / r_max
        last = math.exp(-r_max)
        means = torch.linspace(last, 1.0, n_max, dtype=torch.float64)
        widths = torch.full((n_max,), (2.0 / n_max * (1.0 - last)) ** -2, dtype=torch.float64)
        self.means: torch.Tensor
        self.widths: torch.Tensor
        self.register_buffer("means", means, persistent=False)
        self.register_buffer("widths", widths, persistent=False)

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """Values (..., n_max) at distances (...)."""
        r = r[..., None]
        away = torch.exp(-self.alpha * r) - self.means.to(r.dtype)
        return self.cutoff(r, self.r_max) * torch.exp(-self.widths.to(r.dtype) * away * away)


class Gaussian(nn.Module):
    r"""Gaussians with learnt centres and widths, under a cutoff.

    .. math:: b_n(r) = \phi(r) \exp\bigl( -\tfrac12 ((r - \mu_n) / \sigma_n)^2 \bigr)

    Examples
    --------
    >>> Gaussian(16, 5.0)(torch.tensor([1.0, 5.0])).shape
    torch.Size([2, 16])
    """

    def __init__(self, n_max: int, r_max: float, cutoff_name: str = "polynomial") -> None:
        super().__init__()
        self.n_max, self.r_max, self.cutoff = n_max, r_max, cutoff(cutoff_name)
        self.means = nn.Parameter(torch.linspace(0.0, r_max, n_max, dtype=torch.float64))
        widths = torch.full((n_max,), r_max / max(n_max - 1, 1), dtype=torch.float64)
        self.widths = nn.Parameter(widths)

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """Values (..., n_max) at distances (...)."""
        r = r[..., None]
        x = (r - self.means.to(r.dtype)) / self.widths.to(r.dtype)
        return self.cutoff(r, self.r_max) * torch.exp(-0.5 * x * x)


_BASES: dict[str, type[Bessel] | type[ExpNormal] | type[Gaussian]] = {
    "bessel": Bessel,
    "expnormal": ExpNormal,
    "gaussian": Gaussian,
}


def radial_basis(name: str, n_max: int, r_max: float, cutoff_name: str) -> nn.Module:
    """A basis by its name, under a cutoff by its name.

    Raises
    ------
    SettingsError
        If there is no basis or cutoff of that name, or `n_max` is below one.
    """
    if name not in _BASES:
        raise SettingsError(f"radial: expected one of {', '.join(_BASES)}, got {name!r}")
    if n_max < 1:
        raise SettingsError(f"n_max: expected at least 1, got {n_max}")
    return _BASES[name](n_max, r_max, cutoff_name)
