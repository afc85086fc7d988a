"""Derivatives of factorisations against finite differences and exact derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import Kind
from etn.o3 import Irrep
from etn.tensor import Core, Truncation, absorb_back, merge, polar, qr, svd
from etn.tensor.factor import thin_svd
from etn.tensor.pullback import is_full, kept, nearest_isometry, needs_pullback, spanned

torch = pytest.importorskip("torch")
TORCH = Kind("torch")
SHAPES = [(5, 3), (3, 5), (4, 4)]
shapes = pytest.mark.parametrize(("rows", "columns"), SHAPES)


def matrix(rows, columns, values, seed=0):
    """A matrix with these singular values."""
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.normal(size=(rows, rows)))
    v, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    n = min(rows, columns)
    m = (u[:, :n] * np.array(values[:n])) @ v[:n]
    return torch.tensor(m, requires_grad=True), torch.tensor(rng.normal(size=(rows, columns)))


def product(m, n):
    """The n largest singular values of a matrix with their vectors, as a matrix."""
    q, b = kept(m, *thin_svd(m, TORCH), n)
    return q @ b


@shapes
@pytest.mark.parametrize(
    "values",
    [
        [3.0, 2.0, 1.0, 0.5],
        [2.0, 2.0, 2.0, 2.0],
        [2.0, 2.0, 1.0, 1.0],
        [1.0, 1 + 1e-13, 1 - 1e-9, 0.5],
        [1.0, 1e-5, 1e-7, 1e-8],
    ],
    ids=["distinct", "equal", "pairs", "nearly equal", "small"],
)
def test_the_product_of_all_factors_is_the_matrix_itself(rows, columns, values):
    m, weights = matrix(rows, columns, values)
    (gradient,) = torch.autograd.grad((product(m, min(rows, columns)) * weights).sum(), m)
    assert (gradient - weights).abs().max() < 1e-7


@shapes
@pytest.mark.parametrize("values", [[3.0, 2.0, 1.0, 0.5], [2.0, 2.0, 1.0, 1.0]])
def test_truncated_products_against_finite_differences(rows, columns, values):
    m, weights = matrix(rows, columns, values)
    assert torch.autograd.gradcheck(lambda m: (product(m, 2) * weights).sum(), m)
    if len(set(values)) == 4:
        assert torch.autograd.gradgradcheck(lambda m: (product(m, 2) * weights).sum() ** 2, m)


@shapes
def test_functions_of_single_vectors_where_values_differ(rows, columns):
    m, weights = matrix(rows, columns, [3.0, 2.0, 1.0, 0.5])

    def f(m):
        q, b = kept(m, *thin_svd(m, TORCH), 2)
        return (q[:, 0] ** 2 * weights[:, 0]).sum() + (b[1] ** 2 * weights[0]).sum()

    assert torch.autograd.gradcheck(f, m)
    assert torch.autograd.gradgradcheck(f, m)


@shapes
@pytest.mark.parametrize("values", [[0.0] * 4, [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
def test_zero_singular_values_leave_derivatives_finite(rows, columns, values):
    n = min(rows, columns)
    m, weights = matrix(rows, columns, values)
    (gradient,) = torch.autograd.grad((product(m, n) * weights).sum(), m)
    assert gradient.isfinite().all()
    # The squared norm has the derivative 2 m everywhere.
    (gradient,) = torch.autograd.grad((product(m, n) ** 2).sum(), m)
    assert (gradient - 2 * m).abs().max() < 1e-12


def test_a_cut_through_equal_values_leaves_derivatives_finite():
    m, weights = matrix(4, 4, [1.0, 1.0, 1.0, 0.5])
    (gradient,) = torch.autograd.grad((product(m, 2) * weights).sum(), m)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("values", [[3.0, 2.0, 1.0], [2.0, 2.0, 1.0], [2.0, 2.0, 2.0]])
def test_the_nearest_isometry_against_finite_differences(values):
    m, weights = matrix(5, 3, values)
    f = lambda m: (nearest_isometry(m, *thin_svd(m, TORCH)) * weights).sum()  # noqa: E731
    assert torch.autograd.gradcheck(f, m)


def test_qr_of_a_matrix_without_full_rank():
    m, weights = matrix(5, 3, [2.0, 1.0, 0.0])
    q, r = torch.linalg.qr(m.detach())
    assert not is_full(r, TORCH)
    assert is_full(torch.eye(3), TORCH)
    assert needs_pullback(m)
    assert not needs_pullback(m.detach())
    one, two = spanned(m, q, r)
    (gradient,) = torch.autograd.grad(((one @ two) ** 2).sum(), m)
    assert (gradient - 2 * m).abs().max() < 1e-12
    (gradient,) = torch.autograd.grad((spanned(m, q, r)[0] * weights).sum(), m)
    assert gradient.isfinite().all()


CORE = ["2x0e+1x1o", "2x0e+1x1o", "3x0e+2x1o"]


@pytest.mark.parametrize("leg", [0, 1, 2])
@pytest.mark.parametrize("make", [svd, qr, polar], ids=lambda f: f.__name__)
def test_factors_of_cores_give_the_derivative_of_the_core(make, leg):
    core = Core.random(CORE, seed=3).to("torch")
    leaves = [block.requires_grad_() for _, block in core]
    rebuilt = absorb_back(make(core, leg), leg).to_dense()
    weights = torch.randn(rebuilt.shape, dtype=torch.float64)
    found = torch.autograd.grad((rebuilt * weights).sum(), leaves)
    exact = core.pull_back(weights)
    for gradient, path in zip(found, core.blocks, strict=True):
        assert (gradient - exact[path]).abs().max() < 1e-10


@pytest.mark.parametrize("values", [np.diag([1.0, 2.0]), np.eye(2), np.zeros((2, 2))])
@pytest.mark.parametrize("make", [svd, qr, polar], ids=lambda f: f.__name__)
def test_the_squared_norm_has_twice_the_core_as_its_derivative(make, values):
    path = (Irrep("0e"),) * 3
    core = Core(["1x0e", "2x0e", "2x0e"], {path: values[None]}).to("torch")
    a = core.blocks[path].requires_grad_()
    (gradient,) = torch.autograd.grad((absorb_back(make(core, 2)).to_dense() ** 2).sum(), a)
    np.testing.assert_allclose(gradient.numpy(), 2 * values[None], atol=1e-14)


@pytest.mark.parametrize("center", ["left", "right"])
def test_splits_of_pairs(center):
    one, two = (Core.random(["2x0e"] * 3, seed=seed).to("torch") for seed in (0, 1))
    leaves = [block.requires_grad_() for core in (one, two) for _, block in core]
    pair = merge(one, two)
    split = pair.split(center=center)
    again = merge(split.left, split.right)
    weights = [torch.randn(m.shape, dtype=torch.float64) for m in pair.matrices.values()]
    total = sum((m * w).sum() for m, w in zip(again.matrices.values(), weights, strict=True))
    exact = sum((m * w).sum() for m, w in zip(pair.matrices.values(), weights, strict=True))
    found, expected = (torch.autograd.grad(f, leaves, retain_graph=True) for f in (total, exact))
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() < 1e-12


def test_a_truncated_core_against_finite_differences():
    core = Core.random(CORE, seed=3).to("torch")
    rule = Truncation(max_multiplets=3)

    def f(vector):
        cut = absorb_back(svd(core.from_vector(vector), 2, rule), 2)
        return (cut.to_dense() ** 3).sum()

    assert torch.autograd.gradcheck(f, core.to_vector().requires_grad_())
