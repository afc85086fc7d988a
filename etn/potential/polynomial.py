"""Polynomial potentials: a baseline plus a chain over atomic features."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.data.frame import Frame
from etn.data.labels import voigt
from etn.data.metrics import Metrics, Prediction, compute_metrics
from etn.errors import CoreError, SettingsError
from etn.io import load as load_file
from etn.io import save as save_file
from etn.network import Chain
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.o3 import Irrep, Irreps
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.features.batching import ATOMS_AT_ONCE, frame_batches
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.rows import Rows
from etn.potential.fitting.weights import Weights
from etn.potential.response import respond, vacuum_energies
from etn.potential.uncertainty import Uncertainty

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.interfaces.ase import EtnCalculator

KIND = "polynomial potential"


class PolynomialPotential:
    """E = sum_i [ E0 + ZBL + chain(v_i, ..., v_i) - chain(no neighbours) ].

    The chain has ``body_order - 1`` sites, all fed with the leg v_i of atom i, so the energy
    of an atom is a polynomial of that degree in its features and, through the constant channel,
    holds all lower degrees.

    Parameters
    ----------
    basis : Basis
    body_order : int
        At least 3: the central atom and two neighbours.
    max_bond : int, sequence of int or Irreps
        Multiplicities on the bonds: the same for each l, one for each l = 0, 1, ..., or as
        irreps ("5x0e+4x1o").
    baseline : Baseline, optional
        Zero by default.
    chain : Chain, optional
        A fitted chain; without it the potential is the baseline.
    uncertainty : Uncertainty, optional
        Of this chain.

    Raises
    ------
    SettingsError
        If ``body_order`` or ``max_bond`` is out of range.
    CoreError
        If the chain does not belong to the basis.

    Examples
    --------
    >>> model = PolynomialPotential(Basis(("Mo",), l_max=2), body_order=4, max_bond=(4, 3, 2))
    >>> model
    PolynomialPotential(Mo, body order 4, bonds up to 4x0e+3x1o+2x2e, not fitted)
    """

    def __init__(
        self,
        basis: Basis,
        *,
        body_order: int = 4,
        max_bond: int | Sequence[int] | Irreps | str = (5, 4, 3, 3, 2),
        baseline: Baseline | None = None,
        chain: Chain | None = None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        if body_order < 3:
            raise SettingsError(f"body_order: expected at least 3, got {body_order}")
        self.basis = basis
        self.body_order = int(body_order)
        self.max_bond = bond_irreps(max_bond, basis)
        self.baseline = baseline or Baseline(dict.fromkeys(basis.elements, 0.0))
        self.chain = chain
        self._uncertainty = uncertainty
        if chain is not None and (
            chain.start != basis.start or any(leg != basis.leg for leg in chain.sites)
        ):
            raise CoreError(
                f"chain: expected start {basis.start} and site legs {basis.leg} of the basis, "
                f"got start {chain.start} and site legs {', '.join(map(str, chain.sites))}"
            )
        if chain is not None and len(chain) > self.body_order - 1:
            raise CoreError(
                f"chain: body order {self.body_order} allows {self.body_order - 1} sites, "
                f"got {len(chain)}"
            )

    def with_chain(
        self, chain: Chain, *, uncertainty: Uncertainty | None = None
    ) -> PolynomialPotential:
        """The same potential with another chain, and the uncertainty of that one."""
        return PolynomialPotential(
            self.basis,
            body_order=self.body_order,
            max_bond=self.max_bond,
            baseline=self.baseline,
            chain=chain,
            uncertainty=uncertainty,
        )

    def with_uncertainty(
        self,
        train: Dataset,
        *,
        valid: Dataset | None = None,
        weights: Weights | Mapping[str, float] | None = None,
        ridge: float = 1e-3,
    ) -> PolynomialPotential:
        """The same potential with error bars and extrapolation grades; fits do this themselves.

        Parameters
        ----------
        train : Dataset
            The data that the potential was fitted to.
        valid, weights, ridge
            As in :func:`etn.potential.fit`.

        Raises
        ------
        SettingsError
            If the potential is not fitted, or a setting is out of range.
        """
        rows = Rows(train, self.basis, self.baseline, Weights.of(weights))
        uncertainty = Uncertainty.fit(self, rows, ridge=ridge, valid=valid)
        assert self.chain is not None
        return self.with_chain(self.chain, uncertainty=uncertainty)

    @property
    def has_uncertainty(self) -> bool:
        """Whether error bars and extrapolation grades are known."""
        return self._uncertainty is not None

    @property
    def uncertainty(self) -> Uncertainty:
        """Error bars and extrapolation grades.

        Raises
        ------
        SettingsError
            If the potential has none: a model file of an earlier version, a chain set by hand.
        """
        if self._uncertainty is None:
            raise SettingsError(
                "uncertainty: this potential has none (not fitted, or a model file of an earlier "
                "version); fit it anew, or make it from the training data: "
                "model = model.with_uncertainty(train); model.save(path)"
            )
        return self._uncertainty

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the potential knows."""
        return self.basis.elements

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of the chain; zero before the fit."""
        return 0 if self.chain is None else self.chain.n_parameters

    @cached_property
    def _vacuum(self) -> NDArray[np.float64]:
        assert self.chain is not None
        return vacuum_energies(self.chain, self.basis)

    def initial_chain(self, *, seed: int) -> Chain:
        """Random chain of two sites, from which a fit grows."""
        return Chain.random(
            [self.basis.leg] * 2, start=self.basis.start, max_bond=self.max_bond, seed=seed
        )

    def predict(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Energies, atomic energies, forces and stress of frames.

        Parameters
        ----------
        frames : sequence of Frame, or Dataset

        Returns
        -------
        list of Prediction
            ``stress`` is None where the cell has no volume.

        Raises
        ------
        DataError
            If a frame holds an unknown element or coincident atoms.
        """
        return [p for batch in frame_batches(frames) for p in self._predict(batch)]

    def _predict(self, frames: Sequence[Frame]) -> Iterator[Prediction]:
        basis = self.basis
        pairs = Pairs.find(frames, basis.elements, basis.r_max)
        energies, forces, strain = self.baseline.evaluate(pairs, basis.elements, basis.r_max)
        if self.chain is not None:
            energies = energies.copy()
            for first in range(0, pairs.n_samples, ATOMS_AT_ONCE):
                here = np.arange(first, min(first + ATOMS_AT_ONCE, pairs.n_samples))
                part = pairs if len(here) == pairs.n_samples else pairs.select(here)
                response = respond(self.chain, basis.expand(part), self._vacuum)
                energies[here] += response.energies
                forces += response.forces
                strain += response.strain
        for k, frame in enumerate(frames):
            own = pairs.frame == k
            stress = voigt(strain[k]) / frame.volume if frame.volume > 0 else None
            yield Prediction(float(energies[own].sum()), energies[own], forces[own], stress)

    def evaluate(self, dataset: Dataset) -> Metrics:
        """Errors against the labels of a data set."""
        return compute_metrics(self.predict(dataset), dataset)

    def save(self, path: str | os.PathLike[str], *, note: Mapping[str, Any] | None = None) -> None:
        """Write the model file, atomically.

        Parameters
        ----------
        path : path-like
        note : mapping, optional
            JSON-able remarks to keep in the file: settings, errors, provenance.
        """
        basis, arrays = self.basis.to_arrays()
        header: dict[str, Any] = {
            "basis": basis,
            "baseline": {"e0": dict(self.baseline.e0), "zbl": self.baseline.zbl},
            "body_order": self.body_order,
            "max_bond": str(self.max_bond),
            "note": dict(note or {}),
        }
        if self.chain is not None:
            header["chain"], more = chain_to_arrays(self.chain)
            arrays |= more
        if self._uncertainty is not None:
            header["uncertainty"], more = self._uncertainty.to_arrays()
            arrays |= more
        save_file(path, kind=KIND, header=header, arrays=arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PolynomialPotential:
        """Read what :meth:`save` wrote; predictions are the same to the last bit.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, of a newer format or of another kind.
        """
        stored = load_file(path, kind=KIND)
        header, arrays = stored.header, stored.arrays
        basis = Basis.from_arrays(header["basis"], arrays)
        return cls(
            basis,
            body_order=header["body_order"],
            max_bond=header["max_bond"],
            baseline=Baseline(**header["baseline"]),
            chain=chain_from_arrays(header["chain"], arrays) if "chain" in header else None,
            uncertainty=Uncertainty.from_arrays(basis, header["uncertainty"], arrays)
            if "uncertainty" in header
            else None,
        )

    def calculator(self, **options: Any) -> EtnCalculator:
        """ASE calculator of this potential."""
        from etn.interfaces.ase import EtnCalculator

        return EtnCalculator(self, **options)

    def __repr__(self) -> str:
        state = "not fitted" if self.chain is None else f"{self.n_parameters} parameters"
        return (
            f"PolynomialPotential({' '.join(self.elements)}, body order {self.body_order}, "
            f"bonds up to {self.max_bond}, {state})"
        )


def load(path: str | os.PathLike[str]) -> PolynomialPotential:
    """Read a model file.

    Examples
    --------
    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "mo.etn")
    >>> PolynomialPotential(Basis(("Mo",), l_max=1), max_bond=2).save(path)
    >>> load(path)
    PolynomialPotential(Mo, body order 4, bonds up to 2x0e+2x1o, not fitted)
    """
    return PolynomialPotential.load(path)


def bond_irreps(max_bond: int | Sequence[int] | Irreps | str, basis: Basis) -> Irreps:
    """Irreps of the widest bond: natural parity, l up to that of the basis."""
    if isinstance(max_bond, str):
        return Irreps(max_bond).regroup()
    if isinstance(max_bond, Irreps):
        return max_bond.regroup()
    degrees = basis.l_max + 1
    each = [max_bond] * degrees if isinstance(max_bond, int) else list(max_bond)[:degrees]
    if not each or min(each) < 0 or each[0] < 1:
        raise SettingsError(
            "max_bond: expected a positive number, or one number for each l starting with a "
            f"positive one, got {max_bond}"
        )
    return Irreps([(mul, Irrep(l, (-1) ** l)) for l, mul in enumerate(each) if mul])
