"""Extrapolation grades of the compiled evaluator beside NumPy, and files that say wrong things."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from etn import io
from etn.errors import DataError, ModelFileError, SettingsError
from etn.native import Evaluated, Evaluator, is_built
from etn.network import Chain
from etn.potential import Basis, Dataset, Frame, PolynomialPotential, with_uncertainty
from etn.potential.features.pairs import Pairs

pytestmark = pytest.mark.skipif(not is_built(), reason="the compiled evaluator was not built")

NUMBERS = (42, 8, 1, 6)
SYMBOLS = ("Mo", "O", "H", "C")


def frames(rng, n_elements, n=6):
    """Crystals, a cluster, a slab, a cell smaller than the radius and a lone atom."""
    found = []
    for count, length, pbc in ((9, 6.0, True), (7, 7.0, False), (1, 2.3, True), (1, 30.0, False)):
        for _ in range(n if count > 1 else 1):
            cell = length * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
            while True:
                positions = rng.uniform(size=(count, 3)) @ cell
                apart = np.linalg.norm(positions[:, None] - positions, axis=-1)
                if (apart + 9 * np.eye(count)).min() > 1.0:
                    break
            numbers = rng.choice(NUMBERS[:n_elements], count)
            found.append(Frame(numbers, positions, cell, [pbc, pbc, False] if pbc else [False] * 3))
    return found


def graded(rng, *, n_elements=2, sites=3, l_max=2, inner=False, max_bond=None):
    """A random potential with grades from some frames."""
    data = Dataset(
        [
            replace(f, energy=float(rng.normal()), forces=rng.normal(size=(f.n_atoms, 3)))
            for f in frames(rng, n_elements)
        ]
    )
    basis = Basis(SYMBOLS[:n_elements], r_max=4.0, n_max=3, l_max=l_max, r_min=1.0)
    if inner:
        basis = basis.informed(data)
    model = PolynomialPotential(basis, body_order=sites + 1, max_bond=max_bond or 2)
    chain = Chain.random([basis.leg] * sites, start=basis.start, max_bond=model.max_bond, seed=rng)
    return with_uncertainty(model.with_chain(chain), data, ridge=1e-2)


@pytest.fixture
def without(monkeypatch):
    """Grades by NumPy."""

    def gamma(uncertainty, data):
        with monkeypatch.context() as context:
            context.setenv("ETN_NATIVE", "0")
            assert uncertainty.evaluator is None
            return uncertainty.gamma(data)

    return gamma


def assert_equal_grades(found, expected, rtol):
    # Grades of atoms alone are zero, or the rounding error of it.
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize(
    ("n_elements", "sites", "l_max", "inner", "max_bond"),
    [
        (1, 2, 1, False, None), (1, 3, 3, True, None), (2, 3, 2, False, None),
        (2, 4, 1, True, None), (4, 2, 2, True, None), (4, 3, 0, False, None),
        (1, 4, 2, False, "3x0e+2x1o+2x1e+2x2e+1x2o"),
    ],
)  # fmt: skip
def test_grades_are_those_of_numpy(n_elements, sites, l_max, inner, max_bond, rng, without):
    model = graded(
        rng, n_elements=n_elements, sites=sites, l_max=l_max, inner=inner, max_bond=max_bond
    )
    u, data = model.uncertainty, frames(rng, n_elements)
    assert u.evaluator is not None
    expected = without(u, data)
    assert max(each.max() for each in expected) > 1
    assert_equal_grades(u.gamma(data), expected, 1e-10)
    # The active set decides, not the coverage alone; and a file of before it has none.
    bare = replace(u, coverage=None)
    assert_equal_grades(bare.gamma(data), without(bare, data), 1e-10)
    assert any((a < b).any() for a, b in zip(bare.gamma(data), expected, strict=True))


def test_far_and_near_frames_of_a_fit(rng, without):
    """From distances far below the data to atoms that just see each other."""
    u = graded(rng, inner=True).uncertainty
    data = [
        Frame([42, 8], [[0, 0, 0], [0, 0, r]], np.zeros((3, 3)), [False] * 3)
        for r in (0.3, 0.9, 1.5, 3.0, 3.9, 3.9999, 4.0, 4.1)
    ]
    found, expected = u.gamma(data), without(u, data)
    assert_equal_grades(found, expected, 1e-9)
    assert found[0].min() > 100
    assert found[-1].max() == 0


def test_lists_with_a_skin_threads_and_copies(rng):
    u = graded(rng).uncertainty
    data = frames(rng, 2, n=12)
    pairs = Pairs.find(data, u.elements, u.r_max)
    wide = Pairs.find(data, u.elements, u.r_max + 0.7)
    evaluator = u.evaluator
    expected = np.concatenate(evaluator.gamma(pairs))
    np.testing.assert_allclose(np.concatenate(evaluator.gamma(wide)), expected, rtol=1e-12)
    names = ("element", "frame", "n_frames", "sample", "center", "neighbor", "vector")
    lists = {name: getattr(pairs, name) for name in names}
    for other in (evaluator, copy.deepcopy(evaluator), pickle.loads(pickle.dumps(evaluator))):  # noqa: S301
        np.testing.assert_array_equal(other.grades(**lists, threads=3), expected)
    single = Evaluator(evaluator.content, precision=32)
    np.testing.assert_allclose(np.concatenate(single.gamma(pairs)), expected, rtol=1e-3, atol=1e-6)


def test_atoms_that_coincide_have_no_grade(rng):
    u = graded(rng).uncertainty
    lists = {
        "element": np.zeros(2, int), "frame": np.zeros(2, int), "n_frames": 1,
        "sample": np.arange(2), "center": np.arange(2), "neighbor": np.array([1, 0]),
    }  # fmt: skip
    assert np.isnan(u.evaluator.grades(**lists, vector=np.zeros((2, 3)))).all()
    with pytest.raises(DataError, match="coincide"):
        u.gamma([Frame([42, 42], np.zeros((2, 3)), np.zeros((3, 3)), [False] * 3)])


def test_what_has_no_evaluator_says_so(rng):
    assert Evaluated().evaluator is None
    model = graded(rng)
    assert not model.evaluator.has_grades
    assert model.uncertainty.evaluator.has_grades
    pairs = Pairs.find(frames(rng, 2), model.elements, model.r_max)
    with pytest.raises(SettingsError, match="the potential has no extrapolation grades"):
        model.evaluator.gamma(pairs)
    # A model file has them as well.
    header, arrays = model.stored()
    whole = Evaluator(io.to_bytes(kind=model.KIND, header=header, arrays=arrays))
    assert whole.has_grades
    found = np.concatenate(whole.gamma(pairs))
    np.testing.assert_array_equal(found, np.concatenate(model.uncertainty.evaluator.gamma(pairs)))


@pytest.fixture(scope="module")
def stored():
    """Header and arrays of a small potential with grades."""
    model = graded(np.random.default_rng(11), n_elements=2, sites=2, l_max=1)
    return model.stored()


def content(stored, name=None, change=None):
    """The same as bytes, with one array changed or, without a change, left out."""
    header, arrays = stored
    arrays = dict(arrays)
    if name is not None:
        array = arrays.pop(name)
        if change is not None:
            arrays[name] = change(array)
    return io.to_bytes(kind="polynomial potential", header=header, arrays=arrays)


def with_nan(array):
    return np.where(np.arange(array.size).reshape(array.shape) == 1, np.nan, array)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("uncertainty.inverse", None, "array uncertainty.inverse is missing"),
        ("uncertainty.inverse", lambda a: a[1:], r"inverse: expected \d+ x \d+ numbers"),
        ("uncertainty.inverse", with_nan, "uncertainty.inverse: a number is not finite"),
        ("uncertainty.inverse", np.float32, "array uncertainty.inverse is missing"),
        ("coverage.closest", None, "array coverage.closest is missing"),
        ("coverage.closest", lambda a: a.ravel(), "closest: expected 2 x 2 numbers, got 4"),
        ("coverage.closest", np.negative, "coverage.closest: a number is not finite, or out of"),
        ("coverage.most", with_nan, "coverage.most: a number is not finite"),
        ("coverage.numbers", lambda a: a[:, :-1], "expected 2 x 284 numbers, got 2 x 283"),
        ("posterior.1.0e.0e.0e", None, "array posterior.1.0e.0e.0e is missing"),
        ("posterior.1.0e.0e.0e", lambda a: a[:, 1:], "posterior.1.0e.0e.0e: expected"),
    ],
)  # fmt: skip
def test_damaged_arrays_are_refused(stored, name, change, words):
    assert Evaluator(content(stored)).has_grades
    with pytest.raises(ModelFileError, match=words):
        Evaluator(content(stored, name, change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h["uncertainty"].pop("chain"), 'JSON: no "chain"'),
        (lambda h: h["uncertainty"]["coverage"].update(r_max=0), "an r_max above zero"),
        (lambda h: h["uncertainty"]["coverage"].update(r_max=1e3), "not beyond that of the"),
        (lambda h: h["uncertainty"]["chain"]["legs"].pop(), "two or more sites"),
        (lambda h: h["uncertainty"]["chain"]["legs"].reverse(), "begin where the one before"),
        (lambda h: h["chain"]["legs"][0].__setitem__(0, "1x0e"), "begin where the one before"),
        (lambda h: h["chain"]["legs"][1].__setitem__(1, "1x0e+1x1o"), "a leg that the basis"),
        (lambda h: h["chain"]["legs"][1].__setitem__(2, "2x0e"), "is missing|another|expected"),
        (
            lambda h: h["chain"]["legs"][0].__setitem__(2, "+".join(["100000x6e"] * 9)),
            "more than a million components",
        ),
    ],
)
def test_headers_that_lie_are_refused(stored, change, words):
    header = copy.deepcopy(stored[0])
    change(header)
    with pytest.raises(ModelFileError, match=words):
        Evaluator(content((header, stored[1])))


@pytest.mark.parametrize("times", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_bytes_are_refused_or_harmless(stored, rng, times):
    whole = content(stored)
    end = whole.index(b"}}") + 2
    data = frames(rng, 2, n=1)
    pairs = Pairs.find(data, tuple(stored[0]["basis"]["elements"]), 4.0)
    refused = 0
    for _ in range(times):
        damaged = bytearray(whole)
        for at in rng.integers(len(whole) if rng.random() < 0.3 else end, size=2):
            damaged[at] = (
                int(rng.integers(256)) if rng.random() < 0.5 else int(rng.integers(48, 58))
            )
        try:
            evaluator = Evaluator(bytes(damaged))
        except ModelFileError as error:
            refused += bool(str(error))
            continue
        if evaluator.has_grades and evaluator.n_elements == 2:
            evaluator.gamma(pairs)
    assert refused > times / 20
