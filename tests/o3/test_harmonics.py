from __future__ import annotations

import threading
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import sph_harm_y

from etn.errors import DataError, IrrepsError
from etn.o3 import spherical_harmonics, spherical_harmonics_with_gradients

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
        with pytest.raises(DataError, match="1 of 4 vectors have no direction; the first is number 2 "):
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
