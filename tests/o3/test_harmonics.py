from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import sph_harm_y

from etn.errors import CoreError, DataError, IrrepsError
from etn.o3 import (
    random_rotation,
    spherical_harmonics,
    spherical_harmonics_with_gradients,
    wigner_d,
)

L_MAX = 12
Array = npt.NDArray[np.float64]


@pytest.fixture
def vectors(rng: np.random.Generator) -> Array:
    r = rng.normal(size=(30, 3)) * rng.uniform(0.5, 4.0, size=(30, 1))
    axes = np.concatenate([np.eye(3), -np.eye(3)])  # the poles, where the angles are singular
    return np.concatenate([r, 2.5 * axes])


def test_values_equal_scipy(vectors: Array) -> None:
    theta = np.arccos(vectors[:, 2] / np.linalg.norm(vectors, axis=1))
    phi = np.arctan2(vectors[:, 1], vectors[:, 0])
    values = spherical_harmonics(L_MAX, vectors)
    for l in range(L_MAX + 1):
        for m in range(-l, l + 1):
            # Condon-Shortley phase removed; m > 0 is the cosine, m < 0 the sine.
            y = (-1) ** m * sph_harm_y(l, abs(m), theta, phi)
            expected = y.real if m == 0 else np.sqrt(2) * (y.real if m > 0 else y.imag)
            np.testing.assert_allclose(values[:, l * l + l + m], expected, atol=2e-13)


def test_values_equal_e3nn(vectors: Array, e3nn_o3: ModuleType) -> None:
    import torch

    yzx = torch.from_numpy(vectors[:, [1, 2, 0]])
    theirs = e3nn_o3.spherical_harmonics(list(range(9)), yzx, True, normalization="integral")
    np.testing.assert_allclose(spherical_harmonics(8, vectors), theirs.numpy(), atol=1e-12)


def test_first_harmonics_in_closed_form(vectors: Array) -> None:
    x, y, z = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    one = np.ones_like(x)
    l2 = [x * y, y * z, (3 * z * z - 1) / np.sqrt(12), x * z, (x * x - y * y) / 2]
    expected = [one, *(np.sqrt(3) * v for v in (y, z, x)), *(np.sqrt(15) * v for v in l2)]
    expected = np.stack(expected, axis=1) / np.sqrt(4 * np.pi)
    np.testing.assert_allclose(spherical_harmonics(2, vectors), expected, atol=1e-15)


def test_orthonormal() -> None:
    # Gauss-Legendre in cos(theta) and equidistant phi integrate degree 2 * l_max exactly.
    z, weights = np.polynomial.legendre.leggauss(L_MAX + 1)
    phi = 2 * np.pi * np.arange(2 * L_MAX + 1) / (2 * L_MAX + 1)
    s = np.sqrt(1 - z * z)[:, None]
    r = np.stack([s * np.cos(phi), s * np.sin(phi), z[:, None] + 0 * phi], axis=-1)
    w = weights[:, None] * (2 * np.pi / len(phi))
    y = spherical_harmonics(L_MAX, r)
    gram = np.einsum("tp,tpi,tpj->ij", w + 0 * phi, y, y)
    np.testing.assert_allclose(gram, np.eye((L_MAX + 1) ** 2), atol=1e-13)


def test_gradients_equal_finite_differences(vectors: Array) -> None:
    values, gradients = spherical_harmonics_with_gradients(L_MAX, vectors)
    # Two functions of the library, which may fuse products and sums in other places.
    np.testing.assert_allclose(values, spherical_harmonics(L_MAX, vectors), rtol=0, atol=1e-14)
    h = 1e-3
    for axis, step in enumerate(h * np.eye(3)):
        # Sixth-order central differences.
        d = [
            spherical_harmonics(L_MAX, vectors + k * step)
            - spherical_harmonics(L_MAX, vectors - k * step)
            for k in (1, 2, 3)
        ]
        expected = (45 * d[0] - 9 * d[1] + d[2]) / (60 * h)
        np.testing.assert_allclose(gradients[:, axis], expected, atol=2e-9)


def test_gradients_are_tangential_and_scale(vectors: Array) -> None:
    _, gradients = spherical_harmonics_with_gradients(L_MAX, vectors)
    radial = np.einsum("na,nai->ni", vectors, gradients)
    np.testing.assert_allclose(radial, 0, atol=1e-12)
    values, farther = spherical_harmonics_with_gradients(L_MAX, 4 * vectors)
    np.testing.assert_allclose(farther, gradients / 4, atol=1e-13)
    np.testing.assert_allclose(values, spherical_harmonics(L_MAX, vectors), atol=1e-13)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 4, 3), (0, 3), (2, 0, 3)])
@pytest.mark.parametrize("l_max", [0, 1, 3, 8])
def test_shapes(shape: tuple[int, ...], l_max: int, rng: np.random.Generator) -> None:
    r = rng.normal(size=shape)
    values, gradients = spherical_harmonics_with_gradients(l_max, r)
    assert values.shape == (*shape[:-1], (l_max + 1) ** 2)
    assert gradients.shape == (*shape[:-1], 3, (l_max + 1) ** 2)
    assert spherical_harmonics(l_max, r).shape == values.shape
    for i in np.ndindex(*shape[:-1]):
        np.testing.assert_allclose(spherical_harmonics(l_max, r[i]), values[i], atol=1e-14)


def test_lists_single_precision_and_strides(vectors: Array) -> None:
    reference = spherical_harmonics(3, vectors)
    np.testing.assert_array_equal(spherical_harmonics(3, vectors.tolist()), reference)
    np.testing.assert_array_equal(spherical_harmonics(3, np.asfortranarray(vectors)), reference)
    single = spherical_harmonics(3, vectors.astype(np.float32))
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, reference, atol=1e-6)


@pytest.mark.parametrize(
    "bad", [[0.0, 0.0, 0.0], [0.0, np.inf, np.nan], [np.nan, 0.0, 1.0], [np.inf, 0.0, 0.0]]
)
def test_no_direction(bad: list[float]) -> None:
    vectors = np.ones((4, 3))
    vectors[2] = bad
    for function in (spherical_harmonics, spherical_harmonics_with_gradients):
        with pytest.raises(
            DataError, match="1 of 4 vectors have no direction; the first is number 2 "
        ):
            function(2, vectors)


def test_wrong_arguments() -> None:
    with pytest.raises(DataError, match=r"expected shape \(..., 3\), got \(4, 2\)"):
        spherical_harmonics(2, np.ones((4, 2)))
    with pytest.raises(DataError, match="expected shape"):
        spherical_harmonics(2, 1.0)
    with pytest.raises(IrrepsError, match="l_max: expected at least 0, got -1"):
        spherical_harmonics(-1, np.ones(3))
    with pytest.raises(IrrepsError, match="l_max: expected an integer"):
        spherical_harmonics(2.0, np.ones(3))


# High degrees


@pytest.mark.parametrize("l_max", [80, 81, 88, 150])
def test_high_degrees_equal_scipy(l_max: int, vectors: Array) -> None:
    theta = np.arctan2(np.hypot(vectors[:, 0], vectors[:, 1]), vectors[:, 2])
    phi = np.arctan2(vectors[:, 1], vectors[:, 0])
    values, gradients = spherical_harmonics_with_gradients(l_max, vectors)
    np.testing.assert_allclose(values, spherical_harmonics(l_max, vectors), rtol=0, atol=1e-13)
    for l in (40, l_max - 1, l_max):
        for m in (0, 1, -2, l // 2, -l // 3, l, -l):
            y = (-1) ** m * sph_harm_y(l, abs(m), theta, phi)
            expected = y.real if m == 0 else np.sqrt(2) * (y.real if m > 0 else y.imag)
            np.testing.assert_allclose(values[:, l * l + l + m], expected, atol=5e-12)
        part = slice(l * l, (l + 1) ** 2)
        weight = (2 * l + 1) / (4 * np.pi)
        np.testing.assert_allclose((values[:, part] ** 2).sum(1), weight, rtol=1e-12)
        squares = (gradients[:, :, part] ** 2).sum((1, 2)) * (vectors**2).sum(1)
        np.testing.assert_allclose(squares, l * (l + 1) * weight, rtol=1e-12)


def test_high_degrees_are_equivariant(rng: np.random.Generator) -> None:
    R, r = random_rotation(rng), rng.normal(size=3)
    for l in (60, 100):
        part = slice(l * l, None)
        turned = wigner_d(l, R) @ spherical_harmonics(l, r)[part]
        np.testing.assert_allclose(spherical_harmonics(l, R @ r)[part], turned, atol=1e-13)


def test_both_ways_of_evaluation_join(vectors: Array) -> None:
    low, slopes = spherical_harmonics_with_gradients(80, vectors)
    high, steeper = spherical_harmonics_with_gradients(81, vectors)
    np.testing.assert_allclose(high[:, : 81**2], low, atol=2e-12)
    np.testing.assert_allclose(steeper[:, :, : 81**2], slopes, atol=2e-10)


def test_degrees_beyond_the_limit_are_refused() -> None:
    with pytest.raises(IrrepsError, match="l_max: expected at most 1000 in float64, got 1001"):
        spherical_harmonics(1001, np.ones(3))


# Lengths


def test_only_the_direction_matters_at_any_length(rng: np.random.Generator) -> None:
    r = rng.normal(size=(6, 3))
    expected, slopes = spherical_harmonics_with_gradients(4, r)
    for power in (-1000, -600, -10, 600, 1000):
        values, gradients = spherical_harmonics_with_gradients(4, np.ldexp(r, power))
        np.testing.assert_allclose(values, expected, atol=4e-15)
        np.testing.assert_allclose(np.ldexp(gradients, power), slopes, atol=4e-14)
    values = spherical_harmonics(1, [[5e-324, 0, 0], [1.7e308, 0, 0], [1e-320, 0, 1e-320]])
    one, half = np.sqrt(3 / (4 * np.pi)), np.sqrt(3 / (8 * np.pi))
    np.testing.assert_allclose(values[:, 1:], [[0, 0, one], [0, 0, one], [0, half, half]])
    with pytest.raises(DataError, match=r"the gradient by a vector of length 1.0e-310 is beyond"):
        spherical_harmonics_with_gradients(1, [1e-310, 0, 0])


def test_a_vector_gets_the_same_numbers_in_any_company(vectors: Array) -> None:
    alone = spherical_harmonics_with_gradients(5, vectors)
    mixed = np.concatenate([[[0.0, 0.0, 0.0], [1e-200, 0.0, 0.0]], vectors])
    together = spherical_harmonics_with_gradients(5, mixed, zero="zero")
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other[2:], one, rtol=0, atol=1e-15)


def test_vectors_without_direction_follow_the_policy(e3nn_o3: ModuleType) -> None:
    import torch

    r = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [np.nan, 0.0, 1.0]])
    constant = 1 / np.sqrt(4 * np.pi)
    for zero, rest in (("zero", 0.0), ("nan", np.nan)):
        values, gradients = spherical_harmonics_with_gradients(3, r, zero=zero)
        np.testing.assert_array_equal(spherical_harmonics(3, r, zero=zero), values)
        np.testing.assert_allclose(values[:, 0], constant)
        np.testing.assert_array_equal(values[[0, 2], 1:], rest)
        np.testing.assert_array_equal(gradients[[0, 2], :, 1:], rest)
        np.testing.assert_array_equal(gradients[:, :, 0], 0)
        np.testing.assert_array_equal(values[1], spherical_harmonics(3, r[1]))
    theirs = e3nn_o3.spherical_harmonics([0, 1], torch.zeros(1, 3), True, normalization="integral")
    found = spherical_harmonics(1, np.zeros((1, 3)), zero="zero")
    np.testing.assert_allclose(found, theirs.numpy(), atol=1e-7)
    with pytest.raises(IrrepsError, match="zero: expected one of error, zero, nan"):
        spherical_harmonics(1, r, zero=0)


def test_degree_zero_needs_no_direction() -> None:
    values, gradients = spherical_harmonics_with_gradients(0, np.zeros((2, 3)))
    np.testing.assert_allclose(values, 1 / np.sqrt(4 * np.pi))
    np.testing.assert_array_equal(gradients, np.zeros((2, 3, 1)))
    with pytest.raises(DataError, match="1 of 1 vectors"):
        spherical_harmonics(0, [np.nan, 0.0, 0.0])


def test_complex_vectors_are_refused() -> None:
    with pytest.raises(CoreError, match="vectors: expected float32 or float64, got complex128"):
        spherical_harmonics(1, np.array([1 + 5j, 0, 0]))


# Torch


@pytest.fixture
def points() -> Any:
    torch = pytest.importorskip("torch")
    rows = [[0.0, 0.0, 1.5], [0.0, 0.0, -0.4], [1e-9, 0.0, 1.0], [0.3, -1.1, 0.6]]
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def test_torch_equals_numpy_and_keeps_the_precision(points: Any, vectors: Array) -> None:
    import torch

    for l_max in (0, 1, 9, 100):
        expected = spherical_harmonics_with_gradients(l_max, vectors)
        found = spherical_harmonics_with_gradients(l_max, torch.from_numpy(vectors))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-13 * (1 + l_max**2))
    single = spherical_harmonics(9, torch.from_numpy(vectors).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, spherical_harmonics(9, vectors), atol=2e-5)
    assert spherical_harmonics(2, points).requires_grad


def test_torch_derivatives_are_right_to_second_order_at_the_poles_too(points: Any) -> None:
    import torch

    assert torch.autograd.gradcheck(lambda v: spherical_harmonics(4, v), points)
    assert torch.autograd.gradgradcheck(lambda v: spherical_harmonics(3, v), points)
    _, gradients = spherical_harmonics_with_gradients(4, points)
    for i, point in enumerate(points):
        slope = torch.autograd.functional.jacobian(lambda v: spherical_harmonics(4, v), point)
        np.testing.assert_allclose(gradients[i].detach(), slope.T, atol=1e-12)
    assert torch.autograd.gradcheck(lambda v: spherical_harmonics_with_gradients(3, v)[1], points)


def test_torch_has_no_nan_in_derivatives_at_zero() -> None:
    torch = pytest.importorskip("torch")
    r = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], dtype=torch.float64, requires_grad=True)
    (force,) = torch.autograd.grad(
        (spherical_harmonics(3, r, zero="zero") ** 3).sum(), r, create_graph=True
    )
    (second,) = torch.autograd.grad((force**2).sum(), r)
    assert bool(torch.isfinite(force).all() and torch.isfinite(second).all())
    assert bool((force[0] == 0).all())
    with pytest.raises(DataError, match="1 of 2 vectors have no direction"):
        spherical_harmonics(3, r)


def test_torch_compiles_the_full_graph(points: Any) -> None:
    import torch

    compiled = torch.compile(
        lambda v: spherical_harmonics_with_gradients(2, v), fullgraph=True, backend="eager"
    )
    pairs = zip(compiled(points), spherical_harmonics_with_gradients(2, points), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.detach(), theirs.detach(), atol=1e-14)
    compiled = torch.compile(
        lambda v: spherical_harmonics(2, v, zero="zero"), fullgraph=True, backend="aot_eager"
    )
    (slope,) = torch.autograd.grad((compiled(points) ** 3).sum(), points)
    (wanted,) = torch.autograd.grad((spherical_harmonics(2, points) ** 3).sum(), points)
    np.testing.assert_allclose(slope, wanted, atol=1e-13)


def test_python_threads_do_not_disturb_each_other(rng: np.random.Generator) -> None:
    # One sphericart calculator shared by the threads gives wrong values here.
    r = rng.normal(size=(20_000, 3))
    _, expected = spherical_harmonics_with_gradients(8, r)
    wrong = []

    def work() -> None:
        for _ in range(5):
            _, gradients = spherical_harmonics_with_gradients(8, r)
            if not np.array_equal(gradients, expected):
                wrong.append(np.abs(gradients - expected).max())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
