from __future__ import annotations

import time
from fractions import Fraction
from math import comb, factorial
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import eval_legendre

from etn.errors import CoreError, DataError, IrrepsError
from etn.o3 import spherical_harmonics, spherical_harmonics_with_gradients
from etn.o3.cartesian.basis import packing_maps
from etn.o3.cartesian.coefficients import coefficients
from etn.o3.cartesian.constants import double_factorial, norm_constant
from etn.o3.cartesian.exact import direction_tensor, monomials, multiplicity
from etn.o3.cartesian.harmonics import harmonics, harmonics_with_gradients
from etn.o3.cartesian.packing import repack, unpack

Array = npt.NDArray[np.float64]
L_MAX = 12
FORMS = ("packed", "monomial", "full")


@pytest.fixture
def vectors(rng: np.random.Generator) -> Array:
    r = rng.normal(size=(20, 3)) * rng.uniform(0.5, 4.0, size=(20, 1))
    axes = np.concatenate([np.eye(3), -np.eye(3)])  # the poles, where the angles are singular
    return np.concatenate([r, 2.5 * axes])


def unit(r: Array) -> Array:
    return r / np.linalg.norm(r, axis=-1, keepdims=True)


@pytest.mark.parametrize("l", range(L_MAX + 1))
def test_contracted_with_a_direction_it_is_the_legendre_polynomial(
    l: int, vectors: Array, rng: np.random.Generator
) -> None:
    s = unit(rng.normal(size=3))
    x, y, z = s
    values = harmonics(l, vectors, "monomial") @ packing_maps(l, "monomial").lift.T.astype(float)
    powers = np.array([multiplicity(e) * x ** e[0] * y ** e[1] * z ** e[2] for e in monomials(l)])
    np.testing.assert_allclose(values @ powers, eval_legendre(l, unit(vectors) @ s), atol=1e-12)


@pytest.mark.parametrize("l", range(L_MAX + 1))
def test_packed_tensors_are_the_spherical_harmonics(l: int, vectors: Array) -> None:
    norm = double_factorial(2 * l - 1) / factorial(l)
    scale = np.sqrt(4 * np.pi * norm / (2 * l + 1))
    expected = scale * spherical_harmonics(l, vectors)[:, l * l :]
    found = harmonics(l, vectors)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.sqrt(norm))
    np.testing.assert_allclose((found**2).sum(axis=1), norm, rtol=1e-12)


@pytest.mark.parametrize("l", range(9))
def test_packed_tensors_equal_e3nn(l: int, vectors: Array, e3nn_o3: ModuleType) -> None:
    import torch

    # Its first, second and third axis are y, z, x of the harmonics.
    yzx = torch.from_numpy(vectors[:, [1, 2, 0]])
    theirs = e3nn_o3.spherical_harmonics(l, yzx, True, normalization="norm").numpy()
    norm = double_factorial(2 * l - 1) / factorial(l)
    np.testing.assert_allclose(harmonics(l, vectors), np.sqrt(norm) * theirs, atol=1e-12)


@pytest.mark.parametrize("l", [0, 1, 2, 5, 12, 16])
def test_monomials_equal_the_exact_tensor(l: int) -> None:
    r = (Fraction(2, 7), Fraction(-3, 7), Fraction(6, 7))
    T = direction_tensor(l, r)
    expected = [float(T.component(e)) for e in monomials(l)[: 2 * l + 1]]
    found = harmonics(l, [float(v) for v in r], "monomial")
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_full_tensors_in_closed_form(vectors: Array) -> None:
    n = unit(vectors)
    one = np.eye(3)
    rr = np.einsum("ri,rj->rij", n, n)
    np.testing.assert_allclose(harmonics(0, vectors, "full"), np.ones(len(n)))
    np.testing.assert_allclose(harmonics(1, vectors, "full"), n, atol=1e-15)
    np.testing.assert_allclose(harmonics(2, vectors, "full"), 1.5 * (rr - one / 3), atol=1e-14)
    rrr = np.einsum("rij,rk->rijk", rr, n)
    traces = sum(
        np.einsum(f"r{a},{b}->rijk", n, one) for a, b in (("i", "jk"), ("j", "ik"), ("k", "ij"))
    )
    np.testing.assert_allclose(harmonics(3, vectors, "full"), 2.5 * (rrr - traces / 5), atol=1e-14)


def test_contraction_with_the_direction_lowers_the_degree(vectors: Array) -> None:
    for l in range(1, 6):
        lowered = np.einsum("r...k,rk->r...", harmonics(l, vectors, "full"), unit(vectors))
        np.testing.assert_allclose(lowered, harmonics(l - 1, vectors, "full"), atol=1e-14)


@pytest.mark.parametrize("l", range(8))
def test_gradients_equal_those_of_the_spherical_harmonics(l: int, vectors: Array) -> None:
    scale = np.sqrt(4 * np.pi * double_factorial(2 * l - 1) / (factorial(l) * (2 * l + 1)))
    _, expected = spherical_harmonics_with_gradients(l, vectors)
    values, gradients = harmonics_with_gradients(l, vectors)
    np.testing.assert_array_equal(values, harmonics(l, vectors))
    np.testing.assert_allclose(gradients, scale * expected[..., l * l :], atol=1e-11)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_finite_differences(form: Any, normalize: bool, vectors: Array) -> None:
    h = 1e-3
    for l in range(5):
        _, gradients = harmonics_with_gradients(l, vectors, form, normalize=normalize)
        for axis, step in enumerate(h * np.eye(3)):
            # Sixth-order central differences.
            d = [
                harmonics(l, vectors + k * step, form, normalize=normalize)
                - harmonics(l, vectors - k * step, form, normalize=normalize)
                for k in (1, 2, 3)
            ]
            expected = (45 * d[0] - 9 * d[1] + d[2]) / (60 * h)
            # What rounding leaves of the largest values, divided by h.
            noise = 1e-10 * (1 + abs(expected).max())
            np.testing.assert_allclose(gradients[:, axis], expected, rtol=0, atol=noise)


def test_without_normalization_it_is_a_solid_harmonic(vectors: Array) -> None:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    for l in range(6):
        solid = harmonics(l, vectors, normalize=False)
        np.testing.assert_allclose(solid, length**l * harmonics(l, vectors), rtol=0, atol=1e-9)
    values, gradients = harmonics_with_gradients(2, np.zeros(3), normalize=False)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(gradients, 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(3,), (2, 4, 3), (0, 3)])
def test_shapes(form: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    r = rng.normal(size=shape)
    for l in range(4):
        tail = (3,) * l if form == "full" else (2 * l + 1,)
        values, gradients = harmonics_with_gradients(l, r, form)
        assert values.shape == (*shape[:-1], *tail)
        assert gradients.shape == (*shape[:-1], 3, *tail)
        assert harmonics(l, r, form).shape == values.shape


def test_forms_agree(vectors: Array) -> None:
    for l in range(6):
        full = harmonics(l, vectors, "full")
        np.testing.assert_allclose(unpack(harmonics(l, vectors), l), full, atol=1e-13)


def test_vectors_without_direction() -> None:
    r = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0], [np.nan, 0.0, 1.0]])
    for function in (harmonics, harmonics_with_gradients):
        with pytest.raises(
            DataError, match=r"2 of 3 vectors have no direction; the first is nu.* 1 "
        ):
            function(2, r)
    values, gradients = harmonics_with_gradients(2, r, zero="zero")
    np.testing.assert_allclose(values[0], harmonics(2, r[0]))
    np.testing.assert_array_equal(values[1:], 0)
    np.testing.assert_array_equal(gradients[1:], 0)
    values, gradients = harmonics_with_gradients(2, r, zero="nan")
    assert np.isfinite(values[0]).all()
    assert np.isfinite(gradients[0]).all()
    assert np.isnan(values[1:]).all()
    assert np.isnan(gradients[1:]).all()
    for zero in ("zero", "nan"):
        np.testing.assert_array_equal(harmonics(0, r, zero=zero), np.ones((3, 1)))


def test_wrong_arguments() -> None:
    with pytest.raises(DataError, match=r"r: expected shape \(..., 3\), got \(4, 2\)"):
        harmonics(2, np.ones((4, 2)))
    with pytest.raises(
        IrrepsError, match="form: expected one of packed, full, monomial, got 'e3nn'"
    ):
        harmonics(2, np.ones(3), "e3nn")
    with pytest.raises(IrrepsError, match="zero: expected one of error, zero, nan, got 'ignore'"):
        harmonics(2, np.ones(3), zero="ignore")
    with pytest.raises(IrrepsError, match="degree l: expected at least 0, got -1"):
        harmonics(-1, np.ones(3))
    with pytest.raises(IrrepsError, match="a full tensor of degree 25 takes"):
        harmonics(25, np.ones(3), "full")


@pytest.mark.parametrize("form", FORMS)
def test_torch_derivatives(form: Any) -> None:
    torch = pytest.importorskip("torch")
    poles = [[0.0, 0.0, 1.5], [0.0, -0.7, 0.0], [0.3, -1.1, 0.6]]
    r = torch.tensor(poles, dtype=torch.float64, requires_grad=True)
    for l in (1, 2, 4):
        assert torch.autograd.gradcheck(lambda v, l=l: harmonics(l, v, form), r)
        values, gradients = harmonics_with_gradients(l, r, form)
        jacobian = torch.autograd.functional.jacobian(
            lambda v, l=l: harmonics(l, v, form).sum(0), r
        )
        # jacobian: (tensor..., vector, xyz)
        expected = jacobian.movedim((-2, -1), (0, 1)).detach()
        np.testing.assert_allclose(gradients.detach(), expected, atol=1e-12)
        assert values.dtype == torch.float64
    assert torch.autograd.gradgradcheck(lambda v: harmonics(3, v, form), r)


def test_torch_equals_numpy_and_has_no_nan_at_zero(vectors: Array) -> None:
    torch = pytest.importorskip("torch")
    for l in range(L_MAX + 1):
        found = harmonics(l, torch.from_numpy(vectors)).numpy()
        np.testing.assert_allclose(found, harmonics(l, vectors), atol=1e-12)
    single = harmonics(4, torch.from_numpy(vectors).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), harmonics(4, vectors), atol=2e-6)
    r = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], dtype=torch.float64, requires_grad=True)
    energy = (harmonics(3, r, zero="zero") ** 3).sum()
    (force,) = torch.autograd.grad(energy, r, create_graph=True)
    (second,) = torch.autograd.grad((force**2).sum(), r)
    assert bool(torch.isfinite(force).all() and torch.isfinite(second).all())
    assert bool((force[0] == 0).all())
    with pytest.raises(DataError, match="1 of 2 vectors have no direction"):
        harmonics(3, r)


def test_torch_compiles_the_full_graph(vectors: Array) -> None:
    torch = pytest.importorskip("torch")
    r = torch.from_numpy(vectors)
    for form in ("packed", "monomial"):
        for zero in ("zero", "error"):
            compiled = torch.compile(
                lambda v, form=form, zero=zero: harmonics(3, v, form, zero=zero),
                fullgraph=True,
                backend="eager",
            )
            np.testing.assert_allclose(compiled(r), harmonics(3, vectors, form), atol=1e-14)


@pytest.mark.parametrize("l", [20, 40, 86, 150])
def test_high_degrees_take_milliseconds_and_equal_the_spherical_harmonics(l: int) -> None:
    r = np.array([[0.1, 0.2, 0.3], [0.0, 0.0, 1.0]])
    start = time.perf_counter()
    values, gradients = harmonics_with_gradients(l, r)
    assert time.perf_counter() - start < 0.5  # 12 s at 86, when the packing was changed
    scale = np.sqrt(4 * np.pi / (float(norm_constant(l)) * (2 * l + 1)))
    expected, slopes = spherical_harmonics_with_gradients(l, r)
    np.testing.assert_allclose(values / scale, expected[:, l * l :], atol=1e-14 * l)
    np.testing.assert_allclose(gradients / scale, slopes[:, :, l * l :], atol=1e-12 * l)


@pytest.mark.parametrize("l", [40, 150])
def test_monomials_of_high_degree_equal_those_in_fractions(l: int) -> None:
    r = [Fraction(3, 13), Fraction(-4, 13), Fraction(12, 13)]
    # T.(s...s) is P_l(r.s) |s|^l.  For s = (s1, s2, 0) it is a polynomial of s1 and s2, here by the
    # powers of s2, whose coefficients are the components without index z times binomials.
    before, now = np.array([Fraction(1)]), np.array(r[:2])
    for d in range(2, l + 1):
        dot, square = np.convolve(now, r[:2]), np.convolve(before, [1, 0, 1])
        before, now = now, (Fraction(2 * d - 1) * dot - (d - 1) * square) / d
    expected = [float(v / comb(l, b)) for b, v in enumerate(now)]
    found = harmonics(l, [float(v) for v in r], "monomial")
    np.testing.assert_allclose(found[: l + 1], expected, atol=1e-14 * l * max(map(abs, expected)))


def test_gradients_of_monomials_equal_those_of_the_packed_ones(vectors: Array) -> None:
    for l in (1, 2, 3, 10):
        packed = harmonics_with_gradients(l, vectors)[1]
        found = repack(
            harmonics_with_gradients(l, vectors, "monomial")[1], l, "monomial", "orthonormal"
        )
        np.testing.assert_allclose(found, packed, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_the_direction_matters_at_any_length(dtype: Any) -> None:
    info = np.finfo(dtype)
    for scale in (info.smallest_subnormal, 30 * info.smallest_subnormal, info.tiny, info.max / 2):
        found = harmonics(1, np.array([scale, 0, scale], dtype=dtype), "monomial")
        np.testing.assert_allclose(found, np.sqrt([0.5, 0, 0.5]), rtol=2 * info.eps)
        assert found.dtype == dtype
    for v in (np.array([3e-23, 0, 0], np.float32), np.array([2e-162, 0, 0])):
        assert np.linalg.norm(harmonics(1, v)) == pytest.approx(1, abs=2e-7)


def test_limits_and_wrong_vectors() -> None:
    assert harmonics(0, np.zeros(3)).tolist() == [1.0]
    with pytest.raises(CoreError, match="r: expected float32 or float64, got complex128"):
        harmonics(1, [1j, 0, 0])
    with pytest.raises(IrrepsError, match="degree l: expected at most 1000 in float64, got 1001"):
        harmonics(1001, np.ones(3))
    with pytest.raises(IrrepsError, match="degree l: expected at most 150 in float32, got 151"):
        harmonics(151, np.ones(3, np.float32))
    with pytest.raises(IrrepsError, match="max_bytes: expected a number, got '1 GiB'"):
        harmonics(2, np.ones(3), "full", max_bytes="1 GiB")
    values = harmonics(1000, [0.3, -0.4, 0.5])
    assert float((values**2).sum() * norm_constant(1000)) == pytest.approx(1, abs=1e-10)


def test_float32_stays_float32(vectors: Array) -> None:
    for form in FORMS:
        for array in harmonics_with_gradients(3, vectors.astype(np.float32), form):
            assert array.dtype == np.float32


# The order of flashcart's packed components within a degree, as exponents.
FLASHCART = [
    [(0, 0, 0)],
    [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
    [(2, 0, 0), (0, 2, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)],
]


def test_agrees_with_flashcart(vectors: Array) -> None:
    flashcart: ModuleType = pytest.importorskip("flashcart.o3.irreps")
    import torch

    theirs = flashcart.Irreps(2)(torch.from_numpy(vectors)).numpy()
    for l, order in enumerate(FLASHCART):
        ours = harmonics(l, vectors, "monomial")[:, [monomials(l).index(e) for e in order]]
        np.testing.assert_allclose(theirs[:, l * l : (l + 1) ** 2], ours, atol=1e-10)


def test_products_agree_with_flashcart(rng: np.random.Generator) -> None:
    flashcart: ModuleType = pytest.importorskip("flashcart.o3.tensor_product")
    import torch

    product = flashcart.TensorProduct(2, 2, 2, 1, 1, shared_weights=True)
    first, second = rng.normal(size=(2, 9))
    rows = (torch.from_numpy(v[None]) for v in (first, second))
    weights = torch.ones(product.n_total_paths, dtype=torch.float64)
    theirs = product(*rows, weights)[0].numpy()
    places = [[monomials(l).index(e) for e in order] for l, order in enumerate(FLASHCART)]
    start = 0
    for l3 in range(3):
        pairs = [(a, b) for a in range(3) for b in range(a + 1) if a - b <= l3 <= a + b]
        pairs = [(a, b) for a, b in pairs if (a + b + l3) % 2 == 0]
        pairs += [(b, a) for a, b in pairs if a != b]
        block = theirs[start : start + (2 * l3 + 1) * len(pairs)].reshape(2 * l3 + 1, len(pairs))
        start += block.size
        for column, (l1, l2) in zip(block.T, pairs, strict=True):
            G = coefficients(l1, l2, l3, "unity", "monomial")
            G = G[np.ix_(places[l3], places[l1], places[l2])]
            a, b = first[l1 * l1 : (l1 + 1) ** 2], second[l2 * l2 : (l2 + 1) ** 2]
            np.testing.assert_allclose(np.einsum("cab,a,b->c", G, a, b), column, atol=1e-10)
    assert start == len(theirs)
