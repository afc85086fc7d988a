from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import sympy

from etn.errors import IrrepsError
from etn.o3.cartesian.exact import SymmetricTensor, monomials, traceless
from etn.o3.cartesian.matrices import packing_matrix
from etn.o3.cartesian.packing import pack, repack, unpack

Array = npt.NDArray[np.float64]


@pytest.mark.parametrize("l", range(9))
@pytest.mark.parametrize("packing", ["orthonormal", "monomial"])
def test_round_trips(l: int, packing: str, rng: np.random.Generator) -> None:
    packed = rng.normal(size=(2, 2, 2 * l + 1))
    full = unpack(packed, l, packing)
    assert full.shape == (2, 2, *(3,) * l)
    np.testing.assert_allclose(pack(full, l, packing), packed, atol=1e-13)
    other = "monomial" if packing == "orthonormal" else "orthonormal"
    there = repack(packed, l, packing, other)
    np.testing.assert_allclose(unpack(there, l, other), full, atol=1e-13 * abs(full).max())
    np.testing.assert_allclose(repack(there, l, other, packing), packed, atol=1e-13)


@pytest.mark.parametrize("l", range(2, 6))
def test_full_tensors_are_symmetric_traceless_and_keep_the_norm(
    l: int, rng: np.random.Generator
) -> None:
    packed = rng.normal(size=2 * l + 1)
    full = unpack(packed, l)
    np.testing.assert_allclose((full**2).sum(), (packed**2).sum(), rtol=1e-14)
    for order in itertools.islice(itertools.permutations(range(l)), 24):
        np.testing.assert_allclose(full.transpose(order), full, atol=1e-14)
    np.testing.assert_allclose(np.trace(full), 0, atol=1e-14)


@pytest.mark.parametrize("l", [2, 3, 4])
def test_monomial_numbers_are_entries(l: int, rng: np.random.Generator) -> None:
    packed = rng.normal(size=2 * l + 1)
    full = unpack(packed, l, "monomial")
    for value, (a, b, c) in zip(packed, monomials(l), strict=False):
        assert full[(0,) * a + (1,) * b + (2,) * c] == value


def test_without_the_check_the_irreducible_part_is_taken(rng: np.random.Generator) -> None:
    full = rng.normal(size=(3, 3, 3))
    packed = pack(full, 3, check=False)
    # Least squares over all irreducible tensors.
    expected, *_ = np.linalg.lstsq(packing_matrix(3).T, full.ravel(), rcond=None)
    np.testing.assert_allclose(packed, expected, atol=1e-14)
    symmetric = sum(full.transpose(p) for p in itertools.permutations(range(3))) / 6
    components = {
        (a, b, c): sympy.Rational(str(symmetric[(0,) * a + (1,) * b + (2,) * c]))
        for a, b, c in monomials(3)
    }
    exact = SymmetricTensor.from_components(
        3, {e: Fraction(int(v.p), int(v.q)) for e, v in components.items()}
    )
    part = [float(traceless(exact).component(e)) for e in monomials(3)[:7]]
    np.testing.assert_allclose(pack(full, 3, "monomial", check=False), part, atol=1e-14)


def test_reducible_tensors_are_refused(rng: np.random.Generator) -> None:
    good = unpack(rng.normal(size=(4, 5)), 2)
    traced = good.copy()
    traced[2] += 0.01 * np.eye(3)
    with pytest.raises(IrrepsError, match=r"tensor 2 \(from 0\): expected a symmetric traceless"):
        pack(traced, 2)
    with pytest.raises(IrrepsError, match=r"trace over the first two is up to 3\.00e-02"):
        pack(traced, 2)
    skew = good.copy()
    skew[3, 0, 1] += 0.5
    with pytest.raises(IrrepsError, match=r"tensor 3 .* changes it by up to 5\.00e-01"):
        pack(skew, 2)
    pack(skew, 2, tolerance=1.0)
    # A small tensor is judged by its own size.
    traced = good.copy()
    traced[1] = 1e-12 * np.eye(3)
    with pytest.raises(IrrepsError, match="tensor 1 "):
        pack(traced, 2)
    with pytest.raises(IrrepsError, match="expected finite entries"):
        pack(np.full((3, 3), np.nan), 2)
    assert pack(np.zeros((3, 3)), 2).tolist() == [0.0] * 5


def test_memory_is_estimated_before_it_is_taken() -> None:
    with pytest.raises(IrrepsError, match=r"degree 30 takes 1534008\.5 GiB, more than max_bytes"):
        unpack(np.ones(61), 30)
    with pytest.raises(IrrepsError, match="a full tensor of degree 3 takes"):
        unpack(np.ones((2, 7)), 3, max_bytes=2 * 27 * 8 - 1)
    assert unpack(np.ones((2, 7)), 3, max_bytes=2 * 27 * 8).shape == (2, 3, 3, 3)
    with pytest.raises(IrrepsError, match="the packing matrix of degree 20 takes"):
        packing_matrix(20)


def test_wrong_shapes() -> None:
    with pytest.raises(IrrepsError, match=r"degree 3: expected 3 axes of length 3 .* \(3, 3\)"):
        pack(np.ones((3, 3)), 3)
    with pytest.raises(IrrepsError, match=r"expected 5 numbers along the last axis, got shape \(3"):
        unpack(np.ones((3, 3)), 2)
    with pytest.raises(IrrepsError, match="expected 5 numbers"):
        repack(np.ones(3), 2, "monomial", "orthonormal")
    with pytest.raises(IrrepsError, match="packing: expected one of"):
        pack(np.zeros((3, 3)), 2, "full")


@pytest.mark.parametrize("packing", ["orthonormal", "monomial"])
def test_torch(packing: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    packed = rng.normal(size=(4, 7))
    tensor = torch.tensor(packed, requires_grad=True)
    full = unpack(tensor, 3, packing)
    np.testing.assert_allclose(full.detach().numpy(), unpack(packed, 3, packing), atol=1e-14)
    back = pack(full, 3, packing)
    assert torch.autograd.gradcheck(lambda t: unpack(t, 3, packing), tensor)
    (gradient,) = torch.autograd.grad(back.sum(), tensor)
    np.testing.assert_allclose(gradient.numpy(), np.ones((4, 7)), atol=1e-13)
    single = pack(unpack(tensor.detach().float(), 3, packing), 3, packing)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), packed, atol=1e-5)
