"""Potentials as models of metatomic, which runs them in LAMMPS, i-PI, ASE, torch-sim and others.

metatomic is an optional dependency: ``pip install metatomic-torch``.  Neural potentials with
conservative forces and polynomial ones serve, also one on the other.  A saved model holds all of a
potential, the repulsion of nuclei as well, and needs no etn where it runs.
"""

# No annotations as text here: metatomic compares them with the types themselves.
import os
import warnings
from typing import Dict, List, Optional

import torch

from etn.nn.exported import scripted
from etn.nn.whole import WholeModel
from etn.potential import Potential, load
from etn.potential.features.zbl import atomic_numbers_of

with warnings.catch_warnings():
    # It is written in TorchScript, which torch calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from metatensor.torch import Labels, TensorBlock, TensorMap
    from metatomic.torch import (
        AtomisticModel,
        ModelCapabilities,
        ModelMetadata,
        ModelOutput,
        NeighborListOptions,
        System,
    )

__all__ = ["SystemEnergies", "to_metatomic"]


def to_metatomic(
    model: Potential | str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    metadata: Optional[ModelMetadata] = None,
) -> AtomisticModel:
    """A potential as a model of metatomic, with energies in eV; ``.save(path)`` writes its file.

    Programs take forces and stress as derivatives.  Total charges are zero.

    Parameters
    ----------
    model : Potential or path-like
        A potential, or its model file.
    dtype : torch.dtype, optional
        Of the model and of what programs give it: by default that of the network, float64 for a
        polynomial potential.
    metadata : metatomic.torch.ModelMetadata, optional
        Name, authors, references; by default the name of the potential.

    Raises
    ------
    ModelFileError
        If the model file cannot be used.
    SettingsError
        If the potential is of another kind, predicts its forces, or its network cannot be
        exported.
    CoreError
        If a polynomial potential is not fitted.

    Examples
    --------
    >>> from etn import Baseline
    >>> from etn.nn import AtomicModel, NeuralPotential, TensorNet
    >>> network = TensorNet(("Mo",), r_max=4.0, channels=4, layers=0)
    >>> potential = NeuralPotential(AtomicModel(network), Baseline({"Mo": -10.9}))
    >>> exported = to_metatomic(potential)
    >>> exported.capabilities().atomic_types, exported.capabilities().interaction_range
    ([42], 4.0)
    """
    potential = model if isinstance(model, Potential) else load(model)
    whole = WholeModel(potential, dtype)
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit="eV", sample_kind="atom")},
        atomic_types=atomic_numbers_of(whole.elements).tolist(),
        interaction_range=whole.reach,
        length_unit="angstrom",
        supported_devices=["cuda", "cpu"],
        dtype=str(whole.dtype).removeprefix("torch."),
    )
    if metadata is None:
        metadata = ModelMetadata(name=repr(potential))
    return AtomisticModel(SystemEnergies(whole.cpu()).eval(), metadata, capabilities)


class SystemEnergies(torch.nn.Module):
    """The interface of metatomic to energies of atoms: systems and their neighbour lists.

    Parameters
    ----------
    model : WholeModel
    """

    def __init__(self, model: WholeModel) -> None:
        super().__init__()
        self.energies = scripted(model)
        index = torch.full((120,), -1)
        index[atomic_numbers_of(model.elements)] = torch.arange(len(model.elements))
        self.index: torch.Tensor
        self.register_buffer("index", index)
        # Every two atoms once, as networks of etn have them.
        self.options = NeighborListOptions(
            cutoff=model.r_max, full_list=False, strict=True, requestor="etn"
        )

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        """The list that a program has to give."""
        return [self.options]

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels] = None,
    ) -> Dict[str, TensorMap]:
        """The energies of the systems, or of their atoms; of the selected atoms alone."""
        results: Dict[str, TensorMap] = {}
        if "energy" not in outputs:
            return results
        device, dtype = systems[0].positions.device, systems[0].positions.dtype
        first: List[torch.Tensor] = []
        second: List[torch.Tensor] = []
        vector: List[torch.Tensor] = []
        types: List[torch.Tensor] = []
        samples: List[torch.Tensor] = []
        begin: List[int] = []
        n_atoms = 0
        for number, system in enumerate(systems):
            pairs = system.get_neighbor_list(self.options)
            atoms = pairs.samples.values[:, :2].to(torch.int64) + n_atoms
            first.append(atoms[:, 0])
            second.append(atoms[:, 1])
            vector.append(pairs.values[:, :, 0])
            types.append(system.types.to(torch.int64))
            own = torch.arange(len(system), device=device)
            samples.append(torch.stack([torch.full_like(own, number), own], dim=1))
            begin.append(n_atoms)
            n_atoms += len(system)
        starts, sample = torch.tensor(begin, device=device), torch.cat(samples)
        frame = sample[:, 0]
        energies = self.energies(
            torch.cat(first), torch.cat(second), torch.cat(vector), self.index[torch.cat(types)],
            frame, torch.zeros(len(systems), dtype=dtype, device=device),
        )[0]  # fmt: skip
        if selected_atoms is not None:
            chosen = starts[selected_atoms.column("system").to(torch.int64)]
            chosen = chosen + selected_atoms.column("atom")
            energies, sample, frame = energies[chosen], sample[chosen], frame[chosen]
        names = ["system", "atom"]
        if outputs["energy"].sample_kind == "system":
            totals = torch.zeros(len(systems), dtype=dtype, device=device)
            energies = totals.index_add(0, frame, energies)
            sample, names = torch.arange(len(systems), device=device)[:, None], ["system"]
        block = TensorBlock(
            values=energies[:, None],
            samples=Labels(names, sample.to(torch.int32)),
            components=torch.jit.annotate(List[Labels], []),
            properties=Labels(["energy"], torch.zeros((1, 1), dtype=torch.int32, device=device)),
        )
        keys = Labels(["_"], torch.zeros((1, 1), dtype=torch.int32, device=device))
        results["energy"] = TensorMap(keys, [block])
        return results
