from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, DataError, IrrepsError
from etn.o3 import Irrep, random_rotation, wigner_d
from etn.o3.cartesian.coefficients import coefficients
from etn.o3.cartesian.harmonics import harmonics
from etn.o3.cartesian.packing import pack, repack, unpack
from etn.o3.cartesian.rotation import packed_d, rotate

Array = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("l", range(13))
@pytest.mark.parametrize("p", [1, -1])
def test_equals_wigner_d(l: int, p: int, orthogonal: Array) -> None:
    expected = wigner_d(Irrep(l, p), orthogonal)
    np.testing.assert_allclose(packed_d(l, orthogonal, p=p), expected, atol=1e-12)
    if p == (-1) ** l:
        np.testing.assert_array_equal(packed_d(l, orthogonal), packed_d(l, orthogonal, p=p))


@pytest.mark.parametrize("l", range(6))
@pytest.mark.parametrize("packing", ["orthonormal", "monomial"])
def test_every_index_of_the_full_tensor_turns(
    l: int, packing: str, orthogonal: Array, rng: np.random.Generator
) -> None:
    packed = rng.normal(size=(3, 2 * l + 1))
    full = unpack(packed, l, packing)
    for axis in range(1, l + 1):
        full = np.moveaxis(np.tensordot(orthogonal, full, (1, axis)), 0, axis)
    found = rotate(packed, l, orthogonal, packing=packing)
    np.testing.assert_allclose(found, pack(full, l, packing), atol=1e-13)
    pseudo = rotate(packed, l, orthogonal, p=-((-1) ** l), packing=packing)
    np.testing.assert_allclose(pseudo, np.linalg.det(orthogonal) * found, atol=1e-13)


@pytest.mark.parametrize("l", [1, 4, 12])
def test_tensors_of_rotated_directions(l: int, orthogonal: Array, rng: np.random.Generator) -> None:
    r = rng.normal(size=(6, 3))
    for form, packing in (("packed", "orthonormal"), ("monomial", "monomial")):
        expected = harmonics(l, r @ orthogonal.T, form)
        found = rotate(harmonics(l, r, form), l, orthogonal, packing=packing)
        np.testing.assert_allclose(found, expected, atol=1e-12 * abs(expected).max())


@settings(max_examples=20)
@given(seed=seeds, reflect=st.booleans(), l=st.integers(0, 6))
def test_group_law_and_orthogonality(seed: int, reflect: bool, l: int) -> None:
    rng = np.random.default_rng(seed)
    R, S = random_rotation(rng, reflect=reflect), random_rotation(rng)
    np.testing.assert_allclose(packed_d(l, R @ S), packed_d(l, R) @ packed_d(l, S), atol=1e-13)
    np.testing.assert_allclose(packed_d(l, R.T), packed_d(l, R).T, atol=1e-13)


@settings(max_examples=20)
@given(
    seed=seeds,
    reflect=st.booleans(),
    packing=st.sampled_from(["orthonormal", "monomial"]),
    degrees=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 8)),
)
def test_products_are_equivariant(
    seed: int, reflect: bool, packing: str, degrees: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(seed)
    l1, l2 = degrees[:2]
    l3 = abs(l1 - l2) + degrees[2] % (2 * min(l1, l2) + 1)
    a, b = rng.normal(size=2 * l1 + 1), rng.normal(size=2 * l2 + 1)
    R = random_rotation(rng, reflect=reflect)
    G = coefficients(l1, l2, l3, "cg", packing)
    turned = (rotate(v, l, R, packing=packing) for v, l in ((a, l1), (b, l2)))
    found = np.einsum("cab,a,b->c", G, *turned)
    # An odd product of natural tensors is a pseudotensor.
    expected = rotate(np.einsum("cab,a,b->c", G, a, b), l3, R, p=(-1) ** (l1 + l2), packing=packing)
    scale = max(1.0, float(abs(expected).max()))
    np.testing.assert_allclose(found, expected, atol=1e-12 * scale)


def test_batches_broadcast(rng: np.random.Generator) -> None:
    R = np.stack([random_rotation(rng) for _ in range(4)])
    packed = rng.normal(size=(5, 1, 7))
    found = rotate(packed, 3, R)
    assert found.shape == (5, 4, 7)
    np.testing.assert_allclose(found[2, 3], packed_d(3, R[3]) @ packed[2, 0], atol=1e-14)
    monomial = rotate(repack(packed, 3, "orthonormal", "monomial"), 3, R, packing="monomial")
    np.testing.assert_allclose(repack(monomial, 3, "monomial", "orthonormal"), found, atol=1e-13)


def test_torch_and_single_precision(orthogonal: Array, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    packed = rng.normal(size=(2, 9))
    expected = rotate(packed, 4, orthogonal, p=-1)
    found = rotate(torch.from_numpy(packed), 4, torch.from_numpy(orthogonal), p=-1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-14)
    single = rotate(torch.from_numpy(packed).float(), 4, torch.from_numpy(orthogonal).float(), p=-1)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, atol=1e-5)
    vector = torch.from_numpy(rng.normal(size=3)).requires_grad_()

    def turned(v: torch.Tensor) -> torch.Tensor:
        # The exponential of a skew matrix.
        zero = torch.zeros((), dtype=v.dtype)
        x, y, z = v
        K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
        return packed_d(3, torch.linalg.matrix_exp(K))

    assert torch.autograd.gradcheck(turned, vector)


def test_wrong_arguments(orthogonal: Array) -> None:
    with pytest.raises(DataError, match=r"R: expected shape \(..., 3, 3\), got \(3,\)"):
        packed_d(1, np.ones(3))
    with pytest.raises(DataError, match=r"expected an orthogonal matrix, got max\|R R\^T - 1\|"):
        packed_d(1, 1.1 * orthogonal)
    with pytest.raises(DataError, match="expected an orthogonal"):
        packed_d(1, np.full((3, 3), np.nan))
    with pytest.raises(IrrepsError, match="parity p: expected 1"):
        packed_d(1, orthogonal, p=0)
    with pytest.raises(IrrepsError, match="packing: expected one of"):
        packed_d(1, orthogonal, packing="full")
    with pytest.raises(IrrepsError, match="expected 5 numbers"):
        rotate(np.ones(3), 2, orthogonal)


def test_tensors_and_rotations_of_different_kinds_are_refused(orthogonal: Array) -> None:
    with pytest.raises(CoreError, match="arrays of one kind"):
        rotate(np.ones(3, dtype=np.float32), 1, orthogonal)
    # Whole numbers are data, and exact in float64.
    np.testing.assert_array_equal(rotate([1, 0, 0], 1, np.eye(3, dtype=int)), [1.0, 0.0, 0.0])
