"""Energies, forces and strain derivatives of a chain over atomic features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from etn.backend import FloatArray as Array
from etn.network import Blocks, Chain, evaluate, value_and_gradient
from etn.potential.features.basis import Basis
from etn.potential.features.expansion import Expansion

# Samples that are evaluated together: their intermediates stay in the cache.
CHUNK = 256


class Response(NamedTuple):
    """What a batch of atoms answers.

    Attributes
    ----------
    energies : (samples,), eV
    forces : (atoms, 3), eV/Å
        Only the samples of the batch pull.
    strain : (frames, 3, 3), eV
        dE/d epsilon.
    """

    energies: Array
    forces: Array
    strain: Array


def respond(chain: Chain, expansion: Expansion, vacuum: Array) -> Response:
    """Evaluate a chain on the features of a batch.

    Parameters
    ----------
    chain : Chain
    expansion : Expansion
    vacuum : (elements,)
        See :func:`vacuum_energies`; subtracted from the energy of each atom.
    """
    basis, pairs = expansion.basis, expansion.pairs
    start, site = basis.start_values(pairs), expansion.values
    energies = np.empty(pairs.n_samples)
    gradient = {ir: np.empty_like(block) for ir, block in site.items()}
    for part, here, legs in chunks(start, site):
        energies[part], g = value_and_gradient(chain, here, legs)
        for ir, block in g.items():
            gradient[ir][..., part] = block
    energies -= vacuum[pairs.element[pairs.sample]]
    if expansion.crowd is None:
        return Response(energies, *expansion.forces_and_virial(gradient))
    crowd = expansion.crowd
    energies, by_x = crowd.blend(energies)
    gradient = {ir: block * crowd.share for ir, block in gradient.items()}
    slopes = crowd.pull_back(by_x)
    return Response(energies, *expansion.forces_and_virial(gradient, slopes))


def vacuum_energies(chain: Chain, basis: Basis) -> Array:
    """Value of the chain for an atom of each element without neighbours."""
    return evaluate(chain, *basis.vacuum())


def chunks(start: Blocks, site: Blocks) -> Iterator[tuple[slice, Blocks, Blocks]]:
    """Samples that are evaluated together, with their values on the first bond and the sites."""
    n_samples = next(iter(site.values())).shape[-1]
    for first in range(0, n_samples, CHUNK):
        part = slice(first, first + CHUNK)
        yield part, _cut(start, part), _cut(site, part)


def _cut(blocks: Blocks, part: slice) -> Blocks:
    return {ir: np.ascontiguousarray(block[..., part]) for ir, block in blocks.items()}
