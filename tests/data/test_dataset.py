"""Data sets: reading, counting labels, selecting, splitting."""

from __future__ import annotations

import time
from collections import Counter

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from etn.data.dataset import Dataset
from etn.data.embedded import embedded_path
from etn.data.frame import Frame
from etn.data.labels import LabelKeys
from etn.errors import DataError, SettingsError


def hydrogen(config_type="", name="", **labels):
    return Frame(
        [1],
        [[0, 0, 0]],
        np.zeros((3, 3)),
        [False] * 3,
        config_type=config_type,
        name=name,
        **labels,
    )


@pytest.fixture(scope="module")
def molybdenum():
    return Dataset.read("etn:Mo/train")


class TestRead:
    @pytest.mark.parametrize(
        ("name", "frames", "atoms", "elements"),
        [
            ("etn:Mo/train", 194, 10087, ("Mo",)),
            ("etn:Mo/test", 23, 1189, ("Mo",)),
            ("etn:NbMoTaW/train", 473, 7912, ("Nb", "Mo", "Ta", "W")),
            ("etn:NbMoTaW/test", 80, 1560, ("Nb", "Mo", "Ta", "W")),
        ],
    )
    def test_embedded(self, name, frames, atoms, elements):
        found = Dataset.read(name)
        assert (len(found), found.n_atoms, found.elements) == (frames, atoms, elements)
        assert found.labels == {"energy": frames, "forces": frames, "stress": frames}

    def test_every_number_is_that_of_ase(self, molybdenum):
        expected = ase.io.read(embedded_path("Mo/train"), ":", format="extxyz")
        for index, (frame, atoms) in enumerate(zip(molybdenum, expected, strict=True)):
            assert frame.name == f"etn:Mo/train:{index}"
            assert frame.energy == atoms.get_potential_energy()
            assert frame.config_type == atoms.info["config_type"]
            np.testing.assert_array_equal(frame.numbers, atoms.numbers)
            np.testing.assert_array_equal(frame.positions, atoms.positions)
            np.testing.assert_array_equal(frame.cell, atoms.cell)
            np.testing.assert_array_equal(frame.pbc, atoms.pbc)
            np.testing.assert_array_equal(frame.forces, atoms.get_forces())
            np.testing.assert_array_equal(frame.stress, atoms.get_stress())

    def test_path_index_and_names(self, tmp_path):
        path = tmp_path / "mo.xyz"
        path.write_bytes(embedded_path("Mo/test").read_bytes())
        found = Dataset.read(path, index="-3:")
        assert [frame.name for frame in found] == ["mo.xyz:20", "mo.xyz:21", "mo.xyz:22"]
        assert found.source == "mo.xyz"
        assert Dataset.read(str(path), index=4)[0].name == "mo.xyz:4"

    def test_several_files(self, tmp_path):
        paths = [tmp_path / folder / "frames.xyz" for folder in "ab"]
        for path in paths:
            path.parent.mkdir()
            ase.io.write(path, bulk("Cu"))
        found = Dataset.read([*paths, "etn:Mo/test"], index=":2")
        # Files of one name are told apart by their whole path.
        names = [f"{paths[0]}:0", f"{paths[1]}:0", "etn:Mo/test:0", "etn:Mo/test:1"]
        assert [frame.name for frame in found] == names
        assert found.elements == ("Cu", "Mo")

    def test_other_keys(self, tmp_path):
        atoms = bulk("Cu", cubic=True)
        atoms.info |= {"REF_energy": -14.0, "REF_stress": np.arange(6.0)}
        atoms.arrays["dft_forces"] = np.ones((4, 3))
        ase.io.write(tmp_path / "cu.xyz", [atoms, atoms])
        found = Dataset.read(
            tmp_path / "cu.xyz", energy="REF_energy", forces="dft_forces", stress="REF_stress"
        )
        assert found[1].energy == -14.0
        assert np.all(found[1].forces == 1)
        np.testing.assert_array_equal(found[1].stress, np.arange(6.0))
        assert found.label_keys == LabelKeys("REF_energy", "dft_forces", "REF_stress")

    def test_labels_of_some_frames(self, tmp_path):
        frames = [bulk("Cu") for _ in range(3)]
        frames[1].calc = SinglePointCalculator(frames[1], energy=-3.5)
        ase.io.write(tmp_path / "cu.xyz", frames)
        found = Dataset.read(tmp_path / "cu.xyz")
        assert [frame.energy for frame in found] == [None, -3.5, None]
        assert found.labels == {"energy": 1, "forces": 0, "stress": 0}

    def test_labels_left_out(self):
        found = Dataset.read("etn:Mo/test", forces=None, stress=None)
        assert found.labels == {"energy": 23, "forces": 0, "stress": 0}

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("energy=", "energy=nan old=", "the energy is nan; correct the number"),
            ("energy=", "energy note=", "the energy must be one number, came True"),
            ("energy=", "energy=none old=", "the energy must be one number, came 'none'"),
            ("energy=", "energy=1 energy=", "two labels for one key: 'energy' stands 2 times"),
            ("\nMo ", "\nX ", "atom 0 has species 'X' .* every atom needs a chemical element"),
            ("\nMo ", "\nMo 1 ", "has 8 columns, expected 7"),
            ('stress="', 'stress="inf 0 0 0 0 0 0 0 0" old="', "the stress hold inf"),
            ('stress="', 'stress="1 2 3" old="', "expecting special 3x3"),
            ("forces:R:3", "forces:R:2:other:R:1", r"forces of shape \(53, 3\), came \(53, 2\)"),
            ('Lattice="', 'old="', "direction a is periodic but its cell vector is zero"),
        ],
    )
    def test_bad_frames_are_named(self, tmp_path, old, new, message):
        lines = embedded_path("Mo/test").read_text().splitlines(keepends=True)
        start = int(lines[0]) + 2  # of the second frame
        start += int(lines[start]) + 2  # of the third
        (tmp_path / "bad.xyz").write_text(
            "".join(lines[:start]) + "".join(lines[start:]).replace(old, new, 1)
        )
        with pytest.raises(DataError, match=f"^bad.xyz:2: .*{message}"):
            Dataset.read(tmp_path / "bad.xyz")

    @pytest.mark.parametrize(
        ("column", "message"),
        [(1, "the positions of atom 0 hold nan"), (4, "the forces of atom 0 hold nan")],
    )
    def test_nan_in_a_row(self, tmp_path, column, message):
        lines = embedded_path("Mo/test").read_text().splitlines()
        row = lines[2].split()
        row[column] = "NaN"
        lines[2] = " ".join(row)
        (tmp_path / "bad.xyz").write_text("\n".join(lines))
        with pytest.raises(DataError, match=f"^bad.xyz:0: {message}; correct the number or remove"):
            Dataset.read(tmp_path / "bad.xyz")

    def test_missing_and_empty_files(self, tmp_path):
        with pytest.raises(DataError, match=r"absent\.xyz: there is no such file"):
            Dataset.read(tmp_path / "absent.xyz")
        (tmp_path / "empty.xyz").touch()
        with pytest.raises(DataError, match=r"^empty\.xyz: the file is empty"):
            Dataset.read(tmp_path / "empty.xyz")
        with pytest.raises(DataError, match="Did you mean etn:Mo/train"):
            Dataset.read("etn:Mo/trian")
        with pytest.raises(DataError, match="expected at least one frame, came none"):
            Dataset.read([])

    @pytest.mark.shared_data
    def test_large_file_in_seconds(self, shared_data):
        start = time.perf_counter()
        found = Dataset.read(shared_data / "NbMoTaW" / "train.xyz")
        seconds = time.perf_counter() - start
        assert (len(found), found.n_atoms) == (5282, 108464)
        assert found.labels == dict.fromkeys(("energy", "forces", "stress"), 5282)
        assert seconds < 20  # 2 s on a quiet core

    @pytest.mark.shared_data
    @pytest.mark.parametrize(
        ("path", "frames", "atoms", "stresses"),
        [
            ("3BPA/train_300K.xyz", 500, 13500, 0),
            ("mlearn_Cu/train.xyz", 262, 27416, 0),
            ("mlearn_Si/test.xyz", 25, 1525, 25),
            ("rMD17_ethanol/test_01.xyz", 1000, 9000, 0),
            ("acac/isolated_atoms.xyz", 3, 3, 0),
        ],
    )
    def test_reference_data(self, shared_data, path, frames, atoms, stresses):
        found = Dataset.read(shared_data / path)
        assert (len(found), found.n_atoms) == (frames, atoms)
        assert found.labels["energy"] == frames
        assert found.labels["stress"] == stresses


class TestFromAtoms:
    def test_names_and_elements(self):
        found = Dataset.from_atoms([bulk("W"), bulk("Cu"), Atoms("H")], name="mix")
        assert [frame.name for frame in found] == ["mix:0", "mix:1", "mix:2"]
        assert found.elements == ("H", "Cu", "W")
        assert found.labels == {"energy": 0, "forces": 0, "stress": 0}

    def test_bad_structure_is_named(self):
        with pytest.raises(DataError, match=r"^atoms:1: atom 0 has species 'X'"):
            Dataset.from_atoms([bulk("W"), Atoms("X")])
        with pytest.raises(DataError, match=r"^atoms:0: expected the numbers of at least one atom"):
            Dataset.from_atoms([Atoms()])

    def test_no_structures(self):
        with pytest.raises(DataError, match="expected at least one frame, came none"):
            Dataset.from_atoms([])


class TestSequence:
    def test_frames(self, molybdenum):
        assert molybdenum[0] is molybdenum.frames[0]
        assert molybdenum[-1] is molybdenum.frames[193]
        assert molybdenum[np.int64(3)] is molybdenum.frames[3]
        assert list(molybdenum) == list(molybdenum.frames)
        assert molybdenum[5] in molybdenum

    def test_selections(self, molybdenum):
        mask = np.array([frame.config_type == "Surface" for frame in molybdenum])
        for index in (slice(3, 9, 2), [3, 5, 7], np.array([3, 5, 7])):
            assert [f.name for f in molybdenum[index]] == [f"etn:Mo/train:{i}" for i in (3, 5, 7)]
        assert len(molybdenum[mask]) == mask.sum() == 9
        assert isinstance(molybdenum[:1], Dataset)
        assert molybdenum[:1].source == "etn:Mo/train"

    def test_refused(self, molybdenum):
        with pytest.raises(IndexError):
            molybdenum[194]
        with pytest.raises(IndexError):
            molybdenum[[1, 194]]
        with pytest.raises(TypeError, match="expected integers or a mask as index, came float64"):
            molybdenum[[0.5]]
        with pytest.raises(
            DataError, match=r"mask of shape \(194,\), one entry a frame, came \(3,"
        ):
            molybdenum[[True, False, True]]
        with pytest.raises(DataError, match="came none"):
            molybdenum[[]]
        with pytest.raises(
            DataError, match=r"item 0 is a Atoms, expected a Frame; use Dataset.from"
        ):
            Dataset([Atoms("H")])

    def test_elements_follow_the_selection(self):
        found = Dataset.from_atoms([bulk("W"), bulk("Cu")])
        assert found[:1].elements == ("W",)

    def test_repr(self, molybdenum):
        assert repr(molybdenum[:2]) == (
            "Dataset(2 frames, 106 atoms, Mo; energy 2, forces 2, stress 2)"
        )


class TestWrite:
    def test_round_trip(self, tmp_path):
        first = Dataset.read("etn:NbMoTaW/test")
        first.write(tmp_path / "copy.xyz")
        second = Dataset.read(tmp_path / "copy.xyz")
        assert len(second) == len(first)
        for one, two in zip(first, second, strict=True):
            assert (one.energy, one.config_type) == (two.energy, two.config_type)
            np.testing.assert_array_equal(one.numbers, two.numbers)
            np.testing.assert_array_equal(one.stress, two.stress)
            np.testing.assert_allclose(one.positions, two.positions, rtol=0, atol=1e-8)
            np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=1e-8)

    def test_frames_without_labels(self, tmp_path):
        Dataset([hydrogen(), hydrogen(energy=-13.6)]).write(tmp_path / "h.xyz")
        assert [frame.energy for frame in Dataset.read(tmp_path / "h.xyz")] == [None, -13.6]


class TestSplit:
    def test_parts_keep_the_order_and_cover_everything(self, molybdenum):
        train, valid = molybdenum.split(0.2, seed=3)
        numbers = [[int(f.name.split(":")[-1]) for f in part] for part in (train, valid)]
        assert all(part == sorted(part) for part in numbers)
        assert sorted(numbers[0] + numbers[1]) == list(range(194))

    def test_every_config_type_gets_its_share(self, molybdenum):
        _, valid = molybdenum.split(0.1, seed=0)
        everything = Counter(frame.config_type for frame in molybdenum)
        chosen = Counter(frame.config_type for frame in valid)
        assert len(valid) == round(0.1 * 194)
        for kind, count in everything.items():
            assert abs(chosen[kind] - 0.1 * count) < 1

    def test_seed(self, molybdenum):
        def names(seed):
            return [frame.name for frame in molybdenum.split(0.1, seed)[1]]

        assert names(1) == names(1)
        assert len({tuple(names(seed)) for seed in range(5)}) == 5

    def test_stored_split(self, molybdenum):
        # A split must stay the same over versions, or a resumed fit would mix its parts.
        numbers = [int(frame.name.split(":")[-1]) for frame in molybdenum.split(0.05, seed=0)[1]]
        assert numbers == [0, 71, 97, 105, 112, 117, 126, 157, 165, 192]

    @pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), 10])
    def test_fraction(self, molybdenum, fraction):
        with pytest.raises(SettingsError, match=r"fraction: expected a number between 0 and 1"):
            molybdenum.split(fraction, seed=0)

    @pytest.mark.parametrize(("fraction", "part"), [(0.05, "second"), (0.95, "first")])
    def test_empty_part(self, fraction, part):
        small = Dataset([hydrogen()] * 4, source="h.xyz")
        with pytest.raises(DataError, match=rf"h\.xyz: .* 4 frames leaves the {part} part empty"):
            small.split(fraction, seed=0)
        with pytest.raises(DataError, match="leaves the second part empty"):
            small[:1].split(0.5, seed=0)
