"""Potentials in torch-sim: many systems at once, molecular dynamics and relaxation in batches.

torch-sim is an optional dependency: ``pip install torch-sim-atomistic``.  Any potential of etn
serves; a :class:`~etn.nn.NeuralPotential` computes where its weights are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch_sim.models.interface import ModelInterface

from etn.data.frame import Frame
from etn.data.stress import full_stress
from etn.potential import Potential, load

__all__ = ["TorchSimModel"]


class TorchSimModel(ModelInterface):  # type: ignore[misc]
    """A potential as a model of torch-sim.

    Energies in eV, forces in eV/Å, and the stress in eV/Å³ with tension positive, as a matrix.
    Total charges, which states of torch-sim do not have, are zero.

    Parameters
    ----------
    model : Potential or path-like
        A potential of any kind, or its model file.
    device : torch.device or str
        Where states are, and where results go.
    dtype : torch.dtype
        Of the states.

    Raises
    ------
    ModelFileError
        If the model file cannot be used.
    DataError
        From a call, if a state has elements that the potential does not know.

    Examples
    --------
    >>> import torch_sim as ts
    >>> from ase.build import bulk
    >>> from etn import Baseline, Basis, PolynomialPotential
    >>> potential = PolynomialPotential(Basis(("Cu",), l_max=1), baseline=Baseline({"Cu": -3.7}))
    >>> model = TorchSimModel(potential)
    >>> state = ts.io.atoms_to_state([bulk("Cu"), bulk("Cu", cubic=True)], "cpu", torch.float64)
    >>> model(state)["energy"]
    tensor([ -3.7000, -14.8000], dtype=torch.float64)
    """

    def __init__(
        self,
        model: Potential | str | os.PathLike[str],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.potential = model if isinstance(model, Potential) else load(model)
        self._device, self._dtype = torch.device(device), dtype
        self._compute_forces = self._compute_stress = True

    def forward(self, state: Any, **options: Any) -> dict[str, torch.Tensor]:
        """Energies (systems,), forces (atoms, 3) and stress (systems, 3, 3) of a state."""
        found = self.potential.predict(_frames(state))
        stress = [np.zeros(6) if p.stress is None else p.stress for p in found]
        arrays = {
            "energy": np.array([p.energy for p in found]),
            "forces": np.concatenate([p.forces for p in found]),
            "stress": np.array([full_stress(each) for each in stress]),
        }
        return {name: self._tensor(array) for name, array in arrays.items()}

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=self._dtype, device=self._device)


def _frames(state: Any) -> list[Frame]:
    """The systems of a state; its cells have their vectors as columns."""
    get = state.__getitem__ if isinstance(state, Mapping) else lambda name: getattr(state, name)
    names = ("positions", "cell", "atomic_numbers", "system_idx")
    x, cells, numbers, system = (get(name).detach().cpu().numpy() for name in names)
    pbc = np.broadcast_to(np.asarray(get("pbc"), dtype=bool), 3)
    return [
        Frame(numbers[own], x[own], cells[k].T, pbc, name=f"system {k}")
        for k in range(len(cells))
        for own in [system == k]
    ]
