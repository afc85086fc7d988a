"""Moves of the coupling tree against dense tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.backend import Kind
from etn.network import Tree
from etn.network.trees.recouple import move, recouple, rounding, swap
from etn.o3 import Irrep
from etn.tensor import Core, Truncation, merge

A, B, C, D = "1x0e+2x1o", "1x1o+1x0o", "2x0e+1x2e", "1x1o+1x1e+1x0e"


def pair_of_cores():
    bond = "2x0e+2x1o+1x1e+2x2e+1x0o"
    return Core.random([A, B, bond], seed=0), Core.random([bond, C, D], seed=1)


def dense_pair(pair):
    """Dense tensor of the four legs of a pair."""
    split = pair.split()
    return np.tensordot(split.left.to_dense(), split.right.to_dense(), 1)


def test_swapped_cores_are_transposed_dense_ones():
    core, _ = pair_of_cores()
    np.testing.assert_allclose(
        swap(core).to_dense(), core.to_dense().swapaxes(0, 1), rtol=0, atol=1e-15
    )


def test_recoupling_permutes_the_legs_of_the_dense_tensor():
    pair = merge(*pair_of_cores())
    dense = dense_pair(pair)
    np.testing.assert_allclose(
        dense_pair(recouple(pair)), dense.transpose(1, 2, 0, 3), rtol=0, atol=1e-13
    )


def test_three_recouplings_are_the_identity():
    pair = merge(*pair_of_cores())
    again = recouple(recouple(recouple(pair)))
    for ir, matrix in pair.matrices.items():
        np.testing.assert_allclose(again.matrices[ir], matrix, rtol=0, atol=1e-13)


@pytest.mark.parametrize("leg", [0, 1])
def test_a_move_keeps_the_dense_tensor_and_has_an_inverse(leg):
    one, two = pair_of_cores()
    # ((a, b), c) -> d, or the mirror image (c, (b, a)) -> d.
    lower, upper = (one, two) if leg == 0 else (swap(one), swap(two))
    before = "abe,ecd->abcd" if leg == 0 else "bae,ced->abcd"
    after = "bcf,afd->abcd" if leg == 0 else "cbf,fad->abcd"
    dense = np.einsum(before, lower.to_dense(), upper.to_dense())
    moved = move(lower, upper, None, leg=leg)
    found = np.einsum(after, moved.lower.to_dense(), moved.upper.to_dense())
    np.testing.assert_allclose(found, dense, rtol=0, atol=1e-12)
    back = move(moved.lower, moved.upper, None, leg=1 - leg)
    found = np.einsum(before, back.lower.to_dense(), back.upper.to_dense())
    np.testing.assert_allclose(found, dense, rtol=0, atol=1e-12)


def test_a_move_discards_the_dense_error():
    lower, upper = pair_of_cores()
    dense = np.einsum("abe,ecd->abcd", lower.to_dense(), upper.to_dense())
    moved = move(lower, upper, Truncation(max_multiplets=2), leg=0)
    found = np.einsum("bcf,afd->abcd", moved.lower.to_dense(), moved.upper.to_dense())
    assert moved.discarded == pytest.approx(np.linalg.norm(found - dense), rel=1e-12)


def test_rounding_follows_the_precision():
    assert rounding(Kind(dtype="float32")).rel_tol == pytest.approx(64 * 2.0**-23)


def test_recoupling_of_an_identity_gives_its_equal_singular_values():
    """delta_ij delta_kl / sqrt(3) between (i, j) and (k, l), cut between (j, k) and (i, l)."""
    tree = Tree(
        ((0, 1), 2),
        [
            Core(["1o", "1o", "0e"], {(Irrep("1o"), Irrep("1o"), Irrep("0e")): np.ones((1, 1, 1))}),
            Core(["0e", "1o", "1o"], {(Irrep("0e"), Irrep("1o"), Irrep("1o")): np.ones((1, 1, 1))}),
        ],
    )
    delta = np.eye(3)
    np.testing.assert_allclose(
        tree.to_dense(), np.einsum("ij,kl->ijkl", delta, delta) / math.sqrt(3), atol=1e-15
    )
    spectrum = tree.recouple((0, 1)).singular_values((1, 2))
    assert str(spectrum.irreps) == "1x0e+1x1e+1x2e"
    for values in spectrum.values():
        np.testing.assert_allclose(values, [1 / math.sqrt(3)], rtol=1e-14)
