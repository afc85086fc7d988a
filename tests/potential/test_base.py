"""What every potential is: a kind of its own gets predictions, files and errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError

from etn.errors import DataError, ModelFileError, SettingsError
from etn.potential import Baseline, Dataset, Frame, Potential, load
from etn.potential.base import no_response
from etn.potential.features import batching
from etn.potential.features.pairs import Pairs
from etn.potential.response import Response
from etn.testing import PotentialLaws


class Springs(Potential):
    """Half of (1 - r / r_max)^4 for each neighbour of an atom."""

    KIND = "springs of a test"
    elements, r_max = ("Cu", "Mo"), 3.5
    strength = 2.0

    def _respond(self, pairs):
        self.parts = [*getattr(self, "parts", []), pairs.n_samples]
        x = 1 - pairs.distance / self.r_max
        pull = -2 * self.strength * x**3 / self.r_max  # half of dE/dr
        slope = (pull / pairs.distance)[:, None] * pairs.vector
        answer = no_response(pairs)
        np.add.at(answer.energies, pairs.center, self.strength / 2 * x**4)
        np.add.at(answer.forces, pairs.sample[pairs.center], slope)
        np.add.at(answer.forces, pairs.neighbor, -slope)
        moment = slope[:, :, None] * pairs.vector[:, None]
        np.add.at(answer.strain, pairs.sample_frame[pairs.center], moment)
        return Response(answer.energies, answer.forces, answer.strain)

    def to_arrays(self):
        return {"strength": self.strength}, {}

    @classmethod
    def from_arrays(cls, header, arrays, baseline):
        made = cls(baseline)
        made.strength = header["strength"]
        return made


class Whole(Springs):
    KIND = "springs of a test that want whole frames"
    is_local = False


BASELINE = Baseline({"Cu": -3.0, "Mo": -10.0}, zbl=True)


def frames_of(rng):
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)[:5]
    cell = np.array([[4.2, 0.4, 0], [0.3, 4.4, -0.5], [0.7, 0, 4.1]])
    return [
        Frame([42, 29, 29, 42, 29], 2.1 * grid + 0.2 * rng.normal(size=(5, 3)), cell * periodic,
              [bool(periodic)] * 3)
        for periodic in (0, 1)
    ]  # fmt: skip


def test_stresses_of_atoms_sum_to_the_stress(rng):
    frames = frames_of(rng)
    for prediction, frame in zip(Springs(BASELINE).predict(frames), frames, strict=True):
        if frame.volume == 0:
            assert prediction.stresses is prediction.stress is None
        else:
            np.testing.assert_allclose(prediction.stresses.sum(axis=0), prediction.stress)
    # One that may need whole frames is not told that atoms are frames, unless it says so.
    (whole,) = Whole(BASELINE).predict(frames[1:])
    assert whole.stresses is None
    np.testing.assert_allclose(whole.stress, Springs(BASELINE).predict(frames[1:])[0].stress)
    atoms = frames[1].to_atoms()
    atoms.calc = Whole(BASELINE).calculator()
    with pytest.raises(
        PropertyNotImplementedError, match=r"stresses: a springs of a test .* has no"
    ):
        atoms.get_stresses()


class TestSprings(PotentialLaws):
    """A potential that says what atoms answer, and no more, is one of those that keep all laws."""

    seeds = (0,)

    def make_potential(self, rng):
        return Springs(BASELINE)

    def make_frames(self, rng):
        return frames_of(rng)

    def r_max(self, potential):
        return potential.r_max


def test_a_prediction_is_the_baseline_and_the_answer(rng):
    (frame,) = frames_of(rng)[:1]
    (found,) = Springs(BASELINE).predict([frame])
    x, n = frame.positions, frame.n_atoms
    pairs = Pairs.find([frame], ("Cu", "Mo"), 3.5)
    energies, forces, _ = BASELINE.evaluate(pairs, ("Cu", "Mo"), 3.5)
    for i in range(n):
        for j in range(n):
            r = np.linalg.norm(x[i] - x[j])
            if i != j and r < 3.5:
                energies[i] += (1 - r / 3.5) ** 4
                forces[i] += 8 * (1 - r / 3.5) ** 3 / 3.5 * (x[i] - x[j]) / r
    np.testing.assert_allclose(found.energies, energies, rtol=1e-12)
    np.testing.assert_allclose(found.forces, forces, atol=1e-12 * np.abs(forces).max())
    assert found.energy == pytest.approx(energies.sum(), rel=1e-12)
    assert found.stress is None


def test_only_local_potentials_get_parts_of_a_frame(rng, monkeypatch):
    monkeypatch.setattr(batching, "ATOMS_AT_ONCE", 4)
    frame = frames_of(rng)[1]
    local, whole = Springs(BASELINE), Whole(BASELINE)
    one, two = local.predict([frame])[0], whole.predict([frame])[0]
    assert (local.parts, whole.parts) == ([4, 1], [5])
    np.testing.assert_allclose(one.forces, two.forces, atol=1e-12 * np.abs(two.forces).max())
    np.testing.assert_allclose(one.stress, two.stress, rtol=1e-10)


def test_errors_are_those_of_the_predictions(rng, labelled):
    potential = Springs(BASELINE)
    data = labelled(frames_of(rng), potential)
    shifted = Dataset([replace(f, energy=f.energy + 0.3 * f.n_atoms) for f in data])
    found = potential.evaluate(shifted)
    assert found.energy.mae == pytest.approx(0.3, rel=1e-10)
    assert found.forces.mae == 0.0
    assert potential.predict([]) == []


def test_coincident_atoms_and_unknown_elements_name_the_frame():
    cell = 5 * np.eye(3)
    twice = Frame([42, 42], [[0, 0, 0], [5, 0, 1e-5]], cell, [True] * 3, name="a.xyz:3")
    with pytest.raises(DataError, match=r"frame a.xyz:3: atoms 0 and 1 coincide"):
        Springs(BASELINE).predict([twice])
    other = Frame([42, 74], [[0, 0, 0], [2.5, 0, 0]], cell, [True] * 3, name="b.xyz:0")
    with pytest.raises(DataError, match=r"frame b.xyz:0: element W is unknown .* made for Cu, Mo"):
        Springs(BASELINE).predict([other])


def test_what_a_kind_does_not_say_has_a_plain_answer(tmp_path):
    potential = Springs(BASELINE)
    assert potential.is_local
    assert not potential.has_uncertainty
    with pytest.raises(SettingsError, match="a springs of a test has no error bars"):
        _ = potential.uncertainty
    with pytest.raises(OSError, match="none"):
        potential.save(tmp_path / "none" / "a.etn")


def test_files_of_other_kinds_are_refused_with_the_kinds_that_there_are(tmp_path):
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


def test_atoms_of_a_potential_of_your_own_read_the_charge_of_their_frame(rng):
    class Charged(Springs):
        KIND = ""
        ignores_charge = False

        def check_frames(self, frames):
            if any(abs(frame.charge) > 2 for frame in frames):
                raise DataError("too much")

        def _respond(self, pairs):
            answer = no_response(pairs)
            answer.energies[:] = pairs.charge[pairs.sample_frame]
            return answer

    frames = frames_of(rng)
    model = Charged(Baseline({"Cu": 0.0, "Mo": 0.0}))
    ions = [replace(frame, charge=k - 1) for k, frame in enumerate(frames[:2])]
    assert [p.energy for p in model.predict(ions)] == [-ions[0].n_atoms, 0]
    with pytest.raises(DataError, match="too much"):
        model.predict([*ions, replace(frames[0], charge=3)])


def pretend(name, kind="", base=Potential):
    """A class of potentials that is its baseline alone."""

    def respond(self, pairs):
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
