"""Potentials of two layers: laws, the reach of an atom, files."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import ModelFileError, SettingsError
from etn.potential import Basis, Dataset, Frame, PolynomialPotential, load
from etn.potential.message_passing import MessagePassingPotential
from etn.testing import PotentialLaws


class Base(PotentialLaws):
    elements = ("Mo",)
    attention = None
    zbl = False
    seeds = (0,)

    @pytest.fixture(autouse=True)
    def _made_by(self, make_model, make_frames, random_layers):
        self.model, self.frames, self.layers = make_model, make_frames, random_layers

    def make_potential(self, rng):
        return self.model(rng, elements=self.elements, attention=self.attention, zbl=self.zbl)

    def make_frames(self, rng):
        from ase.data import atomic_numbers

        return self.frames(rng, [atomic_numbers[symbol] for symbol in self.elements])


class TestOneElement(Base):
    pass


class TestChannels(Base):
    step = 1e-4  # atoms of some frames are closer than in the data of the basis, where it is steep
    elements = ("Nb", "Mo")
    attention = "1x0e"

    def make_potential(self, rng):
        plain = self.model(rng, elements=self.elements, attention=self.attention)
        frames = Dataset(self.make_frames(rng))
        basis = Basis.for_dataset(
            frames, r_max=plain.basis.r_max, n_max=3, l_max=2, max_channels=(3, 2)
        )
        assert basis.leg.dim < plain.basis.leg.dim
        layers = self.layers(basis, plain.messages, plain.coupling, rng)
        return MessagePassingPotential(
            basis, plain.messages, max_bond=3, baseline=plain.baseline, layers=layers
        )


class TestThreeElementsWithAttention(Base):
    elements = ("Nb", "Mo", "W")
    attention = "1x0e+1x1o"
    zbl = True


def test_an_atom_feels_twice_the_radius_and_no_more(rng, make_model):
    model = make_model(rng, attention="1x0e")
    deaf = model.with_layers(model.layers.replace("value", model.layers.value * 0.0))
    r = model.basis.r_max

    def energy(potential, *x):
        row = Frame([42] * len(x), [[v, 0, 0] for v in x], np.zeros((3, 3)), [False] * 3)
        return potential.predict([row])[0].energies[0] - model.baseline.e0["Mo"]

    near = [energy(model, 0, 0.7 * r, t * r) for t in (1.1, 1.2, 1.3)]
    assert min(abs(near[0] - near[1]), abs(near[1] - near[2])) > 1e-4 * abs(near[0])
    alone = pytest.approx(energy(model, 0, 0.7 * r), rel=1e-10)
    assert energy(model, 0, 0.7 * r, 1.701 * r) == alone
    # The third atom hears the fourth, but does not pass on what it heard.
    assert energy(model, 0, 0.7 * r, 1.701 * r, 2.3 * r) == alone
    # Without messages the second layer sees one radius.
    assert energy(deaf, 0, 0.7 * r, 1.1 * r) == pytest.approx(energy(deaf, 0, 0.7 * r), rel=1e-10)


def test_ase_calculator_is_the_potential(rng, make_model):
    from ase import Atoms

    pytest.importorskip("etn.interfaces.ase")
    model = make_model(rng)
    atoms = Atoms("Mo3", [[0, 0, 0], [2.2, 0, 0], [0, 2.4, 0.3]])
    atoms.calc = model.calculator()
    frame = Frame(atoms.numbers, atoms.positions, np.zeros((3, 3)), [False] * 3)
    assert atoms.get_potential_energy() == model.predict([frame])[0].energy
    np.testing.assert_array_equal(atoms.get_forces(), model.predict([frame])[0].forces)
    atoms.cell, atoms.pbc = [4.0, 4.2, 4.4], True
    assert atoms.get_stresses().shape == (3, 6)
    np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), atoms.get_stress(), rtol=1e-10)


def test_files_hold_the_kind_and_settings_are_checked(rng, tmp_path, make_model):
    model = make_model(rng)
    with pytest.raises(SettingsError, match="body_order"):
        MessagePassingPotential(model.basis, body_order=2)
    path = tmp_path / "model.etn"
    model.save(path)
    assert isinstance(load(path), MessagePassingPotential)
    with pytest.raises(ModelFileError, match="expected a file of kind 'polynomial potential'"):
        PolynomialPotential.load(path)
    unfitted = MessagePassingPotential(model.basis, model.messages)
    unfitted.save(path)
    assert repr(MessagePassingPotential.load(path)) == repr(unfitted)
