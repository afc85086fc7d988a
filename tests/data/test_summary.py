"""What a summary counts, and what it warns of."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from etn.data.dataset import Dataset
from etn.data.embedded import embedded_path
from etn.data.frame import Frame


def crystal(volume=16.0, n_atoms=1, **labels):
    """Return a cubic cell of copper atoms with the given volume."""
    edge = volume ** (1 / 3)
    positions = edge * np.linspace(0, 0.5, n_atoms)[:, None] * np.ones(3)
    return Frame([29] * n_atoms, positions, edge * np.eye(3), [True] * 3, name="cu:0", **labels)


def test_numbers_against_ase():
    images = ase.io.read(embedded_path("NbMoTaW/test"), ":", format="extxyz")
    summary = Dataset.read("etn:NbMoTaW/test").summary()
    forces = np.concatenate([atoms.get_forces() for atoms in images])
    stress = np.array([atoms.get_stress() for atoms in images])
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in images]
    volumes = [atoms.get_volume() / len(atoms) for atoms in images]
    assert (summary.n_frames, summary.n_atoms) == (80, 1560)
    assert summary.atoms_per_frame == (min(map(len, images)), max(map(len, images)))
    symbols = [symbol for atoms in images for symbol in atoms.get_chemical_symbols()]
    assert summary.elements == {s: symbols.count(s) for s in ("Nb", "Mo", "Ta", "W")}
    assert summary.config_types["MoTa_Test"] == 10
    assert summary.energy_per_atom == pytest.approx((min(energies), max(energies)))
    assert summary.max_force == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert summary.rms_force == pytest.approx(np.sqrt(np.mean(forces**2)))
    assert summary.stress == pytest.approx((stress.min(), stress.max()))
    assert summary.volume_per_atom == pytest.approx((min(volumes), max(volumes)))
    assert summary.warnings == ()


@pytest.mark.parametrize("name", ["Mo/train", "Mo/test", "NbMoTaW/train", "NbMoTaW/test"])
def test_real_data_is_plausible(name):
    assert Dataset.read(f"etn:{name}").summary().warnings == ()


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "path", ["mlearn_Si/train.xyz", "mlearn_Cu/test.xyz", "3BPA/test_300K.xyz", "NbMoTaW/train.xyz"]
)
def test_reference_data_is_plausible(shared_data, path):
    assert Dataset.read(shared_data / path).summary().warnings == ()


class TestLabels:
    def test_missing_in_some_frames(self):
        frames = [crystal(energy=-3.5), crystal(energy=-3.4), crystal()]
        summary = Dataset(frames).summary()
        assert (summary.labels["energy"].present, summary.labels["energy"].missing) == (2, 1)
        assert '2 of 3 frames, 1 without (key "energy"), eV' in str(summary)
        assert 'energy: 1 of 3 frames have none (key "energy")' in summary.warnings

    def test_not_found(self):
        summary = Dataset([crystal(energy=-3.5)]).summary()
        assert 'forces         not found (key "forces")' in str(summary).splitlines()
        message = (
            'forces: 1 of 1 frame have none (key "forces"): nothing can be fitted to it or tested '
            "on it"
        )
        assert message in summary.warnings
        assert summary.max_force is summary.rms_force is summary.stress is None

    def test_left_out(self):
        summary = Dataset.read("etn:Mo/test", stress=None).summary()
        assert "stress         left out" in str(summary).splitlines()
        assert summary.warnings == ()

    def test_other_candidates(self):
        atoms = bulk("Cu", cubic=True)
        atoms.info |= {"REF_energy": -14.0, "virial": np.eye(3), "config_energy_weight": 2.0}
        atoms.arrays["dft_forces"] = np.ones((4, 3))
        summary = Dataset.from_atoms([atoms, bulk("Cu"), atoms]).summary()
        assert summary.labels["energy"].others == {"REF_energy": 2}
        assert summary.labels["forces"].others == {"dft_forces": 2}
        assert summary.labels["stress"].others == {"virial": 2}
        assert summary.warnings[0] == (
            'energy: 3 of 3 frames have none (key "energy"), but there is REF_energy (2 frames): '
            'if it holds the total energy in eV, give energy="REF_energy"'
        )

    def test_candidates_beside_the_label(self):
        atoms = bulk("Cu")
        atoms.calc = SinglePointCalculator(
            atoms, energy=-3.5, free_energy=-3.6, forces=np.zeros((1, 3)), stress=np.zeros(6)
        )
        text = str(Dataset.from_atoms([atoms]).summary())
        assert '1 of 1 frames (key "energy"; not read: free_energy (1 frame)), eV' in text

    def test_a_stress_is_not_missed_in_molecules(self):
        atoms = Atoms("H")
        atoms.calc = SinglePointCalculator(atoms, energy=-13.6, forces=np.zeros((1, 3)))
        assert Dataset.from_atoms([atoms]).summary().warnings == ()

    def test_a_stress_that_is_not_read_is_counted(self):
        atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
        forces = np.array([[0, 0, 1.0], [0, 0, -1.0]])
        atoms.calc = SinglePointCalculator(atoms, energy=-30.0, forces=forces, stress=np.zeros(6))
        summary = Dataset.from_atoms([atoms] * 3).summary()
        assert summary.labels["stress"].unperiodic == 3
        line = 'stress         not found (key "stress"; not read, as not periodic: 3)'
        assert line in str(summary).splitlines()

    def test_the_form_of_a_stress_is_shown(self):
        atoms = bulk("Cu")
        atoms.info["REF_virial"] = np.eye(3)
        text = str(Dataset.from_atoms([atoms], virial="REF_virial").summary())
        form = '(key "REF_virial" or "stress", -V·stress in eV), eV/Å³, tension positive'
        assert f"stress 1 of 1 frames {form}" in " ".join(text.split())

    def test_parts_know_the_other_keys_of_their_frames(self):
        images = [bulk("Cu"), bulk("Cu")]
        images[1].info["REF_energy"] = -3.5
        found = Dataset.from_atoms(images)
        assert found[:1].summary().labels["energy"].others == {}
        assert found[1:].summary().labels["energy"].others == {"REF_energy": 1}


class TestText:
    def test_lines_are_short(self):
        lines = str(Dataset.read("etn:NbMoTaW/train")).splitlines()
        assert max(map(len, lines)) <= 100
        assert lines[0] == "Dataset        etn:NbMoTaW/train"
        assert lines[-1] == "warnings       none"

    def test_many_config_types(self):
        frame = crystal()
        frames = [
            Frame(frame.numbers, frame.positions, frame.cell, frame.pbc, config_type=f"t{i}")
            for i in range(25)
        ]
        assert "t19 1, and 5 more" in " ".join(str(Dataset(frames)).split())

    def test_in_memory_and_unnamed(self):
        text = str(Dataset([crystal()]))
        assert text.startswith("Dataset        (in memory)\nframes         1\n")
        assert "config types   (none) 1" in text

    def test_warnings_are_listed(self):
        lines = str(Dataset([crystal(energy=-3.5)])).splitlines()
        assert "warnings       2" in lines
        assert lines[-2].startswith('  -            stress: 1 of 1 frame have none (key "stress")')
