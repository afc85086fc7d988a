"""Extended XYZ: what ASE reads, and what it would pass over in silence."""

from __future__ import annotations

import gzip

import ase.io
import numpy as np
import pytest

from etn.data.embedded import embedded_path
from etn.data.extxyz import read_extxyz
from etn.errors import DataError, SettingsError

KEYS = ("energy", "forces", "stress")
COMMENT = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5'
ROWS = ("H 0 0 0 0.1 0.2 0.3", "O 1 1 1 -0.1 -0.2 -0.3")


def block(comment=COMMENT, rows=ROWS, n_atoms=None):
    return "\n".join([str(len(rows) if n_atoms is None else n_atoms), comment, *rows]) + "\n"


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a text as a file."""

    def read_text(text, **options):
        path = tmp_path / "train.xyz"
        path.write_text(text)
        return list(read_extxyz(path, **({"keys": KEYS} | options)))

    return read_text


class TestReading:
    def test_agrees_with_ase(self):
        path = embedded_path("Mo/test")
        expected = ase.io.read(path, ":", format="extxyz")
        found = list(read_extxyz(path, keys=KEYS))
        assert [index for index, _ in found] == list(range(23))
        for (_, atoms), other in zip(found, expected, strict=True):
            assert atoms == other
            assert atoms.info == other.info
            for key in KEYS:
                np.testing.assert_array_equal(atoms.calc.results[key], other.calc.results[key])

    @pytest.mark.parametrize(
        "index",
        [":", "::10", "-5:", ":-20", "3:20:4", "-19:12", " 2 : 4 ", slice(3, None), slice(-4, 21)],
    )
    def test_slices_as_python(self, index):
        # Not compared with ase.io.read, which counts a negative start from the frame it stops at.
        path = embedded_path("Mo/test")
        parts = index.split(":") if isinstance(index, str) else None
        wanted = slice(*(int(p) if p.strip() else None for p in parts)) if parts else index
        everything = ase.io.read(path, ":", format="extxyz")
        found = list(read_extxyz(path, index=index))
        assert [number for number, _ in found] == list(range(23))[wanted]
        assert all(atoms == everything[number] for number, atoms in found)

    @pytest.mark.parametrize(("index", "number"), [(5, 5), ("5", 5), (-1, 22), ("-2", 21)])
    def test_single_frame(self, index, number):
        assert [found for found, _ in read_extxyz(embedded_path("Mo/test"), index=index)] == [
            number
        ]

    def test_gzip(self, tmp_path, read):
        path = tmp_path / "train.xyz.gz"
        path.write_bytes(gzip.compress((block() * 3).encode()))
        assert len(list(read_extxyz(path))) == 3

    @pytest.mark.parametrize("index", [":", "-2:", 1])
    def test_byte_order_mark(self, tmp_path, read, index):
        path = tmp_path / "marked.xyz"
        path.write_bytes(b"\xef\xbb\xbf" + (block() * 3).encode())
        found = list(read_extxyz(path, index=index))
        expected = read(block() * 3, index=index)
        assert [i for i, _ in found] == [i for i, _ in expected]
        assert all(one == other for (_, one), (_, other) in zip(found, expected, strict=True))

    def test_names_in_other_alphabets(self, read):
        ((_, atoms),) = read(block(COMMENT + " name=Größe"))
        assert atoms.info["name"] == "Größe"

    def test_trailing_blank_lines_and_missing_last_newline(self, read):
        assert len(read(block() * 2 + "\n  \n\n")) == 2
        assert len(read((block() * 2).rstrip())) == 2

    def test_plain_xyz(self, read):
        ((_, atoms),) = read(block("a water molecule", ("H 0 0 0", "O 1 1 1")))
        assert atoms.calc is None
        assert not atoms.pbc.any()

    @pytest.mark.parametrize(
        "comment",
        [
            COMMENT + ' description="old energy=3 was wrong"',
            COMMENT + " note='energy=3'",
            COMMENT + ' note="a \\" energy=3"',
            COMMENT + " note={energy=3 forces=4}",
            COMMENT + " free_energy=-2 Energy=-3 my_energy=2",
            COMMENT.replace("energy=", "energy = "),
            COMMENT.replace("Properties=", 'Properties="').replace(" energy", '" energy'),
        ],
    )
    def test_what_is_not_a_repetition(self, read, comment):
        ((_, atoms),) = read(block(comment))
        assert atoms.calc.results["energy"] == -1.5

    @pytest.mark.parametrize("quotes", ['""', "''", "{}", "[]"])
    def test_voigt_stress_under_the_key_that_ase_reserves(self, read, quotes):
        comment = f"{COMMENT} stress={quotes[0]}1 2 3 4e-1 -5 6{quotes[1]}"
        ((_, atoms),) = read(block(comment))
        np.testing.assert_array_equal(atoms.calc.results["stress"], [1, 2, 3, 0.4, -5, 6])

    def test_nearly_symmetric_stress_is_averaged(self, read):
        ((_, atoms),) = read(block(COMMENT + ' stress="1 0.5 0 0.5002 1 0 0 0 1"'))
        assert atoms.calc.results["stress"][5] == pytest.approx(0.5001)


class TestRefused:
    def test_missing_file(self, tmp_path):
        (tmp_path / "train.xyz").touch()
        with pytest.raises(
            DataError, match=r"trian\.xyz: there is no such.*did you mean train\.xyz"
        ):
            list(read_extxyz(tmp_path / "trian.xyz"))
        with pytest.raises(DataError, match=r"there is no such file; check the path"):
            list(read_extxyz(tmp_path / "nowhere" / "a.xyz"))

    def test_folder(self, tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            list(read_extxyz(tmp_path))

    @pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
    def test_empty_file(self, read, text):
        with pytest.raises(DataError, match=r"^train\.xyz: the file is empty; expected at least"):
            read(text)

    def test_no_text(self, tmp_path):
        path = tmp_path / "train.xyz"
        path.write_bytes(b"\xff\xfe\x00\x01" * 20)
        with pytest.raises(DataError, match=r"train\.xyz: expected text in extended XYZ"):
            list(read_extxyz(path))

    @pytest.mark.parametrize("damage", ["cut", "changed", "not gzip"])
    def test_damaged_gzip(self, tmp_path, damage):
        content = gzip.compress(block().encode())
        path = tmp_path / "train.xyz.gz"
        path.write_bytes(
            {
                "cut": content[:-9],
                "changed": content[:12] + b"\xff" * 20 + content[32:],
                "not gzip": block().encode(),
            }[damage]
        )
        with pytest.raises(DataError, match=r"train\.xyz\.gz: cannot be read"):
            list(read_extxyz(path))

    @pytest.mark.parametrize("before", [0, 3])
    def test_latin_1_is_named_with_its_line(self, tmp_path, before):
        path = tmp_path / "train.xyz"
        wrong = block(COMMENT + " name=Größe").encode("latin-1")
        path.write_bytes((block() * before).encode() + wrong)
        with pytest.raises(
            DataError,
            match=rf"^train\.xyz: line {4 * before + 2} has 'name=Größe', which is not UTF-8",
        ):
            list(read_extxyz(path))

    def test_utf_16(self, tmp_path):
        path = tmp_path / "train.xyz"
        path.write_bytes(block().encode("utf-16"))
        with pytest.raises(DataError, match=r"train\.xyz: expected text .*UTF-16"):
            list(read_extxyz(path))

    def test_other_format(self, read):
        with pytest.raises(
            DataError, match=r"number of atoms in line 1, came 'ITEM: TIMESTEP'; is"
        ):
            read("ITEM: TIMESTEP\n0\n")

    def test_truncated_last_frame(self, tmp_path):
        lines = embedded_path("Mo/test").read_text().splitlines(keepends=True)
        path = tmp_path / "cut.xyz"
        path.write_text("".join(lines[:-20]))
        start = len(lines) - 54 - 2 + 1  # the last frame has 54 atoms; lines count from 1
        with pytest.raises(
            DataError,
            match=f"^cut.xyz: frame 22 starts at line {start} and announces 54 atoms, but the file "
            "ends after 34; copy the file again or remove the last frame",
        ):
            list(read_extxyz(path))

    def test_truncated_before_the_comment(self, read):
        with pytest.raises(DataError, match=r"frame 1 starts at line 5 .*before the comment line"):
            read(block() + "2\n")

    def test_truncated_inside_a_row(self, read):
        with pytest.raises(DataError, match=r"^train\.xyz:1: line 8 \(atom 1\) has 5 columns, ex"):
            read((block() * 2)[:-12])

    def test_truncated_frame_in_the_middle(self, read):
        with pytest.raises(
            DataError, match=r"^train\.xyz:1: line 8 \(atom 1\) has 1 columns.*trunc"
        ):
            read(block() + block(rows=ROWS[:1], n_atoms=2) + block())

    def test_too_many_rows(self, read):
        with pytest.raises(DataError, match=r"^train\.xyz:1: expected a number of atoms in line 4"):
            read(block(n_atoms=1) + block())

    def test_columns_that_are_not_named(self, read):
        # ASE would drop the forces without a word.
        comment = COMMENT.replace(":forces:R:3", "")
        with pytest.raises(DataError, match=r"has 7 columns, expected 4 .*not name all columns"):
            read(block(comment))
        with pytest.raises(DataError, match="has 7 columns, expected 4"):
            read(block("a plain comment"))

    def test_blank_line_between_frames(self, read):
        # ASE would stop there and lose the rest.
        with pytest.raises(DataError, match=r"line 5 is blank but line 6 is not; .*would be lost"):
            read(block() + "\n" + block())

    @pytest.mark.parametrize("count", [0, -2])
    def test_no_atoms(self, read, count):
        with pytest.raises(
            DataError, match=f"^train.xyz:0: line 1 announces {count} atoms; remove"
        ):
            read(block(n_atoms=count, rows=()))

    @pytest.mark.parametrize(
        ("comment", "key", "values"),
        [
            (COMMENT + " energy=-1.6", "energy", "energy=-1.5, energy=-1.6"),
            (COMMENT + " energy=-1.5", "energy", "energy=-1.5, energy=-1.5"),
            (COMMENT + " energy = -1.5", "energy", "energy=-1.5, energy=-1.5"),
            (COMMENT + ' stress="1 2 3" stress=4', "stress", 'stress="1 2 3", stress=4'),
            (COMMENT + " forces=0", "forces", "forces=0, a column of Properties"),
            (
                COMMENT.replace("forces:R:3", "energy:R:3"),
                "energy",
                "energy=-1.5, a column of Properties",
            ),
            (
                COMMENT.replace("forces:R:3", "forces:R:1:forces:R:2"),
                "forces",
                "a column of Properties, a column of Properties",
            ),
            (COMMENT + " config_type=a config_type=b", "config_type", "config_type=a"),
        ],
    )
    def test_two_labels_for_one_key(self, read, comment, key, values):
        with pytest.raises(
            DataError,
            match=f"^train.xyz:1: two labels for one key: '{key}' stands 2 times in line 6 .*keep",
        ) as info:
            read(block() + block(comment))
        assert values in str(info.value)

    def test_other_keys_may_stand_twice(self, read):
        assert len(read(block(COMMENT + " energy=-1.6"), keys=("REF_energy",))) == 1

    @pytest.mark.parametrize("value", ["species:S:1:pos", "species:S:1:pos:R:x", ""])
    def test_malformed_properties(self, read, value):
        with pytest.raises(DataError, match=r"train\.xyz:0: line 2: expected Properties=name:type"):
            read(block(f"Properties={value} energy=1"))

    @pytest.mark.parametrize(
        ("row", "reason"),
        [("Qq 0 0 0 0 0 0", "unknown species 'Qq'"), ("H 0 0 zero 0 0 0", "could not convert")],
    )
    def test_what_ase_cannot_read(self, read, row, reason):
        with pytest.raises(
            DataError, match=f"^train.xyz:1: the frame that starts at line 5 cannot be .*{reason}"
        ):
            read(block() + block(rows=(row, ROWS[1])))

    def test_asymmetric_stress(self, read):
        # ASE would keep the upper triangle without a word.
        text = block() + block(COMMENT + ' stress="1 0.5 0 0.1 1 0 0 0 1"')
        with pytest.raises(DataError, match=r"^train\.xyz:1: .*must be symmetric.*by 0\.4"):
            read(text)
        assert len(read(text, keys=("energy", "forces"))) == 2

    @pytest.mark.parametrize("index", ["a", "1:b", "1:2:3:4", "::-1", "::0", 1.5j, None])
    def test_index(self, index):
        with pytest.raises(SettingsError, match=r"^index: expected a frame number or a slice such"):
            list(read_extxyz(embedded_path("Mo/test"), index=index))

    @pytest.mark.parametrize("index", [23, "-24", "30:", "5:5"])
    def test_empty_selection(self, index):
        with pytest.raises(DataError, match=r"selects none of 23 frames; they count from 0"):
            list(read_extxyz(embedded_path("Mo/test"), index=index))
