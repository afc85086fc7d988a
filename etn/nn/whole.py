"""A potential as one torch module, nothing left to NumPy: what exported models are made of."""

from __future__ import annotations

import copy

import torch
from torch import nn

from etn.errors import SettingsError
from etn.nn.baseline import BaselineModel
from etn.nn.graph import Batch
from etn.nn.model import AtomicModel
from etn.nn.polynomial import to_module
from etn.nn.potential import NeuralPotential
from etn.potential import PolynomialPotential
from etn.potential.base import Potential

__all__ = ["WholeModel"]


class WholeModel(nn.Module):
    """Energies of atoms in eV by all parts of a potential: baseline, network, and what is below.

    Its weights are a copy of those of the potential, and fixed.  Pairs beyond the radius of a part
    are silent there, so that one list of pairs serves all.

    Parameters
    ----------
    potential : Potential
        Neural, or polynomial and fitted; one below it as well.
    dtype : torch.dtype, optional
        By default that of the network, float64 for a polynomial potential.

    Attributes
    ----------
    elements : tuple of str
    r_max : float
        Radius within which pairs must be found, Å.
    reach : float
        Radius within which atoms change the energy of an atom, Å.

    Raises
    ------
    SettingsError
        If a part is of another kind, or a network predicts its forces.
    CoreError
        If a polynomial potential is not fitted.

    Examples
    --------
    >>> from etn.nn import TensorNet
    >>> from etn.potential import Baseline
    >>> network = TensorNet(("Mo",), r_max=4.0, channels=4, layers=1)
    >>> model = WholeModel(NeuralPotential(AtomicModel(network), Baseline({"Mo": -10.9})))
    >>> model.dtype, model.r_max, model.reach
    (torch.float64, 4.0, 8.0)
    """

    def __init__(self, potential: Potential, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.elements, self.r_max = potential.elements, potential.r_max
        parts, self.shares = [], []
        part: Potential | None = potential
        share = 1.0
        while part is not None:
            parts.append(_model(part))
            self.shares.append(share)
            if not isinstance(part, NeuralPotential):
                break
            share *= part.share
            part = part.below
        self.reach = max(self.r_max, *(model.network.reach for model in parts))
        dtype = parts[0].scale.dtype if dtype is None else dtype
        self.baseline = BaselineModel(potential, dtype)
        self.parts = nn.ModuleList(model.to(dtype) for model in parts)
        self.to(parts[0].scale.device).eval().requires_grad_(False)

    @property
    def dtype(self) -> torch.dtype:
        """The precision that it computes in."""
        return self.baseline.e0.dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.baseline.e0.device

    def forward(self, batch: Batch) -> torch.Tensor:
        """Energies of the atoms, (atoms,), eV."""
        energies: torch.Tensor = self.baseline(batch)
        for part, share in zip(self.parts, self.shares, strict=True):
            energies = energies + share * part(batch)
        return energies


def _model(part: Potential) -> AtomicModel:
    """A copy of a part of a potential without the baseline and what is below."""
    if isinstance(part, PolynomialPotential):
        return to_module(part)
    if isinstance(part, NeuralPotential) and not part.network.has_forces:
        return copy.deepcopy(part.model)
    raise SettingsError(
        "expected a polynomial potential or a neural one with conservative forces, which torch "
        f"computes as a whole, got {part!r}"
    )
