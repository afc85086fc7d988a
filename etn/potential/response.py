"""Energies, forces and strain derivatives of a chain over atomic features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.network import Blocks, Chain, evaluate, value_and_gradient
from etn.potential.features.basis import Basis
from etn.potential.features.expansion import Expansion
from etn.potential.features.floor import Floor
from etn.potential.features.inner import Crowd

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


def respond(
    chain: Chain, expansion: Expansion, vacuum: Array, floor: Floor | None = None
) -> Response:
    """Evaluate a chain on the features of a batch.

    Parameters
    ----------
    chain : Chain
    expansion : Expansion
    vacuum : (elements,)
        See :func:`vacuum_energies`; subtracted from the energy of each atom.
    floor : Floor, optional
        Of a fitted potential.
    """
    basis, pairs = expansion.basis, expansion.pairs
    start, site = basis.start_values(pairs), expansion.values
    energies = np.empty(pairs.n_samples)
    gradient = {ir: np.empty_like(block) for ir, block in site.items()}
    for part, here, legs in chunks(start, site):
        energies[part], g = value_and_gradient(chain, here, legs)
        for ir, block in g.items():
            gradient[ir][..., part] = block
    element, crowd = pairs.element[pairs.sample], expansion.crowd
    energies, share, by_x = bound(energies - vacuum[element], element, floor, crowd)
    if share is not None:
        gradient = {ir: block * share for ir, block in gradient.items()}
    slopes = None if crowd is None else crowd.pull_back(by_x)
    return Response(energies, *expansion.forces_and_virial(gradient, slopes))


def bound(
    energies: Array, element: NDArray[np.int64], floor: Floor | None, crowd: Crowd | None
) -> tuple[Array, Array | None, Array]:
    """Answers of a network that are not below the floor, nor those of crowded atoms.

    Parameters
    ----------
    energies : (samples,), eV
    element : (samples,)
    floor : Floor, optional
    crowd : Crowd, optional

    Returns
    -------
    energies : (samples,), eV
    share : (samples,), optional
        Their derivatives by the answers; None where all are one.
    by_x : (samples,), eV
        Their derivatives by the crowding.
    """
    share, by_x = None, np.zeros_like(energies)
    if floor is not None:
        energies, slopes = floor.lift(energies, element)
        share = slopes if (slopes < 1).any() else None
    if crowd is not None:
        energies, by_x = crowd.blend(energies)
        share = crowd.share if share is None else crowd.share * share
    return energies, share, by_x


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
