"""Where the data end, in torch: what :mod:`etn.potential.features.inner` and `floor` say.

The same functions of the same tables: a potential gives the same there with either library.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from etn.nn.graph import Batch
from etn.potential.features.floor import Floor
from etn.potential.features.inner import BEGIN, END, NORM, REST, WALL, Inner

__all__ = ["InnerEnd", "Rest"]


def fall(t: torch.Tensor) -> torch.Tensor:
    """One where t <= 0, zero where t >= 1, with two continuous derivatives."""
    t = torch.clamp(t, 0.0, 1.0)
    return 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t * t)


def settle(t: torch.Tensor) -> torch.Tensor:
    """The integral of :func:`fall`."""
    # Written so that slopes are right also at t = 0, where one of two clamps must not count twice.
    above = torch.clamp(t, min=0.0)
    v = torch.clamp(above, max=1.0)
    return t - above + v - v**4 * (2.5 - 3.0 * v + v * v)


class InnerEnd(nn.Module):
    """The inner end of the data: distances that rest, and the wall of crowded atoms.

    Parameters
    ----------
    inner : Inner
    """

    def __init__(self, inner: Inner) -> None:
        super().__init__()
        self.inner = inner
        met = np.isfinite(inner.closest)
        tables = {
            "met": met,
            "onset": np.where(met, inner.onset, 0.0),
            "length": REST * np.where(met, inner.closest, 1.0),
            "unit": inner._unit,
            "fullest": inner.fullest,
        }
        self.met: torch.Tensor
        self.onset: torch.Tensor
        self.length: torch.Tensor
        self.unit: torch.Tensor
        self.fullest: torch.Tensor
        for name, table in tables.items():
            self.register_buffer(name, torch.as_tensor(table), persistent=False)

    def rest(self, batch: Batch, distance: torch.Tensor) -> torch.Tensor:
        """Distances that functions of the distance take: s(r).

        Elements that never met do not hear each other, as if they were ``r_max`` apart: they have
        the repulsion of the baseline alone.
        """
        pair = batch.element[batch.first], batch.element[batch.second]
        length = self.length[pair]
        u = torch.clamp((self.onset[pair] - distance) / length, min=0.0)
        rested = distance + length * (u - settle(u))
        return torch.where(self.met[pair], rested, self.inner.r_max)

    def blend(self, energies: torch.Tensor, batch: Batch, distance: torch.Tensor) -> torch.Tensor:
        """Energies of the atoms, those of crowded ones led over to the wall."""
        n = len(self.onset)
        edge = torch.clamp(1.0 - distance / self.inner.r_max, min=0.0)
        one, two = batch.element[batch.first], batch.element[batch.second]
        close = (self.unit[one, two] / distance) ** 4 * edge**3
        parts = energies.new_zeros(batch.n_atoms * n)
        parts = parts.index_add(0, batch.first * n + two, close / self.fullest[one, two])
        parts = parts.index_add(0, batch.second * n + one, close / self.fullest[two, one])
        power = (parts.reshape(-1, n) ** NORM).sum(1)
        x = torch.clamp(power, min=float(BEGIN) ** NORM) ** (1.0 / NORM)
        share = fall((x - BEGIN) / (END - BEGIN))
        return share * energies + (1.0 - share) * WALL * torch.sqrt(x / END)


class Rest(nn.Module):
    """The floor of a potential: its lowest answers come to rest.

    Parameters
    ----------
    floor : Floor
    """

    def __init__(self, floor: Floor) -> None:
        super().__init__()
        self.floor = floor
        self.begin: torch.Tensor
        self.margin: torch.Tensor
        begin: NDArray[np.float64] = floor.lowest - floor.margin
        self.register_buffer("begin", torch.as_tensor(begin), persistent=False)
        self.register_buffer("margin", torch.as_tensor(floor.margin), persistent=False)

    def forward(self, energies: torch.Tensor, element: torch.Tensor) -> torch.Tensor:
        """Energies of the atoms, none below the floor."""
        margin = self.margin[element]
        u = (self.begin[element] - energies) / margin
        return energies + margin * (u - settle(u))
