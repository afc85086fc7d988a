"""One structure and the labels that ASE keeps of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.errors import DataError

CELL = 4.0 * np.eye(3)
STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])


def frame(**changes):
    """Return a valid frame of two atoms with some fields replaced."""
    fields = {
        "numbers": [1, 8],
        "positions": [[0, 0, 0], [1, 1, 1]],
        "cell": CELL,
        "pbc": [True] * 3,
        "name": "train.xyz:17",
    }
    return Frame(**(fields | changes))


@pytest.fixture
def labelled():
    """Return atoms that carry all labels in a calculator."""
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], cell=CELL, pbc=True)
    forces = [[0, 0, 0.5], [0, 0, -0.5]]
    atoms.calc = SinglePointCalculator(atoms, energy=-14.0, forces=forces, stress=STRESS)
    return atoms


class TestFrame:
    def test_fields(self):
        water = frame(energy=-14, forces=np.ones((2, 3)), stress=STRESS, config_type="gas")
        assert water.numbers.dtype == np.int64
        assert water.positions.dtype == water.cell.dtype == np.float64
        assert water.energy == -14.0
        assert isinstance(water.energy, float)
        assert water.n_atoms == 2
        assert water.symbols == ("H", "O")
        assert water.config_type == "gas"
        assert repr(water) == "Frame(train.xyz:17: HO, energy, forces, stress)"

    def test_is_immutable_and_owns_its_arrays(self):
        positions = np.zeros((2, 3))
        water = frame(positions=positions)
        positions[:] = 1
        assert np.all(water.positions == 0)
        with pytest.raises(ValueError, match="read-only"):
            water.positions[0] = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            water.energy = 1.0

    def test_volume(self):
        # A triclinic cell: the triple product by hand is 2 · 3 · 4.
        cell = [[2, 0, 0], [1, 3, 0], [0.5, 0.5, 4]]
        assert frame(cell=cell).volume == pytest.approx(24)
        assert frame(cell=np.zeros((3, 3)), pbc=[False] * 3).volume == 0

    def test_single_atom_without_cell(self):
        atom = Frame([1], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, energy=-13.6)
        assert atom.n_atoms == 1
        assert repr(atom) == "Frame(H, energy)"

    def test_partly_periodic(self):
        slab = frame(cell=np.diag([4, 4, 0]), pbc=[True, True, False])
        assert slab.volume == 0

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"numbers": [], "positions": np.zeros((0, 3))}, "at least one atom"),
            ({"numbers": [1, 0]}, r"atom 1 has species 'X' \(atomic number 0\); every atom needs"),
            ({"numbers": [119, 1]}, r"atom 0 has an unknown species \(atomic number 119\)"),
            ({"positions": np.zeros((3, 3))}, r"positions of shape \(2, 3\), came \(3, 3\)"),
            ({"positions": [[0, 0, 0], [0, np.nan, 0]]}, "positions of atom 1 hold nan; correct"),
            ({"positions": [["a"] * 3] * 2}, "positions must be numbers, came"),
            ({"cell": np.eye(2)}, r"cell of shape \(3, 3\), came \(2, 2\)"),
            ({"cell": np.full((3, 3), np.inf)}, "the cell hold inf"),
            ({"cell": np.diag([4, 0, 4])}, "direction b is periodic but its cell vector is zero"),
            (
                {"cell": np.diag([4.0, 4.0, 0.0]), "pbc": [False, True, True]},
                "direction c is periodic but its cell vector is zero; give the cell",
            ),
            ({"cell": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]}, "linearly dependent.*no volume"),
            ({"pbc": [True, True]}, r"pbc of shape \(3,\), came \(2,\)"),
            ({"energy": np.nan}, "the energy is nan; correct the number or remove the frame"),
            ({"energy": -np.inf}, "the energy is -inf"),
            ({"energy": "-14 eV"}, "energy must be one number, came '-14 eV'"),
            ({"energy": True}, "energy must be one number, came True"),
            ({"energy": np.zeros(2)}, "energy must be one number, came array"),
            ({"forces": np.zeros((1, 3))}, r"forces of shape \(2, 3\), came \(1, 3\)"),
            ({"forces": [[0, 0, 0], [0, 0, np.inf]]}, "forces of atom 1 hold inf"),
            ({"stress": np.zeros((3, 3))}, r"stress of shape \(6,\), came \(3, 3\)"),
            ({"stress": [np.nan, 0, 0, 0, 0, 0]}, "the stress hold nan"),
        ],
    )
    def test_refused(self, changes, message):
        with pytest.raises(DataError, match=f"^train.xyz:17: .*{message}"):
            frame(**changes)


class TestFromAtoms:
    def test_calculator(self, labelled):
        carbon_monoxide = Frame.from_atoms(labelled, name="x:0")
        assert carbon_monoxide.energy == -14.0
        np.testing.assert_array_equal(carbon_monoxide.forces, labelled.get_forces())
        np.testing.assert_array_equal(carbon_monoxide.stress, STRESS)

    def test_info_and_arrays(self, labelled):
        labelled.info |= {"dft_energy": -13.0, "dft_stress": np.eye(3), "config_type": 7}
        labelled.arrays["dft_forces"] = np.ones((2, 3))
        found = Frame.from_atoms(
            labelled, energy="dft_energy", forces="dft_forces", stress="dft_stress"
        )
        assert found.energy == -13.0
        assert np.all(found.forces == 1)
        np.testing.assert_array_equal(found.stress, [1, 1, 1, 0, 0, 0])
        assert found.config_type == "7"

    def test_label_left_out(self, labelled):
        found = Frame.from_atoms(labelled, forces=None, stress=None)
        assert (found.energy, found.forces, found.stress) == (-14.0, None, None)

    def test_missing_labels_are_none(self):
        found = Frame.from_atoms(bulk("Cu"))
        assert found.energy is found.forces is found.stress is None

    @pytest.mark.parametrize("place", ["info", "arrays"])
    def test_label_twice(self, labelled, place):
        getattr(labelled, place)["forces"] = np.zeros((2, 3))
        with pytest.raises(
            DataError,
            match=f"^x:3: two labels for one key: 'forces' is in the calculator's results and in "
            f"atoms.{place}; keep one",
        ):
            Frame.from_atoms(labelled, name="x:3")

    def test_results_of_other_positions(self, labelled):
        labelled.positions[0] += 0.1
        with pytest.raises(DataError, match=r"x:3: .*'energy' belongs to another.*positions chan"):
            Frame.from_atoms(labelled, name="x:3")

    def test_nothing_is_calculated(self):
        copper = bulk("Cu")
        copper.calc = EMT()
        assert Frame.from_atoms(copper).energy is None
        assert copper.calc.results == {}
        expected = copper.get_potential_energy()
        assert Frame.from_atoms(copper).energy == expected

    def test_a_moved_live_calculator_keeps_its_results(self):
        copper = bulk("Cu", cubic=True)
        copper.calc = EMT()
        copper.get_potential_energy()
        copper.rattle(0.1, seed=0)
        with pytest.raises(DataError, match="belongs to another structure"):
            Frame.from_atoms(copper)
        assert "energy" in copper.calc.results

    def test_calculator_without_a_state(self):
        class Foreign:
            results = {"energy": -1.0}

        atoms = Atoms("H")
        atoms.calc = Foreign()
        assert Frame.from_atoms(atoms).energy == -1.0

    def test_asymmetric_stress_names_the_frame(self, labelled):
        labelled.info["s"] = np.arange(9.0).reshape(3, 3)
        with pytest.raises(DataError, match=r"^x:3: the stress tensor must be symmetric"):
            Frame.from_atoms(labelled, name="x:3", stress="s")


class TestToAtoms:
    def test_round_trip(self, labelled):
        labelled.info["config_type"] = "gas"
        first = Frame.from_atoms(labelled)
        second = Frame.from_atoms(first.to_atoms())
        for field in dataclasses.fields(Frame):
            np.testing.assert_array_equal(
                getattr(first, field.name), getattr(second, field.name), err_msg=field.name
            )

    def test_atoms_can_be_changed(self, labelled):
        atoms = Frame.from_atoms(labelled).to_atoms()
        atoms.positions += 1
        atoms.cell[:] *= 2

    def test_without_labels(self):
        assert Frame.from_atoms(bulk("Cu")).to_atoms().calc is None


def test_the_weight_of_a_frame_is_read_written_and_checked(tmp_path):
    atoms = Atoms("H", info={"config_weight": 2.5, "energy": -1.0})
    frame = Frame.from_atoms(atoms, name="made:0")
    assert frame.weight == 2.5
    assert frame.to_atoms().info["config_weight"] == 2.5
    Dataset([frame]).write(tmp_path / "one.xyz")
    assert Dataset.read(tmp_path / "one.xyz")[0].weight == 2.5
    assert Frame.from_atoms(Atoms("H")).weight == 1.0
    assert "config_weight" not in Frame.from_atoms(Atoms("H")).to_atoms().info
    for value in (-1.0, np.nan, "much"):
        with pytest.raises(DataError, match=r"made:0: the weight \(config_weight\) must be"):
            Frame.from_atoms(Atoms("H", info={"config_weight": value}), name="made:0")


def test_a_stress_without_periodicity_is_refused():
    with pytest.raises(DataError, match=r"x:1: a stress needs a volume, .* \(stress=None\) or set"):
        Frame([29], [[0, 0, 0]], 9 * np.eye(3), [True, True, False], stress=np.zeros(6), name="x:1")
