"""How far a prediction can be trusted: error bars and extrapolation grades.

With all other cores fixed the energy of an atom is linear in the last core, E_i = phi_i · a, and
that of a network in the weights of its last layer.  These have few unknowns a, and a prediction
computes the features phi_i on its way.  Two measures follow.

Least squares with a ridge is Bayesian regression: given the data, a has the covariance
sigma^2 (G + ridge M)^-1, with G the Gram matrix of the weighted rows and M the metric of the
core.  So everything linear in a, energies and forces, has a standard deviation.

If A holds the features of as many training atoms as there are unknowns, chosen for the largest
|det A|, every training atom is phi_i = c_i A with no |c_ik| much above 1.  The extrapolation
grade gamma_i = max_k |c_ik| of any other atom tells how far it lies beyond them.

What no training atom had to do with, these have no weights for and both are blind to:
:mod:`etn.potential.coverage` adds what was seen of elements, distances and numbers of neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.native import Evaluated
from etn.potential.coverage import Coverage, ignorance
from etn.potential.features.batching import DEFAULT, BatchLimits, frame_batches
from etn.potential.features.pairs import Pairs
from etn.stored import conform, numbers

if TYPE_CHECKING:
    from etn.data.frame import Frame

__all__ = ["Uncertainty"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Uncertainty(Evaluated, ABC):
    """Error bars and extrapolation grades of a potential, from a part that it is linear in.

    Made by every :func:`etn.potential.fit` and :func:`etn.nn.train`, and by
    :func:`etn.potential.with_uncertainty` and :func:`etn.nn.with_uncertainty`, and kept in the
    model file.  A subclass is a part: :class:`LastCore` of a chain, :class:`etn.nn.LastLayer` of a
    network.

    Parameters
    ----------
    spread : (P, P)
        A square root S of the covariance S S^T of the P unknowns of the part.
    inverse : (P, P)
        A^-1, with the features of the active set as the rows of A; grades need it.
    scales : mapping of str to float
        What multiplies the posterior standard deviations of ``"energy"`` and ``"forces"``; one by
        default.
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
    LastCore(18 unknowns)
    >>> all(grades.max() <= 1.01 for grades in uncertainty.gamma(train))
    True
    >>> uncertainty.forces(train[:1])[0].shape
    (53, 3)
    """

    spread: Array
    inverse: Array = field(default_factory=lambda: np.empty((0, 0)))
    scales: Mapping[str, float] = field(default_factory=lambda: {"energy": 1.0, "forces": 1.0})
    coverage: Coverage | None = None

    # -- A part must define ------------------------------------------------------------------

    @property
    @abstractmethod
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that are known."""

    @property
    @abstractmethod
    def r_max(self) -> float:
        """Radius within which the neighbours of an atom are found, Å."""

    @abstractmethod
    def _batches(self, frames: Sequence[Frame], limits: BatchLimits) -> Iterator[list[Frame]]:
        """Frames whose rows are formed together."""

    @abstractmethod
    def phi(self, pairs: Pairs) -> Array:
        """Derivative of the energy of every atom by the unknowns, (atoms, P)."""

    @abstractmethod
    def _force_deviations(
        self, pairs: Pairs, frames: Sequence[Frame], limits: BatchLimits
    ) -> Array:
        """Deviations of the force components from the posterior, not scaled, (atoms, 3)."""

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
        if (evaluator := self.evaluator) is None:
            return [self.grades(phi, terms) for _, phi, terms in self.atoms(frames)]
        batches = (Pairs.find(b, self.elements, self.r_max) for b in frame_batches(frames))
        return [grades for pairs in batches for grades in evaluator.gamma(pairs)]

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

        Takes as long as the rows of a fit: for a chain five times a prediction of frames of some
        tens of atoms, more of large ones; for a network about half of a prediction for each
        unknown.  The other methods take about half of a prediction.

        Parameters
        ----------
        frames : sequence of Frame, or Dataset
        limits : BatchLimits
            Memory that the rows of some atoms may take.

        Returns
        -------
        list of (atoms, 3)
        """
        found: list[Array] = []
        for batch in self._batches(frames, limits):
            pairs = Pairs.find(batch, self.elements, self.r_max)
            terms = self._terms(pairs)
            deviations = np.hypot(
                self.scales["forces"] * self._force_deviations(pairs, batch, limits),
                self._spread("forces", terms)[:, None],
            )
            found += np.split(deviations, np.cumsum([frame.n_atoms for frame in batch])[:-1])
        return found

    def features(self, frames: Sequence[Frame]) -> list[Array]:
        """Derivative of the energy of every atom with respect to the unknowns.

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
        for batch in self._batches(frames, DEFAULT):
            pairs = Pairs.find(batch, self.elements, self.r_max)
            ends = np.cumsum([frame.n_atoms for frame in batch])[:-1]
            each = (pairs.element, self.phi(pairs), self._terms(pairs))
            yield from zip(*(np.split(values, ends) for values in each), strict=True)

    def _terms(self, pairs: Pairs) -> Array:
        return (
            np.empty((pairs.n_samples, 0)) if self.coverage is None else self.coverage.terms(pairs)
        )

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        arrays = {"uncertainty.spread": self.spread, "uncertainty.inverse": self.inverse}
        described: dict[str, Any] = {"scales": dict(self.scales)}
        if self.coverage is not None:
            described["coverage"], more = self.coverage.to_arrays()
            arrays |= more
        return described, arrays

    @classmethod
    def from_arrays(
        cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], size: int, **part: Any
    ) -> Self:
        """What :meth:`to_arrays` described, of so many unknowns, with the fields of the part."""
        spread = numbers(arrays, "uncertainty.spread", (size, size))
        inverse = numbers(arrays, "uncertainty.inverse", (size, size))
        scales = conform(header["scales"], dict[str, float], "scales")
        coverage = None
        if "coverage" in header:
            coverage = Coverage.from_arrays(header["coverage"], arrays)
        return cls(spread=spread, inverse=inverse, scales=scales, coverage=coverage, **part)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.spread)} unknowns)"
