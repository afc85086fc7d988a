"""Arithmetic of trees of cores against their dense tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network import Tree
from etn.network.trees.algebra import direct_sum, fillable_bonds, overlap, tree_of_dense
from etn.network.trees.topology import Topology, balanced
from etn.o3 import Irreps
from etn.tensor import Truncation

LEGS = ["1x0e+2x1o", "2x0e+1x1o", "1x1o+1x2e", "1x0e+1x1o"]
TOPOLOGY = Topology(((0, 2), (3, 1)))
OUT = "1x0e+1x1o"


def tree(seed, max_bond=2):
    return dict(Tree.random(TOPOLOGY, LEGS, out=OUT, max_bond=max_bond, seed=seed).items())


def dense_of(cores):
    below, beside, root = (cores[node].to_dense() for node in TOPOLOGY.nodes)
    return np.einsum("ace,dbf,efo->abcdo", below, beside, root)


def test_a_direct_sum_is_the_sum():
    one, two = tree(0), tree(1, max_bond=1)
    both = direct_sum(TOPOLOGY, one, two)
    np.testing.assert_allclose(dense_of(both), dense_of(one) + dense_of(two), rtol=0, atol=1e-14)
    assert both[0, 2].legs[2].dim == one[0, 2].legs[2].dim + two[0, 2].legs[2].dim


def test_the_overlap_is_the_dense_one():
    one, two = tree(0), tree(1)
    expected = float((dense_of(one) * dense_of(two)).sum())
    assert float(overlap(TOPOLOGY, one, two)) == pytest.approx(expected, rel=1e-12)


def test_a_dense_tensor_becomes_a_tree_of_isometries():
    dense, legs = dense_of(tree(2)), list(map(Irreps, LEGS))
    cores, discarded = tree_of_dense(
        dense, TOPOLOGY, legs, Irreps(OUT), truncation=None, tolerance=None
    )
    found = dict(zip(TOPOLOGY.nodes, cores, strict=True))
    np.testing.assert_allclose(dense_of(found), dense, rtol=0, atol=1e-13)
    assert discarded < 1e-12
    for core in cores[:-1]:
        m = core.to_dense().reshape(-1, core.legs[2].dim)
        np.testing.assert_allclose(m.T @ m, np.eye(m.shape[1]), rtol=0, atol=1e-13)
    cores, discarded = tree_of_dense(
        dense, TOPOLOGY, legs, Irreps(OUT), truncation=Truncation(max_multiplets=1), tolerance=None
    )
    error = np.linalg.norm(dense_of(dict(zip(TOPOLOGY.nodes, cores, strict=True))) - dense)
    assert discarded == pytest.approx(error, rel=1e-10)


def test_edges_carry_the_ranks_of_a_generic_equivariant_tensor():
    topology, legs = Topology(((0, 1), (2, 3))), [Irreps("1x0e+1x1o")] * 3 + [Irreps("1x1o")]
    wide = "50x0e+50x0o+50x1o+50x1e+50x2e+50x2o+50x3o"
    found = fillable_bonds(topology, legs, Irreps("1x1o"), wide)
    dense = Tree.random(topology, legs, out="1x1o", max_bond=wide, seed=0).to_dense()
    for edge in topology.edges:
        shape = [dense.shape[leaf] for leaf in edge]
        matrix = np.moveaxis(dense, edge, range(len(edge))).reshape(math.prod(shape), -1)
        assert np.linalg.matrix_rank(matrix, tol=1e-10) == found[edge].dim


def test_bonds_hold_what_both_ends_can_fill():
    tree = Tree.random(balanced(4), ["1x0e+1x2e"] * 4, max_bond=9)
    assert {str(bond) for bond in tree.bonds.values()} == {"2x0e+3x2e"}
    open_end = Tree.random(((0, 1), (2, (3, 4))), ["1x0e+1x1o"] * 5, out="1x1o", max_bond=9, seed=1)
    # A random tree as wide as it can be has no superfluous copies.
    assert open_end.truncate(Truncation(rel_tol=1e-12)).bonds == open_end.bonds
    with pytest.raises(CoreError, match=r"edge \(0, 1\): no irrep of 2x1o can be reached"):
        Tree.random(balanced(4), ["1x1o"] * 4, max_bond="2x1o")
