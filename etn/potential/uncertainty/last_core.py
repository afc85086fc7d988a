"""The last core of a chain, in which the energies of a polynomial potential are linear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.native import Evaluator, compiled_grades
from etn.network import Blocks, Chain, Samples, left_environment, right_environment
from etn.network.design import CoreDesign
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.potential.features.basis import Basis
from etn.potential.features.batching import BatchLimits, force_parts, join_frames, sample_parts
from etn.potential.features.pairs import Pairs
from etn.potential.response import chunks
from etn.potential.uncertainty.base import Uncertainty
from etn.tensor import coupling

if TYPE_CHECKING:
    from etn.data.frame import Frame


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LastCore(Uncertainty):
    """Error bars and grades of a polynomial potential, from the last core of its chain.

    Parameters
    ----------
    basis : Basis
    chain : Chain
        The chain of the potential, canonical around its last core.
    """

    basis: Basis
    chain: Chain

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that are known."""
        return self.basis.elements

    @property
    def r_max(self) -> float:
        """Radius within which the neighbours of an atom are found, Å."""
        return self.basis.r_max

    def _batches(self, frames: Sequence[Frame], limits: BatchLimits) -> Iterator[list[Frame]]:
        return join_frames(frames, self.basis, limits)

    def phi(self, pairs: Pairs) -> Array:
        """Derivative of the energy of every atom by the unknowns, (atoms, P)."""
        basis, found = self.basis, np.empty((pairs.n_atoms, len(self.spread)))
        for part in sample_parts(pairs):
            start, site = basis.start_values(part), basis.expand(part).values
            vacuum = self._vacuum[part.element[part.sample]]
            found[part.sample] = _last_features(self.chain, start, site) - vacuum
        return found

    def _force_deviations(
        self, pairs: Pairs, frames: Sequence[Frame], limits: BatchLimits
    ) -> Array:
        design, deviations = CoreDesign(self.chain[-1]), np.empty((pairs.n_atoms, 3))
        spread, every = self.spread[design.order], np.arange(pairs.n_atoms)
        for atoms, felt in force_parts(pairs, every, frames, self.basis, limits):
            samples = self.basis.expand(felt).samples(energy=False, force_atoms=atoms, strain=False)
            left = left_environment(self.chain.cores[:-1], samples, jacobian=True)
            rows = design.rows(samples, left, right_environment([], samples, jacobian=True))
            deviations[atoms] = np.linalg.norm(rows @ spread, axis=1).reshape(-1, 3)
        return deviations

    @cached_property
    def _vacuum(self) -> Array:
        """Features of an atom of each element without neighbours."""
        return _last_features(self.chain, *self.basis.vacuum())

    @cached_property
    def _compiled(self) -> Evaluator | None:
        parts = self.basis.to_arrays(), chain_to_arrays(self.chain), self.to_arrays()
        return compiled_grades(self.elements, *parts)

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Header and arrays for a model file; :meth:`of_file` is the inverse."""
        described, arrays = super().to_arrays()
        header, more = chain_to_arrays(self.chain, name="posterior")
        return {"chain": header, **described}, {**more, **arrays}

    @classmethod
    def of_file(
        cls, basis: Basis, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> LastCore:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        chain = chain_from_arrays(header["chain"], arrays, name="posterior")
        return cls.from_arrays(header, arrays, chain[-1].n_parameters, basis=basis, chain=chain)


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
