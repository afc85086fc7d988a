"""Error bars and extrapolation grades from the data of a fit.

The posterior of the last core is that of Bayesian regression on its design rows; the active set
of the grades is chosen among the training atoms; the scales of the error bars are those that fit
the errors on validation data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.weights import Weights, count_rows
from etn.errors import SettingsError
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.potential.base import Potential
from etn.potential.coverage import Coverage
from etn.potential.features.batching import BatchLimits
from etn.potential.fitting.memory import MemoryPlan
from etn.potential.fitting.rows import Rows
from etn.potential.polynomial import PolynomialPotential
from etn.potential.uncertainty import LastCore, Uncertainty
from etn.sweep import LeastSquares
from etn.sweep.regression.posterior import posterior
from etn.tensor.maxvol import maxvol

__all__ = ["calibrate", "complete", "with_uncertainty"]


# The scales of the error bars are means over about so many atoms: those of energies and of forces.
CALIBRATION_ATOMS, CALIBRATION_FORCES = 20_000, 2000
# Copies of the features of the training atoms that the search for the active set holds, and the
# fewest atoms that it looks at together, relative to the number of unknowns.
COPIES, FEWEST = 5, 4
# Size of the made-up atoms that join the candidates of the active set, one for each unknown,
# relative to the training atoms: where no training atom reaches, grades are large, not infinite.
UNSEEN = 1e-4
# Below these fractions of the largest, an error bar and a feature are the rounding error of zero:
# some features vanish by the symmetry of all atoms.
ZERO, ZERO_FEATURE = 1e-8, 1e-12
# Energies (eV) and forces (eV/Å) that spread less than this are taken to spread by 1.
FLAT = 1e-6


def with_uncertainty(
    model: PolynomialPotential,
    train: Dataset,
    *,
    valid: Dataset | None = None,
    weights: Weights | Mapping[str, float] | None = None,
    ridge: float = 1e-3,
) -> PolynomialPotential:
    """The same potential with error bars and extrapolation grades; fits do this themselves.

    Parameters
    ----------
    model : PolynomialPotential
    train : Dataset
        The data that the potential was fitted to.
    valid, weights, ridge
        As in :func:`etn.potential.fit`.

    Raises
    ------
    SettingsError
        If the potential is not fitted, or a setting is out of range.
    """
    rows = Rows(train, model.basis, model.baseline, Weights.of(weights))
    if model.chain is not None:
        rows.retarget(model.chain, rows.measure(model.chain).get("F"))
    uncertainty = calibrate(model, rows, ridge=ridge, valid=valid)
    return model.with_chain(model.chain, uncertainty=uncertainty, floor=model.floor)


def calibrate(
    model: PolynomialPotential,
    rows: Rows,
    *,
    ridge: float = 1e-3,
    valid: Dataset | None = None,
) -> Uncertainty:
    """Posterior, active set and scales of a fitted potential.

    Parameters
    ----------
    model : PolynomialPotential
    rows : Rows
        The training data with the weights of the fit.
    ridge : float
        That of the fit.
    valid : Dataset, optional
        Data for the scales; without it the training data, whose errors are smaller.

    Raises
    ------
    SettingsError
        If the potential is not fitted, or `ridge` is negative.
    """
    if model.chain is None:
        raise SettingsError("uncertainty: expected a fitted potential, got one without a chain")
    if not ridge >= 0:
        raise SettingsError(f"ridge: expected zero or more, got {ridge}")
    chain = model.chain.canonicalize(len(model.chain) - 1)
    spread = _last_core_spread(chain, rows, ridge)
    rows.forget()
    bare = LastCore(spread=spread, basis=model.basis, chain=chain)
    return complete(bare, model, rows.dataset, valid=valid, memory=rows.memory)


def complete(
    bare: Uncertainty,
    model: Potential,
    train: Dataset,
    *,
    valid: Dataset | None = None,
    memory: MemoryPlan | None = None,
) -> Uncertainty:
    """A posterior with the active set, the scales and the coverage of the data as well.

    Parameters
    ----------
    bare : Uncertainty
        The posterior.
    model : Potential
        Whose errors the scales measure.
    train, valid
        As in :func:`with_uncertainty`.
    memory : MemoryPlan, optional
    """
    size, memory = len(bare.spread), memory or MemoryPlan()
    most = int(memory.kept / (COPIES * 8.0 * size))
    parts = _parts(train, max(most, FEWEST * size))
    new = replace(bare, inverse=_active_inverse(bare, parts))
    new = replace(new, scales=_scales(new, model, train if valid is None else valid, memory.batch))
    coverage = Coverage.of(train, new.elements, new.r_max)
    return replace(new, coverage=replace(coverage, spread=_spread(model, train)))


def _spread(model: Potential, data: Dataset) -> dict[str, float]:
    """Root mean squares of the energies of atoms without their E0, and of force components."""
    some = data[:: math.ceil(data.n_atoms / CALIBRATION_FORCES)]
    found = model.predict(some)
    e0 = np.array([model.baseline.e0[symbol] for frame in some for symbol in frame.symbols])
    sizes = {
        "energy": _size(np.concatenate([p.energies for p in found]) - e0),
        "forces": _size(np.concatenate([p.forces for p in found])),
    }
    # Some data have none, such as the forces of perfect crystals.
    return {kind: size if size > FLAT else 1.0 for kind, size in sizes.items()}


def _scales(
    uncertainty: Uncertainty, model: Potential, data: Dataset, limits: BatchLimits
) -> dict[str, float]:
    """Root mean squared ratios of error to deviation, of frames and of force vectors."""
    many = data[:: math.ceil(data.n_atoms / CALIBRATION_ATOMS)]
    energies = [
        p.energy - f.energy
        for f, p in zip(many, model.predict(many), strict=True)
        if f.energy is not None
    ]
    deviations = uncertainty.energy([f for f in many if f.energy is not None])
    some = data[:: math.ceil(data.n_atoms / CALIBRATION_FORCES)]
    forces = [
        p.forces - f.forces
        for f, p in zip(some, model.predict(some), strict=True)
        if f.forces is not None
    ]
    bars = uncertainty.forces([f for f in some if f.forces is not None], limits=limits)
    return {
        "energy": _ratio(np.array(energies), deviations),
        "forces": _ratio(_lengths(forces), _lengths(bars)),
    }


def _last_core_spread(chain: Chain, rows: Rows, ridge: float) -> Array:
    """Square root of sigma^2 (G + ridge M)^-1, in the order of the entries of the last core."""
    core = chain[-1]
    design = CoreDesign(core)
    normal = LeastSquares(rows.builders).normal_equations(chain, design)
    penalty = ridge * core.metric()[design.order]
    spread = np.empty((len(penalty), len(penalty)))
    n_rows = count_rows(rows.dataset, rows.weights)
    spread[design.order] = posterior(normal, design.from_core(core), penalty, n_rows)
    return spread


def _parts(data: Dataset, most: int) -> list[Sequence[Frame]]:
    """Frames in parts of at most this many atoms, or of one frame."""
    part = (np.cumsum([frame.n_atoms for frame in data]) - 1) // most
    return [[data[int(k)] for k in np.flatnonzero(part == number)] for number in np.unique(part)]


def _active_inverse(uncertainty: Uncertainty, parts: Sequence[Sequence[Frame]]) -> Array:
    """A^-1 of the active set: features of the atoms of largest volume, found part by part."""
    squares, n_atoms = np.zeros(len(uncertainty.spread)), 0
    for frames in parts:
        features = np.concatenate(uncertainty.features(frames))
        squares += np.sum(features**2, axis=0)
        n_atoms += len(features)
    scale = np.sqrt(squares / n_atoms)
    scale[scale <= ZERO_FEATURE * scale.max(initial=0.0)] = scale.max(initial=0.0) or 1.0
    active = UNSEEN * np.eye(len(scale))
    for frames in parts:
        if len(parts) > 1:
            features = np.concatenate(uncertainty.features(frames))
        candidates = np.concatenate([features / scale, active])
        active = candidates[maxvol(candidates)]
    return np.linalg.inv(active) / scale[:, None]


def _ratio(errors: Array, deviations: Array) -> float:
    """Root mean square of errors / deviations; 1 where there is nothing to compare."""
    here = deviations > ZERO * deviations.max(initial=0.0)
    return _size(errors[here] / deviations[here]) if here.any() else 1.0


def _size(values: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def _lengths(vectors: Sequence[Array]) -> Array:
    return np.linalg.norm(np.concatenate([*vectors, np.zeros((0, 3))]), axis=1)
