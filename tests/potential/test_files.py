"""Model files of every kind and format version load and predict what they did when written.

The files in ``files`` are kept for good, one of each kind for every format version, each with the
predictions of the etn that wrote it.  They were computed on one machine: another one may differ
by rounding.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.data import chemical_symbols

from etn import network
from etn.data import Dataset
from etn.errors import ModelFileError, SettingsError
from etn.io import FORMAT_VERSION
from etn.io import load as load_file
from etn.io import save as save_file
from etn.nn.potential import NeuralPotential
from etn.potential import (
    Baseline,
    Basis,
    MessagePassingPotential,
    Messages,
    PolynomialPotential,
    fit,
    fit_layers,
    load,
)
from etn.potential.features.channels import Channels
from etn.sweep import Schedule

FILES = Path(__file__).parent / "files"
# Name, class, whether it has error bars; all of format 1, written by version 0.1.0.
WRITTEN = [
    ("polynomial", PolynomialPotential, True),
    ("alloy", PolynomialPotential, False),
    ("message-passing", MessagePassingPotential, False),
    ("attention", MessagePassingPotential, False),
    # Of format 2: with the inner end of the data.
    ("polynomial-2", PolynomialPotential, True),
    ("message-passing-2", MessagePassingPotential, False),
    # With a floor, which these lie on.
    ("polynomial-floor-2", PolynomialPotential, True),
    ("message-passing-floor-2", MessagePassingPotential, False),
    # Networks, in float64; the last on top of a polynomial potential.
    ("tensornet-2", NeuralPotential, False),
    ("ictp-2", NeuralPotential, False),
    ("tdn-2", NeuralPotential, False),
    ("delta-2", NeuralPotential, False),
    # With error bars and grades from the last weights.
    ("tensornet-bars-2", NeuralPotential, True),
]
# Formats that there were before a kind of potential.
LATER = {("neural potential", 1)}


def frames(name):
    small = [frame for frame in Dataset.read("etn:NbMoTaW/test") if frame.n_atoms <= 16]
    found = Dataset(small[:4])
    if name.startswith("polynomial"):
        found = Dataset.read("etn:Mo/test", index="::8")
    if not name.endswith("-2"):
        return found
    bare = {"energy": None, "forces": None, "stress": None}
    return Dataset(
        replace(f, positions=s * f.positions, cell=s * f.cell, **bare)
        for f, s in zip(found, (1.0, 0.8, 0.7, 0.6), strict=False)
    )


@pytest.mark.parametrize(("name", "kind", "has_bars"), WRITTEN)
def test_a_kept_file_predicts_what_it_did(name, kind, has_bars):
    model = load(FILES / f"{name}.etn")
    assert type(model) is kind
    assert model.has_uncertainty is has_bars
    data = frames(name)
    with np.load(FILES / f"{name}.npz") as expected:
        for k, p in enumerate(model.predict(data)):
            np.testing.assert_allclose(p.energies, expected[f"energies_{k}"], rtol=1e-10)
            # Forces that are zero by symmetry are rounding errors, others on every machine.
            np.testing.assert_allclose(p.forces, expected[f"forces_{k}"], rtol=0, atol=1e-10)
            np.testing.assert_allclose(p.stress, expected[f"stress_{k}"], rtol=1e-8, atol=1e-11)
        if has_bars:
            u = model.uncertainty
            np.testing.assert_allclose(u.energy(data), expected["sigma"], rtol=1e-8)
            for k, (gamma, bars) in enumerate(zip(u.gamma(data), u.forces(data), strict=True)):
                np.testing.assert_allclose(gamma, expected[f"gamma_{k}"], rtol=1e-8)
                np.testing.assert_allclose(bars, expected[f"bars_{k}"], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", [name for name, _, _ in WRITTEN])
def test_a_kept_file_is_written_again_as_it_was(name, tmp_path):
    before = load_file(FILES / f"{name}.etn")
    model = load(FILES / f"{name}.etn")
    model.save(tmp_path / "again.etn", note=before.header["note"])
    after = load_file(tmp_path / "again.etn")
    assert after.kind == before.kind
    assert after.header == before.header
    assert after.arrays.keys() == before.arrays.keys()
    for key, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[key], array)


def test_the_first_file_that_etn_wrote_predicts_what_it_did():
    """Of the first commit: it knows neither error bars nor what a truncation has dropped."""
    stored = load_file(FILES / "first.etn")
    assert stored.format_version == 1
    assert "uncertainty" not in stored.header
    assert "discarded_weight" not in stored.header["chain"]
    found = load(FILES / "first.etn").predict(Dataset.read("etn:Mo/test", index="::8"))
    with np.load(FILES / "first.npz") as forces:
        assert len(forces.files) == len(found)
        for p, name in zip(found, forces.files, strict=True):
            np.testing.assert_allclose(p.forces, forces[name], rtol=0, atol=1e-10)


def test_every_kind_and_format_version_has_a_file():
    from etn.potential.base import HOMES

    kept = {(load_file(path).kind, load_file(path).format_version) for path in FILES.glob("*.etn")}
    assert kept == {(kind, v) for kind in HOMES for v in range(1, FORMAT_VERSION + 1)} - LATER


# Whether cores put their blocks into C order when they are made: if not, a fitted chain may go
# another way through the BLAS than the one that is read from its file.
CHAINS_ARE_ORDERED = True


@pytest.fixture(scope="module")
def alloy():
    frames = [frame for frame in Dataset.read("etn:NbMoTaW/train") if frame.n_atoms <= 16]
    data = Dataset(frames[::20])
    basis = Basis.for_dataset(data, r_max=3.4, n_max=2, l_max=1, max_channels=3)
    assert basis.channels is not None
    return data, basis, Baseline.fit(data)


@pytest.fixture(scope="module")
def fitted(alloy):
    """A fitted potential of each kind, of a basis with channels."""
    data, basis, baseline = alloy
    size = {"body_order": 3, "max_bond": 2, "baseline": baseline}
    one = Schedule(max_sweeps=1)
    single = fit(PolynomialPotential(basis, **size), data, schedule=one).model
    messages = Messages("1x0e+1x1o", n_max=2, l_max=1, body_order=2)
    double = MessagePassingPotential(basis, messages, **size)
    return single, fit_layers(double, data, schedule=one, max_cycles=1).model


def in_memory(arrays, chains):
    """How each array lies in memory; axes of length one may have any stride."""
    return {
        name: [step for step, n in zip(a.strides, a.shape, strict=True) if n > 1]
        for name, a in arrays.items()
        if chains or name.startswith(("channels.", "uncertainty.", "coverage."))
    }


def test_what_is_loaded_lies_in_memory_as_it_did(fitted, tmp_path):
    """Products go another way through the BLAS for another memory order, and end in other bits."""
    for number, model in enumerate(fitted):
        model.save(tmp_path / f"{number}.etn")
        before = in_memory(model.to_arrays()[1], CHAINS_ARE_ORDERED)
        after = in_memory(load(tmp_path / f"{number}.etn").to_arrays()[1], CHAINS_ARE_ORDERED)
        assert {"channels.0", "channels.1"} <= before.keys()
        assert ("uncertainty.spread" in before) == model.has_uncertainty
        assert after == before


def test_channels_lie_in_c_order(rng):
    channels = Channels(tuple(np.asfortranarray(rng.normal(size=(3, 4, k))) for k in (12, 5)))
    assert all(matrix.flags.c_contiguous for matrix in channels.matrices)


def test_the_file_of_a_network_is_named_with_what_reads_it(tmp_path):
    path = tmp_path / "chain.etn"
    network.save(network.Chain.random(["1x0e+1x1o"] * 3, seed=0), path)
    with pytest.raises(ModelFileError, match=r"of kind 'chain'; read it with etn.network.load"):
        load(path)


# A file from elsewhere may be whole, with a checksum that fits, and say anything.
def put(path, value):
    def change(header, arrays):
        *outer, last = path.split("/")
        for key in outer:
            header = header[key]
        header[last] = value

    return change


def array(name, value):
    return lambda header, arrays: arrays.update({name: value})


def drop(name):
    return lambda header, arrays: arrays.pop(name)


SYMBOLS = chemical_symbols[1:]
HOSTILE = [
    ("polynomial", put("basis/n_max", 10**5), "n_max: expected 1..200"),
    ("polynomial", put("basis/n_max", 8.0), "basis.n_max: expected int"),
    ("polynomial", put("basis/n_max", True), "basis.n_max: expected int"),
    ("polynomial", put("basis/l_max", 10**6), "l_max: expected 0..12"),
    ("polynomial", put("basis/r_max", 1e300), "r_max <= 100"),
    ("polynomial", put("basis/scale", "1"), "basis.scale: expected float"),
    ("polynomial", put("basis/more", 1), "no Basis has more"),
    ("polynomial", put("basis", []), "basis: expected dict"),
    ("polynomial", put("basis/elements", ["Mo", "W"]), "start"),
    ("polynomial", put("basis/elements", ["Xx"]), "chemical symbols|start"),
    ("polynomial", put("basis/elements", "Mo"), "basis.elements: expected"),
    ("polynomial", put("baseline/e0", {}), "symbols with an energy each, got Mo"),
    ("polynomial", put("baseline/e0", {"Mo": None}), "baseline.e0.Mo: expected float"),
    ("polynomial", put("baseline/zbl", 1), "baseline.zbl: expected bool"),
    ("polynomial", put("body_order", 3.5), "body_order: expected int"),
    ("polynomial", put("max_bond", [1]), "max_bond: expected str"),
    ("polynomial", put("uncertainty/scales", {"energy": None}), "scales.energy"),
    ("polynomial", array("uncertainty.spread", np.ones((2, 3))), "array uncertainty.spread"),
    ("polynomial", array("uncertainty.inverse", np.array([[np.nan]])), "uncertainty.inverse"),
    ("polynomial", drop("uncertainty.spread"), "it is missing"),
    ("alloy", array("channels.0", np.full((4, 2, 3), np.inf)), "array channels.0"),
    ("alloy", array("channels.0", np.ones((4, 2, 3))), "array channels.1: expected it in"),
    ("alloy", put("baseline/e0", dict.fromkeys(SYMBOLS, 0.0) | {"W": "x"}), "baseline.e0.W"),
    ("message-passing", put("messages/n_max", 10**9), "n_max: expected 1..200"),
    ("message-passing", put("messages/outputs", "1x5000o"), "messages: l_max"),
    ("message-passing", put("messages/outputs", "1000000000x0e"), "expected"),
    ("message-passing", put("messages/attention", "1x100000e"), "messages: l_max"),
    ("message-passing", put("chains/value", None), "TypeError"),
    ("message-passing", put("chains/extra", {}), "chains|extra|legs"),
]


@pytest.mark.parametrize(("name", "change", "message"), HOSTILE)
def test_a_whole_file_that_says_what_cannot_be_is_refused(name, change, message, tmp_path):
    stored = load_file(FILES / f"{name}.etn")
    change(stored.header, stored.arrays)
    path = tmp_path / "a.etn"
    save_file(path, kind=stored.kind, header=stored.header, arrays=stored.arrays)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=rf"a\.etn: the file is whole, .*({message})"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_all_radial_functions_of_all_elements_are_refused_before_they_are_made():
    basis = Basis(SYMBOLS, n_max=50, l_max=12)
    with pytest.raises(SettingsError, match="at most 2000 over all elements, got 5900"):
        _ = basis.leg
