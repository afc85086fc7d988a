"""Model files and atomic writing."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import math
import os
import stat
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from etn import io
from etn.errors import ModelFileError

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]

HEADER = {"l_max": 3, "bonds": [5, 4, 3], "energies": {"Mo": -4.6, "W": 1e-300}, "note": "Å"}
ARRAYS = {"weights": np.arange(6.0).reshape(2, 3), "order": np.array([2, 0, 1])}

# Written once by format 1. It must load for ever: do not replace it, add newer ones below it.
FORMAT_1 = base64.b64decode(
    "qAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJldG4iOiJ7XCJjaGVja3N1bVwiOlwiZDVjNWRkNWRmMjBkY2VmZGIz"
    "NTVlNTMxYjY5YTc0ZDU0YTBjYjIyMWExZGRjZTAwZTUyZWQwNGRjOGI2ZTM3NFwiLFwiZXRuX3ZlcnNpb25cIjpc"
    "IjAuMS4wXCIsXCJmb3JtYXRcIjpcImV0blwiLFwiZm9ybWF0X3ZlcnNpb25cIjoxLFwiaGVhZGVyXCI6e1wiYm9u"
    "ZHNcIjpbNSw0LDNdLFwiZW5lcmdpZXNcIjp7XCJNb1wiOi00LjYsXCJXXCI6MWUtMzAwfSxcImxfbWF4XCI6Myxc"
    "Im5vdGVcIjpcIlxcdTAwYzVcIn0sXCJraW5kXCI6XCJwb3RlbnRpYWxcIn0ifSwib3JkZXIiOnsiZHR5cGUiOiJJ"
    "NjQiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOlswLDI0XX0sIndlaWdodHMiOnsiZHR5cGUiOiJGNjQiLCJz"
    "aGFwZSI6WzIsM10sImRhdGFfb2Zmc2V0cyI6WzI0LDcyXX19AgAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAADwPwAAAAAAAABAAAAAAAAACEAAAAAAAAAQQAAAAAAAABRA"
)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.etn"
    io.save(path, kind="potential", header=HEADER, arrays=ARRAYS)
    return path


def write_record(path, record, arrays=ARRAYS):
    """Write a container with any JSON record, without etn."""
    metadata = {"etn": record if isinstance(record, str) else json.dumps(record)}
    path.write_bytes(safetensors.numpy.save(arrays, metadata=metadata))


def read_record(path):
    with safetensors.safe_open(path, framework="numpy") as container:
        return json.loads(container.metadata()["etn"])


def same_bits(first, second):
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and first.tobytes() == second.tobytes()
    )


class TestRoundTrip:
    def test_content(self, model):
        stored = io.load(model, kind="potential")
        assert stored.kind == "potential"
        assert stored.header == HEADER
        assert stored.format_version == io.FORMAT_VERSION == 2
        assert stored.arrays.keys() == ARRAYS.keys()
        assert all(same_bits(stored.arrays[name], ARRAYS[name]) for name in ARRAYS)

    def test_kind_is_optional(self, model):
        assert io.load(model).kind == "potential"

    @settings(max_examples=60)
    @given(
        st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8),
            st.sampled_from(DTYPES).flatmap(
                # All bit patterns, so NaN payloads and -0.0 come too.
                lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))
            ),
            max_size=3,
        ),
        st.sampled_from(["C", "F", "reversed", "big-endian"]),
    )
    def test_arrays_bit_for_bit(self, arrays, layout):
        given_arrays = {
            name: {
                "C": array,
                "F": np.asfortranarray(array) if array.ndim else array,
                "reversed": array[::-1] if array.ndim else array,
                "big-endian": array.astype(array.dtype.newbyteorder(">")),
            }[layout]
            for name, array in arrays.items()
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x.etn")
            io.save(path, kind="x", header={}, arrays=given_arrays)
            loaded = io.load(path).arrays
        assert loaded.keys() == arrays.keys()
        for name, array in arrays.items():
            expected = array[::-1] if layout == "reversed" and array.ndim else array
            assert same_bits(loaded[name], np.asarray(expected, order="C"))
            assert loaded[name].flags.writeable

    @pytest.mark.parametrize("order", ["C", "F", "every other"])
    def test_what_is_loaded_lies_in_c_order(self, tmp_path, order):
        """One value, one memory layout: saved and loaded models then compute the same bits."""
        cube = np.arange(120.0).reshape(4, 5, 6)
        given = {
            "C": cube,
            "F": np.asfortranarray(cube),
            "every other": np.repeat(cube, 2, axis=1)[:, ::2],
        }[order]
        io.save(tmp_path / "x.etn", kind="x", header={}, arrays={"cube": given})
        loaded = io.load(tmp_path / "x.etn").arrays["cube"]
        assert loaded.strides == (5 * 6 * 8, 6 * 8, 8)
        assert same_bits(loaded, cube)
        assert loaded.flags.writeable

    @settings(max_examples=60)
    @given(
        st.dictionaries(
            st.text(max_size=6),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.text()
                | st.floats(allow_nan=False, allow_infinity=False),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=6), inner),
                max_leaves=6,
            ),
            max_size=4,
        )
    )
    def test_header(self, header):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x.etn")
            io.save(path, kind="x", header=header, arrays={})
            assert io.load(path).header == header

    def test_equal_content_gives_equal_bytes(self, model, tmp_path):
        again = tmp_path / "again.etn"
        header = dict(reversed(HEADER.items()))
        io.save(again, kind="potential", header=header, arrays=dict(reversed(ARRAYS.items())))
        assert again.read_bytes() == model.read_bytes()

    def test_saving_over_a_file_replaces_it(self, model):
        io.save(model, kind="chain", header={}, arrays={})
        assert io.load(model) == ("chain", {}, {}, 2)

    def test_stored_file_of_format_1(self, tmp_path):
        path = tmp_path / "old.etn"
        path.write_bytes(FORMAT_1)
        stored = io.load(path, kind="potential")
        assert stored.header == HEADER
        assert stored.format_version == 1
        assert all(same_bits(stored.arrays[name], ARRAYS[name]) for name in ARRAYS)


class TestContainer:
    """The file as it is documented, read and computed without etn."""

    def test_is_plain_safetensors(self, model):
        loaded = safetensors.numpy.load_file(model)
        assert all(same_bits(loaded[name], ARRAYS[name]) for name in ARRAYS)
        with safetensors.safe_open(model, framework="numpy") as container:
            assert list(container.metadata()) == ["etn"]

    def test_record(self, model):
        from etn import __version__

        record = read_record(model)
        assert record.pop("checksum")
        assert record == {
            "format": "etn",
            "format_version": 2,
            "kind": "potential",
            "etn_version": __version__,
            "header": HEADER,
        }

    def test_checksum_is_the_documented_hash(self, model):
        def canonical(value):
            return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

        record = read_record(model)
        claimed = record.pop("checksum")
        content = canonical(record)
        content += b'["order","int64",[3]]' + np.array([2, 0, 1], "<i8").tobytes()
        content += b'["weights","float64",[2,3]]' + np.arange(6, dtype="<f8").tobytes()
        assert claimed == hashlib.sha256(content).hexdigest()


class TestRefusedToSave:
    @pytest.mark.parametrize(
        "array", [np.zeros(2, complex), np.array(["a"]), np.array([None]), np.zeros(1, "M8[s]")]
    )
    def test_dtype(self, tmp_path, array):
        with pytest.raises(ModelFileError, match=r"array 'w' has dtype .*booleans, integers"):
            io.save(tmp_path / "x.etn", kind="x", header={}, arrays={"w": array})
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("value", [math.nan, math.inf, np.zeros(2), {1, 2}, object()])
    def test_header(self, tmp_path, value):
        with pytest.raises(ModelFileError, match="header must hold JSON values"):
            io.save(tmp_path / "x.etn", kind="x", header={"a": value}, arrays={})
        assert list(tmp_path.iterdir()) == []

    def test_old_file_survives(self, model):
        before = model.read_bytes()
        with pytest.raises(ModelFileError):
            io.save(model, kind="x", header={"a": math.nan}, arrays={})
        assert model.read_bytes() == before

    def test_missing_folder(self, tmp_path):
        with pytest.raises(OSError, match="nowhere"):
            io.save(tmp_path / "nowhere" / "x.etn", kind="x", header={}, arrays={})


class TestRefusedToLoad:
    def test_missing(self, tmp_path):
        with pytest.raises(ModelFileError, match=r"absent\.etn: there is no such file"):
            io.load(tmp_path / "absent.etn")

    def test_folder(self, tmp_path):
        with pytest.raises(ModelFileError, match=r"cannot be read \(Is a directory\)"):
            io.load(tmp_path)

    def test_empty(self, tmp_path):
        path = tmp_path / "empty.etn"
        path.touch()
        with pytest.raises(ModelFileError, match=r"empty\.etn: the file is empty; copy"):
            io.load(path)

    @pytest.mark.parametrize("content", [b"abc", b"x" * 500, b"{}", bytes(200), b"\x80\x04}" * 9])
    def test_no_safetensors(self, tmp_path, content):
        path = tmp_path / "notes.txt"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"expected a model file of etn.*no safetensors"):
            io.load(path)

    def test_safetensors_of_another_program(self, tmp_path):
        path = tmp_path / "other.safetensors"
        safetensors.numpy.save_file({"a": np.zeros(2)}, path, metadata={"format": "pt"})
        with pytest.raises(ModelFileError, match="safetensors file of another program"):
            io.load(path)

    @pytest.mark.parametrize("record", ['{"format": "x", "format_version": 1}', "[]", "3", "{}"])
    def test_foreign_record(self, tmp_path, record):
        path = tmp_path / "other.etn"
        write_record(path, record)
        with pytest.raises(ModelFileError, match="metadata is not that of an etn model"):
            io.load(path)

    def test_truncated_anywhere(self, model):
        content = model.read_bytes()
        for size in range(9, len(content)):
            model.write_bytes(content[:size])
            with pytest.raises(ModelFileError, match=r"model\.etn: .*cut off.*copy the file again"):
                io.load(model)

    def test_every_changed_byte_is_noticed(self, model):
        content = model.read_bytes()
        for position in range(len(content)):
            damaged = bytearray(content)
            damaged[position] ^= 1
            model.write_bytes(damaged)
            with pytest.raises(ModelFileError, match=r"model\.etn: "):
                io.load(model)

    def test_changed_number_is_named(self, model):
        content = bytearray(model.read_bytes())
        content[-1] ^= 0x40
        model.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"checksum does not fit the content; copy"):
            io.load(model)

    def test_nan_in_the_header(self, model):
        record = read_record(model)
        record["header"]["l_max"] = math.nan
        write_record(model, record)
        with pytest.raises(ModelFileError, match="checksum does not fit"):
            io.load(model)

    def test_newer_format(self, model):
        record = read_record(model) | {"format_version": 3, "etn_version": "9.1"}
        write_record(model, record)
        expected = r"written by format 3 \(etn 9\.1\), this etn reads up to 2: upgrade etn"
        with pytest.raises(ModelFileError, match=expected):
            io.load(model)

    def test_other_kind(self, model):
        with pytest.raises(ModelFileError, match=r"kind 'chain', this one is of kind 'potential'"):
            io.load(model, kind="chain")


class TestWriteAtomic:
    def test_text_is_utf8_without_translation(self, tmp_path):
        io.write_atomic(tmp_path / "a.txt", "Å\n\r\n")
        assert (tmp_path / "a.txt").read_bytes() == b"\xc3\x85\n\r\n"

    def test_bytes(self, tmp_path):
        io.write_atomic(str(tmp_path / "a"), b"\x00\xff")
        assert (tmp_path / "a").read_bytes() == b"\x00\xff"

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
    def test_failure_leaves_the_old_file_and_nothing_else(self, tmp_path, error):
        path = tmp_path / "report.json"
        path.write_text("old")

        def write_half():
            with io.atomic_path(path) as temporary:
                temporary.write_text("ne")
                raise error

        with pytest.raises(error):
            write_half()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_failure_before_the_first_file(self, tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            io.write_atomic(tmp_path / "nowhere" / "a.txt", "text")
        assert caught.value.filename == str(tmp_path / "nowhere")  # not the temporary file in it
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError) as caught:
            io.write_atomic(tmp_path / "file" / "a.txt", "text")
        assert caught.value.filename == str(tmp_path / "file" / "a.txt")
        (tmp_path / "file").unlink()

    def test_a_folder_is_not_replaced(self, tmp_path):
        (tmp_path / "runs").mkdir()
        with pytest.raises(OSError, match="runs"):
            io.write_atomic(tmp_path / "runs", "text")
        assert [path.name for path in tmp_path.iterdir()] == ["runs"]

    def test_the_file_appears_only_at_the_end(self, tmp_path):
        path = tmp_path / "a.txt"
        with io.atomic_path(path) as temporary:
            temporary.write_text("text")
            assert not path.exists()
            assert temporary.parent == path.parent
        assert path.read_text() == "text"

    @pytest.mark.parametrize("name", ["parity.png", "frames.xyz.gz", "no_suffix"])
    def test_suffixes_are_kept(self, tmp_path, name):
        with io.atomic_path(tmp_path / name) as temporary:
            assert temporary.suffixes == Path(name).suffixes

    def test_a_writer_that_replaces_the_temporary_file(self, tmp_path):
        with io.atomic_path(tmp_path / "a.txt") as temporary:
            temporary.unlink()
            temporary.write_text("text")
        assert (tmp_path / "a.txt").read_text() == "text"

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    def test_permissions(self, tmp_path):
        plain, ours, kept = tmp_path / "plain", tmp_path / "ours", tmp_path / "kept"
        plain.touch()
        io.write_atomic(ours, "as any new file")
        assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
        kept.touch()
        kept.chmod(0o640)
        io.write_atomic(kept, "as the file before")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o640

    @pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "target").write_text("old")
        (tmp_path / "link").symlink_to("target")
        io.write_atomic(tmp_path / "link", "new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_text() == "new"


def outer(header, body=b""):
    """A container with any text as its header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def record_of(**more):
    return {"__metadata__": {"etn": json.dumps({"format": "etn", "format_version": 1, **more})}}


FAR = 10**15
BEGIN = '{"format":"etn","format_version":1,"header":'
HOSTILE = {
    "negative offsets": outer({"a": {"dtype": "F64", "shape": [1], "data_offsets": [-8, 0]}}),
    "offsets beyond the end": outer({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, FAR]}}),
    "offsets that run backwards": outer(
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": [8, 0]}}, bytes(8)
    ),
    "two arrays in one place": outer(
        {
            "a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
            "b": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
            **record_of(kind="x", header={}),
        },
        bytes(8),
    ),
    "a shape beyond all memory": outer(
        {"a": {"dtype": "F64", "shape": [2**62, 2**62], "data_offsets": [0, 8]}}, bytes(8)
    ),
    "a hundred axes": outer(
        {
            "a": {"dtype": "F64", "shape": [1] * 100, "data_offsets": [0, 8]},
            **record_of(kind="x", header={}),
        },
        bytes(8),
    ),
    "a dtype that NumPy lacks": outer(
        {
            "a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
            **record_of(kind="x", header={}),
        },
        bytes(8),
    ),
    "complex numbers": outer(
        {
            "a": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]},
            **record_of(kind="x", header={}),
        },
        bytes(8),
    ),
    "a header of the largest length": b"\xff" * 8 + b"{" + bytes(99),
    "a header of a hundred megabytes": (10**8).to_bytes(8, "little") + b"{" + bytes(99),
    "deep lists in the container": outer(b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"),
    "deep lists in the record": outer({"__metadata__": {"etn": "[" * 10**5 + "]" * 10**5}}),
    "lists too deep for a checksum": outer(
        {"__metadata__": {"etn": BEGIN + "[" * 990 + "]" * 990 + "}"}}
    ),
    "a number of thousands of digits": outer({"__metadata__": {"etn": "1" * 5000}}),
    "a key that stands twice": outer({"__metadata__": {"etn": '{"format":"etn","format":"etn"}'}}),
    "NaN": outer({"__metadata__": {"etn": BEGIN + '{"a":NaN}}'}}),
    "a version below the first": outer(record_of(format_version=0)),
    "a version that is a truth value": outer(record_of(format_version=False)),
    "metadata of numbers": outer({"__metadata__": {"etn": 3}}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_at_once(name, tmp_path):
    path = tmp_path / "model.etn"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=r"model\.etn: ") as caught:
            io.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 800
    assert path.read_bytes() == HOSTILE[name]


def test_a_header_of_many_small_lists_stays_within_half_a_gigabyte(tmp_path):
    text = '{"format":"etn","format_version":1,"header":{"a":[' + "[]," * 1_000_000 + "[]]}}"
    path = tmp_path / "model.etn"
    path.write_bytes(outer({"__metadata__": {"etn": text}}))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="checksum"):
            io.load(path)
        # Of three megabytes; the largest header that is read has 16.
        assert tracemalloc.get_traced_memory()[1] < 500e6 * 3 / 16
    finally:
        tracemalloc.stop()


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ModelFileError, match="the header must hold JSON values"):
        io.save(tmp_path / "a.etn", kind="x", header={"a": deep}, arrays={})
    with pytest.raises(ModelFileError, match="a header of at most 16000000 bytes"):
        io.save(tmp_path / "a.etn", kind="x", header={"a": "x" * 16_000_000}, arrays={})
    assert list(tmp_path.iterdir()) == []


def test_the_version_of_the_writer_is_told_in_short_and_without_control_characters(model):
    record = read_record(model) | {"format_version": 3, "etn_version": "\x1b[2J" + "9" * 10**5}
    write_record(model, record)
    with pytest.raises(ModelFileError, match=r"format 3 \(etn \[2J9{17}\), this etn"):
        io.load(model)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_and_a_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.etn")
    for path in (tmp_path / "pipe.etn", "/dev/zero"):
        with pytest.raises(ModelFileError, match="no file on a disk"):
            io.load(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, number):
    path = tmp_path / "report.json"
    path.write_text("old")

    def fill():
        with io.atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=f"{os.strerror(number)}: '{path}'") as caught:
        fill()
    assert caught.value.errno == number
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
