"""What a potential says of structures, as extended XYZ."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etn.data.dataset import Dataset
from etn.data.labels import LABELS
from etn.data.metrics import Prediction
from etn.io import write_atomic
from etn.potential.base import Potential

if TYPE_CHECKING:
    import os

__all__ = ["write_predictions"]


def write_predictions(
    path: str | os.PathLike[str],
    potential: Potential,
    dataset: Dataset,
    predictions: Sequence[Prediction],
) -> None:
    """Write structures with what a potential says of them; ASE and etn read the file.

    The keys are those of labels: ``energy`` (eV), ``forces`` (eV/Å) and, where the cell has a
    volume, ``stress`` (eV/Å³, tension positive), which ASE gives as results of a calculator; and
    the ``energies`` of the atoms (eV). Labels of the data go under ``reference_energy``,
    ``reference_forces`` and ``reference_stress``, the name of a frame under ``frame``. A potential
    with an :attr:`~etn.potential.Potential.uncertainty` adds its error bars, ``energy_bar`` (eV)
    and ``forces_bar`` (eV/Å, each component), and the extrapolation grade ``gamma`` of every atom.

    Parameters
    ----------
    path : path-like
        The file appears only when it is complete.
    potential : Potential
        What gave the predictions.
    dataset : Dataset
        The structures, with labels or without.
    predictions : sequence of Prediction
        One for each frame, in order.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from etn.potential import Baseline, Basis, PolynomialPotential
    >>> data = Dataset.read("etn:Mo/test", index=":2")
    >>> model = PolynomialPotential(Basis(("Mo",), l_max=1), baseline=Baseline({"Mo": -10.0}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "predictions.xyz")
    ...     write_predictions(path, model, data, model.predict(data))
    ...     found = Dataset.read(path)
    >>> found[0].energy, data[0].n_atoms
    (-530.0, 53)
    """
    import ase.io
    from ase.calculators.singlepoint import SinglePointCalculator

    bars: list[tuple[Any, ...]] = [()] * len(dataset)
    if potential.has_uncertainty:
        known = potential.uncertainty
        bars = list(
            zip(known.energy(dataset), known.forces(dataset), known.gamma(dataset), strict=True)
        )
    images = []
    for frame, found, bar in zip(dataset, predictions, bars, strict=True):
        atoms = frame.to_atoms()
        for label in LABELS:
            value = getattr(frame, label)
            if value is not None:
                (atoms.arrays if label == "forces" else atoms.info)[f"reference_{label}"] = value
        if frame.name:
            atoms.info["frame"] = frame.name
        if bar:
            atoms.info["energy_bar"] = bar[0]
            atoms.arrays["forces_bar"], atoms.arrays["gamma"] = bar[1:]
        stress = {} if found.stress is None else {"stress": found.stress}
        atoms.calc = SinglePointCalculator(
            atoms, energy=found.energy, energies=found.energies, forces=found.forces, **stress
        )
        images.append(atoms)
    text = io.StringIO()
    ase.io.write(text, images, format="extxyz")
    write_atomic(path, text.getvalue())
