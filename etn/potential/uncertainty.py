"""How far a prediction can be trusted: error bars and extrapolation grades.

With all other cores fixed the energy of an atom is linear in the last core, E_i = phi_i · a.  It
has few unknowns a, and a prediction computes the features phi_i on its way.  Two measures follow.

Least squares with a ridge is Bayesian regression: given the data, a has the covariance
sigma^2 (G + ridge M)^-1, with G the Gram matrix of the weighted rows and M the metric of the
core.  So everything linear in a, energies and forces, has a standard deviation.

If A holds the features of as many training atoms as there are unknowns, chosen for the largest
|det A|, every training atom is phi_i = c_i A with no |c_ik| much above 1.  The extrapolation
grade gamma_i = max_k |c_ik| of any other atom tells how far it lies beyond them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from etn.errors import SettingsError
from etn.network import Blocks, Chain, Samples, left_environment, right_environment
from etn.network.design import CoreDesign
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.potential.features.basis import Basis
from etn.potential.features.batching import BatchLimits, force_parts, join_frames
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.maxvol import maxvol
from etn.potential.fitting.rows import Rows
from etn.potential.fitting.weights import count_rows
from etn.sweep import LeastSquares
from etn.tensor import coupling

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.data.frame import Frame
    from etn.potential.polynomial import PolynomialPotential

__all__ = ["Uncertainty"]

Array = NDArray[np.float64]

# Atoms whose features are computed together: their intermediates stay in the cache.
CHUNK = 256
# Atoms whose pairs are held in memory together.
ATOMS_AT_ONCE = 256
# The scales of the error bars are means over about so many atoms: those of energies and of forces.
CALIBRATION_ATOMS, CALIBRATION_FORCES = 20_000, 2000
# Copies of the features of the training atoms that the search for the active set holds, and the
# fewest atoms that it looks at together, relative to the number of unknowns.
COPIES, FEWEST = 5, 4
# Size of the made-up atoms that join the candidates of the active set, one for each unknown,
# relative to the training atoms: where no training atom reaches, grades are large, not infinite.
UNSEEN = 1e-4
# Below this fraction of the largest, an error bar is the rounding error of zero.
ZERO = 1e-8


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Error bars and extrapolation grades of a fitted potential.

    Made by :meth:`fit`, by :meth:`PolynomialPotential.with_uncertainty` and by every
    :func:`etn.potential.fit`, and kept in the model file.

    Parameters
    ----------
    basis : Basis
    chain : Chain
        The chain of the potential, canonical around its last core.
    spread : (P, P)
        A square root S of the covariance S S^T of the P entries of the last core.
    inverse : (P, P)
        A^-1, with the features of the active set as the rows of A.
    scales : mapping of str to float
        What multiplies the posterior standard deviations of ``"energy"`` and ``"forces"``.

    Notes
    -----
    The posterior answers for the noise of the data only; the error of a potential is mostly that
    its form cannot follow the reference.  It grows in the same places, so one factor for
    energies and one for forces turns the posterior deviations into error bars: the factor that
    makes the mean squared ratio of error to bar one on validation data, or on the training data
    where there are none (F. Bigi, S. Chong, M. Ceriotti, F. Grasselli,
    Mach. Learn.: Sci. Technol. 5, 045018, 2024).  Grades: E. V. Podryabinkin, A. V. Shapeev,
    Comput. Mater. Sci. 140, 171 (2017); for single atoms Y. Lysogorskiy, A. Bochkarev, M. Mrovec,
    R. Drautz, Phys. Rev. Mater. 7, 043801 (2023).

    Examples
    --------
    >>> from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
    >>> from etn.sweep import Schedule
    >>> train = Dataset.read("etn:Mo/train", index="::20")
    >>> model = PolynomialPotential(
    ...     Basis.for_dataset(train, r_max=4.0, n_max=4, l_max=1),
    ...     body_order=3, max_bond=2, baseline=Baseline.fit(train))
    >>> uncertainty = fit(model, train, schedule=Schedule(max_sweeps=1)).model.uncertainty
    >>> uncertainty
    Uncertainty(18 unknowns of the last core)
    >>> all(grades.max() <= 1.01 for grades in uncertainty.gamma(train))
    True
    >>> uncertainty.forces(train[:1])[0].shape
    (53, 3)
    """

    basis: Basis
    chain: Chain
    spread: Array
    inverse: Array
    scales: Mapping[str, float]

    @classmethod
    def fit(
        cls,
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
        spread = _posterior(chain, rows, ridge)
        rows.forget()
        new = cls(model.basis, chain, spread, np.eye(len(spread)), {"energy": 1.0, "forces": 1.0})
        most = int(rows.memory.kept / (COPIES * 8.0 * len(spread)))
        parts = _parts(rows.dataset, max(most, FEWEST * len(spread)))
        new = replace(new, inverse=_active_inverse(new, parts))
        data = rows.dataset if valid is None else valid
        return replace(new, scales=new._calibrate(model, data, rows.memory.batch))

    def _calibrate(
        self, model: PolynomialPotential, data: Dataset, limits: BatchLimits
    ) -> dict[str, float]:
        """Root mean squared ratios of error to deviation, of frames and of force vectors."""
        many = data[:: math.ceil(data.n_atoms / CALIBRATION_ATOMS)]
        energies = [
            p.energy - f.energy
            for f, p in zip(many, model.predict(many), strict=True)
            if f.energy is not None
        ]
        deviations = self.energy([f for f in many if f.energy is not None])
        some = data[:: math.ceil(data.n_atoms / CALIBRATION_FORCES)]
        forces = [
            p.forces - f.forces
            for f, p in zip(some, model.predict(some), strict=True)
            if f.forces is not None
        ]
        bars = self._force_bars([f for f in some if f.forces is not None], limits)
        return {
            "energy": _ratio(np.array(energies), deviations),
            "forces": _ratio(_lengths(forces), _lengths(bars)),
        }

    def gamma(self, frames: Sequence[Frame]) -> list[Array]:
        """Extrapolation grade of every atom, max_k |(phi_i A^-1)_k|.

        About 1 and below: between the training atoms.  Above 2 or so an atom is worth a look,
        above 10 its prediction should not be relied on.

        Parameters
        ----------
        frames : sequence of Frame, or Dataset

        Returns
        -------
        list of (atoms,)

        Raises
        ------
        DataError
            If a frame holds an unknown element or coincident atoms.
        """
        return [np.abs(phi @ self.inverse).max(axis=1) for phi in self.features(frames)]

    def energy(self, frames: Sequence[Frame]) -> Array:
        """Standard deviation of the total energy of every frame, eV.

        Returns
        -------
        (frames,)
        """
        sums = [phi.sum(axis=0) for phi in self.features(frames)]
        rows = np.reshape(sums, (-1, len(self.spread)))
        return self.scales["energy"] * np.linalg.norm(rows @ self.spread, axis=1)

    def energies(self, frames: Sequence[Frame]) -> list[Array]:
        """Standard deviation of the energy of every atom, eV.

        Returns
        -------
        list of (atoms,)
        """
        return [
            self.scales["energy"] * np.linalg.norm(phi @ self.spread, axis=1)
            for phi in self.features(frames)
        ]

    def forces(self, frames: Sequence[Frame]) -> list[Array]:
        """Standard deviation of every force component, eV/Å.

        Takes as long as the rows of a fit: five times a prediction for frames of some tens of
        atoms, more for large ones.  The other methods take about half of a prediction.

        Returns
        -------
        list of (atoms, 3)
        """
        return self._force_bars(frames, BatchLimits())

    def _force_bars(self, frames: Sequence[Frame], limits: BatchLimits) -> list[Array]:
        design = CoreDesign(self.chain[-1])
        spread = self.spread[design.order]
        found: list[Array] = []
        for batch in join_frames(frames, self.basis, limits):
            pairs = Pairs.find(batch, self.basis.elements, self.basis.r_max)
            deviations = np.empty((pairs.n_atoms, 3))
            every = np.arange(pairs.n_atoms)
            for atoms, felt in force_parts(pairs, every, batch, self.basis, limits):
                samples = self.basis.expand(felt).samples(
                    energy=False, force_atoms=atoms, strain=False
                )
                left = left_environment(self.chain.cores[:-1], samples, jacobian=True)
                rows = design.rows(samples, left, right_environment([], samples, jacobian=True))
                deviations[atoms] = np.linalg.norm(rows @ spread, axis=1).reshape(-1, 3)
            deviations *= self.scales["forces"]
            found += np.split(deviations, np.cumsum([frame.n_atoms for frame in batch])[:-1])
        return found

    def features(self, frames: Sequence[Frame]) -> list[Array]:
        """Derivative of the energy of every atom with respect to the last core.

        Counted from an atom of the same element without neighbours, as the energy is.

        Returns
        -------
        list of (atoms, P)
        """
        basis = self.basis
        found: list[Array] = []
        for batch in join_frames(frames, basis):
            pairs = Pairs.find(batch, basis.elements, basis.r_max)
            parts = []
            for first in range(0, pairs.n_samples, ATOMS_AT_ONCE):
                here = np.arange(first, min(first + ATOMS_AT_ONCE, pairs.n_samples))
                part = pairs if len(here) == pairs.n_samples else pairs.select(here)
                phi = _last_features(
                    self.chain, basis.start_values(part), basis.expand(part).values
                )
                parts.append(phi - self._vacuum[part.element[part.sample]])
            sizes = [frame.n_atoms for frame in batch]
            found += np.split(np.concatenate(parts), np.cumsum(sizes)[:-1])
        return found

    @cached_property
    def _vacuum(self) -> Array:
        """Features of an atom of each element without neighbours."""
        basis = self.basis
        none = {ir: np.zeros((basis.start.count(ir), 1, 0)) for ir in basis.start.unique}
        empty = {ir: np.zeros((basis.leg.count(ir), ir.dim, 0)) for ir in basis.leg.unique}
        return _last_features(self.chain, *basis.with_vacuum(none, empty))

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        header, arrays = chain_to_arrays(self.chain, name="posterior")
        arrays |= {"uncertainty.spread": self.spread, "uncertainty.inverse": self.inverse}
        return {"chain": header, "scales": dict(self.scales)}, arrays

    @classmethod
    def from_arrays(
        cls, basis: Basis, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> Uncertainty:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        chain = chain_from_arrays(header["chain"], arrays, name="posterior")
        spread, inverse = arrays["uncertainty.spread"], arrays["uncertainty.inverse"]
        return cls(basis, chain, spread, inverse, dict(header["scales"]))

    def __repr__(self) -> str:
        return f"Uncertainty({len(self.spread)} unknowns of the last core)"


def _posterior(chain: Chain, rows: Rows, ridge: float) -> Array:
    """Square root of sigma^2 (G + ridge M)^-1, in the order of the entries of the last core."""
    core = chain[-1]
    design = CoreDesign(core)
    normal = LeastSquares(rows.builders).normal_equations(chain, design)
    precision = np.triu(normal.gram) + np.diag(ridge * core.metric()[design.order])
    values, vectors = sl.eigh(precision, lower=False)
    # Without a ridge a direction may have no data: as wide as the arithmetic allows.
    values = np.maximum(values, len(values) * np.finfo(float).eps * (values[-1] or 1.0))
    # Each direction takes as many degrees of freedom as its share of precision from data.
    penalty = ridge * np.sum(core.metric()[design.order, None] * vectors**2, axis=0)
    n_used = float(np.sum(1 - np.minimum(penalty / values, 1)))
    residual = max(normal.value(design.from_core(core)), 0.0)
    sigma = math.sqrt(residual / max(count_rows(rows.dataset, rows.weights) - n_used, 1.0))
    spread = np.empty_like(vectors)
    spread[design.order] = sigma * vectors / np.sqrt(values)
    return spread


def _parts(data: Dataset, most: int) -> list[Sequence[Frame]]:
    """Frames in parts of at most this many atoms, or of one frame."""
    part = (np.cumsum([frame.n_atoms for frame in data]) - 1) // most
    return [[data.frames[k] for k in np.flatnonzero(part == number)] for number in np.unique(part)]


def _active_inverse(uncertainty: Uncertainty, parts: Sequence[Sequence[Frame]]) -> Array:
    """A^-1 of the active set: features of the atoms of largest volume, found part by part."""
    squares, n_atoms = np.zeros(len(uncertainty.spread)), 0
    for frames in parts:
        features = np.concatenate(uncertainty.features(frames))
        squares += np.sum(features**2, axis=0)
        n_atoms += len(features)
    scale = np.sqrt(squares / n_atoms)
    scale[scale == 0] = scale.max(initial=0.0) or 1.0
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
    return float(np.sqrt(np.mean((errors[here] / deviations[here]) ** 2))) if here.any() else 1.0


def _lengths(vectors: Sequence[Array]) -> Array:
    return np.linalg.norm(np.concatenate([*vectors, np.zeros((0, 3))]), axis=1)


def _last_features(chain: Chain, start: Blocks, site: Blocks) -> Array:
    """Derivative of the value of every sample with respect to the entries of the last core."""
    n_samples = next(iter(site.values())).shape[2]
    features = np.empty((n_samples, chain[-1].n_parameters))
    for first in range(0, n_samples, CHUNK):
        part = slice(first, first + CHUNK)
        here, values = (
            {ir: np.ascontiguousarray(block[..., part]) for ir, block in blocks.items()}
            for blocks in (start, site)
        )
        left = left_environment(chain.cores[:-1], Samples(here, values, {}, 0), jacobian=False)
        at = 0
        for path, block in chain[-1]:
            # C couples l with l to a scalar: a multiple of the identity, read off its first entry.
            weight = float(coupling(path).flat[0])
            x, v = left.values[path[0]].transpose(2, 0, 1), values[path[1]].transpose(2, 1, 0)
            product = np.matmul(weight * x, v)
            features[part, at : at + block.size] = product.reshape(len(product), -1)
            at += block.size
    return features
