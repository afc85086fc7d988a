"""Model files of every kind and format version load and predict what they did when written.

The files in ``files`` are kept for good, one of each kind for every format version, each with the
predictions of the etn that wrote it.  They were computed on one machine: another one may differ
by rounding.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etn.data import Dataset
from etn.errors import SettingsError
from etn.io import FORMAT_VERSION
from etn.io import load as load_file
from etn.potential import Baseline, MessagePassingPotential, PolynomialPotential, Potential, load

FILES = Path(__file__).parent / "files"
# Name, class, whether it has error bars; all of format 1, written by version 0.1.0.
WRITTEN = [
    ("polynomial", PolynomialPotential, True),
    ("alloy", PolynomialPotential, False),
    ("message-passing", MessagePassingPotential, False),
    ("attention", MessagePassingPotential, False),
]


def frames(name):
    if name == "polynomial":
        return Dataset.read("etn:Mo/test", index="::8")
    small = [frame for frame in Dataset.read("etn:NbMoTaW/test") if frame.n_atoms <= 16]
    return Dataset(small[:4])


@pytest.mark.parametrize(("name", "kind", "has_bars"), WRITTEN)
def test_a_kept_file_predicts_what_it_did(name, kind, has_bars):
    model = load(FILES / f"{name}.etn")
    assert type(model) is kind
    assert model.has_uncertainty is has_bars
    data = frames(name)
    with np.load(FILES / f"{name}.npz") as expected:
        for k, p in enumerate(model.predict(data)):
            np.testing.assert_allclose(p.energies, expected[f"energies_{k}"], rtol=1e-10)
            scale = np.abs(expected[f"forces_{k}"]).max()
            np.testing.assert_allclose(p.forces, expected[f"forces_{k}"], atol=1e-10 * scale)
            np.testing.assert_allclose(p.stress, expected[f"stress_{k}"], rtol=1e-8, atol=1e-12)
        if has_bars:
            u = model.uncertainty
            np.testing.assert_allclose(u.energy(data), expected["sigma"], rtol=1e-8)
            for k, (gamma, bars) in enumerate(zip(u.gamma(data), u.forces(data), strict=True)):
                np.testing.assert_allclose(gamma, expected[f"gamma_{k}"], rtol=1e-8)
                np.testing.assert_allclose(bars, expected[f"bars_{k}"], rtol=1e-7)


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


def test_every_kind_and_format_version_has_a_file():
    from etn.potential.base import HOMES

    kept = {(load_file(path).kind, load_file(path).format_version) for path in FILES.glob("*.etn")}
    assert kept == {(kind, v) for kind in HOMES for v in range(1, FORMAT_VERSION + 1)}


def test_files_of_other_kinds_are_refused_with_the_kinds_that_there_are(tmp_path):
    from etn.errors import ModelFileError
    from etn.network import Chain, save

    path = tmp_path / "chain.etn"
    save(Chain.random(["2x0e"] * 2, seed=0), path)
    with pytest.raises(ModelFileError, match=r"'polynomial potential'.* is of kind 'chain'"):
        load(path)


def test_a_kind_of_your_own_is_read_once_it_is_known(tmp_path):
    class Constant(Potential):
        KIND = "constant potential of a test"
        elements, r_max = ("Mo",), 3.0

        def _respond(self, pairs):
            from etn.potential.base import no_response

            return no_response(pairs)

        def to_arrays(self):
            return {"more": 1}, {}

        @classmethod
        def from_arrays(cls, header, arrays, baseline):
            assert header["more"] == 1
            return cls(baseline)

    path = tmp_path / "constant.etn"
    Constant(Baseline({"Mo": -2.0})).save(path, note={"by": "me"})
    model = load(path)
    assert isinstance(model, Constant)
    data = Dataset.read("etn:Mo/test", index=":1")
    assert model.predict(data)[0].energy == pytest.approx(-2.0 * data[0].n_atoms)
    assert model.n_parameters == 0
    assert model.describe() == {}
    assert model.diagram() == ""


def pretend(name, kind="", base=Potential):
    """A class of potentials that is its baseline alone."""

    def respond(self, pairs):
        from etn.potential.base import no_response

        return no_response(pairs)

    body = {
        "elements": ("Mo",),
        "r_max": 3.0,
        "_respond": respond,
        "to_arrays": lambda self: ({}, {}),
        "from_arrays": classmethod(lambda cls, header, arrays, baseline: cls(baseline)),
        "__module__": __name__,
    }
    return type(name, (base,), body | ({"KIND": kind} if kind else {}))


def test_a_subclass_without_a_kind_leaves_the_files_to_its_parent(tmp_path):
    parent = pretend("Parent", "a kind with heirs")
    heir = pretend("Heir", base=parent)
    heir(Baseline({"Mo": -2.0})).save(tmp_path / "a.etn")
    assert type(load(tmp_path / "a.etn")) is parent
    assert type(heir.load(tmp_path / "a.etn")) is heir


def test_no_two_classes_define_the_same_kind(tmp_path):
    first = pretend("First", "a kind of two classes")
    with pytest.raises(SettingsError, match=r"'a kind of two classes' of .*Second is that of"):
        pretend("Second", "a kind of two classes")
    first(Baseline({"Mo": -2.0})).save(tmp_path / "a.etn")
    assert type(load(tmp_path / "a.etn")) is first
    again = pretend("First", "a kind of two classes")  # a cell of a notebook that ran twice
    assert type(load(tmp_path / "a.etn")) is again
    with pytest.raises(SettingsError, match=r"of another class in etn\.potential"):
        pretend("Usurper", "polynomial potential")


def test_files_need_a_kind(tmp_path):
    with pytest.raises(SettingsError, match="KIND: expected what the files of a Nameless"):
        pretend("Nameless")(Baseline({"Mo": -2.0})).save(tmp_path / "a.etn")
    assert not list(tmp_path.iterdir())
    with pytest.raises(SettingsError, match=r"load: Potential has no KIND .* etn\.load\(path\)"):
        Potential.load(tmp_path / "a.etn")
