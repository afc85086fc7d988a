from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.o3 import Irrep, Irreps, clebsch_gordan, irreps_d, spherical_harmonics
from etn.o3.cartesian.decomposition import CartesianDecomposition, decompose

LETTERS = "abcdefgh"

FORMULAS = [
    "i",
    "ij",
    "ij=ji",
    "ij=-ji",
    "ijk",
    "ijk=jik",
    "ijk=-ikj",
    "ijk=jik=jki",
    "ijk=-jik=jki",
    "ijkl=jikl=klij",
    "ijkl=-jikl=klij",
    "ijkl=jikl=ijlk",
]


def assert_close(actual: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def rotate(tensor: npt.NDArray[np.float64], R: npt.NDArray[np.float64], rank: int) -> np.ndarray:
    """Turn the last `rank` axes, one after the other."""
    for axis in range(tensor.ndim - rank, tensor.ndim):
        tensor = np.moveaxis(np.tensordot(R, tensor, (1, axis)), 0, axis)
    return tensor


def symmetric(found: CartesianDecomposition, rng: np.random.Generator, *batch: int) -> np.ndarray:
    return found.from_irreps(rng.normal(size=(*batch, found.dim)))


@pytest.fixture
def double_precision() -> Iterator[None]:
    """e3nn computes its bases in the default precision of torch."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


# Without index symmetry


@pytest.mark.parametrize("rank", range(1, 6))
def test_projectors_of_all_paths(rank: int) -> None:
    found = decompose(LETTERS[:rank])
    dense = np.concatenate(found.matrices(), axis=1)
    # Orthonormal and complete together: P_a P_b = delta_ab P_a, rank 2l+1, sum 1.
    assert_close(dense.T @ dense, np.eye(3**rank), 1e-12)
    assert_close(dense @ dense.T, np.eye(3**rank), 1e-12)
    assert [path.ir.dim for path in found.paths] == [m.shape[1] for m in found.matrices()]


def test_projectors_of_rank_6() -> None:
    found = decompose(LETTERS[:6])
    dense = np.concatenate(found.matrices(), axis=1)
    assert abs(dense.T @ dense - np.eye(729)).max() <= 1e-12
    assert abs(dense @ dense.T - np.eye(729)).max() <= 1e-12


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_single_projectors(rank: int) -> None:
    found = decompose(LETTERS[:rank])
    projectors = [found.projector(k) for k in range(found.irreps.num_irreps)]
    for (a, P), (b, Q) in itertools.combinations_with_replacement(enumerate(projectors), 2):
        assert_close(P @ Q, P if a == b else np.zeros_like(P), 1e-12)
    for P, path in zip(projectors, found.paths, strict=True):
        assert_close(P, P.T, 1e-15)
        assert np.linalg.matrix_rank(P, tol=1e-9) == path.ir.dim
    assert_close(sum(projectors), np.eye(3**rank), 1e-12)


@pytest.mark.parametrize("rank", range(1, 7))
def test_projectors_commute_with_rotations(
    rank: int, improper: npt.NDArray[np.float64], rng: np.random.Generator
) -> None:
    found = decompose(LETTERS[:rank])
    T = rng.normal(size=(3,) * rank)
    components = found.to_irreps(T)
    D = irreps_d(found.irreps, improper)
    turned = found.to_irreps(rotate(T, improper, rank))
    assert_close(turned, D @ components, 1e-12 * np.linalg.norm(T))


def test_paths_are_chains_of_clebsch_gordan_tensors() -> None:
    found = decompose("ijk")
    for path, matrix in zip(found.paths, found.matrices(), strict=True):
        ((h1, h2, h3),) = path.histories
        assert (h1, path.coefficients) == (1, (1.0,))
        C, D = clebsch_gordan(1, 1, h2), clebsch_gordan(h2, 1, h3)
        chain = np.einsum("abm,mcn->abcn", C, D)[[2, 0, 1]][:, [2, 0, 1]][:, :, [2, 0, 1]]
        assert_close(matrix, chain.reshape(27, -1), 1e-15)


def test_vector_is_reordered() -> None:
    assert np.array_equal(decompose("i").to_irreps(np.array([1.0, 2.0, 3.0])), [2, 3, 1])


@pytest.mark.parametrize("l", range(1, 9))
def test_largest_degree_has_the_sign_of_the_harmonics(l: int, rng: np.random.Generator) -> None:
    r = rng.normal(size=3)
    r /= np.linalg.norm(r)
    power = np.ones(())
    for _ in range(l):
        power = np.multiply.outer(power, r)
    last = decompose(LETTERS[:l]).to_irreps(power)[-(2 * l + 1) :]
    Y = spherical_harmonics(l, r)[l * l :] * np.sqrt(4 * np.pi / (2 * l + 1))
    # The contraction r^l . T^l(r) is s_l |T^l|^2 = 1 in the norm of the harmonics.
    s = np.prod([k / (2 * k - 1) for k in range(1, l + 1)])
    assert_close(last, np.sqrt(s) * Y, 1e-13)


@pytest.mark.parametrize("rank", range(1, 9))
def test_number_of_irreps(rank: int) -> None:
    found = decompose(LETTERS[:rank])
    assert found.irreps.num_irreps == [1, 3, 7, 19, 51, 141, 393, 1107][rank - 1]
    assert found.dim == 3**rank
    assert len(found.paths) == found.irreps.num_irreps


# With index symmetry


@pytest.mark.parametrize("formula", FORMULAS)
def test_symmetric_basis(formula: str, improper: npt.NDArray[np.float64]) -> None:
    found = decompose(formula)
    rank = found.rank
    dense = np.concatenate(found.matrices(), axis=1)
    assert_close(dense.T @ dense, np.eye(found.dim), 1e-12)
    tensors = dense.T.reshape(-1, *(3,) * rank)
    for axes, sign in found.symmetry.generators:
        moved = sign * tensors.transpose(0, *(1 + d for d in axes))
        assert_close(tensors, moved, 1e-12)
    D = irreps_d(found.irreps, improper)
    turned = rotate(tensors, improper, rank)
    assert_close(turned, np.tensordot(D.T, tensors, axes=1), 1e-12)


@pytest.mark.parametrize("formula", ["i", "ij", "ij=-ji", "ijk", "ijk=-ikj", "ijkl=jikl=klij"])
def test_equals_e3nn(formula: str, double_precision: None) -> None:
    e3nn_io = pytest.importorskip("e3nn.io")
    theirs = e3nn_io.CartesianTensor(formula)
    found = decompose(formula)
    assert found.irreps == Irreps(str(Irreps(str(theirs)).regroup()))
    basis = theirs.reduced_tensor_products().change_of_basis.numpy()
    # Its axes (1, 2, 3) are what the components (y, z, x) of its harmonics see.
    for axis in range(1, basis.ndim):
        basis = np.take(basis, [2, 0, 1], axis=axis)
    basis = basis.reshape(found.dim, -1)
    rows = Irreps(str(theirs)).indices
    dense = np.concatenate(found.matrices(), axis=1).T
    for mul, ir in found.irreps:
        own = dense[found.irreps.indices(ir)].reshape(mul * ir.dim, -1)
        other = basis[rows(ir)].reshape(mul * ir.dim, -1)
        overlap = (own @ other.T).reshape(mul, ir.dim, mul, ir.dim)
        # The same space and the same components m; only the copies may be mixed.
        mixing = np.einsum("ambm->ab", overlap) / ir.dim
        expected = np.einsum("ab,mn->ambn", mixing, np.eye(ir.dim))
        assert_close(overlap, expected, 1e-10)
        scale = np.trace(mixing @ mixing.T) / mul
        assert_close(mixing @ mixing.T, scale * np.eye(mul), 1e-10)


@given(
    st.integers(2, 4).flatmap(
        lambda rank: st.lists(
            st.tuples(st.permutations(LETTERS[:rank]), st.booleans()), min_size=1, max_size=2
        )
    )
)
def test_dimension_is_that_of_the_dense_null_space(
    terms: list[tuple[list[str], bool]],
) -> None:
    rank = len(terms[0][0])
    formula = LETTERS[:rank]
    for letters, minus in terms:
        formula += f"={'-' if minus else ''}{''.join(letters)}"
    eye = np.eye(3**rank).reshape(*(3,) * rank, -1)
    rows = []
    for letters, minus in terms:
        axes = [letters.index(letter) for letter in LETTERS[:rank]]
        moved = eye.transpose(*axes, rank) * (-1 if minus else 1)
        rows.append((eye - moved).reshape(3**rank, -1))
    expected = 3**rank - np.linalg.matrix_rank(np.concatenate(rows), tol=1e-8)
    try:
        found = decompose(formula).dim
    except IrrepsError as error:
        assert "contradict" in str(error)  # noqa: PT017
        found = 0
    assert found == expected


def test_paths_of_a_symmetric_tensor() -> None:
    found = decompose("ijk=jik=jki")
    vector, octupole = found.paths
    assert vector.ir == Irrep("1o")
    assert vector.histories == ((1, 0, 1), (1, 2, 1))
    # The part delta_ij v_k + ... of a symmetric tensor: 5/9 of it is in the first path.
    assert_close(np.square(vector.coefficients), [5 / 9, 4 / 9], 1e-14)
    assert octupole == (Irrep("3o"), ((1, 2, 3),), (pytest.approx(1.0),))


def test_nothing_is_antisymmetric_in_four_indices() -> None:
    found = decompose("ijkl=-jikl=-jkli")
    assert (found.irreps, found.dim, found.paths, found.matrices()) == (Irreps(), 0, (), ())
    assert found.to_irreps(np.zeros((2, 3, 3, 3, 3))).shape == (2, 0)
    assert np.array_equal(found.from_irreps(np.zeros((2, 0))), np.zeros((2, 3, 3, 3, 3)))
    assert "no irreps" in repr(found)


@pytest.mark.parametrize(
    ("formula", "options", "irreps"),
    [
        ("ij=-ji", {}, "1e"),
        ("ijk=-jik=jki", {}, "0o"),
        ("ij=ji", {"pseudo": True}, "0o+2o"),
        ("i", {"vector": "1e"}, "1e"),
        ("ijk", {"vector": "1e"}, "0e+3x1e+2x2e+3e"),
        ("ijk", {"vector": "1e", "pseudo": True}, "0o+3x1o+2x2o+3o"),
        ("ij=ji", {"keep": "2e"}, "2e"),
    ],
)
def test_parities(formula: str, options: dict[str, object], irreps: str) -> None:
    assert decompose(formula, **options).irreps == Irreps(irreps)  # type: ignore[arg-type]


# Both directions


@pytest.mark.parametrize("formula", [*FORMULAS, "abcdef", "abcdef=bacdef=cdabef=efcdab"])
@pytest.mark.parametrize("batch", [(), (4,), (2, 0), (2, 3)], ids=str)
def test_round_trip_and_parseval(
    formula: str, batch: tuple[int, ...], rng: np.random.Generator
) -> None:
    found = decompose(formula)
    components = rng.normal(size=(*batch, found.dim))
    T = found.from_irreps(components)
    assert T.shape == (*batch, *(3,) * found.rank)
    assert_close(found.to_irreps(T), components, 1e-13)
    axes = tuple(range(len(batch), T.ndim))
    assert (T**2).sum(axes) == pytest.approx((components**2).sum(-1), rel=1e-13)


@pytest.mark.parametrize("formula", ["i", "ijk", "ijkl", "ijkl=jikl=klij"])
def test_factored_form_equals_the_matrices(formula: str, rng: np.random.Generator) -> None:
    found = decompose(formula)
    T = symmetric(found, rng, 5)
    dense = np.concatenate(found.matrices(), axis=1)
    assert_close(found.to_irreps(T), T.reshape(5, -1) @ dense, 1e-13)
    for k, matrix in enumerate(found.matrices()):
        assert_close(found.matrix(k), matrix, 1e-15)
        assert_close(found.projector(k), matrix @ matrix.T, 1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("formula", ["ijk", "ijkl=jikl=klij", "ijkl=-jikl=-jkli"])
def test_torch(formula: str, dtype: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    found = decompose(formula)
    T = symmetric(found, rng, 4)
    tensor = torch.tensor(T, dtype=getattr(torch, dtype))
    components = found.to_irreps(tensor)
    assert components.dtype == tensor.dtype
    eps = np.finfo(dtype).eps
    assert_close(components.numpy(), found.to_irreps(T), 30 * eps)
    assert_close(found.from_irreps(components).numpy(), T, 30 * eps)


def test_gradients_flow(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    found = decompose("ijk=ikj")
    T = torch.tensor(symmetric(found, rng, 2), requires_grad=True)
    c = torch.tensor(rng.normal(size=(2, found.dim)), requires_grad=True)
    forward = lambda x: found.to_irreps(x, check=False)  # noqa: E731
    assert torch.autograd.gradcheck(forward, T)
    assert torch.autograd.gradcheck(found.from_irreps, c)
    assert found.to_irreps(T).requires_grad


# Refusals


@pytest.mark.parametrize(
    ("formula", "T", "message"),
    [
        ("ij=ji", [[0, 1, 0], [0, 0, 0], [0, 0, 0]], r'"ij=ji", got a residual of 1.00e\+00'),
        ("ij=-ji", np.eye(3), r'"ij=-ji", got a residual of 2.00e\+00'),
        ("ij=ji", np.full((3, 3), np.nan), "residual of nan"),
    ],
)
def test_asymmetric_tensors_are_refused(formula: str, T: npt.ArrayLike, message: str) -> None:
    found = decompose(formula)
    with pytest.raises(IrrepsError, match=message):
        found.to_irreps(T)
    assert found.to_irreps(T, check=False).shape == (found.dim,)


def test_the_broken_symmetry_is_named(rng: np.random.Generator) -> None:
    T = symmetric(decompose("ijkl=jikl=ijlk"), rng)
    with pytest.raises(IrrepsError, match='expected "ijkl=klij", got'):
        decompose("ijkl=jikl=klij").to_irreps(T)


def test_tolerance(rng: np.random.Generator) -> None:
    found = decompose("ij=ji")
    T = symmetric(found, rng)
    T[0, 1] += 1e-4
    with pytest.raises(IrrepsError, match="relative tolerance 1e-06"):
        found.to_irreps(T)
    assert_close(found.to_irreps(T, tolerance=1e-2), found.to_irreps((T + T.T) / 2), 1e-14)


def test_degrees_left_out_are_refused(rng: np.random.Generator) -> None:
    found = decompose("ij=ji", keep="2e")
    T = rng.normal(size=(3, 3))
    T = T + T.T
    assert decompose("ij", keep="2e").matrices()[0].shape == (9, 5)
    with pytest.raises(IrrepsError, match="only 1x2e"):
        found.to_irreps(T)
    traceless = T - np.trace(T) / 3 * np.eye(3)
    assert_close(found.from_irreps(found.to_irreps(traceless)), traceless, 1e-14)
    assert found.from_irreps(found.to_irreps(T, check=False)) == pytest.approx(traceless)


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (3, 3, 2)], ids=str)
def test_shapes_of_tensors(shape: tuple[int, ...]) -> None:
    with pytest.raises(IrrepsError, match=r"expected shape \(..., 3, 3\) for the 2 indices"):
        decompose("ij").to_irreps(np.zeros(shape))


def test_shapes_of_components() -> None:
    for shape in [(), (5,), (9, 2)]:
        with pytest.raises(IrrepsError, match=r"expected shape \(..., 9\)"):
            decompose("ij").from_irreps(np.zeros(shape))


def test_complex_tensors_are_refused() -> None:
    with pytest.raises(CoreError, match="tensor: expected float32 or float64, got complex128"):
        decompose("ij").to_irreps(np.zeros((3, 3), dtype=complex))


def test_arguments() -> None:
    with pytest.raises(IrrepsError, match='expected "1o" or "1e"'):
        decompose("ij", "2e")
    with pytest.raises(IrrepsError, match=r"1x0e\+1x2e, got 1e"):
        decompose("ij=ji", keep="1e")
    with pytest.raises(IrrepsError, match="expected 0 to 2 for"):
        decompose("ij").matrix(3)
    with pytest.raises(IrrepsError, match="at least 0"):
        decompose("ij").matrix(-1)


def test_memory_is_estimated_first() -> None:
    rank9 = decompose("abcdefghi")
    assert rank9.irreps.num_irreps == 3139
    with pytest.raises(SettingsError, match=r"at most max_bytes = 1.07 GB, got 3.1 GB"):
        rank9.matrices()
    assert rank9.matrix(3138).shape == (3**9, 19)
    with pytest.raises(SettingsError, match="tensor with the 26 indices"):
        decompose("abcdefghijklmnopqrstuvwxyz")
    with pytest.raises(SettingsError, match="combinations of the paths"):
        decompose("abcdefghijkl=bacdefghijkl")
    with pytest.raises(SettingsError, match="paths of"):
        _ = decompose("abcdefghijklmnopq").paths


def test_memory_of_the_matrices() -> None:
    found = decompose(LETTERS[:6])
    found.matrices()  # fills the caches
    tracemalloc.start()
    found.matrices()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 8 * 9**6
