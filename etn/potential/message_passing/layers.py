"""The chains of a two-layer potential, and what they answer for a batch of atoms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.errors import CoreError
from etn.network import Blocks, Chain
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.network.values import left_values, pull_back
from etn.o3 import Irrep, Irreps
from etn.potential.features.basis import Basis
from etn.potential.features.expansion import Expansion
from etn.potential.features.floor import Floor
from etn.potential.message_passing.edges import Edges, Sources
from etn.potential.message_passing.message import SCALAR, MessageCoupling, Messages
from etn.potential.response import Response, bound


@dataclass(frozen=True)
class Layers:
    """The chains of both layers; the energy is linear in every core of each of them.

    Attributes
    ----------
    readout : Chain
        Second layer: all sites read the leg of the basis, the last one messages as well.
    value : Chain
        First layer: its last bond carries the outputs u.
    query, key : Chain or None
        First layer: their last bonds carry q and k of the attention.
    """

    readout: Chain
    value: Chain
    query: Chain | None = None
    key: Chain | None = None

    def chains(self) -> dict[str, Chain]:
        """The chains that there are, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: chain for name, chain in found.items() if chain is not None}

    def replace(self, name: str, chain: Chain) -> Layers:
        """The same layers with another chain under this name."""
        return replace(self, **{name: chain})

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Headers of the chains by name, and arrays, for a file."""
        headers: dict[str, Any] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for name, chain in self.chains().items():
            headers[name], more = chain_to_arrays(chain, name=name)
            arrays |= more
        return headers, arrays

    @classmethod
    def from_arrays(cls, headers: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Layers:
        """Inverse of :meth:`to_arrays`; arrays of other names are ignored."""
        found = {name: chain_from_arrays(h, arrays, name=name) for name, h in headers.items()}
        return cls(**found)

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of all chains."""
        return sum(chain.n_parameters for chain in self.chains().values())

    def norm(self) -> float:
        """Root of the summed squared norms of the chains."""
        return math.hypot(*(chain.norm() for chain in self.chains().values()))

    def check(self, basis: Basis, messages: Messages, coupling: MessageCoupling) -> None:
        """Check that the chains read what basis and messages offer.

        Raises
        ------
        CoreError
            If a chain starts with, reads or ends in other irreps.
        """
        plain, wide = basis.leg, wide_leg(basis, coupling)
        ends = {"readout": Irreps("0e"), "value": Irreps(messages.outputs)}
        if messages.attention is not None:
            ends |= {"query": messages.score, "key": messages.score}
        chains = self.chains()
        if chains.keys() != ends.keys():
            raise CoreError(f"layers: expected {', '.join(ends)}, got {', '.join(chains)}")
        for name, chain in chains.items():
            legs = [plain] * len(chain)
            if name == "readout":
                legs[-1] = wide
            places = ["start", *(f"site {site}" for site in range(len(legs))), "out"]
            expected = basis.start, *legs, ends[name]
            got = chain.start, *chain.sites, chain.out
            for place, one, two in zip(places, expected, got, strict=True):
                if one != two:
                    raise CoreError(f"{name}: expected {place} {one}, got {two}")


def wide_leg(basis: Basis, coupling: MessageCoupling) -> Irreps:
    """Leg of the last site of the readout: for each irrep features, then messages."""
    return (basis.leg + coupling.leg).regroup()


def widen(site: Blocks, messages: Blocks, *, axis: int) -> Blocks:
    """Features and messages side by side, copies along an axis."""
    return {
        ir: np.concatenate([part[ir] for part in (site, messages) if ir in part], axis=axis)
        for ir in sorted({*site, *messages})
    }


def flatten(blocks: Blocks, irreps: Irreps, n_atoms: int) -> Array:
    """{ir: (multiplicity, 2 l + 1, samples)} of the first samples as (atoms, dim)."""
    parts = [blocks[ir].reshape(-1, blocks[ir].shape[-1])[:, :n_atoms].T for ir in irreps.unique]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def unflatten(flat: Array, irreps: Irreps) -> Blocks:
    """Inverse of :func:`flatten`."""
    out, at = {}, 0
    for ir in irreps.unique:
        size = irreps.count(ir) * ir.dim
        block = flat[:, at : at + size].T.reshape(-1, ir.dim, len(flat))
        out[ir] = np.ascontiguousarray(block)
        at += size
    return out


def sources_of(layers: Layers, values: dict[str, Array], n_atoms: int, *rows: int) -> Sources:
    """Sources from the flat outputs of the chains; without attention q and k are constant."""
    # The derivative of a constant is zero.
    constant = np.zeros((n_atoms, *rows, 1)) if rows else np.ones((n_atoms, 1))
    return Sources(*(values.get(name, constant) for name in Sources._fields))


def respond(
    layers: Layers,
    coupling: MessageCoupling,
    expansion: Expansion,
    edges: Edges,
    vacuum: Array,
    floor: Floor | None = None,
) -> Response:
    """Energies, forces and strain derivatives of a batch of whole frames, in reverse mode.

    Parameters
    ----------
    layers : Layers
    coupling : MessageCoupling
    expansion : Expansion
    edges : Edges
        Of the same pairs.
    vacuum : (elements,)
        See :func:`vacuum_energies`; subtracted from the energy of each atom.
    floor : Floor, optional
        Of a fitted potential.
    """
    basis, pairs = expansion.basis, expansion.pairs
    start, site, n_atoms = basis.start_values(pairs), expansion.values, pairs.n_atoms
    senders = {name: c for name, c in layers.chains().items() if name != "readout"}
    lefts = {name: left_values(c, start, [site] * len(c)) for name, c in senders.items()}
    flat = {name: flatten(lefts[name][-1], c.out, n_atoms) for name, c in senders.items()}
    crowd = expansion.crowd
    # An atom that is more crowded than any in the data has nothing to say either.
    loud = np.ones(n_atoms) if crowd is None else crowd.share
    told = {name: loud[:, None] * value for name, value in flat.items()}
    sources = sources_of(layers, told, n_atoms)
    messages = coupling.couple(edges.message(sources))
    inward = {ir: block.transpose(1, 2, 0) for ir, block in messages.items()}
    readout = layers.readout
    legs = [site] * (len(readout) - 1) + [widen(site, inward, axis=0)]
    values = left_values(readout, start, legs)
    element = pairs.element[pairs.sample]
    answers = values[-1][SCALAR][0, 0] - vacuum[element]
    energies, share, by_x = bound(answers, element, floor, crowd)
    end = {SCALAR: np.ones((1, 1, n_atoms)) if share is None else share[None, None]}
    parts = pull_back(readout, values, legs, end)
    outward = {ir: parts[-1][ir][basis.leg.count(ir) :].transpose(2, 0, 1) for ir in messages}
    gradient = coupling.uncouple(outward)
    pulled = edges.pull_back(sources, gradient)._asdict()
    for name, chain in senders.items():
        if crowd is not None:
            by_x += crowd.share_slope * np.sum(pulled[name] * flat[name], axis=1)
        end = unflatten(loud[:, None] * pulled[name], chain.out)
        parts += pull_back(chain, lefts[name], [site] * len(chain), end)
    total = {ir: sum(part[ir][: len(site[ir])] for part in parts) for ir in site}
    slopes = None if crowd is None else crowd.pull_back(by_x)
    forces, strain = expansion.forces_and_virial(total, slopes)
    more_forces, more_strain = edges.forces_and_strain(sources, gradient)
    return Response(energies, forces + more_forces, strain + more_strain)


def vacuum_energies(layers: Layers, coupling: MessageCoupling, basis: Basis) -> Array:
    """Value of the readout for an atom of each element that has no neighbours: no messages."""
    start, site = basis.vacuum()
    silent = no_messages(coupling, next(iter(start.values())).shape[-1])
    legs = [site] * (len(layers.readout) - 1) + [widen(site, silent, axis=0)]
    return left_values(layers.readout, start, legs)[-1][SCALAR][0, 0]


def no_messages(coupling: MessageCoupling, n_samples: int) -> dict[Irrep, Array]:
    """Messages of atoms that hear nobody."""
    leg = coupling.leg
    return {ir: np.zeros((leg.count(ir), ir.dim, n_samples)) for ir in leg.unique}
