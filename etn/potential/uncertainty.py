"""How far a prediction can be trusted: error bars and extrapolation grades.

With all other cores fixed the energy of an atom is linear in the last core, E_i = phi_i · a.  It
has few unknowns a, and a prediction computes the features phi_i on its way.  Two measures follow.

Least squares with a ridge is Bayesian regression: given the data, a has the covariance
sigma^2 (G + ridge M)^-1, with G the Gram matrix of the weighted rows and M the metric of the
core.  So everything linear in a, energies and forces, has a standard deviation.

If A holds the features of as many training atoms as there are unknowns, chosen for the largest
|det A|, every training atom is phi_i = c_i A with no |c_ik| much above 1.  The extrapolation
grade gamma_i = max_k |c_ik| of any other atom tells how far it lies beyond them.

What no training atom had to do with, the last core has no weights for and both are blind to:
:mod:`etn.potential.coverage` adds what was seen of elements, distances and numbers of neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.network import Blocks, Chain, Samples, left_environment, right_environment
from etn.network.design import CoreDesign
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.potential.coverage import Coverage, ignorance
from etn.potential.features.basis import Basis
from etn.potential.features.batching import (
    DEFAULT,
    BatchLimits,
    force_parts,
    join_frames,
    sample_parts,
)
from etn.potential.features.pairs import Pairs
from etn.potential.response import chunks
from etn.stored import conform, numbers
from etn.tensor import coupling

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["Uncertainty"]


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Error bars and extrapolation grades of a fitted potential.

    Made by every :func:`etn.potential.fit` and by :func:`etn.potential.with_uncertainty`, and kept
    in the model file.

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
    coverage : Coverage, optional
        What the training data have shown; files of versions before it have none.

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
    coverage: Coverage | None = None

    def __post_init__(self) -> None:
        # Products go another way through the BLAS for another memory order: a stored uncertainty,
        # whose arrays come back in C order, must say the same to the last bit.
        for name in ("spread", "inverse"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))

    def gamma(self, frames: Sequence[Frame]) -> list[Array]:
        """Extrapolation grade of every atom.

        The largest of |(phi_i A^-1)_k| and of the terms of
        :class:`etn.potential.coverage.Coverage`.  About 1 and below: between the training atoms.
        Above 2 or so an atom is worth a look, above 10 its prediction should not be relied on.
        Elements that never had a neighbour, pairs of elements that never met, distances shorter
        than any of the pair and numbers of neighbours far from any of the element have large
        grades; an atom without neighbours has grade 0.

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
        return [self.grades(phi, terms) for _, phi, terms in self.atoms(frames)]

    def grades(self, phi: Array, terms: Array) -> Array:
        """Grades of atoms from their features and their terms of the coverage."""
        return np.maximum(np.abs(phi @ self.inverse).max(axis=1), terms.max(axis=1, initial=0.0))

    def energy(self, frames: Sequence[Frame]) -> Array:
        """Standard deviation of the total energy of every frame, eV.

        Returns
        -------
        (frames,)
        """
        bars = [
            np.hypot(self._deviations(phi.sum(axis=0)), self._spread("energy", terms).sum())
            for _, phi, terms in self.atoms(frames)
        ]
        return np.array(bars, dtype=np.float64)

    def energies(self, frames: Sequence[Frame]) -> list[Array]:
        """Standard deviation of the energy of every atom, eV.

        Returns
        -------
        list of (atoms,)
        """
        return [
            np.hypot(self._deviations(phi), self._spread("energy", terms))
            for _, phi, terms in self.atoms(frames)
        ]

    def _deviations(self, phi: Array) -> Array:
        """Deviations of energies from the posterior, (..., P) to (...)."""
        return np.asarray(self.scales["energy"] * np.linalg.norm(phi @ self.spread, axis=-1))

    def _spread(self, kind: str, terms: Array) -> Array:
        """Deviations for what the training data did not show, (atoms,)."""
        share = ignorance(terms)
        return share if self.coverage is None else self.coverage.spread[kind] * share

    def forces(self, frames: Sequence[Frame], *, limits: BatchLimits = DEFAULT) -> list[Array]:
        """Standard deviation of every force component, eV/Å.

        Takes as long as the rows of a fit: five times a prediction for frames of some tens of
        atoms, more for large ones.  The other methods take about half of a prediction.

        Parameters
        ----------
        frames : sequence of Frame, or Dataset
        limits : BatchLimits
            Memory that the rows of some atoms may take.

        Returns
        -------
        list of (atoms, 3)
        """
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
            terms = self._terms(pairs)
            deviations = np.hypot(
                self.scales["forces"] * deviations, self._spread("forces", terms)[:, None]
            )
            found += np.split(deviations, np.cumsum([frame.n_atoms for frame in batch])[:-1])
        return found

    def features(self, frames: Sequence[Frame]) -> list[Array]:
        """Derivative of the energy of every atom with respect to the last core.

        Counted from an atom of the same element without neighbours, as the energy is.

        Returns
        -------
        list of (atoms, P)
        """
        return [phi for _, phi, _ in self.atoms(frames)]

    def atoms(self, frames: Sequence[Frame]) -> Iterator[tuple[NDArray[np.int64], Array, Array]]:
        """What is known of the atoms of every frame, frame by frame.

        Yields
        ------
        element : (atoms,) int
        features : (atoms, P)
            As :meth:`features` has them.
        terms : (atoms, T)
            Those of the coverage; without one there are none.
        """
        basis = self.basis
        for batch in join_frames(frames, basis):
            pairs = Pairs.find(batch, basis.elements, basis.r_max)
            found = np.empty((pairs.n_atoms, len(self.spread)))
            for part in sample_parts(pairs):
                start, site = basis.start_values(part), basis.expand(part).values
                vacuum = self._vacuum[part.element[part.sample]]
                found[part.sample] = _last_features(self.chain, start, site) - vacuum
            ends = np.cumsum([frame.n_atoms for frame in batch])[:-1]
            each = (pairs.element, found, self._terms(pairs))
            yield from zip(*(np.split(values, ends) for values in each), strict=True)

    def _terms(self, pairs: Pairs) -> Array:
        return (
            np.empty((pairs.n_samples, 0)) if self.coverage is None else self.coverage.terms(pairs)
        )

    @cached_property
    def _vacuum(self) -> Array:
        """Features of an atom of each element without neighbours."""
        return _last_features(self.chain, *self.basis.vacuum())

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        header, arrays = chain_to_arrays(self.chain, name="posterior")
        arrays |= {"uncertainty.spread": self.spread, "uncertainty.inverse": self.inverse}
        described = {"chain": header, "scales": dict(self.scales)}
        if self.coverage is not None:
            described["coverage"], more = self.coverage.to_arrays()
            arrays |= more
        return described, arrays

    @classmethod
    def from_arrays(
        cls, basis: Basis, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> Uncertainty:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        chain = chain_from_arrays(header["chain"], arrays, name="posterior")
        square = (chain[-1].n_parameters,) * 2
        spread = numbers(arrays, "uncertainty.spread", square)
        inverse = numbers(arrays, "uncertainty.inverse", square)
        scales = conform(header["scales"], dict[str, float], "scales")
        coverage = None
        if "coverage" in header:
            coverage = Coverage.from_arrays(header["coverage"], arrays)
        return cls(basis, chain, spread, inverse, scales, coverage)

    def __repr__(self) -> str:
        return f"Uncertainty({len(self.spread)} unknowns of the last core)"


def _last_features(chain: Chain, start: Blocks, site: Blocks) -> Array:
    """Derivative of the value of every sample with respect to the entries of the last core."""
    n_samples = next(iter(site.values())).shape[2]
    features = np.empty((n_samples, chain[-1].n_parameters))
    for part, here, values in chunks(start, site):
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
