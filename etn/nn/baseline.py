"""The baseline in torch: what :mod:`etn.potential.baseline` says, differentiable.

A potential needs it where no NumPy is: in exported models.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from etn.nn.bounds import fall
from etn.nn.graph import Batch
from etn.potential.base import Potential
from etn.potential.features.inner import FULL
from etn.potential.features.zbl import (
    AMPLITUDES,
    COULOMB,
    DECAYS,
    LENGTH,
    POWER,
    atomic_numbers_of,
    covalent_distances,
)

__all__ = ["BaselineModel"]


class BaselineModel(nn.Module):
    """The energy of every atom by the baseline of a potential: E0 and half of its ZBL pairs.

    Parameters
    ----------
    potential : Potential
        Whose elements, radius and end of the data the baseline goes by.
    dtype : torch.dtype

    Examples
    --------
    >>> from etn import Baseline, Basis, PolynomialPotential
    >>> potential = PolynomialPotential(Basis(("Cu",), l_max=1), baseline=Baseline({"Cu": -3.7}))
    >>> BaselineModel(potential).e0
    tensor([-3.7000], dtype=torch.float64)
    """

    def __init__(self, potential: Potential, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        elements, inner = potential.elements, potential.inner
        self.has_zbl = potential.baseline.zbl
        z = atomic_numbers_of(elements).astype(float)
        end, share = (covalent_distances(elements), 0.5) if inner is None else (inner.onset, FULL)
        off = np.minimum(end, potential.r_max)
        tables = {
            "e0": np.array([potential.baseline.e0[symbol] for symbol in elements]),
            "strength": COULOMB * z[:, None] * z,
            "length": LENGTH / (z[:, None] ** POWER + z**POWER),
            "on": share * off,
            "off": off,
            "amplitudes": AMPLITUDES,
            "decays": DECAYS,
        }
        self.e0: torch.Tensor
        self.strength: torch.Tensor
        self.length: torch.Tensor
        self.on: torch.Tensor
        self.off: torch.Tensor
        self.amplitudes: torch.Tensor
        self.decays: torch.Tensor
        for name, table in tables.items():
            self.register_buffer(name, torch.as_tensor(table, dtype=dtype))

    def forward(self, batch: Batch) -> torch.Tensor:
        """Energies of the atoms, (atoms,), eV."""
        energies = self.e0[batch.element]
        if not self.has_zbl:
            return energies
        half = 0.5 * self.repulsion(batch)
        return energies.index_add(0, batch.first, half).index_add(0, batch.second, half)

    def repulsion(self, batch: Batch) -> torch.Tensor:
        """Energies of the pairs, (pairs,), eV; see :func:`etn.potential.features.zbl.zbl`."""
        pair, r = (batch.element[batch.first], batch.element[batch.second]), batch.lengths()
        x = r / self.length[pair]
        phi = torch.exp(-x[:, None] * self.decays) @ self.amplitudes
        on, off = self.on[pair], self.off[pair]
        return self.strength[pair] / r * phi * fall((r - on) / (off - on))
