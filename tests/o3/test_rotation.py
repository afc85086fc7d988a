from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from etn.errors import CoreError, DataError, IrrepsError
from etn.o3 import (
    Irrep,
    Irreps,
    irreps_d,
    random_rotation,
    rotation_matrix,
    spherical_harmonics,
    wigner_d,
)

Matrix = npt.NDArray[np.float64]
YZX = [1, 2, 0]


@pytest.mark.parametrize("l", range(13))
def test_rotates_harmonics(l: int, orthogonal: Matrix, rng: np.random.Generator) -> None:
    r = rng.normal(size=(20, 3))
    part = slice(l * l, (l + 1) ** 2)
    before, after = (spherical_harmonics(l, v)[:, part] for v in (r, r @ orthogonal.T))
    np.testing.assert_allclose(before @ wigner_d(l, orthogonal).T, after, atol=1e-13)


@pytest.fixture
def float64_torch() -> Iterator[ModuleType]:
    # e3nn makes its generators in the default dtype, whatever the dtype of its argument.
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.parametrize("l", range(12))
def test_equals_e3nn_in_its_axis_order(
    l: int, orthogonal: Matrix, e3nn_o3: ModuleType, float64_torch: ModuleType
) -> None:
    # e3nn's axes 1, 2, 3 are what its harmonics, and ours, order as m = -1, 0, 1: (y, z, x).
    theirs_R = float64_torch.from_numpy(orthogonal[np.ix_(YZX, YZX)])
    for p in (1, -1):
        theirs = e3nn_o3.Irrep(l, p).D_from_matrix(theirs_R).numpy()
        np.testing.assert_allclose(wigner_d(Irrep(l, p), orthogonal), theirs, atol=5e-14)


@pytest.mark.parametrize("l", [0, 1, 2, 5, 12])
def test_orthogonal_and_homomorphism(l: int, rng: np.random.Generator) -> None:
    A, B = random_rotation(rng), random_rotation(rng, reflect=True)
    for ir in (Irrep(l, 1), Irrep(l, -1)):
        D_A, D_B = wigner_d(ir, A), wigner_d(ir, B)
        np.testing.assert_allclose(D_B @ D_B.T, np.eye(ir.dim), atol=1e-13)
        np.testing.assert_allclose(D_A @ D_B, wigner_d(ir, A @ B), atol=1e-13)
        np.testing.assert_allclose(wigner_d(ir, np.eye(3)), np.eye(ir.dim), atol=1e-14)
        np.testing.assert_allclose(wigner_d(ir, A.T), D_A.T, atol=1e-13)


@pytest.mark.parametrize("l", range(13))
def test_character(l: int, rng: np.random.Generator) -> None:
    angle = 1.234
    trace = np.trace(wigner_d(l, rotation_matrix(rng.normal(size=3), angle)))
    assert trace == pytest.approx(np.sin((l + 0.5) * angle) / np.sin(angle / 2), abs=1e-13)


@pytest.mark.parametrize("l", range(5))
def test_inversion_is_the_parity(l: int) -> None:
    for p in (1, -1):
        D = wigner_d(Irrep(l, p), -np.eye(3))
        np.testing.assert_allclose(D, p * np.eye(2 * l + 1), atol=1e-15)


def test_mirror() -> None:
    mirror = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(wigner_d("1o", mirror), np.diag([1, 1, -1]))  # polar: y, z, x
    np.testing.assert_allclose(wigner_d("1e", mirror), np.diag([-1, -1, 1]))  # axial


def test_vector_is_the_matrix_itself(orthogonal: Matrix) -> None:
    np.testing.assert_array_equal(wigner_d("1o", orthogonal), orthogonal[np.ix_(YZX, YZX)])


@pytest.mark.parametrize("ir", ["0o", "1e", "3o"])
def test_leading_dimensions(ir: str, rng: np.random.Generator) -> None:
    R = np.array([[random_rotation(rng, reflect=i == j) for i in range(2)] for j in range(3)])
    D = wigner_d(ir, R)
    assert D.shape == (3, 2, Irrep(ir).dim, Irrep(ir).dim)
    for i in np.ndindex(3, 2):
        np.testing.assert_allclose(D[i], wigner_d(ir, R[i]), atol=1e-15)
    assert wigner_d(ir, np.empty((0, 3, 3))).shape == (0, Irrep(ir).dim, Irrep(ir).dim)


def test_direct_sum(orthogonal: Matrix) -> None:
    irreps = Irreps("2x1o+0e+0x5e+1x0o+1e+1o")
    blocks = [wigner_d(ir, orthogonal) for mul, ir in irreps for _ in range(mul)]
    np.testing.assert_allclose(irreps_d(irreps, orthogonal), block_diag(*blocks), atol=1e-15)
    stack = irreps_d(irreps, np.stack([np.eye(3), orthogonal]))
    np.testing.assert_allclose(stack[1], block_diag(*blocks), atol=1e-15)
    assert irreps_d("", orthogonal).shape == irreps_d("0x2e", orthogonal).shape == (0, 0)


def test_not_orthogonal(rotation: Matrix) -> None:
    with pytest.raises(DataError, match=r"R: expected an orthogonal matrix, got .* = 2\.10e-01"):
        wigner_d(2, 1.1 * np.eye(3))
    with pytest.raises(DataError, match=r"R\[1, 0\]: expected an orthogonal matrix"):
        irreps_d("1o", np.array([[rotation], [rotation + 1e-3]]))
    with pytest.raises(DataError, match="nan"):
        wigner_d(2, np.full((3, 3), np.nan))
    with pytest.raises(DataError, match=r"expected shape \(..., 3, 3\), got \(3,\)"):
        wigner_d(2, np.ones(3))
    single = rotation.astype(np.float32)
    np.testing.assert_allclose(wigner_d(4, single), wigner_d(4, rotation), atol=1e-6)


def test_malformed_irrep() -> None:
    with pytest.raises(IrrepsError, match="at least 0"):
        wigner_d(-1, np.eye(3))
    with pytest.raises(IrrepsError, match="expected LP"):
        wigner_d("2", np.eye(3))


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, -2.0, np.pi, 7.0])
def test_rotation_matrix_equals_scipy(angle: float, rng: np.random.Generator) -> None:
    axis = rng.normal(size=3)
    expected = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    np.testing.assert_allclose(rotation_matrix(axis, angle), expected, atol=1e-15)


def test_rotation_matrix_needs_an_axis() -> None:
    with pytest.raises(DataError, match="non-zero length"):
        rotation_matrix([0, 0, 0], 1.0)
    with pytest.raises(DataError, match=r"shape \(3,\), got \(2,\)"):
        rotation_matrix([0, 1], 1.0)


def test_random_rotation_is_uniform() -> None:
    rng = np.random.default_rng(5)
    R = np.array([random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-14)
    assert np.linalg.det(random_rotation(rng, reflect=True)) == pytest.approx(-1)
    # Haar averages: <D_l> = 0 for l > 0, and <R_ij^2> = 1/3; five standard errors are 0.05.
    for l in (1, 2, 3):
        assert np.abs(wigner_d(l, R).mean(axis=0)).max() < 0.05
    np.testing.assert_allclose((R**2).mean(axis=0), 1 / 3, atol=0.03)


# Torch


@pytest.fixture
def turn() -> Any:
    """A rotation as a function of its axis times its angle."""
    torch = pytest.importorskip("torch")
    generators = torch.zeros(3, 3, 3, dtype=torch.float64)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        generators[i, k, j], generators[i, j, k] = 1, -1
    return lambda axis: torch.linalg.matrix_exp(torch.einsum("i,ijk->jk", axis, generators))


def test_torch_equals_numpy_and_keeps_the_precision(
    orthogonal: Matrix, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    R = torch.from_numpy(orthogonal)
    for ir in ("0o", "1o", "3e", "8o"):
        found = wigner_d(ir, R)
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), wigner_d(ir, orthogonal), atol=1e-14)
    found, expected = (irreps_d("2x0e+1o+2x2o+0x3e", M) for M in (R, orthogonal))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-14)
    single = wigner_d("3o", R.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), wigner_d("3o", orthogonal), atol=2e-6)
    assert wigner_d("3o", orthogonal.astype(np.float32)).dtype == np.float64
    with pytest.raises(DataError, match="expected an orthogonal matrix"):
        wigner_d("1o", 1.1 * R)


def test_torch_derivatives_of_representations(turn: Any) -> None:
    import torch

    axis = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: wigner_d("4o", turn(a)), axis)
    assert torch.autograd.gradgradcheck(lambda a: wigner_d("2e", turn(a)), axis)
    assert torch.autograd.gradcheck(lambda a: irreps_d("2x1o+2e+1e", turn(a)), axis)


def test_torch_compiles_the_full_graph(orthogonal: Matrix) -> None:
    torch = pytest.importorskip("torch")
    R = torch.from_numpy(orthogonal)
    compiled = torch.compile(lambda M: irreps_d("2x0e+1o+2o", M), fullgraph=True, backend="eager")
    np.testing.assert_allclose(compiled(R), irreps_d("2x0e+1o+2o", orthogonal), atol=1e-14)


# Limits and arguments


def test_high_degrees_are_orthogonal(rng: np.random.Generator) -> None:
    R = random_rotation(rng)
    D = wigner_d(100, R)
    np.testing.assert_allclose(D @ D.T, np.eye(201), atol=1e-13)
    # The character of a rotation by the angle a: sin((l + 1/2) a) / sin(a / 2).
    a = np.arccos((np.trace(R) - 1) / 2)
    assert np.trace(D) == pytest.approx(np.sin(100.5 * a) / np.sin(a / 2), abs=1e-11)
    with pytest.raises(IrrepsError, match="degree l: expected at most 1000 for a rotation, got"):
        wigner_d(1001, R)


@pytest.mark.parametrize("scale", [5e-324, 1e-170, 1e160, 1e308])
def test_an_axis_may_have_any_length(scale: float) -> None:
    R = rotation_matrix([0, 0, scale], np.float32(np.pi / 2))
    np.testing.assert_allclose(R, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-7)


@pytest.mark.parametrize("angle", [np.nan, np.inf, "1", [1.0, 2.0], 1j, None])
def test_an_angle_is_a_finite_number(angle: Any) -> None:
    with pytest.raises((CoreError, DataError), match="angle: expected"):
        rotation_matrix([0, 0, 1], angle)


def test_a_seed_does_for_a_generator() -> None:
    expected = random_rotation(np.random.default_rng(7))
    np.testing.assert_array_equal(random_rotation(7), expected)
    np.testing.assert_array_equal(random_rotation(np.int64(7)), expected)
    for bad in (None, -1, 1.0, "7", True, np.random.RandomState(0)):
        with pytest.raises(DataError, match=r"rng: expected numpy.random.default_rng\(seed\) or a"):
            random_rotation(bad)


def test_degrees_of_any_integer_kind(orthogonal: Matrix) -> None:
    for l in (np.int8(2), np.uint64(2), np.array(2), "2e", (2, 1)):
        np.testing.assert_array_equal(wigner_d(l, orthogonal), wigner_d(2, orthogonal))
    for bad in (2.0, True, None, -1):
        with pytest.raises(IrrepsError, match="degree l: expected"):
            wigner_d(bad, orthogonal)
