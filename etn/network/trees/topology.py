"""Binary coupling trees without their cores: which legs are coupled first.

A topology is written as nested pairs, ``((0, 1), (2, 3))``: leaves are the numbers of the open
legs, a pair is a node that couples what stands in it.  An edge is named by the sorted leaves below
it, so a name outlives a change of the tree elsewhere; a node has the name of the edge above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from etn.errors import CoreError

Edge = tuple[int, ...]
"""The leaves below an edge, sorted."""

Nested: TypeAlias = "int | Sequence[Nested]"
"""A leaf, or a pair of two of these."""

Leaves: TypeAlias = "int | Iterable[int]"
"""Names an edge or a node by what is below it, in any order."""


def balanced(n: int) -> Nested:
    """Topology of n leaves with halves of equal size, the second one larger if they cannot be.

    Raises
    ------
    CoreError
        If there are fewer than two leaves.

    Examples
    --------
    >>> balanced(5)
    ((0, 1), (2, (3, 4)))
    """
    return _halves(range(_at_least_two(n)))


def comb(n: int) -> Nested:
    """Topology of n leaves that are coupled one after the other, as in a chain.

    Raises
    ------
    CoreError
        If there are fewer than two leaves.

    Examples
    --------
    >>> comb(4)
    (((0, 1), 2), 3)
    """
    nested: Nested = 0
    for leaf in range(1, _at_least_two(n)):
        nested = (nested, leaf)
    return nested


def _at_least_two(n: int) -> int:
    if n < 2:
        raise CoreError(f"a tree has at least two leaves, got {n}")
    return n


def _halves(leaves: range) -> Nested:
    middle = len(leaves) // 2
    return (_halves(leaves[:middle]), _halves(leaves[middle:])) if middle else leaves[0]


class Topology:
    """A binary tree over the leaves 0..n-1, equal to the nested tuples that it is written as.

    Parameters
    ----------
    nested : nested pairs of int, or Topology
        Lists do as well as tuples.

    Attributes
    ----------
    nested : nested tuples of int
    nodes : tuple of Edge
        Every node, children before parents and the first child before the second; the root is
        the last one.
    children : dict of Edge to (Edge, Edge)
        What each node couples.
    parent : dict of Edge to Edge
        The node above each edge but that of the root.

    Raises
    ------
    CoreError
        If a node has not two children, or the leaves are not 0..n-1, each of them once.

    Examples
    --------
    >>> topology = Topology(((0, 2), (1, 3)))
    >>> topology.nodes
    ((0, 2), (1, 3), (0, 1, 2, 3))
    >>> topology.parent[0, 2], topology.leaves
    ((0, 1, 2, 3), (0, 2, 1, 3))
    >>> topology.swapped((1, 3)) == ((0, 2), (3, 1))
    True
    """

    __slots__ = ("_below", "children", "nested", "nodes", "parent")

    nested: Nested
    nodes: tuple[Edge, ...]
    children: dict[Edge, tuple[Edge, Edge]]
    parent: dict[Edge, Edge]

    def __init__(self, nested: Nested | Topology) -> None:
        given = nested.nested if isinstance(nested, Topology) else nested
        found = sorted(_leaves(given, given))
        if found != list(range(len(found))) or len(found) < 2:
            raise CoreError(
                f"topology {given}: expected at least two leaves 0, 1, 2, ..., each of them once, "
                f"got {', '.join(map(str, found))}"
            )
        self.children, self.parent = {}, {}
        self._below: dict[Edge, Nested] = {}
        self.nested = self._below[self._add(given)]
        self.nodes = tuple(self.children)

    def _add(self, nested: Nested) -> Edge:
        if isinstance(nested, int | np.integer):
            leaf = int(nested)
            self._below[leaf,] = leaf
            return (leaf,)
        first, second = map(self._add, nested)
        node = tuple(sorted(first + second))
        self.children[node] = (first, second)
        self.parent[first] = self.parent[second] = node
        self._below[node] = (self._below[first], self._below[second])
        return node

    @property
    def root(self) -> Edge:
        """The node that couples all leaves."""
        return self.nodes[-1]

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The inner edges, from the leaves to the root."""
        return self.nodes[:-1]

    @property
    def leaves(self) -> tuple[int, ...]:
        """The leaves in the order in which they are written."""
        return tuple(_leaves(self.nested, self.nested))

    def around(self, node: Edge) -> tuple[Edge, Edge, Edge]:
        """Edges of a node: to its first child, to its second child and upwards."""
        return (*self.children[node], node)

    def sibling(self, edge: Edge) -> Edge:
        """The other child of the node above an edge."""
        first, second = self.children[self.parent[edge]]
        return second if edge == first else first

    def towards(self, node: Edge, goal: Edge) -> Edge:
        """The neighbour of a node on the way to another node or leaf."""
        if not set(goal) <= set(node):
            return self.parent[node]
        first, second = self.children[node]
        return first if goal[0] in first else second

    def path(self, start: Edge, goal: Edge) -> list[Edge]:
        """Nodes from one to another, the last one left out."""
        nodes = []
        while start != goal:
            nodes.append(start)
            start = self.towards(start, goal)
        return nodes

    def inward(self, goal: Edge) -> list[Edge]:
        """Every node but one, each before the neighbour on its way to that one."""
        above = {node for node in self.nodes if set(goal) <= set(node)}
        rising = [node for node in self.nodes if node not in above]
        falling = [node for node in reversed(self.nodes) if node in above and node != goal]
        return rising + falling

    def leg(self, node: Edge, neighbour: Edge) -> int:
        """Which leg of a node leads to a neighbouring node or leaf: 0, 1, or 2 upwards."""
        return 2 if self.parent.get(node) == neighbour else self.children[node].index(neighbour)

    def upper_end(self, edge: Edge) -> tuple[Edge, int]:
        """The node at the upper end of an edge, and which of its legs the edge is.

        The edge above the root has its node for its one end.
        """
        node = self.parent.get(edge, self.root)
        return node, self.around(node).index(edge)

    def swapped(self, node: Edge) -> Topology:
        """The children of a node in the other order."""
        first, second = self.children[node]
        return self._with(node, (self._below[second], self._below[first]))

    def recoupled(self, edge: Edge) -> Topology:
        """((a, b), c) becomes (a, (b, c)) and back, where the edge is that above the inner pair."""
        node = self.parent[edge]
        first, second = self.children[node]
        inner = [self._below[child] for child in self.children[edge]]
        if edge == first:
            return self._with(node, (inner[0], (inner[1], self._below[second])))
        return self._with(node, ((self._below[first], inner[0]), inner[1]))

    def _with(self, node: Edge, nested: Nested) -> Topology:
        """The topology with something else over the leaves of a node."""
        while node in self.parent:
            below, node = node, self.parent[node]
            first, second = self.children[node]
            nested = (
                (nested, self._below[second]) if below == first else (self._below[first], nested)
            )
        return Topology(nested)

    def node(self, leaves: Leaves) -> Edge:
        """The node that couples these leaves, in whatever order they are named.

        Raises
        ------
        CoreError
            If there is none; so do the other two.
        """
        return self._find(leaves, self.nodes, "node couples")

    def edge(self, leaves: Leaves) -> Edge:
        """The edge above these leaves, open legs included."""
        return self._find(leaves, tuple(self._below), "edge lies above")

    def inner_edge(self, leaves: Leaves) -> Edge:
        """The edge between two nodes above these leaves."""
        return self._find(leaves, self.edges, "inner edge lies above")

    def _find(self, leaves: Leaves, among: Sequence[Edge], what: str) -> Edge:
        edge = (int(leaves),) if isinstance(leaves, int | np.integer) else tuple(sorted(leaves))
        if edge not in among:
            expected = f"one of {', '.join(map(str, among))}" if among else "there is none"
            raise CoreError(f"topology {self}: no {what} the leaves {edge}; expected {expected}")
        return edge

    def __eq__(self, other: object) -> bool:
        return self.nested == (other.nested if isinstance(other, Topology) else other)

    def __hash__(self) -> int:
        return hash(self.nested)

    def __repr__(self) -> str:
        return str(self.nested)


def _leaves(nested: Nested, whole: Nested) -> Iterator[int]:
    if isinstance(nested, int | np.integer) and not isinstance(nested, bool):
        yield int(nested)
    elif isinstance(nested, tuple | list) and len(nested) == 2:
        for child in nested:
            yield from _leaves(child, whole)
    else:
        raise CoreError(
            f"topology {whole}: expected leaves and pairs such as ((0, 1), 2), got {nested!r}"
        )
