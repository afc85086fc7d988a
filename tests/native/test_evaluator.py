"""The compiled evaluator beside NumPy: potentials of all shapes, threads, damaged content."""

from __future__ import annotations

import copy
import ctypes
import itertools
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from etn import io
from etn.errors import DataError, ModelFileError, SettingsError
from etn.native import Evaluator, is_built, library
from etn.network import Chain, left_environment, right_environment
from etn.network.design import CoreDesign
from etn.potential import Baseline, Basis, Dataset, Frame, PolynomialPotential
from etn.potential.features.floor import Floor
from etn.potential.features.pairs import Pairs

pytestmark = pytest.mark.skipif(not is_built(), reason="the compiled evaluator was not built")

SYMBOLS, NUMBERS = ("Mo", "O", "H", "C"), (42, 8, 1, 6)
SHAPES = [
    shape for shape in itertools.product((1, 2, 3, 4, 5, 6), (2, 3, 4, 5), (1, 2, 4))
    if not (shape[0] >= 5 and shape[1] >= 4) and not (shape[0] == 4 and shape[1] == 5)
]  # fmt: skip


def frames(rng, n_elements):
    """A cell smaller than the radius, crystals, a slab, a wire, a cluster and a lone atom."""
    found = []
    for n, length, pbc in (
        (1, 2.0, (1, 1, 1)), (7, 5.0, (1, 1, 0)), (12, 7.0, (0, 0, 0)), (3, 9.0, (1, 0, 1)),
        (1, 30.0, (0, 0, 0)), (17, 6.5, (1, 1, 1)),
    ):  # fmt: skip
        cell = length * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
        while True:
            positions = rng.uniform(size=(n, 3)) @ cell
            distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
            if (distances + 9 * np.eye(n)).min() > 0.9:
                break
        numbers = rng.choice(NUMBERS[:n_elements], n)
        found.append(Frame(numbers, positions, cell, [bool(p) for p in pbc]))
    return Dataset(found)


def model_of(rng, l_max, sites, n_elements, data):
    """A random potential; with every second l_max it has a floor, or an end of the data."""
    elements = SYMBOLS[:n_elements]
    basis = Basis(elements, r_max=4.0, n_max=4 + sites % 2, l_max=l_max, r_min=1.0)
    if (l_max + sites) % 2:
        basis = basis.informed(data)
    model = PolynomialPotential(
        basis, body_order=sites + 1, max_bond=[3] + [2] * l_max,
        baseline=Baseline(dict.fromkeys(elements, -1.5), zbl=True),
    )  # fmt: skip
    chain = Chain.random([basis.leg] * sites, start=basis.start, max_bond=model.max_bond, seed=rng)
    floor = Floor(np.full(n_elements, -0.4), np.full(n_elements, 0.5)) if l_max % 2 else None
    return model.with_chain(chain, floor=floor)


@pytest.fixture
def without(monkeypatch):
    """Predictions of a potential by NumPy."""

    def predict(model, data):
        with monkeypatch.context() as context:
            context.setenv("ETN_NATIVE", "0")
            return model.predict(data)

    return predict


@pytest.mark.parametrize(("l_max", "sites", "n_elements"), SHAPES)
def test_it_says_what_numpy_says(l_max, sites, n_elements, rng, without):
    data = frames(rng, n_elements)
    model = model_of(rng, l_max, sites, n_elements, data)
    assert model._compiled is not None
    for one, two in zip(model.predict(data), without(model, data), strict=True):
        size = max(1.0, np.abs(two.forces).max())
        np.testing.assert_allclose(one.energies, two.energies, rtol=1e-12)
        np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=1e-11 * size)
        if two.stresses is not None:
            np.testing.assert_allclose(one.stresses, two.stresses, rtol=0, atol=1e-11 * size)


def test_irreps_of_either_parity_may_be_on_bonds(rng, without):
    data = frames(rng, 1)
    basis = Basis(("Mo",), r_max=4.0, n_max=4, l_max=2, r_min=1.0)
    model = PolynomialPotential(basis, body_order=5, max_bond="3x0e+2x1o+2x1e+2x2e+1x2o+1x3o")
    chain = Chain.random([basis.leg] * 4, start=basis.start, max_bond=model.max_bond, seed=rng)
    assert any("1e" in str(bond) for bond in chain.bonds)
    model = model.with_chain(chain)
    for one, two in zip(model.predict(data), without(model, data), strict=True):
        np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=1e-11)


def content_of(model):
    header, arrays = model.to_arrays()
    baseline = {"e0": dict(model.baseline.e0), "zbl": model.baseline.zbl}
    return io.to_bytes(kind=model.KIND, header=header | {"baseline": baseline}, arrays=arrays)


def lists_of(model, data):
    pairs = Pairs.find(list(data), model.elements, model.r_max)
    return {
        "element": pairs.element, "frame": pairs.frame, "n_frames": pairs.n_frames,
        "sample": pairs.sample, "center": pairs.center, "neighbor": pairs.neighbor,
        "vector": pairs.vector,
    }  # fmt: skip


def test_threads_and_copies_give_the_same_bits(rng):
    data = frames(rng, 2)
    model = model_of(rng, 2, 3, 2, data)
    evaluator, lists = Evaluator(content_of(model)), lists_of(model, data)
    alone = evaluator.evaluate(**lists)
    again = pickle.loads(pickle.dumps(evaluator))  # noqa: S301
    for other in (copy.deepcopy(evaluator), again):
        for one, two in zip(alone, other.evaluate(**lists, threads=3), strict=True):
            np.testing.assert_array_equal(one, two)
    # With its baseline: all of the energy.
    total = sum(p.energy for p in model.predict(data))
    np.testing.assert_allclose(alone.energies.sum(), total, rtol=1e-12)


def test_numbers_of_32_bits(rng):
    data = frames(rng, 2)
    model = model_of(rng, 3, 3, 2, data)
    content, lists = content_of(model), lists_of(model, data)
    one, two = (Evaluator(content, precision=bits).evaluate(**lists) for bits in (32, 64))
    size = np.abs(two.forces).max()
    np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=1e-4 * size)
    assert np.abs(one.forces - two.forces).max() > 1e-9 * size
    with pytest.raises(ModelFileError, match="precision: expected 64 or 32"):
        Evaluator(content, precision=16)


def test_many_radial_functions_cost_single_precision_no_digits(rng):
    """Sums of Chebyshev polynomials would cancel: they leave two digits of 40 functions."""
    data = frames(rng, 2)
    basis = Basis(SYMBOLS[:2], r_max=5.0, n_max=40, l_max=2, r_min=1.0)
    model = PolynomialPotential(basis, body_order=4, max_bond=2)
    chain = Chain.random([basis.leg] * 3, start=basis.start, max_bond=model.max_bond, seed=rng)
    model = model.with_chain(chain)
    content, lists = content_of(model), lists_of(model, data)
    one, two = (Evaluator(content, precision=bits).evaluate(**lists) for bits in (32, 64))
    size = np.abs(two.forces).max()
    np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=5e-5 * size)


def test_what_cannot_be_compiled_is_said_and_evaluated_by_numpy(rng):
    data = frames(rng, 1)
    basis = Basis(("Mo",), r_max=4.0, n_max=2, l_max=7, r_min=1.0)
    model = PolynomialPotential(basis, body_order=3, max_bond=1)
    model = model.with_chain(model.initial_chain(seed=0))
    with pytest.raises(ModelFileError, match="l_max 7: there are couplings up to 6"):
        Evaluator(content_of(model))
    assert model._compiled is None
    assert len(model.predict(data[:2])) == 2
    with pytest.raises(ModelFileError, match="a demo: expected a polynomial potential"):
        Evaluator(io.to_bytes(kind="demo", header={}, arrays={}))


def test_elements_that_are_none_are_refused(rng):
    data = frames(rng, 1)
    model = model_of(rng, 1, 2, 1, data)
    lists = lists_of(model, data)
    with pytest.raises(SettingsError, match="element: a number is out of range"):
        Evaluator(content_of(model)).evaluate(**{**lists, "element": lists["element"] + 1})


def test_vectors_that_are_no_numbers_or_zero_are_refused(rng):
    data = frames(rng, 1)
    for shape in ((1, 2), (2, 2)):  # without an end of the data and with one
        model = model_of(rng, *shape, 1, data)
        lists = lists_of(model, data)
        for bits, value in itertools.product((64, 32), (np.nan, np.inf, 0.0)):
            vector = lists["vector"].copy()
            vector[7, slice(None) if value == 0 else 1] = value
            atom = lists["sample"][lists["center"][7]]
            with pytest.raises(DataError, match=f"atom {atom}: its energy is no number"):
                Evaluator(content_of(model), precision=bits).evaluate(**{**lists, "vector": vector})


def test_lists_that_do_not_fit_are_refused(rng):
    data = frames(rng, 1)
    model = model_of(rng, 1, 2, 1, data)
    lists, evaluator = lists_of(model, data), Evaluator(content_of(model))
    for name, (value, message) in {
        "vector": (
            lists["vector"][:4],
            r"vector: expected an array of shape \(\d+, 3\), got \(4, 3",
        ),
        "neighbor": (lists["neighbor"] + 1000, "neighbor: a number is out of range"),
        "frame": (lists["frame"] - 1, "frame: a number is out of range"),
        "sample": (lists["sample"] + 1000, "center: a number is out of range"),
        "center": (lists["center"][::-1], "center: expected rising numbers of the"),
    }.items():
        with pytest.raises(SettingsError, match=message):
            evaluator.evaluate(**{**lists, name: value})
    with pytest.raises(SettingsError, match="expected vectors of the pairs, or positions and"):
        evaluator.evaluate(**{**lists, "vector": None})


def damaged(content, rng, times):
    """Content with bytes changed, cut out, or put in; mostly in the header."""
    for _ in range(times):
        data = bytearray(content)
        end = len(data) if rng.random() < 0.2 else min(len(data), 3000)
        at = int(rng.integers(end))
        what = rng.integers(4)
        if what == 0:
            data[at] = int(rng.integers(256))
        elif what == 1:
            del data[at : at + int(rng.integers(1, 20))]
        elif what == 2:
            data[at:at] = bytes(rng.integers(48, 58, 3).tolist())
        else:
            del data[at:]
        yield bytes(data)


@pytest.mark.parametrize("times", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_content_is_refused_or_harmless(rng, times):
    data = frames(rng, 2)
    model = model_of(rng, 2, 3, 2, data)
    lists, refused = lists_of(model, data[:2]), 0
    for content in damaged(content_of(model), rng, times):
        try:
            evaluator = Evaluator(content)
        except ModelFileError as error:
            refused += bool(str(error))
            continue
        if evaluator.n_elements == 2:
            with suppress(DataError):  # an energy is no number
                evaluator.evaluate(**lists)
    assert refused > times / 3


def opened(path):
    """What is wrong with a file, as programs in C hear it; empty if nothing is."""
    native = library.library()
    handle = native.etn_open(str(path).encode(), 64)
    if not handle:
        return native.etn_error().decode()
    native.etn_close(ctypes.c_void_p(handle))
    return ""


def test_files_are_read_whole_or_not_at_all(rng, tmp_path):
    content = content_of(model_of(rng, 2, 3, 2, frames(rng, 2)))
    path = tmp_path / "model.etn"
    path.write_bytes(content)
    assert opened(path) == ""
    for at in rng.integers(len(content), size=100):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        # The padding before the arrays is no part of what a file says.
        assert opened(path) or chr(content[at]) == " "
    path.write_bytes(content[: len(content) // 2])
    assert "cut off or damaged; copy it again" in opened(path)
    path.write_bytes(b"a text of some length")
    assert "expected a model file of etn, this is none" in opened(path)
    path.write_bytes(content.replace(rb"format_version\":2", rb"format_version\":9"))
    assert "a file of format 9, of which formats up to 2 can be read: update etn" in opened(path)
    assert "there is no such file" in opened(tmp_path / "none.etn")
    assert "expected a file, which this is not" in opened(tmp_path)


def test_files_of_earlier_versions_are_read():
    for path in sorted((Path(__file__).parents[1] / "potential" / "files").glob("*.etn")):
        said = opened(path)
        assert said == "" or "expected a polynomial potential of one layer" in said


ROW_SHAPES = [shape for shape in SHAPES if shape[0] in (1, 3, 4, 6) and shape[2] in (1, 4)]


@pytest.mark.parametrize(("l_max", "sites", "n_elements"), ROW_SHAPES)
def test_rows_of_a_design_are_those_of_numpy(l_max, sites, n_elements, rng):
    data = frames(rng, n_elements)
    model = model_of(rng, l_max, sites, n_elements, data)
    pairs = Pairs.find(list(data), model.elements, model.r_max)
    atoms = rng.permutation(pairs.n_atoms)[: pairs.n_atoms // 2]
    samples = model.basis.expand(pairs).samples(energy=True, force_atoms=atoms, strain=True)
    cores = model.chain.cores
    for site, core in enumerate(cores):
        design = CoreDesign(core)
        left = left_environment(cores[:site], samples, jacobian=True)
        right = right_environment(cores[site + 1 :], samples, jacobian=True)
        expected = design.rows(samples, left, right)
        found = model.evaluator.rows(site, pairs, energy=True, force_atoms=atoms, strain=True)
        assert model.evaluator.columns(site) == design.columns
        assert np.abs(found - expected).max() < 1e-11 * np.abs(expected).max()


@pytest.mark.parametrize(("energy", "strain"), [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize(("l_max", "sites", "n_elements"), ROW_SHAPES[::2])
def test_sums_of_rows_are_those_of_the_rows(l_max, sites, n_elements, energy, strain, rng):
    data = frames(rng, n_elements)
    model = model_of(rng, l_max, sites, n_elements, data)
    pairs = Pairs.find(list(data), model.elements, model.r_max)
    atoms = rng.permutation(pairs.n_atoms)[: pairs.n_atoms // 2]
    wanted = {"energy": energy, "force_atoms": atoms, "strain": strain}
    for site in range(sites):
        rows = model.evaluator.rows(site, pairs, **wanted)
        weights = rng.normal(size=len(rows))
        weighted = model.evaluator.rows(site, pairs, weights=weights, **wanted)
        np.testing.assert_allclose(weighted, weights[:, None] * rows, rtol=1e-14)
        expected, scale = weights @ rows, np.abs(weights) @ np.abs(rows)
        found = model.evaluator.pull(site, pairs, weights, **wanted)
        assert np.abs(found - expected).max() < 1e-12 * scale.max()


def test_rows_that_cannot_be(rng):
    data = frames(rng, 1)
    model = model_of(rng, 1, 2, 1, data)
    pairs = Pairs.find(list(data), model.elements, model.r_max)

    def rows(evaluator, site, atoms):
        atoms = np.array(atoms, dtype=int)
        return evaluator.rows(site, pairs, energy=False, force_atoms=atoms, strain=False)

    assert len(rows(model.evaluator, 0, [])) == 0
    with pytest.raises(SettingsError, match=r"weights: expected 3 of them, got \(2,\)"):
        model.evaluator.rows(
            0, pairs, energy=False, force_atoms=np.array([0]), strain=False, weights=np.ones(2)
        )
    with pytest.raises(SettingsError, match="site: expected one of the chain"):
        rows(model.evaluator, 2, [0])
    with pytest.raises(SettingsError, match="atom: a number is out of range"):
        rows(model.evaluator, 0, [pairs.n_atoms])
    single = Evaluator(model.evaluator.content, precision=32)
    with pytest.raises(SettingsError, match="precision: expected 64 for rows"):
        rows(single, 0, [0])

    def pull(evaluator, site, atoms, n=3):
        return evaluator.pull(
            site, pairs, np.ones(n), energy=False, force_atoms=np.array(atoms), strain=False
        )

    with pytest.raises(SettingsError, match="site: expected one of the chain"):
        pull(model.evaluator, 2, [0])
    with pytest.raises(SettingsError, match="atom: a number is out of range"):
        pull(model.evaluator, 0, [-1])
    with pytest.raises(SettingsError, match="precision: expected 64 for sums of rows"):
        pull(single, 0, [0])
    with pytest.raises(SettingsError, match=r"weights: expected 3 of them, got \(4,\)"):
        pull(model.evaluator, 0, [0], 4)
