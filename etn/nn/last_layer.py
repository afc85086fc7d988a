r"""The last weights of a network, in which its energies are linear.

With all other weights fixed the energy of an atom is linear in the last ones, of which a network
states in :attr:`~etn.nn.network.Network.last_weights` what they are,

.. math:: E_i = E_i^0 + \varphi_i \cdot w, \qquad \varphi_i = \partial E_i / \partial w, \qquad
    \partial F / \partial w = -\partial \bigl( \textstyle\sum_i \varphi_i \bigr) / \partial r

so that error bars and grades are those of a fit by sweeps, with these features in place of those of
its last core.  A derivative is taken for each weight: of the last layer alone for features, of the
whole network for forces.

Source: F. Bigi, S. Chong, M. Ceriotti, F. Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.stress import voigt
from etn.errors import ModelFileError
from etn.nn.graph import Batch
from etn.potential.features.batching import BatchLimits, frame_batches
from etn.potential.features.pairs import Pairs
from etn.potential.uncertainty import Uncertainty

if TYPE_CHECKING:
    from etn.data.frame import Frame
    from etn.nn.model import AtomicModel

__all__ = ["LastLayer"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LastLayer(Uncertainty):
    """Error bars and grades of a neural potential, from the last weights of its network.

    What the floor and the wall of a potential do to energies is left out: where they act, an atom
    is far from the data, and its features say so.

    Parameters
    ----------
    model : AtomicModel
        Whose network states its last weights.
    **fields
        Those of :class:`~etn.potential.Uncertainty`.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> from etn.nn import AtomicModel, TensorNet
    >>> model = AtomicModel(TensorNet(("Mo",), r_max=4.0, channels=8, layers=1))
    >>> layer = LastLayer(model=model, spread=np.eye(4))
    >>> layer
    LastLayer(4 unknowns)
    >>> layer.features(Dataset.read("etn:Mo/test")[:1])[0].shape
    (53, 4)
    """

    model: AtomicModel

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that are known."""
        return self.model.network.elements

    @property
    def r_max(self) -> float:
        """Radius within which the neighbours of an atom are found, Å."""
        return self.model.network.r_max

    def _batches(self, frames: Sequence[Frame], limits: BatchLimits) -> Iterator[list[Frame]]:
        return frame_batches(frames)

    def phi(self, pairs: Pairs) -> Array:
        """Derivative of the energy of every atom by the unknowns, (atoms, P)."""
        batch = self._batch(pairs)
        if not batch.n_atoms:
            return np.zeros((0, len(self.spread)))
        with torch.enable_grad():
            # Derivatives by the shares of the atoms of what is a sum of their features.
            shares = batch.vector.new_ones(batch.n_atoms, requires_grad=True)
            total = self._sum(batch, shares)
            (columns,) = torch.autograd.grad(
                total, shares, torch.eye(len(total)).to(total), is_grads_batched=True
            )
        return _array(columns.T)

    def slopes(self, pairs: Pairs) -> Array:
        """Derivatives of forces, then of strain derivatives, of frames by the last weights.

        Returns
        -------
        (3 atoms + 6 frames, P)
        """
        batch, size = self._batch(pairs), len(self.spread)
        found = np.zeros((3 * batch.n_atoms + 6 * batch.n_frames, size))
        if not len(batch.vector):
            return found
        with torch.enable_grad():
            vector = batch.vector.detach().requires_grad_(True)
            total = self._sum(batch._replace(vector=vector), vector.new_ones(batch.n_atoms))
            for k, one in enumerate(total):
                (gradient,) = torch.autograd.grad(one, vector, retain_graph=k + 1 < size)
                forces, strain = (_array(f(gradient)) for f in (batch.forces, batch.strain))
                found[:, k] = np.concatenate([forces.ravel(), voigt(strain).ravel()])
        return found

    def _force_deviations(
        self, pairs: Pairs, frames: Sequence[Frame], limits: BatchLimits
    ) -> Array:
        rows = self.slopes(pairs)[: 3 * pairs.n_atoms]
        return np.asarray(np.linalg.norm(rows @ self.spread, axis=1).reshape(-1, 3))

    def _batch(self, pairs: Pairs) -> Batch:
        scale = self.model.scale
        return Batch.of(pairs, dtype=scale.dtype, device=scale.device)

    def _sum(self, batch: Batch, shares: torch.Tensor) -> torch.Tensor:
        """The sum of the features of atoms times their shares, (P,), with its graph."""
        energies = self.model.unbounded(batch)[0]
        weights = self.model.network.last_weights
        found = torch.autograd.grad((shares * energies).sum(), weights, create_graph=True)
        return torch.cat([part.flatten() for part in found])

    @classmethod
    def of_file(
        cls, model: AtomicModel, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> LastLayer:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        size = sum(part.numel() for part in model.network.last_weights)
        if not size:
            raise ModelFileError(
                f"uncertainty: the network {model.network.NAME} states no last weights"
            )
        return cls.from_arrays(header, arrays, size, model=model)


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().double().cpu().numpy()
