"""What looks wrong with the labels of one data set, and what is left in peace."""

from __future__ import annotations

from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from etn.data.dataset import Dataset
from etn.data.embedded import embedded_path
from etn.data.frame import Frame
from etn.data.labels import LabelKeys
from etn.data.plausibility import label_warnings
from etn.surface import speaking


def crystal(volume=16.0, n_atoms=1, **labels):
    """Return a cubic cell of copper atoms with the given volume."""
    edge = volume ** (1 / 3)
    positions = edge * np.linspace(0, 0.5, n_atoms)[:, None] * np.ones(3)
    return Frame([29] * n_atoms, positions, edge * np.eye(3), [True] * 3, name="cu:0", **labels)


def warnings_of(frames):
    return tuple(label_warnings(frames, LabelKeys()))


class TestWarnings:
    COMPLETE = {"energy": -3.5, "forces": np.zeros((1, 3)), "stress": np.zeros(6)}

    def test_none(self):
        assert warnings_of([crystal(**self.COMPLETE)] * 3) == ()

    def test_net_force(self):
        labels = self.COMPLETE | {"forces": np.array([[0, 0.3, 0.4]])}
        (warning,) = warnings_of([crystal(**self.COMPLETE), crystal(**labels)])
        assert warning.startswith("forces: 1 frame with a net force above 0.01 eV/Å (cu:0: 0.5)")

    def test_large_force(self):
        forces = np.array([[0, 0, 150.0], [0, 0, -150.0]])
        labels = {"forces": forces, "stress": np.full(6, 0.1)}
        (warning,) = warnings_of([crystal(n_atoms=2, **self.COMPLETE | labels)])
        assert warning.startswith("forces: 1 frame with a force above 100 eV/Å (cu:0: 150)")

    def test_energy_spread(self):
        frames = [crystal(**self.COMPLETE | {"energy": -3.5 - 1000 * (i == 2)}) for i in range(9)]
        (warning,) = warnings_of(frames)
        assert warning.startswith("energy: cu:0 lies 889 eV/atom from the best sum of atomic")

    def test_energies_of_unlike_atoms_are_no_spread(self):
        frames = [
            Frame([number], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, energy=energy)
            for number, energy in ((1, -13.6), (8, -2037.0), (1, -13.5))
        ]
        assert [text for text in warnings_of(frames) if text.startswith("energy")] == []

    @pytest.mark.parametrize("size", [2.0, 50.0])
    def test_stress_in_other_units(self, size):
        labels = self.COMPLETE | {"stress": np.full(6, size)}
        (warning,) = warnings_of([crystal(**labels)])
        assert "implausible: probably in GPa, kbar or a virial (1 eV/Å³ = 160.2 GPa" in warning

    def test_stress_without_volume(self):
        slab = bulk("Cu")
        slab.pbc = [True, True, False]
        slab.info |= {"energy": -3.5, "stress": np.zeros(6)}
        slab.arrays["forces"] = np.zeros((1, 3))
        (warning,) = Dataset.from_atoms([slab, slab]).summary().warnings
        assert warning.startswith("stress: that of 2 frames is not read (atoms:0): they are not")

    @pytest.mark.parametrize("name", ["etn:Mo/train", "etn:NbMoTaW/train"])
    def test_opposite_sign_of_the_stress(self, name):
        images = ase.io.read(embedded_path(name.removeprefix("etn:")), ":", format="extxyz")
        for atoms in images:
            atoms.calc.results["stress"] *= -1
        (warning,) = Dataset.from_atoms(images).summary().warnings
        assert warning.startswith("stress: falls as the volume grows (correlation -0.")
        assert 'read it with stress_convention="compression" (six numbers in the order' in warning
        assert Dataset.from_atoms(images, stress_convention="vasp").summary().warnings == ()

    def test_a_key_that_sounds_like_a_virial(self):
        atoms = bulk("Cu")
        atoms.info |= {"energy": -3.5, "virial": 0.1 * np.eye(3), "virial_stress": 0.1 * np.eye(3)}
        atoms.arrays["forces"] = np.zeros((1, 3))
        (warning,) = Dataset.from_atoms([atoms], stress="virial").summary().warnings
        assert warning.endswith('read it with virial="virial", stress=None')
        assert Dataset.from_atoms([atoms], stress="virial_stress").summary().warnings == ()


class TestZeros:
    LABELS = {
        "energy": -3.5,
        "forces": np.array([[0, 0, 1.0], [0, 0, -1.0]]),
        "stress": np.full(6, 0.1),
    }

    def without(self, label):
        return crystal(n_atoms=2, **self.LABELS | {label: 0 * np.asarray(self.LABELS[label])})

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("energy", "energy: 0 in all 3 frames: if it was not calculated, leave it out (energy"),
            ("forces", "forces: 0 in all 3 frames, as in perfect crystals alone: if they were not "
                       "calculated, leave them out (forces=None)"),
            ("stress", "stress: 0 in all 3 frames: if it was not calculated, leave it out (stress"),
        ],
    )  # fmt: skip
    def test_everywhere(self, label, message):
        (warning,) = warnings_of([self.without(label)] * 3)
        assert warning.startswith(message)

    @pytest.mark.parametrize("label", ["energy", "stress"])
    def test_in_some_frames(self, label):
        (warning,) = warnings_of([crystal(n_atoms=2, **self.LABELS)] * 4 + [self.without(label)])
        assert warning.startswith(f"{label}: exactly 0 in 1 of 5 frames (cu:0): if it was not")

    def test_forces_that_symmetry_or_loneliness_forbids(self):
        """A perfect crystal among others has none, and an atom alone neither."""
        atom = Frame([29], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, energy=0.0,
                     forces=np.zeros((1, 3)))  # fmt: skip
        frames = [crystal(n_atoms=2, **self.LABELS)] * 4
        assert warnings_of([*frames, self.without("forces"), atom]) == ()

    def test_clusters_have_forces(self):
        dimer = Frame([29, 29], [[0, 0, 0], [0, 0, 2.2]], np.zeros((3, 3)), [False] * 3,
                      energy=-7.0, forces=np.zeros((2, 3)), name="cu:7")  # fmt: skip
        (warning,) = warnings_of([crystal(n_atoms=2, **self.LABELS), dimer])
        assert warning.startswith("forces: exactly 0 in 1 of 2 frames (cu:7): if they were not")


class TestEnergiesPerAtom:
    @pytest.mark.parametrize("name", ["etn:Mo/train", "etn:NbMoTaW/train"])
    def test_given_as_totals(self, name):
        wrong = [
            replace(frame, energy=frame.energy / frame.n_atoms) for frame in Dataset.read(name)
        ]
        (warning,) = warnings_of(wrong)
        assert warning.startswith("energy: equal for frames of different sizes (-1")
        assert "probably energies per atom" in warning
        with speaking("command"):
            assert "(--energy-key NAME)" in warnings_of(wrong)[0]

    def test_total_energies_are_left_in_peace_whatever_their_zero(self):
        right = Dataset.read("etn:Mo/train")
        mean = np.mean([frame.energy / frame.n_atoms for frame in right])
        for shift in (0.0, 1e4, -mean):
            assert (
                warnings_of([replace(f, energy=f.energy + shift * f.n_atoms) for f in right]) == ()
            )
