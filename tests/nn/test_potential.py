"""Neural potentials: the laws of potentials for all architectures, files, units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from etn.errors import DataError, ModelFileError
from etn.nn.model import AtomicModel
from etn.nn.network import network_class
from etn.nn.potential import NeuralPotential
from etn.nn.recipe import Recipe
from etn.nn.trainer import train
from etn.potential import Baseline, Dataset, Frame, load
from etn.potential.features.inner import Inner
from etn.testing import PotentialLaws


class Base(PotentialLaws):
    name = ""
    changes: dict = {}
    seeds = (0,)
    tolerance = 1e-10
    step = 3e-4

    @pytest.fixture(autouse=True)
    def _made_by(self, potential, frames):
        self.potential, self.frames = potential, frames

    def make_potential(self, rng):
        return self.potential(self.name, rng, **self.changes)

    def make_frames(self, rng):
        return self.frames(rng, [41, 42])


class TestTensorNet(Base):
    name = "tensornet"


class TestICTP(Base):
    name = "ictp"


class TestICTPWithAllPaths(Base):
    name = "ictp"
    changes = {"parity": "full", "l_max": 1, "variant": "sym+lt", "order": 2}


class TestTDN(Base):
    name = "tdn"


class TestTDNInCPForm(Base):
    name = "tdn"
    changes = {"products": "cp", "l_max": 1}


class Trained(Base):
    """After some steps, which may break what holds at first."""

    made = None

    @pytest.fixture(autouse=True)
    def _taught_by(self, labelled):
        self.labelled = labelled

    def make_potential(self, rng):
        if type(self).made is None:
            teacher = self.potential("tensornet", np.random.default_rng(9))
            data = self.labelled(self.frames(np.random.default_rng(8), [41, 42]), teacher)
            recipe = Recipe(max_epochs=10, batch_size=2, learning_rate=2e-2, warmup=2)
            start = self.potential(self.name, rng)
            report = train(start, data, recipe=recipe, uncertainty=False)
            assert report.epochs[-1].loss < report.epochs[0].loss
            type(self).made = report.model
        return type(self).made


class TestTrainedTensorNet(Trained):
    name = "tensornet"


class TestTrainedICTP(Trained):
    name = "ictp"


class TestTrainedTDN(Trained):
    name = "tdn"


class OfRotations(Base):
    """For potentials that tell mirror images apart."""

    def test_reflections_and_inversion_turn_forces_and_stress(self):
        for potential, frames, _ in self._cases():
            mirrored = [replace(f, positions=-f.positions, cell=-f.cell) for f in frames]
            pairs = zip(potential.predict(frames), potential.predict(mirrored), strict=True)
            assert max(abs(a.energy - b.energy) for a, b in pairs) > 1e-9


class TestTensorNetOfRotations(OfRotations):
    name = "tensornet"
    changes = {"group": "SO(3)"}


class TestTDNOfRotations(OfRotations):
    name = "tdn"
    changes = {"group": "SO(3)"}


@pytest.mark.parametrize("name", ["tensornet", "ictp", "tdn"])
def test_below_the_data_functions_rest_and_nuclei_repel(name, potential, rng):
    start = potential(name, rng, elements=("Mo",), zbl=True)
    inner = Inner(("Mo",), start.r_max, *np.array([1.9, 1.8, 1e9]).reshape(3, 1, 1))
    model = AtomicModel(start.network, inner)
    resting = NeuralPotential(model, Baseline({"Mo": 0.0}, zbl=True))

    def answers(x):
        dimer = Frame([42, 42], [[0, 0, 0], [x, 0, 0]], np.zeros((3, 3)), [False] * 3)
        batch = resting.predict([dimer])[0]
        alone = NeuralPotential(model, Baseline({"Mo": 0.0})).predict([dimer])[0]
        return batch.energy, alone.energy, alone.forces

    deep = [answers(x) for x in (0.4, 0.9, 1.4)]
    assert np.ptp([alone for _, alone, _ in deep]) < 1e-12
    assert max(np.abs(forces).max() for _, _, forces in deep) < 1e-12
    energies = [energy for energy, _, _ in deep]
    assert energies == sorted(energies, reverse=True)


def test_charge_is_heard_by_tensornet(potential, rng):
    model = potential("tensornet", rng)
    frame = Frame([41, 42], [[0, 0, 0], [2, 0, 0]], np.zeros((3, 3)), [False] * 3)
    ions = [replace(frame, charge=q) for q in (0, 1, -1)]
    apart = [model.predict([ion])[0] for ion in ions]
    energies = [prediction.energy for prediction in apart]
    assert min(abs(np.diff(sorted(energies)))) > 1e-9
    # Each frame of a batch has its own charge.
    for one, other in zip(model.predict(ions), apart, strict=True):
        assert one.energy == pytest.approx(other.energy, rel=1e-12)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-12)
    # Forces of a charged frame are derivatives of its energy.
    h = 1e-4
    step = np.array([[0, 0, 0], [h, 0, 0]])
    moved = [replace(ions[1], positions=frame.positions + s * step) for s in (1, -1)]
    up, down = (model.predict([one])[0].energy for one in moved)
    assert apart[1].forces[1, 0] == pytest.approx((down - up) / (2 * h), abs=1e-6)


@pytest.mark.parametrize("name", ["ictp", "tdn"])
def test_charges_that_a_network_does_not_read_are_refused(potential, frames, rng, name):
    model = potential(name, rng)
    data = frames(rng, [41, 42])
    data[1] = replace(data[1], charge=-1, name="ions.xyz:1")
    message = f"frame ions.xyz:1: a total charge of -1, which the network {name} does not read: t"
    with pytest.raises(DataError, match=message + r"rain tensornet, .* \(charge=None as data"):
        model.predict(data)
    assert len(model.predict(data[:1])) == 1


def test_files_keep_all_of_it(potential, tmp_path, rng, networks):
    for name in networks:
        start = potential(name, rng)
        start.save(tmp_path / "a.etn", note={"by": "test"})
        loaded = load(tmp_path / "a.etn")
        assert repr(loaded) == repr(start)
        assert loaded.describe() == start.describe()
        assert loaded.baseline == start.baseline
        assert loaded.network.settings == start.network.settings


def test_hostile_files_are_refused(potential, tmp_path, rng):
    from etn import io

    start = potential("tensornet", rng)
    start.save(tmp_path / "a.etn")
    stored = io.load(tmp_path / "a.etn")
    changes = (
        {"network": "unknown"}, {"settings": {"channels": 10**9}}, {"dtype": "float8"},
        {"elements": ["Mo"]}, {"settings": {"channels": -2}}, {"settings": 3},
        {"settings": {"colour": "red"}}, {"settings": {"n_max": 2**31 - 1}},
        {"settings": {"channels": 60_000}}, {"settings": {"layers": 2**31 - 1}},
        {"uncertainty": {"scales": {"energy": 1.0, "forces": 1.0}}}, {"uncertainty": 3},
    )  # fmt: skip
    for change in changes:
        io.save(
            tmp_path / "b.etn", kind=stored.kind, header=stored.header | change,
            arrays=stored.arrays,
        )  # fmt: skip
        with pytest.raises(ModelFileError, match=r"b\.etn"):
            load(tmp_path / "b.etn")


def test_unknown_elements_are_named(potential, rng):
    frame = Frame([74], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3)
    with pytest.raises(DataError, match="element W is unknown to this potential"):
        potential("tensornet", rng).predict([frame])


def test_the_calculator_runs(potential, rng):
    from ase.build import bulk

    atoms = bulk("Mo", cubic=True)
    atoms.calc = potential("tensornet", rng).calculator()
    assert atoms.get_stress().shape == (6,)
    assert np.abs(atoms.get_forces()).max() < 1e-9


def test_evaluation_leaves_no_gradients_behind(potential, frames, rng):
    start = potential("ictp", rng)
    start.predict(frames(rng, [41, 42]))
    assert all(weight.grad is None for weight in start.network.parameters())
    assert not torch.is_grad_enabled() or start.model.scale.grad is None
    assert network_class("ictp").has_charge is False


def test_energies_of_the_embedded_set_are_finite():
    network = network_class("tensornet")(("Mo",), 4.0, channels=4)
    (p,) = NeuralPotential(AtomicModel(network)).predict(Dataset.read("etn:Mo/test", index=0))
    assert np.isfinite(p.energy)
