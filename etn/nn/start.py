"""What a training starts from: random weights, and the scales of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etn.data.dataset import Dataset
from etn.nn.model import DTYPES, AtomicModel
from etn.nn.network import network_class
from etn.nn.potential import NeuralPotential
from etn.potential.base import Potential
from etn.potential.baseline import Baseline
from etn.potential.features.inner import Inner

__all__ = ["untrained"]


def untrained(
    name: str,
    data: Dataset,
    *,
    r_max: float,
    settings: Mapping[str, Any] | None = None,
    baseline: Baseline | None = None,
    below: Potential | None = None,
    share: float = 1.0,
    dtype: str = "float32",
    seed: int = 0,
) -> NeuralPotential:
    r"""A potential with random weights and the scales of a data set.

    The scale of all elements is the root mean square of the force components, times 1 Å, or the
    spread of the energies per atom where there are no forces; the means of bound atoms are those
    whose sums are nearest to the energies, all less the baseline.

    Parameters
    ----------
    name : str
        Of the network, such as "tensornet".
    data : Dataset
    r_max : float
        Å.
    settings : mapping, optional
        Other arguments of the network.
    baseline : Baseline, optional
        Fitted to the data by default.
    below : Potential, optional
        A potential, such as that of a fit, that stands below the network, with its baseline.
    share : float
        Of the potential below; see :class:`~etn.nn.potential.NeuralPotential`.
    dtype : {"float32", "float64"}
    seed : int
        Of the weights.

    Raises
    ------
    DataError, SettingsError
        If the data or a setting cannot be used.

    Examples
    --------
    >>> data = Dataset.read("etn:Mo/train", index="::40")
    >>> potential = untrained("tensornet", data, r_max=4.0, settings={"channels": 8})
    >>> potential.model.scale.round(decimals=3), potential.model.mean.round(decimals=1)
    (tensor([1.5020]), tensor([-6.8000]))
    """
    made = network_class(name)
    made.check_frames(data)
    if below is not None:
        baseline = below.baseline
    baseline = baseline or Baseline.fit(data, r_max=r_max)
    elements = tuple(data.elements) if below is None else below.elements
    # Modules draw their weights from the generator of torch, which stays as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = made(elements, r_max, **(settings or {}))
    inner = Inner.of(data, elements, r_max)
    model = AtomicModel(network, inner, scale=np.zeros(len(elements)), dtype=DTYPES[dtype])
    start = NeuralPotential(model, baseline, below=below, share=share)
    # With no scale the network says nothing yet: what is predicted is all else.
    for buffer, values in zip((model.scale, model.mean), _scales(data, start), strict=True):
        buffer.copy_(torch.as_tensor(values))
    return start


def _scales(data: Dataset, known: Potential) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and mean of every element, eV, of what a known potential leaves."""
    elements = known.elements
    counts, energies = [], []
    squares = components = 0.0
    for frame in data:
        (base,) = known.predict([frame])
        if frame.forces is not None:
            squares += float(np.sum((frame.forces - base.forces) ** 2))
            components += base.forces.size
        if frame.energy is not None and frame.n_atoms > 1:
            counts.append([frame.symbols.count(symbol) for symbol in elements])
            energies.append(frame.energy - base.energy)
    mean = np.zeros(len(elements))
    spread = 0.0
    if energies:
        table, target = np.array(counts, float), np.array(energies)
        mean = np.linalg.lstsq(table, target, rcond=1e-8)[0]
        away = (target - table @ mean) / table.sum(1)
        spread = float(np.sqrt(np.mean(away**2)))
    size = np.sqrt(squares / components) if squares else spread
    return np.full(len(elements), size or 1.0), mean
