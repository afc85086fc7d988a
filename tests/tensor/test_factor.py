"""QR of cores beyond the laws: uniqueness, ranks, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError
from etn.o3 import Irrep, Irreps, wigner_3j
from etn.tensor import Core, absorb, absorb_back, isometry_error, qr

LEGS = ["1x0e+2x1o", "2x0e+1x1o+1x2e", "2x0e+2x1o+1x2e"]


def test_singular_values_of_the_bond_are_those_of_the_dense_matrix():
    core = Core.random(LEGS, seed=1)
    dense = core.to_dense()
    matrix = dense.reshape(-1, dense.shape[2])
    bond = qr(core).bond
    expected = np.linalg.svd(matrix, compute_uv=False)
    got = [s for ir, r in bond.items() for s in np.linalg.svd(r)[1] for _ in range(ir.dim)]
    np.testing.assert_allclose(sorted(got, reverse=True), expected, atol=1e-13)
    bond = qr(core, 0).bond
    expected = np.linalg.svd(dense.reshape(dense.shape[0], -1), compute_uv=False)
    got = [s for ir, r in bond.items() for s in np.linalg.svd(r)[1] for _ in range(ir.dim)]
    np.testing.assert_allclose(sorted(got, reverse=True), expected, atol=1e-13)


def test_factors_of_an_isometry_are_itself_and_the_identity():
    core = qr(Core.random(LEGS, seed=1)).isometry
    q, bond = qr(core)
    np.testing.assert_allclose(q.to_vector(), core.to_vector(), atol=1e-14)
    for r in bond.values():
        np.testing.assert_allclose(r, np.eye(len(r)), atol=1e-14)


def test_triangles_have_a_positive_diagonal():
    for r in qr(Core.random(LEGS, seed=1)).bond.values():
        assert np.all(np.diagonal(r) >= 0)
        np.testing.assert_array_equal(np.tril(r, -1), 0)
    for r in qr(Core.random(LEGS, seed=1), 0).bond.values():
        assert np.all(np.diagonal(r) >= 0)
        np.testing.assert_array_equal(np.tril(r, -1), 0)


def test_a_bond_wider_than_its_core_shrinks():
    core = Core.random(["1x0e", "2x0e+1x1o", "5x0e+4x1o+3x2e"], seed=1)
    q, bond = qr(core)
    assert q.legs[2] == Irreps("2x0e+1x1o")  # 2e cannot be reached
    assert Irrep("2e") not in bond
    whole = absorb_back(qr(core)).to_dense()
    reached = np.concatenate([core.legs[2].indices(ir).ravel() for ir in ("0e", "1o")])
    np.testing.assert_allclose(whole, core.to_dense()[:, :, reached], atol=1e-14)


@pytest.mark.parametrize("leg", [0, 1, 2])
def test_a_zero_core_still_gives_an_isometry(leg):
    q, bond = qr(Core(LEGS), leg)
    assert isometry_error(q, leg=leg) < 1e-14
    assert not any(r.any() for r in bond.values())


def test_rank_deficient_cores_give_isometries():
    core = Core.random(LEGS, seed=1)
    for path, block in core:
        if path[2].l < 2:
            block[..., 1] = block[..., 0]
    q, bond = qr(core)
    assert isometry_error(q, leg=2) < 1e-14
    np.testing.assert_allclose(absorb_back(qr(core)).to_dense(), core.to_dense(), atol=1e-14)


def test_unit_norm_3j_would_not_give_isometries():
    # The pitfall that the isometric normalisation avoids, seen after two cores in a row.
    legs = ["1x0e+1x1o+1x2e", "2x0e+2x1o+2x2e", "1x0e+1x1o+1x2e"]
    cores = [qr(Core.random(legs, seed=k)).isometry for k in range(2)]
    dense = [core.to_dense() for core in cores]
    both = np.tensordot(dense[0], dense[1], 1).reshape(-1, 9)
    np.testing.assert_allclose(both.T @ both, np.eye(9), atol=1e-14)
    wrong = [np.zeros_like(d) for d in dense]
    for core, tensor in zip(cores, wrong, strict=True):
        for path, block in core:
            at = [leg.indices(ir) for leg, ir in zip(core.legs, path, strict=True)]
            for r in np.ndindex(block.shape):
                index = np.ix_(*(rows[k] for rows, k in zip(at, r, strict=True)))
                tensor[index] = block[r] * wigner_3j(*(ir.l for ir in path))
    both = np.tensordot(wrong[0], wrong[1], 1).reshape(-1, 9)
    gram = both.T @ both
    assert np.abs(gram - np.diag(np.diagonal(gram))).max() < 1e-12
    diagonal = np.array([gram[k, k] for k in (0, 1, 4)]) * [1, 3, 5]
    assert np.ptp(diagonal) > 1e-2


def test_bonds_multiply_from_either_side():
    core = Core.random(LEGS, seed=1)
    rng = np.random.default_rng(2)
    for leg in range(3):
        irreps = core.legs[leg]
        matrices = {ir: rng.normal(size=(irreps.count(ir),) * 2) for ir in irreps.unique}
        dense = np.zeros((irreps.dim, irreps.dim))
        for ir, matrix in matrices.items():
            rows = irreps.indices(ir)
            for m in range(ir.dim):
                dense[np.ix_(rows[:, m], rows[:, m])] = matrix
        expected = np.moveaxis(np.tensordot(dense, core.to_dense(), (1, leg)), 0, leg)
        np.testing.assert_allclose(absorb(core, matrices, leg).to_dense(), expected, atol=1e-14)


def test_qr_of_one_leg_is_refused():
    with pytest.raises(CoreError, match="two or three legs"):
        qr(Core(["2x0e"]))
