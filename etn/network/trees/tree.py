"""Trees: equivariant tensor networks on any binary coupling tree, in mixed-canonical form.

    T[x0, x1, ..., out] = sum over bonds  prod over nodes  A[first child, second child, upwards]

Leaves carry the open legs; every node couples what stands below its two children.  A node and
the edge above it have one name, the sorted leaves below them: for the topology ((0, 1), (2, 3))
the bond ``(0, 1)`` joins the node ``(0, 1)`` to the root ``(0, 1, 2, 3)``.  The tree tracks its
orthogonality center: all other cores are isometries towards it, and the norm of the whole tensor
is the norm of the center core.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from etn.backend import Array, Kind, as_block
from etn.errors import CoreError, IrrepsError
from etn.network.chain import Chain
from etn.network.trees.algebra import direct_sum, fillable_bonds, overlap, tree_of_dense
from etn.network.trees.gauge import (
    Cores,
    canonical,
    canonical_unscaled,
    check_cores,
    cut_at,
    gauge_error,
    spectra,
    truncated,
)
from etn.network.trees.recouple import move, swap
from etn.network.trees.topology import Edge, Leaves, Nested, Topology, balanced, comb
from etn.network.vector_space import VectorSpace
from etn.network.views.inspectable import Inspectable
from etn.network.views.wiring import Wiring
from etn.o3 import Irreps
from etn.tensor import Core, Spectrum, Truncation, svd
from etn.tensor.scale import as_number


class Tree(Inspectable, VectorSpace):
    """An equivariant tensor network on a binary tree.  Immutable: methods return a new tree.

    Parameters
    ----------
    topology : nested pairs of int
        Which legs are coupled first, such as ``((0, 1), (2, (3, 4)))``.
    cores : sequence of Core, or mapping of node to Core
        Three-leg cores (first child, second child, upwards), in the order of ``topology.nodes``:
        children before parents, the first child before the second.
    center : leaves of a node, optional
        Node of the orthogonality center, if the cores are known to be canonical around it.
        Nothing is checked; see :meth:`orthogonality_error`.
    discarded_weight : float
        Norm of what truncations on the way to this tree have dropped.

    Raises
    ------
    CoreError
        If the topology is no binary tree over the leaves 0..n-1, the number of cores is not that
        of its nodes, a core has not three legs, or the cores are of different kinds.
    IrrepsError
        If the two ends of a bond do not match.

    Examples
    --------
    >>> legs = ["1x0e+2x1o", "2x0e+1x1o", "1x1o+1x2e", "1x0e+1x1o"]
    >>> tree = Tree.random(((0, 1), (2, 3)), legs, max_bond=2, seed=0).canonicalize((0, 1))
    >>> tree
    Tree(((0, 1), (2, 3)), bonds (0, 1): 1x0e+2x1o+2x2e | (2, 3): 1x0e+2x1o+2x2e, \
36 parameters, center (0, 1))
    >>> bool(abs(tree.norm() - np.linalg.norm(tree.to_dense())) < 1e-12)
    True
    >>> tree.recouple((0, 1)).topology
    (0, (1, (2, 3)))
    """

    __slots__ = ("center", "cores", "discarded_weight", "topology")

    topology: Topology
    cores: tuple[Core, ...]
    center: Edge | None
    discarded_weight: float

    def __init__(
        self,
        topology: Nested | Topology,
        cores: Sequence[Core] | Mapping[Edge, Core],
        *,
        center: Leaves | None = None,
        discarded_weight: float = 0.0,
    ) -> None:
        self.topology = tree = Topology(topology)
        if isinstance(cores, Mapping):
            cores = [cores[node] for node in tree.nodes]
        self.cores = tuple(cores)
        self.discarded_weight = discarded_weight
        if len(self.cores) != len(tree.nodes):
            raise CoreError(
                f"topology {tree}: expected {len(tree.nodes)} cores, one for each of the nodes "
                f"{', '.join(map(str, tree.nodes))}, got {len(self.cores)}"
            )
        check_cores(tree, self._by_node())
        self.center = center if center is None else tree.node(center)

    @classmethod
    def random(
        cls,
        topology: Nested | Topology,
        legs: Sequence[Irreps | str],
        *,
        out: Irreps | str = "0e",
        max_bond: int | Irreps | str = 4,
        seed: int | np.random.Generator = 0,
    ) -> Tree:
        """Tree of Gaussian cores.

        Parameters
        ----------
        topology : nested pairs of int
        legs : sequence of Irreps
            What the leaves 0, 1, 2, ... carry.
        out : Irreps
            What the leg above the root carries.
        max_bond : int or Irreps
            Multiplicity of every irrep on the inner bonds: one number for all irreps that
            occur on the legs, or the irreps of a bond with their multiplicities.  Irreps that
            a bond cannot carry are left out, multiplicities that it cannot fill are lowered.
        seed : int or numpy Generator
        """
        tree = Topology(topology)
        open_legs, last = _open_legs(tree, legs, out)
        carried = fillable_bonds(tree, open_legs, last, max_bond)
        rng = np.random.default_rng(seed)
        return cls(
            tree,
            [Core.random([carried[e] for e in tree.around(node)], seed=rng) for node in tree.nodes],
        )

    @classmethod
    def from_dense(
        cls,
        dense: Array,
        topology: Nested | Topology,
        legs: Sequence[Irreps | str],
        *,
        out: Irreps | str = "0e",
        truncation: Truncation | None = None,
        tolerance: float | None = None,
    ) -> Tree:
        """Tree of a dense equivariant tensor, by one singular value decomposition a bond.

        Parameters
        ----------
        dense : array of shape (legs[0].dim, legs[1].dim, ..., out.dim)
        topology : nested pairs of int
        legs : sequence of Irreps
            What the leaves 0, 1, 2, ... carry.
        out : Irreps
        truncation : Truncation, optional
            By default only singular values at the level of rounding are dropped.
        tolerance : float, optional
            How much of the norm may be lost to parts that are not equivariant; 1e4 times the
            rounding unit by default.

        Raises
        ------
        CoreError
            If the shape is not that of the legs, a value is not finite, or the tensor is not
            equivariant; the residual is reported.
        """
        dense, tree = as_block(dense), Topology(topology)
        open_legs, last = _open_legs(tree, legs, out)
        cores, discarded = tree_of_dense(
            dense, tree, open_legs, last, truncation=truncation, tolerance=tolerance
        )
        return cls(tree, cores, center=tree.root, discarded_weight=discarded)

    @classmethod
    def from_chain(cls, chain: Chain) -> Tree:
        """The chain as a tree: its start is leaf 0, its sites are the leaves 1, 2, ... in order."""
        tree = Topology(comb(len(chain) + 1))
        center = None if chain.center is None else tree.nodes[chain.center]
        return cls(tree, chain.cores, center=center, discarded_weight=chain.discarded_weight)

    def to_chain(self) -> Chain:
        """The tree as a chain that starts with leaf 0.

        Raises
        ------
        CoreError
            If the leaves are not coupled one after the other.
        """
        wanted = comb(len(self.legs))
        if self.topology.nested != wanted:
            raise CoreError(
                f"a chain needs the topology {wanted}, got {self.topology}; "
                "bring the tree there with .reshape(Tree.comb(n))"
            )
        center = None if self.center is None else self.topology.nodes.index(self.center)
        return Chain(self.cores, center=center, discarded_weight=self.discarded_weight)

    balanced = staticmethod(balanced)
    comb = staticmethod(comb)

    def __len__(self) -> int:
        return len(self.cores)

    def __iter__(self) -> Iterator[Core]:
        return iter(self.cores)

    def __getitem__(self, node: Leaves) -> Core:
        return self.cores[self.topology.nodes.index(self.topology.node(node))]

    def items(self) -> Iterator[tuple[Edge, Core]]:
        """Nodes with their cores, children before parents."""
        return zip(self.topology.nodes, self.cores, strict=True)

    @property
    def kind(self) -> Kind:
        """Library, precision and device of the blocks."""
        return self.cores[0].kind

    @property
    def legs(self) -> tuple[Irreps, ...]:
        """What the leaves 0, 1, 2, ... carry."""
        return tuple(self.bond(leaf) for leaf in range(len(self) + 1))

    @property
    def out(self) -> Irreps:
        """What the leg above the root carries."""
        return self.cores[-1].legs[2]

    @property
    def bonds(self) -> dict[Edge, Irreps]:
        """What each inner edge carries."""
        return {edge: self.bond(edge) for edge in self.topology.edges}

    def bond(self, edge: Leaves) -> Irreps:
        """What an edge carries; leaves and the leg above the root are edges too."""
        node, leg = self.topology.upper_end(self.topology.edge(edge))
        return self[node].legs[leg]

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of all cores."""
        return sum(core.n_parameters for core in self.cores)

    def _by_node(self) -> Cores:
        return dict(self.items())

    def _with(self, cores: Mapping[Edge, Core], center: Edge | None) -> Tree:
        return Tree(self.topology, cores, center=center, discarded_weight=self.discarded_weight)

    def replace(self, node: Leaves, core: Core) -> Tree:
        """Tree with another core at a node; the other cores are those of this tree.

        The center is kept if it lies at this node, else it is no longer known.
        """
        node = self.topology.node(node)
        return self._with(self._by_node() | {node: core}, node if self.center == node else None)

    def to(
        self, backend: str | None = None, *, dtype: str | None = None, device: str | None = None
    ) -> Tree:
        """The same tree in another library, precision or place; see :meth:`Core.to`."""
        cores = {node: core.to(backend, dtype=dtype, device=device) for node, core in self.items()}
        return self._with(cores, self.center)

    def canonicalize(self, center: Leaves) -> Tree:
        """The same tensor in mixed-canonical form around a node.

        Only the cores between the old and the new center are factorised.

        Raises
        ------
        CoreError
            If there is no such node.
        """
        center = self.topology.node(center)
        return self._with(canonical(self.topology, self._by_node(), self.center, center), center)

    def canonicalize_edge(self, edge: Leaves) -> EdgeForm:
        """The same tensor as isometries towards an inner edge, with singular values on it.

        Raises
        ------
        CoreError
            If there is no such edge between two nodes.

        Examples
        --------
        >>> tree = Tree.random(((0, 1), 2), ["2x0e+1x1o"] * 3, seed=0)
        >>> form = tree.canonicalize_edge((0, 1))
        >>> form.spectrum.irreps == form.tree.bond((0, 1))
        True
        """
        edge = self.topology.inner_edge(edge)
        cores, spectrum = cut_at(self.topology, self.canonicalize(edge)._by_node(), edge)
        return EdgeForm(self._with(cores, None), spectrum)

    def orthogonality_error(self) -> float:
        """Largest entry of (isometry condition - identity) over all cores off the center."""
        if self.center is None:
            raise CoreError("the tree has no center: canonicalize(center) it first")
        return gauge_error(self.topology, self._by_node(), self.center)

    def norm(self) -> float:
        """Frobenius norm of the dense tensor, out leg included.

        Raises
        ------
        CoreError
            If it is beyond the range of floating point; see :meth:`log_norm`.
        """
        center = self.topology.root if self.center is None else self.center
        return self.canonicalize(center)[center].norm()

    def log_norm(self) -> float:
        """Natural logarithm of the norm, also where that is no number; -inf for zero."""
        center = self.center or self.topology.root
        cores, power = canonical_unscaled(self.topology, self._by_node(), self.center, center)
        core, more = cores[center].unscaled()
        norm = core.norm()
        return math.log(norm) + (power + more) * math.log(2) if norm else -math.inf

    def normalize(self) -> Tree:
        """The tensor divided by its norm; canonical around :attr:`center` or the root.

        Raises
        ------
        CoreError
            If the tensor is zero.
        """
        center = self.center or self.topology.root
        cores, _ = canonical_unscaled(self.topology, self._by_node(), self.center, center)
        core, _ = cores[center].unscaled()
        norm = core.norm()
        if not norm:
            raise CoreError("normalize: expected a tensor with a norm, got one that is zero")
        return Tree(self.topology, cores | {center: core.scale(1 / norm)}, center=center)

    def singular_values(self, edge: Leaves) -> Spectrum:
        """Singular values of the tensor between the leaves below an edge and all other legs.

        Raises
        ------
        CoreError
            If there is no such edge; leaves and the leg above the root are edges too.
        """
        node, leg = self.topology.upper_end(self.topology.edge(edge))
        return svd(self.canonicalize(node)[node], leg).spectrum

    def spectra(self) -> dict[Edge, Spectrum]:
        """Singular values of every inner edge."""
        return spectra(self.topology, self.canonicalize(self.topology.root)._by_node())

    def entropy(self, edge: Leaves) -> float:
        """Entanglement entropy of an edge, natural logarithm; see :meth:`Spectrum.entropy`."""
        node, leg = self.topology.upper_end(self.topology.edge(edge))
        cores, _ = canonical_unscaled(self.topology, self._by_node(), self.center, node)
        return svd(cores[node], leg).spectrum.entropy()

    def truncate(self, truncation: Truncation) -> Tree:
        """Cut every inner bond, from the leaves to the root.

        The errors of the bonds are orthogonal to each other, so the Frobenius norm of the whole
        error is :attr:`discarded_weight` of the result (if that of this tree was zero), at most
        sqrt(bonds) times the tolerance of the rule.

        Returns
        -------
        Tree
            With its center where that of this tree is, else at the root.

        Raises
        ------
        CoreError
            If the rule leaves nothing of a bond.

        Examples
        --------
        >>> tree = Tree.random(((0, 1), (2, 3)), ["2x0e+2x1o"] * 4, seed=0)
        >>> small = tree.truncate(Truncation(max_multiplets=3))
        >>> error = np.linalg.norm(tree.to_dense() - small.to_dense())
        >>> bool(abs(small.discarded_weight / error - 1) < 1e-12)
        True
        """
        first = self.canonicalize(self.topology.nodes[0])
        cores, dropped = truncated(self.topology, first._by_node(), truncation)
        discarded = math.hypot(self.discarded_weight, dropped)
        tree = Tree(self.topology, cores, center=self.topology.root, discarded_weight=discarded)
        return tree.canonicalize(self.center or self.topology.root)

    def swap(self, node: Leaves) -> Tree:
        """Exchange the children of a node: (a, b) becomes (b, a), the tensor stays.

        Raises
        ------
        CoreError
            If there is no such node.
        """
        node = self.topology.node(node)
        return Tree(
            self.topology.swapped(node),
            self._by_node() | {node: swap(self[node])},
            center=self.center,
            discarded_weight=self.discarded_weight,
        )

    def recouple(self, edge: Leaves, truncation: Truncation | None = None) -> Tree:
        """Replace an inner edge: ((a, b), c) becomes (a, (b, c)), or the other way round.

        The edge above (a, b) gives way to that above (b, c), by a 6j symbol on the reduced blocks
        and singular values on the new edge; recoupling this one is the inverse move.  For
        ((a, b), c) -> ((a, c), b), :meth:`swap` the node (a, b) first.

        Parameters
        ----------
        edge : leaves below the edge that gives way
        truncation : Truncation, optional
            What to keep of the new edge.  By default the move is exact: only numerically zero
            singular values are dropped, 64 rounding units (1.4e-14) of the norm altogether.

        Returns
        -------
        Tree
            With its center at the node above.

        Raises
        ------
        CoreError
            If there is no such edge between two nodes, or the rule leaves nothing of the new one.

        Examples
        --------
        >>> tree = Tree.random(((0, 1), 2), ["2x0e+1x1o"] * 3, seed=0)
        >>> moved = tree.recouple((0, 1))
        >>> moved.topology, bool(abs(moved.to_dense() - tree.to_dense()).max() < 1e-14)
        ((0, (1, 2)), True)
        >>> moved.recouple((1, 2)).bonds == tree.bonds
        True
        """
        edge = self.topology.inner_edge(edge)
        node, leg = self.topology.upper_end(edge)
        cores = self.canonicalize(node)._by_node()
        topology = self.topology.recoupled(edge)
        new = topology.children[node][1 - leg]
        try:
            moved = move(cores.pop(edge), cores.pop(node), truncation, leg=leg)
        except CoreError as error:
            raise CoreError(f"edge {new}: {error}") from None
        cores |= {new: moved.lower, node: moved.upper}
        discarded = math.hypot(self.discarded_weight, moved.discarded)
        return Tree(topology, cores, center=node, discarded_weight=discarded)

    def reshape(self, topology: Nested | Topology) -> Tree:
        """The same tensor on another tree over the same leaves, by exact moves.

        Node by node from the leaves to the root, the two children of the wanted node are brought
        together: by :meth:`recouple`, what stands between them is lifted out one after the other.

        Raises
        ------
        CoreError
            If the topology has other leaves.

        Examples
        --------
        >>> tree = Tree.random(((0, 1), (2, 3)), ["1x0e+1x1o"] * 4, seed=0)
        >>> moved = tree.reshape(((0, 2), (3, 1)))
        >>> moved.topology, bool(abs(moved.to_dense() - tree.to_dense()).max() < 1e-14)
        (((0, 2), (3, 1)), True)
        """
        wanted = Topology(topology)
        if wanted.root != self.topology.root:
            raise CoreError(
                f"expected a topology of the leaves {self.topology.root}, "
                f"got {wanted} of {wanted.root}"
            )
        tree = self
        for node in wanted.nodes:
            first, second = wanted.children[node]
            while not set(second) <= set(tree.topology.parent[first]):
                tree = tree._lift(first)
            # Now the sibling of the first holds the second; what else it holds goes up.
            while (sibling := tree.topology.sibling(first)) != second:
                one, two = tree.topology.children[sibling]
                tree = tree._lift(one if set(second) <= set(two) else two)
            if tree.topology.children[node] != (first, second):
                tree = tree.swap(node)
        return tree

    def _lift(self, edge: Edge) -> Tree:
        """Move what is below an edge one node up: ((a, b), c) becomes (a, (b, c))."""
        node, leg = self.topology.upper_end(edge)
        # The outer of the two children is the one that comes out.
        outer = self if leg == self.topology.upper_end(node)[1] else self.swap(node)
        return outer.recouple(node)

    def inner(self, other: Tree) -> Array:
        """Sum over all entries of the product of two tensors, as an array of shape ().

        Raises
        ------
        CoreError
            If the topologies or the kinds of the trees differ.
        IrrepsError
            If an open leg differs.
        """
        self._check_same_legs(other)
        return overlap(self.topology, self._by_node(), other._by_node())

    def __add__(self, other: Tree) -> Tree:
        self._check_same_legs(other)
        return Tree(self.topology, direct_sum(self.topology, self._by_node(), other._by_node()))

    def __mul__(self, factor: float) -> Tree:
        scaled = abs(as_number(factor, "a tree times a number")) * self.discarded_weight
        node = self.center or self.topology.root
        cores = self._by_node() | {node: self[node].scale(factor)}
        return Tree(self.topology, cores, center=self.center, discarded_weight=scaled)

    def _check_same_legs(self, other: Tree) -> None:
        if not isinstance(other, Tree):
            raise CoreError(f"expected a tree, got {other!r}")
        if self.topology != other.topology:
            raise CoreError(
                f"expected trees of one topology, got {self.topology} and {other.topology}; "
                "bring one to the other with .reshape(topology)"
            )
        names = [*(f"leg {leaf}" for leaf in range(len(self.legs))), "out"]
        pairs = zip((*self.legs, self.out), (*other.legs, other.out), strict=True)
        for name, (one, two) in zip(names, pairs, strict=True):
            if one != two:
                raise IrrepsError(f"{name}: the trees carry {one} and {two}")
        if self.kind != other.kind:
            raise CoreError(f"expected trees of one kind, got {self.kind} and {other.kind}")

    def to_dense(self) -> Array:
        """Dense tensor of shape (legs[0].dim, legs[1].dim, ..., out.dim)."""
        return self.wiring().dense([*(f"x{leaf}" for leaf in range(len(self.legs))), "out"])

    def wiring(self) -> Wiring:
        """Cores and the names of their legs: ``x0``, ``x1``, ... for leaves, ``b0_1``, ``out``."""
        names: dict[Edge, str] = {(leaf,): f"x{leaf}" for leaf in self.topology.root}
        names |= {edge: "b" + "_".join(map(str, edge)) for edge in self.topology.edges}
        names[self.topology.root] = "out"
        labels = [[names[edge] for edge in self.topology.around(node)] for node, _ in self.items()]
        return Wiring(self.cores, labels)

    def __repr__(self) -> str:
        bonds = " | ".join(f"{edge}: {bond}" for edge, bond in self.bonds.items()) or "none"
        center = "not canonical" if self.center is None else f"center {self.center}"
        kind = "" if self.kind == Kind() else f", {self.kind}"
        return (
            f"Tree({self.topology}, bonds {bonds}, {self.n_parameters} parameters, {center}{kind})"
        )


class EdgeForm(NamedTuple):
    """A tensor cut at an edge of its tree.

    Attributes
    ----------
    tree : Tree
        All cores are isometries towards the edge: with the singular values on that edge it is the
        tensor, without them it is not.
    spectrum : Spectrum
    """

    tree: Tree
    spectrum: Spectrum


def _open_legs(
    topology: Topology, legs: Sequence[Irreps | str], out: Irreps | str
) -> tuple[list[Irreps], Irreps]:
    if len(legs) != len(topology.root):
        raise CoreError(
            f"topology {topology}: expected the irreps of {len(topology.root)} legs, "
            f"got {len(legs)}"
        )
    return [Irreps(leg) for leg in legs], Irreps(out)
