"""Canonical forms of trees of cores against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError
from etn.network import Tree
from etn.network.trees.gauge import (
    canonical,
    check_cores,
    cut_at,
    gauge_error,
    push,
    spectra,
    truncated,
)
from etn.network.trees.topology import Topology
from etn.tensor import Core, Truncation

LEGS = ["1x0e+2x1o", "2x0e+1x1o", "1x1o+1x2e", "1x0e+1x1o"]
TOPOLOGY = Topology(((0, 1), (2, 3)))


@pytest.fixture
def cores():
    tree = Tree.random(TOPOLOGY, LEGS, out="1x0e+1x1o", max_bond=2, seed=0)
    return dict(tree.items())


def dense_of(cores):
    below, beside, root = (cores[node].to_dense() for node in TOPOLOGY.nodes)
    return np.einsum("abe,cdf,efo->abcdo", below, beside, root)


def gram(core, leg):
    m = np.moveaxis(core.to_dense(), leg, -1).reshape(-1, core.legs[leg].dim)
    return m.T @ m


@pytest.mark.parametrize("center", TOPOLOGY.nodes, ids=str)
def test_all_but_the_center_are_isometries_towards_it(cores, center):
    moved = canonical(TOPOLOGY, cores, None, center)
    np.testing.assert_allclose(dense_of(moved), dense_of(cores), rtol=0, atol=1e-13)
    for node in TOPOLOGY.nodes:
        if node != center:
            found = gram(moved[node], TOPOLOGY.leg(node, TOPOLOGY.towards(node, center)))
            np.testing.assert_allclose(found, np.eye(len(found)), rtol=0, atol=1e-13)
    assert gauge_error(TOPOLOGY, moved, center) < 1e-13


def test_the_gauge_error_is_the_dense_one(cores):
    grams = (gram(cores[node], 2) for node in TOPOLOGY.edges)
    expected = max(np.abs(g - np.eye(len(g))).max() for g in grams)
    assert gauge_error(TOPOLOGY, cores, TOPOLOGY.root) == pytest.approx(expected, rel=1e-12)


def test_pushing_changes_two_cores_in_place(cores):
    moved = dict(cores)
    push(TOPOLOGY, moved, (0, 1), TOPOLOGY.root)
    assert moved[2, 3] is cores[2, 3]
    assert moved[0, 1] is not cores[0, 1]
    np.testing.assert_allclose(dense_of(moved), dense_of(cores), rtol=0, atol=1e-13)


def test_singular_values_stand_on_the_cut_edge(cores):
    edge = (2, 3)
    found = cut_at(TOPOLOGY, canonical(TOPOLOGY, cores, None, edge), edge)
    dense = dense_of(cores)
    matrix = np.moveaxis(dense, (2, 3), (0, 1)).reshape(dense.shape[2] * dense.shape[3], -1)
    expected = np.linalg.svd(matrix, compute_uv=False)
    values = sorted(s for ir in found.spectrum for s in np.repeat(found.spectrum[ir], ir.dim))[::-1]
    np.testing.assert_allclose(values, expected[: len(values)], rtol=0, atol=1e-12)
    g = gram(found.cores[edge], 2)
    np.testing.assert_allclose(g, np.eye(len(g)), rtol=0, atol=1e-13)
    # With every core towards the edge an isometry, the root is one too, seen from the edge.
    rest = np.einsum(
        "abe,efo->fabo", found.cores[0, 1].to_dense(), found.cores[TOPOLOGY.root].to_dense()
    )
    g = rest.reshape(len(rest), -1) @ rest.reshape(len(rest), -1).T
    np.testing.assert_allclose(g, np.eye(len(g)), rtol=0, atol=1e-13)
    together = spectra(TOPOLOGY, canonical(TOPOLOGY, cores, None, TOPOLOGY.root))
    assert together[edge].change(found.spectrum) < 1e-13


def test_the_errors_of_all_edges_add_up_to_the_dense_error(cores):
    first = canonical(TOPOLOGY, cores, None, TOPOLOGY.nodes[0])
    small, dropped = truncated(TOPOLOGY, first, Truncation(max_multiplets=1))
    error = np.linalg.norm(dense_of(small) - dense_of(cores))
    assert dropped == pytest.approx(error, rel=1e-12)
    assert error > 0.1 * np.linalg.norm(dense_of(cores))


def test_cores_that_do_not_fit_are_refused(cores):
    check_cores(TOPOLOGY, cores)
    with pytest.raises(CoreError, match=r"node \(2, 3\): a tree is made of cores with three legs"):
        check_cores(TOPOLOGY, cores | {(2, 3): Core(["0e", "0e"])})
    with pytest.raises(CoreError, match=r"node \(2, 3\): core of numpy float32"):
        check_cores(TOPOLOGY, cores | {(2, 3): cores[2, 3].to(dtype="float32")})
    with pytest.raises(IrrepsError, match=r"edge \(2, 3\): the core below ends in 9x0e"):
        check_cores(TOPOLOGY, cores | {(2, 3): Core([LEGS[2], LEGS[3], "9x0e"])})
