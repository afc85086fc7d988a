"""Factorisations beyond the laws: uniqueness, ranks, degenerate input, dense oracles."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from etn.backend import to_numpy
from etn.errors import CoreError
from etn.o3 import Irrep, Irreps, wigner_3j
from etn.tensor import (
    Core,
    Truncation,
    absorb,
    absorb_back,
    eigh,
    isometry_error,
    matricize,
    polar,
    qr,
    svd,
    tensorize,
)

KINDS = [{}, {"backend": "torch"}, {"dtype": "float32"}, {"backend": "torch", "dtype": "float32"}]
kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
each_leg = pytest.mark.parametrize("leg", [0, 1, 2])
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


@each_leg
def test_a_zero_core_still_gives_an_isometry(leg):
    q, bond = qr(Core(LEGS), leg)
    assert isometry_error(q, leg=leg) < 1e-14
    assert not any(r.any() for r in bond.values())


def test_rank_deficient_cores_give_isometries():
    core = Core.random(LEGS, seed=1)
    for path, block in core:
        if path[2].l < 2:
            block[..., 1] = block[..., 0]
    factors = qr(core)
    assert isometry_error(factors.isometry, leg=2) < 1e-14
    np.testing.assert_allclose(absorb_back(factors).to_dense(), core.to_dense(), atol=1e-14)


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


def accuracy(kind):
    return 1e-5 if kind.get("dtype") == "float32" else 1e-13


def dense_matrix(core, leg):
    """Rows: the other legs; columns: this one."""
    dense = np.moveaxis(to_numpy(core.to_dense()).astype(float), leg, -1)
    return dense.reshape(-1, dense.shape[-1])


@kinds
@each_leg
def test_matrices_of_a_leg_become_the_core_again(kind, leg):
    core = Core.random(LEGS, seed=1).to(**kind)
    matrices = matricize(core, leg)
    again = tensorize(matrices, core.legs, leg, core.kind)
    assert again.legs == core.legs
    assert again.kind == core.kind
    for path, block in core:
        expected = to_numpy(block)
        np.testing.assert_allclose(to_numpy(again.blocks[path]), expected, rtol=1e-6, atol=0)
    # Negative legs count from the last; the weights make the Gram matrices those of the dense leg.
    dense = dense_matrix(core, leg)
    gram = dense.T @ dense
    for ir, matrix in matricize(core, leg - 3).items():
        rows = core.legs[leg].indices(ir)
        reduced = to_numpy(matrix.T @ matrix)
        for m in range(ir.dim):
            found = gram[np.ix_(rows[:, m], rows[:, m])]
            np.testing.assert_allclose(found, reduced, atol=accuracy(kind) * np.trace(gram))


@kinds
@each_leg
def test_polar_factors_are_those_of_scipy(kind, leg):
    wide = ["2x0e+2x1o", "3x0e+3x1o+1x2e", "2x0e+2x1o+1x2e"]
    core = Core.random(wide, seed=2).to(**kind)
    if leg == 1:
        core = Core.random([wide[0], "2x0e+2x1o", wide[2]], seed=2).to(**kind)
    factors = polar(core, leg)
    assert factors.isometry.legs == core.legs
    u, p = scipy.linalg.polar(dense_matrix(core, leg))
    scale = core.norm()
    np.testing.assert_allclose(dense_matrix(factors.isometry, leg), u, atol=10 * accuracy(kind))
    for ir, matrix in factors.bond.items():
        rows = core.legs[leg].indices(ir)
        for m in range(ir.dim):
            expected = p[np.ix_(rows[:, m], rows[:, m])]
            np.testing.assert_allclose(to_numpy(matrix), expected, atol=accuracy(kind) * scale)


def test_polar_of_a_leg_that_is_too_wide_is_refused():
    core = Core.random(["1x0e", "2x0e+1x1o", "3x0e+1x1o"], seed=1)
    with pytest.raises(CoreError, match="carries 3x0e, but the other legs couple to 2x0e only"):
        polar(core)


def symmetric(leg, kind):
    core = Core.random([leg, leg], seed=3)
    return core.replace({path: block + block.T for path, block in core}).to(**kind)


@kinds
@pytest.mark.parametrize("leg", ["3x0e+2x1o+1x2e", "1x1o+2x0e+1x1o+2x1e", "4x2e"])
def test_eigenvalues_are_those_of_the_dense_matrix(kind, leg):
    core = symmetric(leg, kind)
    values, vectors = eigh(core)
    assert vectors.kind == core.kind
    assert vectors.legs == (Irreps(leg), Irreps(leg).regroup())
    dense = to_numpy(core.to_dense()).astype(float)
    found = np.sort([w for ir in values for w in np.repeat(values[ir], ir.dim)])
    atol = accuracy(kind) * core.norm()
    np.testing.assert_allclose(found, np.linalg.eigvalsh(dense), atol=atol)
    v = to_numpy(vectors.to_dense()).astype(float)
    np.testing.assert_allclose(v.T @ v, np.eye(len(v)), atol=accuracy(kind))
    diagonal = np.concatenate([np.repeat(values[ir], ir.dim) for ir in values])
    np.testing.assert_allclose(v * diagonal @ v.T, dense, atol=atol)
    assert all(np.all(np.diff(w) <= 0) for w in values.values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: eigh(Core.random(["2x0e", "3x0e"])), "two equal legs, got Core"),
        (lambda: eigh(Core.random(["2x0e"] * 3)), "two equal legs"),
        (lambda: eigh(Core.random(["1x0e+2x1o"] * 2)), "block 1o is not symmetric"),
        (lambda: svd(Core.random(["2x0e"] * 3), 3), r"expected a leg 0..2 of Core.*got 3"),
        (lambda: matricize(Core.random(["2x0e"] * 3), -4), "expected a leg 0..2"),
        (lambda: polar(Core.random(["2x0e"])), "two or three legs"),
    ],
)
def test_factorisations_that_are_refused(make, message):
    with pytest.raises(CoreError, match=message):
        make()


@kinds
def test_the_middle_leg_has_the_singular_values_of_its_dense_matrix(kind):
    # Blocks of the middle leg are weighted by sqrt((2 l3 + 1) / (2 l2 + 1)).
    core = Core.random(["1x0e+2x1o+1x1e", "2x0e+3x1o+1x2e+1x1e", "2x0e+1x1o+1x2e"], seed=4)
    core = core.to(**kind)
    dense = dense_matrix(core, 1)
    expected = np.linalg.svd(dense, compute_uv=False)
    factors = svd(core, 1)
    found = [s for ir in factors.spectrum for s in np.repeat(factors.spectrum[ir], ir.dim)]
    atol = accuracy(kind) * expected[0]
    np.testing.assert_allclose(sorted(found, reverse=True), expected[: len(found)], atol=atol)
    np.testing.assert_allclose(expected[len(found) :], 0, atol=atol)
    for n in (1, 4):
        cut = svd(core, 1, Truncation(max_multiplets=n))
        rest = core.replace(absorb_back(cut, 1).blocks)
        error = np.linalg.norm(dense - dense_matrix(rest, 1))
        assert cut.discarded == pytest.approx(error, rel=1e2 * accuracy(kind))


def test_an_svd_that_does_not_converge_is_done_by_the_slower_algorithm(monkeypatch):
    core = Core.random(LEGS, seed=1)
    expected = svd(core).spectrum

    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fail)
    factors = svd(core)
    assert factors.spectrum.change(expected) < 1e-14
    np.testing.assert_allclose(absorb_back(factors).to_dense(), core.to_dense(), atol=1e-14)


ONE = {Irrep("0e"): np.eye(1), Irrep("1o"): np.eye(2)}


@pytest.mark.parametrize(
    ("bond", "leg", "message"),
    [
        (ONE, 1, r"absorb: leg 1 of Core.* carries 2x0e, the bond matrix expects 1x0e"),
        ({Irrep("3o"): np.eye(1)}, 0, "carries 0x3o, the bond matrix expects 1x3o"),
        (ONE, 3, r"absorb: expected a leg 0..2 of Core.*, got 3"),
        ({ir: m.astype(np.float32) for ir, m in ONE.items()}, 0, "bond matrix of 0e of numpy fl"),
        ({Irrep("0e"): [[1.0]]}, 0, "expected a NumPy array or a torch tensor, got list"),
    ],
)
def test_bond_matrices_that_do_not_fit(bond, leg, message):
    with pytest.raises(CoreError, match=message):
        absorb(Core.random(LEGS, seed=1), bond, leg)


def test_bond_matrices_of_another_library():
    core = Core.random(LEGS, seed=1)
    with pytest.raises(CoreError, match="of torch float64 on cpu, the bond matrix of 0e of numpy"):
        absorb(core.to("torch"), ONE, 0)
    bond = qr(core.to("torch"), 0).bond
    with pytest.raises(CoreError, match="of numpy float64 on cpu, the bond matrix of 0e of torch"):
        absorb(core, bond, 0)


def test_irreps_that_a_bond_matrix_does_not_name_are_dropped():
    core = Core.random(LEGS, seed=1)
    small = absorb(core, {Irrep("1o"): np.array([[1.0, 0.0]])}, 2)
    assert small.legs[2] == Irreps("1x1o")
    rows = core.legs[2].indices("1o")[0]
    np.testing.assert_allclose(small.to_dense(), core.to_dense()[:, :, rows], atol=1e-15)
