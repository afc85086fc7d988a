"""CP forms against their sum of rank-one terms by einsum."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError
from etn.product import CPTensor, fused_cg
from etn.product.cp import khatri_rao

TARGET = fused_cg(ins=["0e+1o", "1o"], out="0e+1o+2e")


@pytest.fixture
def cp(rng: np.random.Generator) -> CPTensor:
    return CPTensor(TARGET, tuple(rng.normal(size=(dim, 6)) for dim in TARGET.shape))


def test_the_sum_of_its_terms(cp: CPTensor, rng: np.random.Generator) -> None:
    dense = np.einsum("kr,ir,jr->kij", *cp.factors)
    assert cp.dense() == pytest.approx(dense, abs=1e-13)
    error = np.linalg.norm(dense - TARGET.dense()) / np.linalg.norm(TARGET.dense())
    assert cp.relative_error == pytest.approx(error)
    x, y = rng.normal(size=(7, 4)), rng.normal(size=(7, 3))
    assert cp(x, y) == pytest.approx(np.einsum("kij,bi,bj->bk", dense, x, y), abs=1e-12)
    assert cp(x[0], y[0]) == pytest.approx(cp(x, y)[0], abs=1e-13)


@pytest.mark.parametrize("center", [0, 1, 2])
def test_norms_move_into_one_factor_and_out_again(cp: CPTensor, center: int) -> None:
    moved = cp.canonicalize(center)
    norms = [np.linalg.norm(factor, axis=0) for factor in moved.factors]
    assert moved.center == center
    for site in {0, 1, 2} - {center}:
        assert norms[site] == pytest.approx(np.ones(6))
    assert moved.dense() == pytest.approx(cp.dense(), abs=1e-13)
    even = moved.balance()
    norms = [np.linalg.norm(factor, axis=0) for factor in even.factors]
    assert norms[0] == pytest.approx(norms[1])
    assert norms[0] == pytest.approx(norms[2])
    assert (np.diff(norms[0]) <= 1e-13).all()  # the largest terms first
    assert even.center is None
    assert even.dense() == pytest.approx(cp.dense(), abs=1e-13)


def test_a_term_that_is_zero_stays_zero(cp: CPTensor) -> None:
    zero = cp.factors[1] * [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    other = cp.replace(1, zero)
    for form in (other.canonicalize(0), other.canonicalize(1), other.balance()):
        assert form.dense() == pytest.approx(other.dense(), abs=1e-13)
        assert all(np.isfinite(factor).all() for factor in form.factors)


def test_products_of_rows_run_over_the_last_factor_first(rng: np.random.Generator) -> None:
    a, b, c = (rng.normal(size=(dim, 2)) for dim in (2, 3, 4))
    expected = np.einsum("ir,jr,kr->ijkr", a, b, c).reshape(24, 2)
    assert khatri_rao([a, b, c]) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([np.ones((9, 2)), np.ones((4, 2))], "factors: expected 3, .* got 2"),
        ([np.ones((9, 2)), np.ones((4, 3)), np.ones((3, 2))], r"factor 1: expected shape \(4,"),
        ([np.ones((9, 0)), np.ones((4, 0)), np.ones((3, 0))], "factor 0: .*cp_rank >= 1"),
        ([np.ones((9, 2)), np.ones((4, 2)), np.full((3, 2), np.nan)], "factor 2: .*finite"),
    ],
)
def test_factors_that_do_not_fit(factors: list[np.ndarray], message: str) -> None:
    with pytest.raises(CoreError, match=message):
        CPTensor(TARGET, tuple(factors))


def test_inputs_that_do_not_fit(cp: CPTensor) -> None:
    with pytest.raises(IrrepsError, match="expected 2 inputs, got 1"):
        cp(np.ones(4))
    with pytest.raises(IrrepsError, match=r"input 2: expected a last axis of 3, got shape \(4,\)"):
        cp(np.ones(4), np.ones(4))


def test_torch_in_torch_out(cp: CPTensor, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    inputs = [rng.normal(size=(4, dim)) for dim in cp.target.shape[1:]]
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    np.testing.assert_allclose(cp(*tensors).detach().numpy(), cp(*inputs), atol=1e-13)
    assert torch.autograd.gradcheck(cp, tensors, fast_mode=True)
    single = cp(*(x.astype(np.float32) for x in inputs))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, cp(*inputs), atol=1e-4)
