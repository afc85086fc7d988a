"""Cores: laws for random irreps, exact counts, projections against group averages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, MissingError
from etn.o3 import Irrep, Irreps, spherical_harmonics
from etn.tensor import Core, allowed_paths, coupling
from etn.testing import CoreLaws

IRREPS = [Irrep(l, p) for l in range(3) for p in (1, -1)]
terms = st.tuples(st.integers(1, 2), st.sampled_from(IRREPS))
legs = st.lists(terms, min_size=1, max_size=3).map(Irreps)

KINDS = [
    {"backend": "torch"},
    {"dtype": "float32"},
    {"backend": "torch", "dtype": "float32"},
]
GPU = [
    pytest.param({"backend": "torch", "device": "cuda"}, marks=pytest.mark.gpu),
    pytest.param({"backend": "torch", "dtype": "float32", "device": "cuda"}, marks=pytest.mark.gpu),
]


class TestThreeLegs(CoreLaws):
    def make_core(self, rng):
        return Core.random(["2x0e+1x1o+1x2e", "3x0e+2x1o+1x2e", "2x0e+2x1o+1x2e"], seed=rng)


class TestBothParities(CoreLaws):
    def make_core(self, rng):
        leg = "1x0e+1x0o+2x1e+1x1o+1x2o"
        return Core.random([leg, "2x0o+1x1o+1x1e", leg], seed=rng)


class TestSplitTerms(CoreLaws):
    def make_core(self, rng):
        return Core.random(["1x1o+2x0e+1x1o", "1x2e+1x0e+1x1o+1x0e", "2x1o+1x0e+1x1o"], seed=rng)


class TestHighDegrees(CoreLaws):
    def make_core(self, rng):
        return Core.random(["1x5o+1x6e", "1x4e+1x3o", "1x6e+1x7o+1x2e"], seed=rng)


class TestTwoLegs(CoreLaws):
    def make_core(self, rng):
        return Core.random(["2x0e+3x1o+1x2e", "3x1o+2x0e+2x3o"], seed=rng)


class TestOneLeg(CoreLaws):
    def make_core(self, rng):
        return Core.random(["2x0e+1x1o+3x0e"], seed=rng)


@pytest.mark.parametrize("kind", KINDS + GPU, ids=str)
@pytest.mark.parametrize(
    "suite",
    [TestThreeLegs, TestBothParities, TestSplitTerms, TestHighDegrees, TestTwoLegs, TestOneLeg],
)
def test_laws_of_cores_of_other_kinds(suite, kind):
    class Laws(suite):
        seeds = suite.seeds[:1]

        def make_core(self, rng):
            return super().make_core(rng).to(**kind)

    Laws().check()


@given(legs, legs, legs, st.sampled_from([{}, *KINDS]), st.integers(0, 2**16))
@settings(max_examples=40)
def test_laws_of_cores_with_random_legs(one, two, three, kind, seed):
    class Laws(CoreLaws):
        seeds = (seed,)

        def make_core(self, rng):
            return Core.random([one, two, three], seed=rng).to(**kind)

    Laws().check()


@given(legs, legs, st.sampled_from([{}, *KINDS]), st.integers(0, 2**16))
@settings(max_examples=20)
def test_laws_of_matrices_with_random_legs(one, two, kind, seed):
    class Laws(CoreLaws):
        seeds = (seed,)

        def make_core(self, rng):
            return Core.random([one, two], seed=rng).to(**kind)

    Laws().check()


@pytest.mark.parametrize(("l_max", "natural", "proper"), [
    (0, 1, 1), (1, 4, 5), (2, 11, 15), (3, 23, 34), (4, 42, 65), (5, 69, 111),
])  # fmt: skip
def test_path_counts(l_max, natural, proper):
    leg = Irreps([(1, Irrep(l, (-1) ** l)) for l in range(l_max + 1)])
    assert len(allowed_paths([leg] * 3)) == natural
    assert Core([leg] * 3).n_parameters == natural
    # All even: only the triangle rule is left.
    even = Irreps([(1, Irrep(l, 1)) for l in range(l_max + 1)])
    assert len(allowed_paths([even] * 3)) == proper


def test_parameter_count_of_a_published_chain_of_cores():
    # Inner cores of 11 paths with 4 x 10 x 4 entries each, outer ones of 3 x 10 x 4.
    leg, bond = Irreps("10x0e+10x1o+10x2e"), Irreps("4x0e+4x1o+4x2e")
    assert Core([bond, leg, bond]).n_parameters == 11 * 160
    assert Core(["1x0e", leg, bond]).n_parameters == 3 * 40


def test_scalar_from_two_vectors_is_their_dot_product():
    core = Core(["1o", "1o", "0e"])
    core.blocks[Irrep("1o"), Irrep("1o"), Irrep("0e")][:] = np.sqrt(3)
    np.testing.assert_allclose(core.to_dense()[:, :, 0], np.eye(3), atol=1e-15)


def test_vector_from_two_vectors_is_their_cross_product():
    core = Core(["1o", "1o", "1e"])
    core.blocks[Irrep("1o"), Irrep("1o"), Irrep("1e")][:] = np.sqrt(2)
    # Components stand in the order y, z, x, which is cyclic.
    levi_civita = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        levi_civita[i, j, k], levi_civita[j, i, k] = 1, -1
    dense = core.to_dense()
    assert min(np.abs(dense - levi_civita).max(), np.abs(dense + levi_civita).max()) < 1e-15


def test_projection_is_the_average_over_the_group(rng):
    # Harmonics of a point are equivariant, so the average over many turned points of an outer
    # product is; a product rule of degree 12 on the sphere and angles makes it exact.
    legs = ["1x0e+1x1o", "1x1o", "1x0e+1x1o"]
    dense = rng.normal(size=(4, 3, 4))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    turn = 2 * np.pi * np.arange(12) / 12
    average = np.zeros_like(dense)
    for x, w in zip(nodes, weights, strict=True):
        for a in turn:
            for c in turn:
                R = _z(a) @ _y(np.arccos(x)) @ _z(c)
                D1 = R[np.ix_([1, 2, 0], [1, 2, 0])]  # vectors in the order y, z, x
                D = np.block([[np.eye(1), np.zeros((1, 3))], [np.zeros((3, 1)), D1]])
                turned = np.einsum("ai,bj,ck,ijk->abc", D, D1, D, dense)
                average += w / 2 / len(turn) ** 2 * turned
    # The rotations leave a cross product alone, the inversion does not.
    flip = np.array([1, -1, -1, -1])
    average = (average - flip[:, None, None] * average * flip) / 2
    np.testing.assert_allclose(Core.from_dense(dense, legs).core.to_dense(), average, atol=1e-13)


def _z(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _y(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def test_products_of_harmonics_of_one_point_are_harmonics():
    # sum C Y1 Y2 is a multiple of Y3 at the same point, for all paths of natural parity.
    points = np.random.default_rng(1).normal(size=(5, 3))
    y = spherical_harmonics(4, points)
    leg = Irreps([(1, Irrep(l, (-1) ** l)) for l in range(5)])
    for path in allowed_paths([leg] * 3):
        a, b, c = (y[:, ir.l**2 : (ir.l + 1) ** 2] for ir in path)
        product = np.einsum("pa,pb,abc->pc", a, b, coupling(path))
        factor = np.sum(product * c, axis=1) / np.sum(c * c, axis=1)
        np.testing.assert_allclose(factor, factor[0], atol=1e-13)
        np.testing.assert_allclose(product, factor[:, None] * c, atol=1e-13)


def test_random_cores_keep_the_variance():
    core = Core.random(["8x0e+8x1o", "8x0e+8x1o+8x2e", "200x0e+200x1o+200x2e"], seed=0)
    rng = np.random.default_rng(1)
    dense = core.to_dense()
    x, y = rng.normal(size=(200, dense.shape[0])), rng.normal(size=(200, dense.shape[1]))
    out = np.einsum("abc,pa,pb->pc", dense, x, y, optimize=True)
    for ir in core.legs[2].unique:
        assert np.var(out[:, core.legs[2].indices(ir)]) == pytest.approx(1.0, abs=0.1)


def test_missing_blocks_are_zero_and_seeds_repeat():
    core = Core(["2x0e", "1x0e", "1x0e"])
    assert core.norm() == 0.0
    assert core.to_dense().shape == (2, 1, 1)
    one, two = (Core.random(["2x0e+1x1o"] * 3, seed=4).to_vector() for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_core_without_paths_is_empty():
    core = Core.random(["1o", "0e", "2e"])
    assert core.n_parameters == 0
    assert core.to_vector().shape == core.metric().shape == (0,)
    assert not core.to_dense().any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Core([]), "one to three legs, got 0"),
        (lambda: Core(["0e"] * 4), "one to three legs, got 4"),
        (
            lambda: Core(["0e"] * 3, {(Irrep("0e"),) * 3: np.zeros((2, 1, 1))}),
            r"block \(0e, 0e, 0e\): expected shape \(1, 1, 1\)",
        ),
        (
            lambda: Core(["1o"] * 3, {(Irrep("1o"),) * 3: np.zeros((1, 1, 1))}),
            r"block \(1o, 1o, 1o\) is not allowed",
        ),
        (lambda: Core.from_dense(np.zeros((3, 3)), ["1o", "0e"]), r"expected shape \(3, 1\)"),
        (lambda: Core.from_dense([[np.nan]], ["0e", "0e"]), "finite values, got inf or nan"),
        (lambda: Core(["0e"] * 3).from_vector(np.zeros(2)), "expected a vector of 1 entries"),
    ],
)
def test_malformed_cores(make, message):
    with pytest.raises(CoreError, match=message):
        make()


SCALARS = Irreps("2x0e+1x1o")


def _blocks(*makers):
    paths = [(Irrep("0e"),) * 2, (Irrep("1o"),) * 2]
    shapes = [(2, 2), (1, 1)]
    return {path: make(shape) for path, shape, make in zip(paths, shapes, makers, strict=True)}


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ("numpy.float64", "numpy.float32", "numpy float64 on cpu and numpy float32 on cpu"),
        ("numpy.float64", "torch.float64", "numpy float64 on cpu and torch float64 on cpu"),
        ("torch.float32", "torch.float64", "torch float32 on cpu and torch float64 on cpu"),
        ("numpy.float64", "numpy.float16", "expected float32 or float64, got float16"),
        ("torch.float64", "torch.bfloat16", "expected float32 or float64, got bfloat16"),
        ("numpy.complex128", "numpy.complex128", "float64, got complex128"),
        ("torch.complex64", "torch.complex64", "float64, got complex64"),
    ],
)
def test_blocks_of_different_or_unknown_kinds(one, two, message):
    torch = pytest.importorskip("torch")
    library = {"numpy": np, "torch": torch}

    def maker(name):
        module, dtype = name.split(".")
        return lambda shape: library[module].ones(shape, dtype=getattr(library[module], dtype))

    with pytest.raises(CoreError, match=message):
        Core([SCALARS] * 2, _blocks(maker(one), maker(two)))


def test_integers_become_float64():
    torch = pytest.importorskip("torch")
    numpy_core = Core([SCALARS] * 2, _blocks(*[lambda shape: np.ones(shape, dtype=int)] * 2))
    torch_core = Core(
        [SCALARS] * 2, _blocks(*[lambda shape: torch.ones(shape, dtype=torch.int32)] * 2)
    )
    assert str(numpy_core.kind) == "numpy float64 on cpu"
    assert str(torch_core.kind) == "torch float64 on cpu"
    np.testing.assert_array_equal(torch_core.to_dense().numpy(), numpy_core.to_dense())


def test_the_kind_travels_with_the_core():
    core = Core.random([SCALARS] * 3, seed=1)
    single = core.to("torch", dtype="float32")
    assert repr(single).endswith("parameters, torch float32 on cpu)")
    assert repr(core).endswith("parameters)")
    for derived in (single.scale(2.0), single.replace({}), single.replace(single.blocks)):
        assert derived.kind == single.kind
        assert all(str(block.dtype) == "torch.float32" for block in derived.blocks.values())
    assert single.from_vector(core.to_vector()).kind == core.kind
    back = single.to("numpy", dtype="float64")
    assert back.kind == core.kind
    np.testing.assert_array_equal(back.to_vector(), core.to_vector().astype(np.float32))
    # Nothing to convert: nothing is copied.
    assert all(a is b for a, b in zip(core.to().blocks.values(), core.blocks.values(), strict=True))


def test_float32_is_not_float64():
    # The laws of float32 would not notice a core that was converted to float64 on the way.
    core = Core.random([SCALARS] * 3, seed=1).to(dtype="float32")
    assert core.to_dense().dtype == core.to_vector().dtype == np.float32
    assert {block.dtype for block in core.pull_back(core.to_dense()).values()} == {
        np.dtype("float32")
    }
    assert Core.from_dense(core.to_dense(), core.legs).core.kind == core.kind


def test_blocks_have_names_and_say_what_there_is():
    core = Core.random(["2x0e+1x1o", "1x0e+1x1o", "1x0e+1x1o"], seed=0)
    path = (Irrep("0e"), Irrep("1o"), Irrep("1o"))
    assert core.blocks["0e", "1o", "1o"] is core.blocks[path]
    for missing in (("0e", "0e", "1o"), (Irrep("0e"),) * 2, "0e", 3):
        with pytest.raises(MissingError, match=r"expected one of the paths \(0e, 0e, 0e\), "):
            core.blocks[missing]
        with pytest.raises(KeyError):
            core.blocks[missing]
    assert core.blocks.get((Irrep("5e"),) * 3) is None
