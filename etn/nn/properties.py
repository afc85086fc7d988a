r"""Dipoles and polarizabilities: vectors and tensors of a frame from the matrices of TensorNet.

.. math:: \mu = \sum_i \sum_f g_f(i)\, A_{if}, \qquad
    \alpha = \sum_i \sum_f \bigl( g'_f(i)\, 1 + g''_f(i)\, S_{if} \bigr)

with A read as a vector, S as a symmetric traceless tensor, and weights g that follow from the
invariants of the atom.  What a lone atom has is taken away from scalars, and is zero by symmetry
for the rest.  A sum over atoms of functions of the neighbourhoods is what the dipole of a neutral
molecule is; that of an ion depends on the origin.

Source: G. Simeon, G. De Fabritiis, arXiv:2306.06482.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import nn

from etn.errors import SettingsError
from etn.nn.graph import Batch
from etn.nn.tensornet import TensorNet, Units

__all__ = ["PropertyKind", "TensorProperty"]

PropertyKind: TypeAlias = Literal["vector", "tensor"]


class TensorProperty(nn.Module):
    """A vector or a symmetric tensor of every frame.

    Parameters
    ----------
    network : TensorNet
        Trained or not; its weights are trained with those of the property.
    kind : {"vector", "tensor"}
        A polar vector, or a symmetric tensor of rank 2 with its trace.

    Raises
    ------
    SettingsError
        If there is no such kind.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> from etn.potential import Pairs
    >>> frames = Dataset.read("etn:Mo/test")[:2]
    >>> batch = Batch.of(Pairs.find(frames, ("Mo",), 4.0))
    >>> network = TensorNet(("Mo",), 4.0, channels=4, layers=1)
    >>> TensorProperty(network, "vector")(batch).shape
    torch.Size([2, 3])
    >>> TensorProperty(network, "tensor")(batch).shape
    torch.Size([2, 3, 3])
    """

    def __init__(self, network: TensorNet, kind: PropertyKind) -> None:
        super().__init__()
        if kind not in ("vector", "tensor"):
            raise SettingsError(f"kind: expected vector or tensor, got {kind!r}")
        self.network, self.kind, self.units = network, kind, Units()
        channels = network.mix.out_features
        self.gate = nn.Linear(channels, channels)
        self.trace = nn.Linear(channels, 1) if kind == "tensor" else None
        self.to(network.mix.weight.dtype)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The property of every frame, (frames, 3) or (frames, 3, 3)."""
        graph = batch.graph()
        (_, vector, tensor), x = self.network.features(graph)
        gates = self.gate(x)[:, None]
        if self.trace is None:
            y, z, x = ((vector * gates).sum(2) * (-1.0 / math.sqrt(2.0))).unbind(1)
            atoms = torch.stack([x, y, z], 1)
        else:
            # A trace of one in the coordinate of the identity.
            own = self.trace(x) * (1.0 / math.sqrt(3.0))
            shape = (tensor * gates).sum(2)
            parts = own[:, :, None], shape.new_zeros((len(shape), 3, 1)), shape[:, :, None]
            atoms = self.units.matrices(parts)[..., 0]
        zero = atoms.new_zeros((batch.n_frames, *atoms.shape[1:]))
        return zero.index_add(0, batch.frame, atoms)
