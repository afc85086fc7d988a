"""Files of every format: extended XYZ by our reader, others through ASE, with the same labels."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import sqlite3
import sys
from pathlib import Path

import ase.db
import ase.io
import ase.test
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from etn.data import Dataset
from etn.data.formats import read_structures
from etn.errors import DataError, SettingsError

VASP = Path(ase.test.__file__).parent / "testdata" / "vasp"


@pytest.fixture(scope="module")
def labelled():
    """Four frames with what EMT says of them."""
    frames = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["config_type"] = "hot"
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def text(labelled, tmp_path_factory):
    """The frames as extended XYZ, in bytes."""
    path = tmp_path_factory.mktemp("text") / "a.xyz"
    ase.io.write(path, labelled)
    return path.read_bytes()


def check(dataset: Dataset, frames) -> None:
    assert len(dataset) == len(frames)
    for frame, atoms in zip(dataset, frames, strict=True):
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-7)
        assert frame.energy == pytest.approx(atoms.calc.results["energy"], abs=1e-7)
        np.testing.assert_allclose(frame.forces, atoms.calc.results["forces"], atol=1e-7)
        np.testing.assert_allclose(frame.stress, atoms.calc.results["stress"], atol=1e-7)


@pytest.mark.parametrize("name", ["a.traj", "a.db", "a.json", "a.xyz", "a.extxyz"])
def test_formats_of_ase(labelled, tmp_path, name):
    ase.io.write(tmp_path / name, labelled)
    dataset = Dataset.read(tmp_path / name)
    check(dataset, labelled)
    assert dataset[2].name == f"{name}:2"
    check(Dataset.read(tmp_path / name, index="-3::2"), labelled[-3::2])
    assert Dataset.read(tmp_path / name, index=-1)[0].name == f"{name}:3"
    if "db" not in name and "json" not in name:  # which have no place for it in ase.io.write
        assert dataset[0].config_type == "hot"


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_files(labelled, text, tmp_path, ending, pack):
    path = tmp_path / f"a.xyz.{ending}"
    path.write_bytes(pack(text))
    check(Dataset.read(path), labelled)
    path.write_bytes(pack(text)[:-20])
    with pytest.raises(DataError, match=rf"a\.xyz\.{ending}: cannot be read"):
        Dataset.read(path)


def test_rows_of_lmdb(labelled, tmp_path):
    path = tmp_path / "a.aselmdb"
    pytest.importorskip("ase_db_backends")
    with ase.db.connect(path) as database:
        for atoms in labelled:
            database.write(atoms, config_type="melt")
    dataset = Dataset.read(path)
    check(dataset, labelled)
    assert (dataset[1].name, dataset[1].config_type) == ("a.aselmdb:1", "melt")
    check(Dataset.read(path, index="-3::2"), labelled[-3::2])


def test_lmdb_without_its_package_says_which_one(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ase_db_backends.aselmdb", None)
    (tmp_path / "a.aselmdb").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.aselmdb: .* need the package ase-db-backends"):
        Dataset.read(tmp_path / "a.aselmdb")


def test_a_damaged_row_of_a_database_is_named(labelled, tmp_path):
    path = tmp_path / "a.db"
    ase.io.write(path, labelled)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE systems SET positions = x'00' WHERE id = 3")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match=r"a\.db:2: ASE takes it for the format 'db'"):
        Dataset.read(path, memory=1e-6)


def test_several_formats_at_once(labelled, text, tmp_path):
    ase.io.write(tmp_path / "a.traj", labelled)
    (tmp_path / "b.xyz.bz2").write_bytes(bz2.compress(text))
    ase.io.write(tmp_path / "POSCAR", labelled[0])
    dataset = Dataset.read([tmp_path / name for name in ("a.traj", "b.xyz.bz2", "POSCAR")])
    check(dataset[:8], labelled * 2)
    assert repr(dataset[8]) == "Frame(POSCAR:0: Cu4, no labels)"


def test_rows_of_a_database_give_what_they_hold(labelled, tmp_path):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        for atoms in labelled:
            forces = {"dft_forces": 2 * atoms.get_forces()}
            database.write(atoms, config_type="melt", dft_energy=-1.5, data=forces)
    dataset = Dataset.read(path, energy="dft_energy", forces="dft_forces")
    assert dataset[0].config_type == "melt"
    assert dataset[0].energy == -1.5
    np.testing.assert_allclose(dataset[3].forces, 2 * labelled[3].get_forces(), atol=1e-12)


@pytest.mark.skipif(not VASP.is_dir(), reason="this ASE comes without its test data")
def test_output_of_vasp():
    """Against the numbers that stand in the file, which VASP prints in eV, eV/Å and kB."""
    path = VASP / "OUTCAR_example_1"
    (frame,) = Dataset.read(path)
    lines = path.read_text().splitlines()
    energy = [line for line in lines if "energy(sigma->0)" in line][-1]
    assert frame.energy == pytest.approx(float(energy.split()[-1]), abs=1e-8)
    (total,) = [line for line in lines if "free  energy   TOTEN" in line]
    free = Dataset.read(path, energy="free_energy")[0].energy
    assert free == pytest.approx(float(total.split()[-2]), abs=1e-8)
    at = next(number for number, line in enumerate(lines) if "TOTAL-FORCE" in line) + 2
    forces = [[float(x) for x in line.split()[3:]] for line in lines[at : at + frame.n_atoms]]
    np.testing.assert_allclose(frame.forces, forces, atol=1e-8)
    (pressure,) = [line for line in lines if line.strip().startswith("in kB")]
    xx, yy, zz, xy, yz, zx = (float(x) for x in pressure.split()[2:])
    expected = -np.array([xx, yy, zz, yz, zx, xy]) / 1602.1766208
    np.testing.assert_allclose(frame.stress, expected, rtol=1e-6)
    (one,) = Dataset.read(VASP / "vasprun_pstress.xml")
    assert repr(one).endswith("energy, forces, stress)")


@pytest.mark.parametrize("name", ["train", "train.dat", "train.foo"])
def test_extended_xyz_under_any_name(labelled, text, tmp_path, name):
    (tmp_path / name).write_bytes(text)
    check(Dataset.read(tmp_path / name), labelled)


def test_a_number_may_be_the_title_of_another_format(tmp_path):
    path = tmp_path / "POSCAR"
    ase.io.write(path, bulk("Cu"))
    path.write_text("\n".join(["4", *path.read_text().splitlines()[1:]]) + "\n")
    ((_, atoms),) = read_structures(tmp_path / "POSCAR")
    assert str(atoms.symbols) == "Cu"


class TestRefused:
    def test_unknown_format(self, tmp_path):
        (tmp_path / "a.foo").write_bytes(b"\x00\x01\x02" * 500)
        with pytest.raises(DataError, match=r"^a\.foo: cannot tell the format; expected extended"):
            Dataset.read(tmp_path / "a.foo")

    @pytest.mark.parametrize("name", ["a.traj", "a.db", "vasprun.xml", "OUTCAR", "POSCAR", "a.cif"])
    @pytest.mark.parametrize("content", [b"nothing of the kind\n" * 5, b"\x00\xff" * 50])
    def test_damaged_files(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"^{re.escape(name)}: [^\n]*$"):
            Dataset.read(tmp_path / name)

    @pytest.mark.parametrize("name", ["a.traj", "a.db", "OUTCAR", "noname"])
    def test_missing_and_empty_files(self, tmp_path, name):
        with pytest.raises(DataError, match="there is no such file"):
            Dataset.read(tmp_path / name)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=f"^{name}: "):
            Dataset.read(tmp_path / name)

    def test_truncated_trajectory(self, labelled, tmp_path):
        ase.io.write(tmp_path / "a.traj", labelled)
        data = (tmp_path / "a.traj").read_bytes()
        (tmp_path / "a.traj").write_bytes(data[: len(data) // 2])
        with pytest.raises(DataError, match=r"^a\.traj: ASE takes it for the format 'traj'"):
            Dataset.read(tmp_path / "a.traj")

    def test_index(self, labelled, tmp_path):
        ase.io.write(tmp_path / "a.traj", labelled)
        with pytest.raises(DataError, match=r"index '7:' selects none of 4 frames"):
            Dataset.read(tmp_path / "a.traj", index="7:")
        with pytest.raises(SettingsError, match="index: expected"):
            Dataset.read(tmp_path / "a.traj", index="::-1")

    def test_types_of_a_dump_are_no_elements(self, tmp_path):
        head = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n"
        head += "0 3\n" * 3 + "ITEM: ATOMS id type "
        path = tmp_path / "dump.lammps"
        path.write_text(f"{head}x y z\n1 1 0 0 0\n2 2 1 1 1\n")
        with pytest.raises(DataError, match="dump without a column of elements"):
            Dataset.read(path)  # ASE makes hydrogen and helium of it
        path.write_text(f"{head}element x y z fx fy fz\n1 1 Mo 0 0 0 0 0 1\n2 2 W 1 1 1 0 0 -1\n")
        dataset = Dataset.read(path)
        assert dataset.elements == ("Mo", "W")
        # ASE says that the energy is zero; nothing in the file does.
        assert dataset.labels == {"energy": 0, "forces": 1, "stress": 0}
