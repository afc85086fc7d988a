"""Binary trees over numbered leaves: neighbours, moves and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.errors import CoreError
from etn.network.trees.topology import Topology, balanced, comb


def random_topology(n, seed):
    """Any tree over n leaves, by joining two parts at a time."""
    rng = np.random.default_rng(seed)
    parts = rng.permutation(n).tolist()
    while len(parts) > 1:
        first = parts.pop(rng.integers(len(parts)))
        second = parts.pop(rng.integers(len(parts)))
        parts.append((first, second))
    return parts[0]


def test_nodes_and_edges_by_hand():
    topology = Topology(((0, 2), (3, 1)))
    assert topology.nodes == ((0, 2), (1, 3), (0, 1, 2, 3))
    assert topology.edges == ((0, 2), (1, 3))
    assert topology.leaves == (0, 2, 3, 1)
    assert topology.around((1, 3)) == ((3,), (1,), (1, 3))
    assert topology.sibling((0, 2)) == (1, 3)
    assert topology.path((2, 0)[::-1], (1,)) == [(0, 2), (0, 1, 2, 3), (1, 3)]
    assert topology.upper_end((1, 3)) == ((0, 1, 2, 3), 1)
    assert topology.upper_end(topology.root) == (topology.root, 2)
    assert topology.swapped((1, 3)) == ((0, 2), (1, 3))
    assert topology.recoupled((0, 2)) == (0, (2, (3, 1)))
    assert topology.recoupled((1, 3)) == (((0, 2), 3), 1)


@pytest.mark.parametrize("n", range(2, 10))
def test_balanced_trees_are_low_and_combs_are_high(n):
    def depth(nested):
        return 0 if isinstance(nested, int) else 1 + max(map(depth, nested))

    assert depth(balanced(n)) == (n - 1).bit_length()
    assert depth(comb(n)) == n - 1
    assert Topology(balanced(n)).leaves == Topology(comb(n)).leaves == tuple(range(n))


@given(st.integers(2, 9), st.integers(0, 2**16))
def test_moves_of_topologies_have_inverses(n, seed):
    topology = Topology(random_topology(n, seed))
    for node in topology.nodes:
        assert topology.swapped(node).swapped(node) == topology
        assert [topology.leg(node, topology.towards(node, (leaf,))) for leaf in node] == [
            int((leaf,) == second or leaf in second)
            for _, second in [topology.children[node]]
            for leaf in node
        ]
    for edge in topology.edges:
        moved = topology.recoupled(edge)
        (new,) = set(moved.edges) - set(topology.edges)
        assert moved.leaves == topology.leaves
        assert moved.recoupled(new) == topology
    for goal in topology.nodes:
        order = topology.inward(goal)
        assert sorted([*order, goal]) == sorted(topology.nodes)
        for node in order:
            towards = topology.towards(node, goal)
            assert towards == goal or order.index(towards) > order.index(node)
            assert topology.path(node, goal)[0] == node


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Topology(((0, 1), 1)), r"expected at least two leaves 0, 1, 2, .* got 0, 1, 1"),
        (lambda: Topology(((0, 1), 3)), r"topology \(\(0, 1\), 3\): expected .* got 0, 1, 3"),
        (lambda: Topology(0), "expected at least two leaves"),
        (lambda: Topology(((0, 1, 2), 3)), r"pairs such as \(\(0, 1\), 2\), got \(0, 1, 2\)"),
        (lambda: Topology(("0", 1)), "expected leaves and pairs .* got '0'"),
    ],
)
def test_malformed_topologies(make, message):
    with pytest.raises(CoreError, match=message):
        make()
