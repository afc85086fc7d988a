"""Total charges: read, written and kept apart from all that has the same name."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms

from etn.data import Dataset, Frame, find_duplicates
from etn.data.charge import check_charges, total_charge
from etn.data.isolated import IsolatedAtoms
from etn.data.on_disk import OnDisk
from etn.errors import DataError

WATER = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], info={"energy": -14.2})


def ion(charge, **info):
    atoms = WATER.copy()
    atoms.info |= {"charge": charge, **info}
    return atoms


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-1, -1.0), (0.5, 0.5), (np.int64(2), 2.0), (np.array(-3.0), -3.0), (np.array([[1]]), 1.0),
        ([2], 2.0), ("-1", 0.0), (True, 0.0), (None, 0.0), (np.array([0.4, -0.4]), 0.0), ([], 0.0),
        ({"total": 1}, 0.0),
    ],
)  # fmt: skip
def test_a_single_number_is_a_charge_and_nothing_else(value, expected):
    assert total_charge(ion(value)) == expected
    assert Frame.from_atoms(ion(value)).charge == expected


def test_the_key_is_a_setting():
    atoms = ion(1, total_charge=-2)
    assert Frame.from_atoms(atoms, charge="total_charge").charge == -2
    assert Frame.from_atoms(atoms, charge=None).charge == 0
    assert Dataset.from_atoms([atoms], charge=None)[0].charge == 0
    # It is no energy that goes unread, whatever its shape.
    assert Frame.from_atoms(ion(-1.0)).unread == ()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_charge_that_is_no_number_is_refused(value):
    with pytest.raises(DataError, match=r"made:0: the total charge is (nan|inf); correct the num"):
        Frame.from_atoms(ion(value), name="made:0")


def test_charges_of_another_type_are_refused_in_python():
    with pytest.raises(DataError, match="the total charge must be one number, came 'anion'"):
        Frame([1], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, charge="anion")


def test_frames_show_their_charge_and_copies_keep_it():
    frame = Frame.from_atoms(ion(-1))
    assert repr(frame) == "Frame(OH2, charge -1, energy)"
    assert repr(Frame.from_atoms(ion(-0.0))) == "Frame(OH2, energy)"
    assert "charge" not in Frame.from_atoms(WATER).to_atoms().info
    assert frame.to_atoms().info["charge"] == -1
    pickled = pickle.loads(pickle.dumps(frame))  # noqa: S301
    for other in (copy.deepcopy(frame), pickled, replace(frame)):
        assert other.charge == -1
    data = Dataset([frame, Frame.from_atoms(WATER)])
    assert [f.charge for f in data[::-1]] == [0, -1]
    assert [f.charge for f in OnDisk(data)] == [-1, 0]


@pytest.mark.parametrize("name", ["a.xyz", "a.traj", "a.db"])
def test_files_keep_charges(tmp_path, name):
    images = [ion(-1), WATER, ion(2.0)]
    if name == "a.db":
        with ase.db.connect(tmp_path / name) as database:
            database.write(images[0], charge=-1, energy_of="gas")
            database.write(images[1])
            database.write(images[2], data={"charge": 2, "spin": 1})
    else:
        ase.io.write(tmp_path / name, images)
    read = Dataset.read(tmp_path / name)
    assert [frame.charge for frame in read] == [-1, 0, 2]
    read.write(tmp_path / "again.xyz")
    again = Dataset.read(tmp_path / "again.xyz")
    assert [frame.charge for frame in again] == [-1, 0, 2]
    assert [frame.charge for frame in Dataset.read(tmp_path / name, memory=1e-9)] == [-1, 0, 2]
    assert not any(frame.charge for frame in Dataset.read(tmp_path / name, charge=None))


def test_a_charge_that_stands_twice_is_refused_and_a_column_is_of_the_atoms(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3:charge:R:1 charge=-1\nO 0 0 0 -0.8\n")
    (frame,) = Dataset.read(path)
    assert frame.charge == -1
    path.write_text("1\nProperties=species:S:1:pos:R:3:charge:R:1\nO 0 0 0 -0.8\n")
    assert Dataset.read(path)[0].charge == 0
    path.write_text("1\ncharge=-1 charge=0\nO 0 0 0\n")
    with pytest.raises(DataError, match=r"'charge' stands 2 times in line 2 \(charge=-1, charge=0"):
        Dataset.read(path)


def test_the_summary_gives_the_range_of_charges():
    text = str(Dataset.from_atoms([ion(-1), WATER]).summary())
    assert "\ncharge range   -1 to 0\n" in text
    assert "charge" not in str(Dataset.from_atoms([WATER]).summary())


def test_frames_that_differ_in_charge_are_no_duplicates():
    moved = ion(1)
    moved.positions += 0.3
    frames = Dataset.from_atoms([WATER, ion(1), moved, WATER, ion(-1)])
    assert find_duplicates(frames) == [[0, 3], [1, 2]]


def test_ions_give_no_energies_of_isolated_atoms():
    atom = Frame([8], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, energy=-2.0, config_type="one")
    data = Dataset([replace(atom, energy=-3.5, charge=-1), atom])
    for name in (None, "one"):
        found = IsolatedAtoms.find(data, 5.0, name)
        assert found.solve(["O"]) == {"O": -2.0}
        assert found.notes == []


def test_a_fit_says_which_charges_it_does_not_read():
    neutral, charged = Dataset.from_atoms([WATER]), Dataset.from_atoms([ion(-1), ion(1)])
    (text,) = check_charges({"train": neutral, "test": charged})
    assert text.startswith("test: charges -1 to 1 are not read by a fit: ")
    # All of one charge are one potential energy surface.
    assert check_charges({"train": charged[:1]}) == []
