"""Pairs of cores against their dense four-leg tensors."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import to_numpy
from etn.errors import CoreError, SettingsError
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, Pair, Truncation, isometry_error, merge
from etn.tensor.pair import couplings, pair_shapes

CASES = {
    "natural": ("1x0e+2x1o", "2x0e+1x1o+1x2e", "2x0e+2x1o+1x2e", "2x0e+1x1o", "2x0e+1x1o"),
    "parities": (
        "1x0e+1x0o+1x1e",
        "1x0e+1x1o+1x1e",
        "1x0e+1x0o+2x1o+1x1e",
        "1x0o+2x1e",
        "1x0o+1x1o",
    ),
    "split terms": ("1x1o+1x0e+1x1o", "1x0e+1x1o+1x0e", "1x0e+2x1o+1x0e", "1x1o+2x0e", "2x0e+1x1o"),
    "narrow bond": ("2x0e+2x1o", "2x0e+2x1o", "1x1o", "2x0e+2x1o", "2x0e+1x1o"),
}
KINDS = [
    ({}, 1e-13),
    ({"backend": "torch"}, 1e-13),
    ({"dtype": "float32"}, 1e-5),
    ({"backend": "torch", "dtype": "float32"}, 1e-5),
    pytest.param(({"backend": "torch", "device": "cuda"}, 1e-13), marks=pytest.mark.gpu),
]
both_sides = pytest.mark.parametrize("center", ["left", "right"])


@pytest.fixture(params=CASES.values(), ids=CASES)
def legs(request):
    return request.param


@pytest.fixture(params=KINDS, ids=lambda drawn: str(drawn[0]))
def kind(request):
    return request.param


def cores(legs, kind=None):
    bond0, site0, bond, site1, bond1 = legs
    left = Core.random([bond0, site0, bond], seed=1).to(**(kind or {}))
    return left, Core.random([bond, site1, bond1], seed=2).to(**(kind or {}))


def contracted(left, right):
    """Dense tensor of four legs, from the dense cores."""
    one, two = (to_numpy(core.to_dense()).astype(float) for core in (left, right))
    return np.einsum("abx,xcd->abcd", one, two)


def as_matrix(dense):
    return dense.reshape(dense.shape[0] * dense.shape[1], -1)


@both_sides
def test_splitting_a_merged_pair_restores_it(legs, kind, center):
    kind, tolerance = kind
    left, right = cores(legs, kind)
    dense = contracted(left, right)
    split = merge(left, right).split(center=center)
    scale = np.linalg.norm(dense)
    assert split.left.kind == split.right.kind == left.kind
    assert split.discarded == 0.0
    assert split.left.legs[:2] == left.legs[:2]
    assert split.right.legs[1:] == right.legs[1:]
    assert split.left.legs[2] == split.right.legs[0] == split.spectrum.irreps
    np.testing.assert_allclose(contracted(split.left, split.right), dense, atol=tolerance * scale)


def test_norm_is_that_of_the_dense_tensor(legs, kind):
    kind, tolerance = kind
    left, right = cores(legs, kind)
    expected = np.linalg.norm(contracted(left, right))
    assert merge(left, right).norm() == pytest.approx(expected, rel=tolerance)


def test_singular_values_are_those_of_the_dense_tensor(legs, kind):
    kind, tolerance = kind
    left, right = cores(legs, kind)
    expected = np.linalg.svd(as_matrix(contracted(left, right)), compute_uv=False)
    spectrum = merge(left, right).split().spectrum
    found = sorted((s for ir in spectrum for s in np.repeat(spectrum[ir], ir.dim)), reverse=True)
    shorter = min(len(found), len(expected))
    atol = tolerance * expected[0]
    np.testing.assert_allclose(found[:shorter], expected[:shorter], atol=atol)
    assert max([*found[shorter:], *expected[shorter:]], default=0.0) <= atol


@both_sides
@pytest.mark.parametrize("rule", [{"max_multiplets": 1}, {"max_multiplets": 3}, {"rel_tol": 0.3}])
def test_the_discarded_norm_is_the_dense_error(legs, kind, center, rule):
    kind, tolerance = kind
    left, right = cores(legs, kind)
    dense = contracted(left, right)
    split = merge(left, right).split(Truncation(**rule), center=center)
    error = np.linalg.norm(contracted(split.left, split.right) - dense)
    scale = np.linalg.norm(dense)
    assert split.discarded == pytest.approx(error, abs=tolerance * scale)
    assert 0.0 < error < scale
    assert split.spectrum.norm**2 == pytest.approx(scale**2 - error**2, rel=10 * tolerance)
    if "max_multiplets" in rule:
        assert split.left.legs[2].num_irreps == rule["max_multiplets"]


@both_sides
def test_the_core_off_the_center_is_an_isometry(legs, kind, center):
    kind, tolerance = kind
    split = merge(*cores(legs, kind)).split(Truncation(max_multiplets=4), center=center)
    isometry, leg, weighted = (
        (split.left, 2, split.right) if center == "right" else (split.right, 0, split.left)
    )
    assert isometry_error(isometry, leg=leg) < tolerance
    dense = np.moveaxis(to_numpy(isometry.to_dense()), leg, -1)
    dense = dense.reshape(-1, dense.shape[-1])
    np.testing.assert_allclose(dense.T @ dense, np.eye(dense.shape[1]), atol=tolerance)
    assert weighted.norm() == pytest.approx(split.spectrum.norm, rel=tolerance)


def test_the_truncation_is_the_best_on_every_bond_irrep():
    # Eckart-Young for each irrep: no other core of two random ones comes closer.
    left, right = cores(CASES["natural"])
    dense = contracted(left, right)
    split = merge(left, right).split(Truncation(max_bond="1x0e+1x1o"))
    rng = np.random.default_rng(5)
    for size in (1e-3, 1e-1):
        near = split.left.from_vector(
            split.left.to_vector() + size * rng.normal(size=split.left.n_parameters)
        )
        assert np.linalg.norm(contracted(near, split.right) - dense) > split.discarded


def test_a_pair_reaches_irreps_that_its_bond_did_not_carry():
    left, right = cores(CASES["narrow bond"])
    pair = merge(left, right)
    assert set(pair.matrices) > {Irrep("1o")}
    assert not any(m.any() for ir, m in pair.matrices.items() if ir != Irrep("1o"))
    split = pair.split(Truncation(rel_tol=1e-12))
    assert split.left.legs[2] == Irreps("1x1o")


def test_couplings_are_the_irreps_of_the_product():
    one, two = Irreps("2x0e+1x1o+1x0o"), Irreps("1x0e+2x1o+1x2e")
    product = one.product(two)
    assert couplings(one, two) == {ir: product.count(ir) for ir in product.unique}
    # Both sides of the dense matrix: no coupling is lost.
    assert sum(n * ir.dim for ir, n in couplings(one, two).items()) == one.dim * two.dim


def test_cores_without_a_common_path_make_a_pair_of_zeros():
    left = Core.random(["1x0e", "1x1o", "1x0e"]).to("torch", dtype="float32")
    right = Core.random(["1x0e", "1x1o", "1x0e"]).to("torch", dtype="float32")
    pair = merge(left, right)
    assert pair.kind == left.kind
    assert {ir: tuple(m.shape) for ir, m in pair.matrices.items()} == {Irrep("1o"): (1, 1)}
    assert pair.norm() == 0.0
    assert pair.split().left.kind == left.kind


def test_missing_matrices_are_zero():
    legs = tuple(map(Irreps, ("1x0e", "2x0e+1x1o", "2x0e+1x1o", "1x0e")))
    assert pair_shapes(legs) == {Irrep("0e"): (2, 2), Irrep("1o"): (1, 1)}
    pair = Pair(legs, {Irrep("1o"): np.full((1, 1), 2.0)})
    assert pair.norm() == pytest.approx(2 * np.sqrt(3))
    assert (
        repr(pair) == "Pair(1x0e ⊗ 2x0e+1x1o → 2x0e+1x1o ⊗ 1x0e, couplings 2x0e+1x1o | 2x0e+1x1o)"
    )


LEGS = tuple(map(Irreps, ("1x0e", "2x0e+1x1o", "2x0e+1x1o", "1x0e")))
ONE = Core.random(["1x0e", "2x0e+1x1o", "2x0e+1x1o"])
TWO = Core.random(["2x0e+1x1o", "2x0e+1x1o", "1x0e"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: merge(TWO, TWO), CoreError, "three legs that share a bond"),
        (lambda: merge(Core(["0e", "0e"]), TWO), CoreError, "three legs that share a bond"),
        (
            lambda: merge(ONE, TWO.to("torch")),
            CoreError,
            "merge: expected cores of one kind, got numpy float64 on cpu and torch float64",
        ),
        (
            lambda: merge(ONE.to(dtype="float32"), TWO),
            CoreError,
            "got numpy float32 on cpu and numpy float64 on cpu; convert",
        ),
        (
            lambda: Pair(LEGS, {Irrep("0e"): np.zeros((2, 3))}),
            CoreError,
            r"irrep 0e: expected shape \(2, 2\), got \(2, 3\)",
        ),
        (
            lambda: Pair(LEGS, {Irrep("2e"): np.zeros((1, 1))}),
            CoreError,
            r"irrep 2e: expected one of \[0e, 1o\], got \(1, 1\)",
        ),
        (
            lambda: Pair(
                LEGS, {Irrep("0e"): np.zeros((2, 2)), Irrep("1o"): np.zeros((1, 1), np.float32)}
            ),
            CoreError,
            "one kind",
        ),
        (lambda: merge(ONE, TWO).split(center="middle"), SettingsError, "expected left or right"),
        (
            lambda: merge(ONE, TWO).split(Truncation(max_bond="1x2e")),
            CoreError,
            "leaves nothing of a bond",
        ),
    ],
)
def test_malformed_pairs(make, error, message):
    with pytest.raises(error, match=message):
        make()
