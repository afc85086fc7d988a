"""Arithmetic of trees of cores, on the reduced blocks.

The functions take and return cores by the name of their node; :class:`etn.network.Tree` checks the
legs and carries the results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from etn.backend import Array, is_finite, kind_of
from etn.errors import CoreError
from etn.network.chain_algebra import join, split_first_legs
from etn.network.chain_bonds import widest_bond
from etn.network.trees.recouple import rounding
from etn.network.trees.topology import Edge, Topology
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, Truncation
from etn.tensor.pair import couplings
from etn.tensor.scale import frobenius, rescaled, unscaled


def fillable_bonds(
    topology: Topology, legs: Sequence[Irreps], out: Irreps, max_bond: int | Irreps | str
) -> dict[Edge, Irreps]:
    """Irreps of every edge: the inner ones within ``max_bond``, no wider than their ends can fill.

    An edge can carry as many copies of an irrep as the other two legs of a node couple to; what
    one edge loses narrows its neighbours, so this is repeated until nothing changes.

    Raises
    ------
    CoreError
        If nothing is left of an edge.
    """
    widest = widest_bond(max_bond, (*legs, out))
    carried = dict.fromkeys(topology.edges, widest)
    carried |= {(leaf,): leg for leaf, leg in enumerate(legs)} | {topology.root: out}
    narrower = True
    while narrower:
        narrower = False
        for edge in topology.edges:
            bond = carried[edge]
            for node in (edge, topology.parent[edge]):
                room = couplings(*(carried[e] for e in topology.around(node) if e != edge))
                bond = Irreps([(min(n, room[ir]), ir) for n, ir in bond if ir in room])
            if not bond.dim:
                raise CoreError(
                    f"edge {edge}: no irrep of {widest} can be reached from both of its ends, "
                    f"from the legs {', '.join(map(str, legs))} and {out}"
                )
            narrower |= bond != carried[edge]
            carried[edge] = bond
    return carried


def direct_sum(
    topology: Topology, one: Mapping[Edge, Core], two: Mapping[Edge, Core]
) -> dict[Edge, Core]:
    """Cores of the sum of two tensors on one tree: their inner bonds are joined.

    The copies of the first come before.  Cores are block-diagonal on the inner bonds; a core with
    none is the sum of the two.
    """
    inner = set(topology.edges)
    return {
        node: join(
            one[node],
            two[node],
            [leg for leg, edge in enumerate(topology.around(node)) if edge in inner],
        )
        for node in topology.nodes
    }


def overlap(topology: Topology, one: Mapping[Edge, Core], two: Mapping[Edge, Core]) -> Array:
    """Sum over all entries of the product of two tensors on one tree, out leg included.

    The overlap of the parts below an edge is one matrix E_l[r, r'] for each irrep,

        E_l3 = sum_paths a[r1, r2, r3] E_l1[r1, r1'] E_l2[r2, r2'] a'[r1', r2', r3'],

    as the Clebsch-Gordan tensors contract to the identity; the out leg counts 2 l + 1 times.

    Returns
    -------
    array of shape ()
    """
    kind = one[topology.root].kind
    xp = kind.xp
    below: dict[Edge, dict[Irrep, Array]] = {}
    total_power = 0
    for node in topology.nodes:
        (mine, one_power), (theirs, two_power) = one[node].unscaled(), two[node].unscaled()
        inner = [(leg, below[c]) for leg, c in enumerate(topology.children[node]) if c in below]
        found: dict[Irrep, Array] = {}
        for path, block in mine:
            other = theirs.blocks.get(path)
            if other is None or any(path[leg] not in matrices for leg, matrices in inner):
                continue
            for leg, matrices in inner:
                moved = xp.tensordot(matrices[path[leg]], other, axes=([1], [leg]))
                other = xp.moveaxis(moved, 0, leg)
            term = xp.tensordot(block, other, axes=([0, 1], [0, 1]))
            found[path[2]] = found[path[2]] + term if path[2] in found else term
        below[node], power = unscaled(found)
        total_power += one_power + two_power + power
    total = kind.zeros(())
    for ir, matrix in below[topology.root].items():
        total = total + ir.dim * xp.linalg.trace(matrix)
    return rescaled({"": total}, total_power, "the inner product")[""]


def tree_of_dense(
    dense: Array,
    topology: Topology,
    legs: Sequence[Irreps],
    out: Irreps,
    *,
    truncation: Truncation | None,
    tolerance: float | None,
) -> tuple[list[Core], float]:
    """Cores of a dense equivariant tensor by one singular value decomposition an inner edge.

    Hierarchical singular value decomposition (Grasedyck, SIAM J. Matrix Anal. Appl. 31, 2029
    (2010)) from the leaves to the root, each on what the ones before have left.

    Returns
    -------
    cores : list of Core
        In the order of the nodes, canonical around the root.
    discarded : float
        Norm of all that the truncation dropped.

    Raises
    ------
    CoreError
        As :meth:`etn.network.Tree.from_dense`, which explains the parameters.
    """
    kind = kind_of(dense)
    names, shape = ", ".join(map(str, (*legs, out))), tuple(leg.dim for leg in (*legs, out))
    if tuple(dense.shape) != shape:
        raise CoreError(
            f"dense tensor: expected shape {shape} from the legs ({names}), "
            f"got {tuple(dense.shape)}"
        )
    if not is_finite(dense):
        raise CoreError("dense tensor: expected finite values, got inf or nan")
    size = frobenius([dense])
    allowed = (1e4 * kind.eps if tolerance is None else tolerance) * size
    rule = rounding(kind) if truncation is None else truncation
    axes: list[Edge] = [*((leaf,) for leaf in range(len(legs))), topology.root]
    carried = dict(zip(axes, [*legs, out], strict=True))
    cores, total = [], 0.0
    for node in topology.edges:
        first, second = topology.children[node]
        others = [edge for edge in axes if edge not in (first, second)]
        dense = _ordered(dense, axes, [first, second, *others])
        core, dense, discarded = split_first_legs(dense, carried[first], carried[second], rule)
        cores.append(core)
        carried[node], axes = core.legs[2], [node, *others]
        total = math.hypot(total, discarded)
    around = topology.around(topology.root)
    last = Core.from_dense(_ordered(dense, axes, around), [carried[edge] for edge in around])
    # All other cores are isometries of equivariant spaces: the part of the tensor that is not
    # equivariant is still whole.
    if last.residual > allowed:
        raise CoreError(
            f"dense tensor: it is not equivariant between the legs ({names}): {last.residual:.3g} "
            f"of its norm {size:.3g} is left over, at most {allowed:.1g} was expected"
        )
    return [*cores, last.core], total


def _ordered(dense: Array, axes: Sequence[Edge], wanted: Sequence[Edge]) -> Array:
    """The tensor with its axes in another order."""
    return kind_of(dense).xp.permute_dims(dense, tuple(map(axes.index, wanted)))
