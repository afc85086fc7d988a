"""Canonical forms of trees of cores.

On every edge stands the freedom of one matrix for each irrep.  The functions take and return cores
by the name of their node; they hold for any tensor on the tree, :class:`etn.network.Tree` keeps the
book of its center.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from etn.backend import to_numpy
from etn.errors import CoreError, IrrepsError
from etn.network.trees.topology import Edge, Topology
from etn.tensor import Core, Spectrum, Truncation, absorb, isometry_error, qr, svd
from etn.tensor.factor import thin_svd
from etn.tensor.pullback import kept
from etn.tensor.scale import unscaled

Cores = dict[Edge, Core]
"""The core of every node."""


def check_cores(tree: Topology, cores: Mapping[Edge, Core]) -> None:
    """Raise an error unless the cores have three legs each, one kind, and fit on every edge."""
    kind = cores[tree.nodes[0]].kind
    for node in tree.nodes:
        core = cores[node]
        if core.order != 3:
            raise CoreError(
                f"node {node}: a tree is made of cores with three legs "
                f"(first child, second child, upwards), got {core!r}"
            )
        if core.kind != kind:
            raise CoreError(
                f"node {node}: core of {core.kind}, node {tree.nodes[0]} of {kind}; "
                "convert with .to(backend=, dtype=, device=)"
            )
    for edge in tree.edges:
        node = tree.parent[edge]
        leg = tree.leg(node, edge)
        below, above = cores[edge].legs[2], cores[node].legs[leg]
        if below != above:
            raise IrrepsError(
                f"edge {edge}: the core below ends in {below}, leg {leg} of the core {node} above "
                f"carries {above}"
            )


def canonical(tree: Topology, cores: Mapping[Edge, Core], old: Edge | None, center: Edge) -> Cores:
    """Cores of the same tensor, all isometries towards the center but that of the center.

    Only the nodes between the old and the new center change; all of them if there was none.

    Raises
    ------
    CoreError
        If the norm is beyond the range of floating point.
    """
    moved, power = canonical_unscaled(tree, cores, old, center)
    moved[center] = moved[center].rescaled(power, "the norm of the tensor")
    return moved


def canonical_unscaled(
    tree: Topology, cores: Mapping[Edge, Core], old: Edge | None, center: Edge
) -> tuple[Cores, int]:
    """Cores around another center, and the power of two that they leave out.

    Whatever the scale of the cores, nothing on the way leaves the range of floating point.
    """
    moved, total = dict(cores), 0
    for node in tree.inward(center) if old is None else tree.path(old, center):
        total += push(tree, moved, node, tree.towards(node, center))
    return moved, total


def push(tree: Topology, cores: Cores, node: Edge, neighbor: Edge) -> int:
    """Make a core an isometry towards a neighbor, which takes the rest; in place.

    Returns
    -------
    int
        Power of two that the neighbor leaves out.
    """
    cores[node], bond = qr(cores[node], tree.leg(node, neighbor))
    bond, one = unscaled(bond)
    rest, two = cores[neighbor].unscaled()
    cores[neighbor] = absorb(rest, bond, tree.leg(neighbor, node))
    return one + two


def gauge_error(tree: Topology, cores: Mapping[Edge, Core], center: Edge) -> float:
    """Largest deviation of a core from an isometry towards the center."""
    others = (node for node in tree.nodes if node != center)
    legs = {node: tree.leg(node, tree.towards(node, center)) for node in others}
    return max((isometry_error(cores[node], leg=leg) for node, leg in legs.items()), default=0.0)


class Cut(NamedTuple):
    """Cores with what stands on an edge between them."""

    cores: Cores
    spectrum: Spectrum


def cut_at(tree: Topology, cores: Mapping[Edge, Core], edge: Edge) -> Cut:
    """Isometries towards an edge, and singular values on it, from cores canonical around the edge.

    The lower core is Q R, R = U s V^T: the core below takes U, that above takes V^T.
    """
    node, moved = tree.parent[edge], dict(cores)
    core, bond = qr(moved[edge], 2)
    factors = {ir: thin_svd(matrix, core.kind) for ir, matrix in bond.items()}
    left, right = {}, {}
    for ir, (u, s, vh) in factors.items():
        left[ir] = kept(bond[ir], u, s, vh, len(s))[0].T
        right[ir] = kept(bond[ir].T, vh.T, s, u.T, len(s))[0].T
    moved[edge] = absorb(core, left, 2)
    moved[node] = absorb(moved[node], right, tree.leg(node, edge))
    return Cut(moved, Spectrum({ir: to_numpy(s) for ir, (_, s, _) in factors.items()}))


def spectra(tree: Topology, cores: Mapping[Edge, Core]) -> dict[Edge, Spectrum]:
    """Singular values of every inner edge, from cores canonical around the root."""
    centers, found = dict(cores), {}
    for node in reversed(tree.nodes):
        for leg, child in enumerate(tree.children[node]):
            if child in centers:
                factors = svd(centers[node], leg)
                found[child] = factors.spectrum
                centers[child] = absorb(centers[child], factors.bond, 2)
    return {edge: found[edge] for edge in tree.edges}


def truncated(
    tree: Topology, cores: Mapping[Edge, Core], truncation: Truncation
) -> tuple[Cores, float]:
    """Cut every inner edge, from the leaves to the root.

    An edge is cut when all below it is finished.  Every later tensor stays within what was kept
    there, so the errors of the edges are orthogonal to each other.

    Parameters
    ----------
    tree : Topology
    cores : mapping of node to Core
        Canonical around the first node.
    truncation : Truncation

    Returns
    -------
    cores : dict of node to Core
        Canonical around the root.
    discarded : float
        Frobenius norm of all that was dropped.
    """
    kept, center, total = dict(cores), tree.nodes[0], 0.0
    for edge in tree.edges:
        kept = canonical(tree, kept, center, edge)
        center = tree.parent[edge]
        try:
            kept[edge], _, bond, discarded = svd(kept[edge], 2, truncation)
        except CoreError as error:
            raise CoreError(f"edge {edge}: {error}") from None
        kept[center] = absorb(kept[center], bond, tree.leg(center, edge))
        total = math.hypot(total, discarded)
    return kept, total
