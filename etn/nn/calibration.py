"""Error bars and extrapolation grades of a network from its training data.

The posterior of the last weights is that of Bayesian regression, on the energies of all frames and
on the forces and stresses of so many that their cost does not grow with the data; active set,
scales and coverage are made as for fits by sweeps, see :mod:`etn.potential.fitting.calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from etn.data.dataset import Dataset
from etn.data.stress import voigt
from etn.data.weights import Weights
from etn.errors import SettingsError
from etn.nn.last_layer import LastLayer
from etn.nn.potential import NeuralPotential, within
from etn.potential.features.batching import frame_batches
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.calibration import complete
from etn.potential.fitting.targets import Targets
from etn.sweep.regression.normal_equations import NormalEquations
from etn.sweep.regression.posterior import posterior

__all__ = ["with_uncertainty"]

# Atoms whose forces the posterior hears of: each costs a derivative for every last weight.
FORCE_ATOMS = 2000


def with_uncertainty(
    potential: NeuralPotential,
    train: Dataset,
    *,
    valid: Dataset | None = None,
    weights: Weights | Mapping[str, float] | None = None,
) -> NeuralPotential:
    """The same potential with error bars and extrapolation grades; trainings do this themselves.

    Without data the P last weights w are taken to have the variance |w|^2 / P.

    Parameters
    ----------
    potential : NeuralPotential
        Trained, of a network that states its last weights.
    train : Dataset
        The data that it was trained on.
    valid : Dataset, optional
        Data for the scales of the bars; without them the training data, whose errors are smaller.
    weights
        As in the training.

    Raises
    ------
    SettingsError
        If the network states no last weights, as one that predicts forces.

    Examples
    --------
    >>> from etn.nn import untrained
    >>> data = Dataset.read("etn:Mo/train", index="::40")
    >>> start = untrained("tensornet", data, r_max=4.0, settings={"channels": 8, "layers": 1})
    >>> known = with_uncertainty(start, data).uncertainty
    >>> known, all(grades.max() <= 1.01 for grades in known.gamma(data))
    (LastLayer(4 unknowns), True)
    """
    model = potential.model
    parts = [part.detach().double().cpu().numpy() for part in model.network.last_weights]
    if not parts:
        raise SettingsError(
            f"uncertainty: the network {model.network.NAME} states no last weights in which its "
            "energies are linear (one that predicts forces has none); error bars need them, see "
            "Network.last_weights"
        )
    last = np.concatenate([part.ravel() for part in parts])
    bare = LastLayer(model=model, spread=np.eye(len(last)))
    normal, n_rows = _rows(potential, bare, train, Weights.of(weights))
    # Targets are what is left, so that no weights have these residuals.
    here = np.zeros_like(last)
    variance = normal.value(here) / max(n_rows, 1.0)
    prior = variance * len(last) / (float(last @ last) or 1.0)
    spread = posterior(normal, here, np.full(len(last), prior), n_rows)
    bare = LastLayer(model=model, spread=spread)
    known = complete(bare, potential, train, valid=valid)
    return potential.with_model(model, uncertainty=known)


def _rows(
    potential: NeuralPotential, layer: LastLayer, train: Dataset, weights: Weights
) -> tuple[NormalEquations, float]:
    """Weighted rows of the last weights, with what is left as targets, and their number."""
    normal, n_rows = NormalEquations(len(layer.spread)), 0.0
    # Of forces and stresses a share of the frames stands for all.
    step = math.ceil(train.n_atoms / FORCE_ATOMS)
    for energies, share in ((True, train), (False, train[::step])):
        for frames in frame_batches(share):
            pairs = Pairs.find(frames, potential.elements, potential.r_max)
            targets = Targets.of(frames, pairs, potential.baseline, weights, potential)
            atoms = np.arange(0 if energies else pairs.n_atoms)
            goal, weight = targets.rows(atoms, energy=energies, stress=not energies)
            if not weight.any():
                continue
            weight *= 1.0 if energies else math.sqrt(step)
            response, near = potential._respond(pairs), within(pairs, layer.r_max)
            if energies:
                found = np.bincount(pairs.frame, response.energies, pairs.n_frames)
                rows = np.zeros((pairs.n_frames, len(layer.spread)))
                np.add.at(rows, pairs.frame, layer.phi(near))
            else:
                found = np.concatenate([response.forces.ravel(), voigt(response.strain).ravel()])
                rows = layer.slopes(near)
            normal.add(weight[:, None] * rows, weight * (goal - found))
            n_rows += np.count_nonzero(weight) * (1 if energies else step)
    return normal, n_rows
