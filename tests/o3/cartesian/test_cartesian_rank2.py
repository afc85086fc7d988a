from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sympy.physics.wigner import wigner_6j

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.o3 import clebsch_gordan, irreps_d, spherical_harmonics
from etn.o3.cartesian.decomposition import decompose
from etn.o3.cartesian.rank2 import (
    Group,
    embed,
    pack,
    packed_product,
    product,
    product_coefficient,
    skew,
    split,
    squared_norms,
    unpack,
)

PART = {0: slice(0, 1), 1: slice(1, 4), 2: slice(4, 9)}
PATHS = [(a, b, c) for a, b, c in itertools.product(range(3), repeat=3) if abs(a - b) <= c <= a + b]
GROUPS: list[Group] = ["O(3)", "SO(3)"]

matrices = hnp.arrays(np.float64, (3, 3), elements=st.floats(-10, 10))


def assert_close(actual: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def act(Q: npt.NDArray[np.float64], X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Element of O(3) on matrices that hold a polar vector in their skew part, 0e+1o+2e."""
    if np.linalg.det(Q) < 0:
        X = X.swapaxes(-1, -2)
    return Q @ X @ Q.T


# Parts


@given(matrices)
def test_parts_sum_up_and_are_orthogonal(X: npt.NDArray[np.float64]) -> None:
    scalar, vector, tensor = split(X)
    assert_close(scalar + vector + tensor, X, 1e-13)
    assert_close(scalar, np.trace(X) / 3 * np.eye(3), 1e-13)
    assert_close(vector, -vector.T, 0)
    assert_close(tensor, tensor.T, 0)
    assert_close(np.trace(tensor), 0, 1e-13)
    for part, other in itertools.combinations((scalar, vector, tensor), 2):
        assert_close((part * other).sum(), 0, 1e-11)


def test_norms(rng: np.random.Generator) -> None:
    X = rng.normal(size=(4, 2, 3, 3))
    expected = [np.linalg.norm(part, axis=(-2, -1)) ** 2 for part in split(X)]
    found = squared_norms(X)
    assert_close(found, np.stack(expected, axis=-1), 1e-13)
    packed = pack(X)
    for l, part in PART.items():
        assert_close(found[..., l], (packed[..., part] ** 2).sum(-1), 1e-13)
    assert_close(found.sum(-1), (X**2).sum((-2, -1)), 1e-13)


# Packing


def test_packing_is_the_decomposition(rng: np.random.Generator) -> None:
    X = rng.normal(size=(5, 3, 3))
    packed = pack(X)
    assert_close(packed, decompose("ij").to_irreps(X), 1e-14)
    assert_close(unpack(packed), X, 1e-14)
    assert_close((packed**2).sum(-1), (X**2).sum((-2, -1)), 1e-13)
    # The formula in the documentation.
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.moveaxis(X, 0, -1)
    assert_close(packed[:, 0], (xx + yy + zz) / np.sqrt(3), 1e-14)
    vector = np.stack([zx - xz, xy - yx, yz - zy], axis=-1) / np.sqrt(2)
    assert_close(packed[:, 1:4], vector, 1e-14)


def test_parts_of_the_packing(rng: np.random.Generator) -> None:
    X = rng.normal(size=(3, 3))
    for l, matrix in enumerate(split(X)):
        expected = np.zeros(9)
        expected[PART[l]] = pack(X)[PART[l]]
        assert_close(pack(matrix), expected, 1e-14)


# Directions


def test_embedding_of_a_direction(rng: np.random.Generator) -> None:
    r, v = rng.normal(size=(2, 6, 3))
    scalar, vector, tensor = embed(r)
    assert scalar.shape == (6, 3, 3)
    assert_close(scalar, np.broadcast_to(np.eye(3), (6, 3, 3)), 0)
    assert_close(np.einsum("bij,bj->bi", vector, v), np.cross(r, v), 1e-14)
    Y = spherical_harmonics(2, r) * np.sqrt(4 * np.pi)
    length = np.linalg.norm(r, axis=1)[:, None]
    assert_close(pack(vector)[:, 1:4], -np.sqrt(2 / 3) * length * Y[:, 1:4], 1e-14)
    assert_close(pack(tensor)[:, 4:], np.sqrt(2 / 15) * length**2 * Y[:, 4:], 1e-13)
    assert_close(pack(tensor)[:, :4], 0, 1e-14)


def test_embedding_is_equivariant(
    orthogonal: npt.NDArray[np.float64], rng: np.random.Generator
) -> None:
    r = rng.normal(size=(4, 3))
    for part, turned in zip(embed(r), embed(r @ orthogonal.T), strict=True):
        assert_close(turned, act(orthogonal, part), 1e-13)


# Products


@pytest.mark.parametrize("group", GROUPS)
def test_product_equals_clebsch_gordan_paths(group: Group, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 4, 9))
    expected = np.zeros((4, 9))
    for a, b, c in PATHS:
        C = clebsch_gordan(a, b, c)
        coupled = np.einsum("zi,zj,ijk->zk", x[:, PART[a]], y[:, PART[b]], C)
        expected[:, PART[c]] += product_coefficient(a, b, c, group) * coupled
    assert_close(packed_product(x, y, group), expected, 1e-13)
    assert_close(pack(product(unpack(x), unpack(y), group)), expected, 1e-13)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_coefficients_equal_sympy(path: tuple[int, int, int]) -> None:
    a, b, c = path
    symbol = wigner_6j(a, b, c, 1, 1, 1) * sympy.sqrt((2 * a + 1) * (2 * b + 1))
    expected = float(2 * (-1) ** c * symbol)
    assert product_coefficient(a, b, c, "SO(3)") == pytest.approx(expected, abs=1e-15)
    even = (a + b + c) % 2 == 0
    assert product_coefficient(a, b, c) == pytest.approx(expected if even else 0, abs=1e-15)


def test_product_of_o3_keeps_natural_parity(
    orthogonal: npt.NDArray[np.float64], rng: np.random.Generator
) -> None:
    X, Y = rng.normal(size=(2, 4, 3, 3))
    turned = product(act(orthogonal, X), act(orthogonal, Y))
    assert_close(turned, act(orthogonal, product(X, Y)), 1e-13)
    D = irreps_d("0e+1o+2e", orthogonal)
    packed = packed_product(pack(X) @ D.T, pack(Y) @ D.T)
    assert_close(packed, packed_product(pack(X), pack(Y)) @ D.T, 1e-13)


def test_product_of_so3_is_for_rotations_only(
    rotation: npt.NDArray[np.float64],
    improper: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    X, Y = rng.normal(size=(2, 3, 3))
    expected = product(X, Y, "SO(3)")
    turned = product(act(rotation, X), act(rotation, Y), "SO(3)")
    assert_close(turned, act(rotation, expected), 1e-13)
    turned = product(act(improper, X), act(improper, Y), "SO(3)")
    assert abs(turned - act(improper, expected)).max() > 0.1


@given(matrices, matrices)
def test_products_of_symmetric_and_skew_parts(
    X: npt.NDArray[np.float64], Y: npt.NDArray[np.float64]
) -> None:
    symmetric, turned = X + X.T, Y + Y.T
    skew_x, skew_y = X - X.T, Y - Y.T
    for square in (product(symmetric, turned), product(skew_x, skew_y)):
        assert_close(square, square.T, 1e-10)
    mixed = product(symmetric, skew_y)
    assert_close(mixed, -mixed.T, 1e-10)


# Torch, refusals


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch(dtype: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    X, Y = rng.normal(size=(2, 4, 3, 3))
    r = rng.normal(size=(4, 3))
    tX, tY, tr = (torch.tensor(value, dtype=getattr(torch, dtype)) for value in (X, Y, r))
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    pairs = [
        *zip(split(tX), split(X), strict=True),
        *zip(embed(tr), embed(r), strict=True),
        (squared_norms(tX), squared_norms(X)),
        (pack(tX), pack(X)),
        (unpack(pack(tX)), X),
        (product(tX, tY), product(X, Y)),
        (packed_product(pack(tX), pack(tY), "SO(3)"), pack(2 * X @ Y)),
    ]
    for found, expected in pairs:
        assert found.dtype == tX.dtype
        assert_close(found, expected, tolerance)


def test_gradients(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x, y = (torch.tensor(rng.normal(size=9), requires_grad=True) for _ in range(2))
    r = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(packed_product, (x, y))
    assert torch.autograd.gradgradcheck(packed_product, (x, y))
    # Smooth, at the zero vector too.
    assert torch.autograd.gradcheck(lambda r: embed(r)[1:], r)
    assert torch.autograd.gradgradcheck(lambda r: embed(r)[2], r)


def test_refusals() -> None:
    with pytest.raises(IrrepsError, match=r"X: expected shape \(..., 3, 3\), got \(9,\)"):
        split(np.zeros(9))
    with pytest.raises(IrrepsError, match=r"Y: expected shape \(..., 3, 3\), got \(3,\)"):
        product(np.eye(3), np.zeros(3))
    with pytest.raises(IrrepsError, match=r"y: expected shape \(..., 9\)"):
        packed_product(np.zeros(9), np.zeros(8))
    with pytest.raises(IrrepsError, match=r"r: expected shape \(..., 3\), got \(4,\)"):
        skew(np.zeros(4))
    with pytest.raises(SettingsError, match="got 'U'"):
        product(np.eye(3), np.eye(3), "U")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="got 'U'"):
        product_coefficient(0, 0, 0, "U")  # type: ignore[arg-type]


def test_matrices_of_different_kinds_are_refused() -> None:
    X = np.eye(3)
    for product_of in (product, lambda a, b: packed_product(pack(a), pack(b))):
        with pytest.raises(CoreError, match="arrays of one kind"):
            product_of(X, X.astype(np.float32))
