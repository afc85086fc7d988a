"""Powers of one feature: counts, independence, completeness, equivariance."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.o3 import Irrep, Irreps, irreps_d, random_rotation
from etn.product.symmetric_powers import symmetric_multiplicities
from etn.product.symmetric_product import SymmetricProduct

LEG = "0e+1o+2e"


@pytest.mark.parametrize("order", [2, 3, 4])
def test_reduced_basis_spans_what_all_paths_span(order: int) -> None:
    """Every path of the full set is a combination of the basis, and none of the basis is."""
    rng = np.random.default_rng(order)
    x = rng.normal(size=(80, 9))
    reduced = SymmetricProduct(LEG, order).basis(x)
    full = SymmetricProduct(LEG, order, reduced=False).basis(x)
    for ir, value in reduced.items():
        basis = np.moveaxis(value[..., 0], 1, -1).reshape(80 * ir.dim, -1)
        every = np.moveaxis(full[ir][..., 0], 1, -1).reshape(80 * ir.dim, -1)
        assert np.linalg.matrix_rank(basis) == basis.shape[1] == np.linalg.matrix_rank(every)
        solved = np.linalg.lstsq(basis, every, rcond=None)[0]
        assert np.abs(basis @ solved - every).max() < 1e-10 * np.abs(every).max()


@pytest.mark.parametrize(("leg", "order"), [("0e+1o", 6), (LEG, 6), ("0e+1o+2e+3o", 4)])
def test_basis_has_the_counted_size_and_is_independent(leg: str, order: int) -> None:
    product = SymmetricProduct(leg, order)
    known = symmetric_multiplicities(leg, order)
    assert {ir: mul for mul, ir in product.irreps_basis} == {ir: known[ir] for ir in product.out}
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, product.irreps_in.dim))
    for ir, value in product.basis(x).items():
        columns = np.moveaxis(value[..., 0], 1, -1).reshape(200 * ir.dim, -1)
        columns = columns / np.linalg.norm(columns, axis=0)
        assert np.linalg.svd(columns, compute_uv=False)[-1] > 1e-7


def test_polynomials_are_equivariant_homogeneous_and_by_channel() -> None:
    rng = np.random.default_rng(1)
    product = SymmetricProduct("3x0e+3x1o+3x2e", 3, "0e+1o+2e+1e")
    x = rng.normal(size=(6, product.irreps_in.dim))
    w = rng.normal(size=product.weight_numel)
    z = product(x, w)
    assert z.shape == (6, product.irreps_out.dim)
    assert np.allclose(product(2.0 * x, w), 8.0 * z)
    for matrix in (random_rotation(rng), random_rotation(rng, reflect=True), -np.eye(3)):
        # Channels run fastest: the matrix of an irrep acts on the axis before them.
        turn, back = (
            np.kron(irreps_d(Irreps([(1, ir) for _, ir in leg]), matrix), np.eye(3))
            for leg in (product.irreps_in, product.irreps_out)
        )
        assert np.abs(product(x @ turn.T, w) - z @ back.T).max() < 1e-12 * np.abs(z).max()
    # A channel of the output depends on its own channel of the input only.
    moved = x.copy()
    moved[:, 0::3] += 1.0
    change = np.abs(product(moved, w) - z).reshape(6, -1, 3).max(axis=(0, 1))
    assert change[0] > 1e-3
    # Rounding of a matrix product may differ with what its other columns hold.
    assert (change[1:] <= 1e-13 * np.abs(z).max()).all()


def test_the_square_is_the_product_with_itself() -> None:
    """Degree 2 of a vector: its norm, and the traceless part of its outer product."""
    v = np.random.default_rng(0).normal(size=(4, 3))
    values = SymmetricProduct("1o", 2, "0e+2e").basis(v)
    norm = values[Irrep("0e")][:, 0, 0, 0]
    assert np.allclose(np.abs(norm), (v**2).sum(1) / np.sqrt(3))
    assert np.allclose((values[Irrep("2e")] ** 2).sum((1, 2, 3)) + norm**2, (v**2).sum(1) ** 2)


def test_torch_agrees_and_has_second_derivatives() -> None:
    torch = pytest.importorskip("torch")
    product = SymmetricProduct("2x0e+2x1o", 3)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(3, 8)), rng.normal(size=(3, product.weight_numel))
    a, b = (torch.tensor(v, requires_grad=True) for v in (x, w))
    assert np.allclose(product(a, b).detach().numpy(), product(x, w), atol=1e-13)
    assert torch.autograd.gradcheck(product, (a, b))
    assert torch.autograd.gradgradcheck(product, (a, b))


def test_bad_input() -> None:
    with pytest.raises(IrrepsError, match="no polynomial of degree 2 of 1x1o transforms as 1x1o"):
        SymmetricProduct("1o", 2, "1o")
    with pytest.raises(IrrepsError, match="one number of channels"):
        SymmetricProduct("2x0e+1x1o", 2)
    with pytest.raises(SettingsError, match="paths to choose from"):
        SymmetricProduct("0e+1o+2e+3o", 6, reduced=False)
    with pytest.raises(IrrepsError, match="order"):
        SymmetricProduct("1o", 0)
    with pytest.raises(IrrepsError, match="last axis of 3"):
        SymmetricProduct("1o", 2, "0e")(np.ones(4))
    with pytest.raises(IrrepsError, match="weights: expected a last axis of 1"):
        SymmetricProduct("1o", 2, "0e")(np.ones(3), np.ones(2))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_terms_of_multiplicity_zero_are_as_if_left_out(order: int) -> None:
    rng = np.random.default_rng(0)
    one = SymmetricProduct("0x2e+2x0e+0x1o+2x1o", order, "1o+0x2e+0e")
    two = SymmetricProduct("2x0e+2x1o", order, "1o+0e")
    assert one.irreps_basis == two.irreps_basis
    x, w = rng.normal(size=(3, 8)), rng.normal(size=(3, two.weight_numel))
    np.testing.assert_array_equal(one(x, w), two(x, w))


@pytest.mark.parametrize("leg", ["", "0x1o"])
def test_of_no_irreps_there_is_no_polynomial(leg: str) -> None:
    product = SymmetricProduct(leg, 2)
    assert (product.weight_numel, product.irreps_out.dim) == (0, 0)
    assert product(np.ones((3, 0))).shape == (3, 0)
    assert product.basis(np.ones((3, 0))) == {}


def test_arrays_of_different_kinds_are_refused() -> None:
    product = SymmetricProduct("1o", 2, "0e")
    with pytest.raises(CoreError, match="arrays of one kind"):
        product(np.ones(3), np.ones(1, dtype=np.float32))
    with pytest.raises(CoreError, match="expected float32 or float64, got int64"):
        product(np.ones(3, dtype=int))
    with pytest.raises(IrrepsError, match="leading axes of features and weights"):
        product(np.ones((2, 3)), np.ones((5, 1)))
