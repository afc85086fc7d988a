"""Sequences that load their items when they are asked for."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from etn.data import Dataset, on_disk
from etn.data.checks import check_data
from etn.data.on_disk import Chosen, Joined, OnDisk, chosen, keep, scratch_folder
from etn.errors import DataError

HELD = Dataset.read("etn:NbMoTaW/test", index="::4")
STORED = Dataset.read("etn:NbMoTaW/test", index="::4", memory=1e-5)


def same(one, other):
    for name in ("numbers", "positions", "cell", "pbc", "forces", "stress"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert not getattr(one, name).flags.writeable
    assert (one.energy, one.name, one.config_type) == (other.energy, other.name, other.config_type)


def test_a_data_set_on_disk_is_that_in_memory():
    assert STORED.on_disk
    assert not HELD.on_disk
    assert len(STORED) == len(HELD)
    for one, other in zip(STORED, HELD, strict=True):
        same(one, other)
    same(STORED[-1], HELD[-1])
    assert (STORED.elements, STORED.n_atoms, STORED.labels) == (
        HELD.elements, HELD.n_atoms, HELD.labels,
    )  # fmt: skip
    assert str(STORED.summary()) == str(HELD.summary())
    assert check_data({"train": STORED, "test": STORED[::3]}) == check_data(
        {"train": HELD, "test": HELD[::3]}
    )


def test_parts_of_a_data_set_stay_on_disk():
    mask = np.arange(len(HELD)) % 3 == 0
    for index in (slice(2, None, 2), [5, 1, -1], mask):
        part = STORED[index]
        assert part.on_disk
        assert [frame.name for frame in part] == [frame.name for frame in HELD[index]]
    for part, expected in zip(STORED.split(0.3, 1), HELD.split(0.3, 1), strict=True):
        assert part.on_disk
        assert [frame.name for frame in part[1:]] == [frame.name for frame in expected[1:]]
    with pytest.raises(IndexError):
        STORED[[len(STORED)]]
    with pytest.raises(IndexError):
        STORED[len(STORED)]


def test_only_what_does_not_fit_goes_to_disk():
    assert keep(iter("abc"), None, len) == ("a", "b", "c")
    assert keep(iter("abc"), 3, len) == ("a", "b", "c")
    stored = keep(iter("abcd"), 3, len)
    assert isinstance(stored, OnDisk)
    assert list(stored) == ["a", "b", "c", "d"]


def test_views_are_views_of_what_is_below():
    numbers = OnDisk(range(10))
    even = chosen(numbers, lambda n: n % 2 == 0)
    assert list(even[1:][::-1]) == [8, 6, 4, 2]
    assert even[::2].places.tolist() == [0, 4, 8]
    assert list(Joined([even, [], Chosen("ab", [1])])) == [0, 2, 4, 6, 8, "b"]
    assert not chosen(numbers, lambda n: n > 9)


def test_threads_read_at_the_same_time():
    stored = OnDisk([np.full(1000 + n, n) for n in range(200)])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: stored[n], list(range(200)) * 5))
    for n, array in enumerate(found):
        np.testing.assert_array_equal(array, np.full(1000 + n % 200, n % 200))


def test_the_file_has_no_name_and_goes_with_the_data(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    stored = OnDisk(range(3))
    assert list(tmp_path.iterdir()) == []
    file = stored._file
    del stored
    assert file.closed


def test_scratch_files_go_to_a_disk_unless_told(monkeypatch, tmp_path):
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    if os.path.isdir("/var/tmp"):
        assert scratch_folder() == "/var/tmp"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert scratch_folder() == str(tmp_path)


def test_a_full_disk_is_named_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(on_disk, "scratch_folder", lambda: str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"gone: the data do not fit .* set TMPDIR to a folder"):
        OnDisk(range(3))


@pytest.mark.parametrize("memory", [None, 1e-6])
def test_bad_frames_late_in_a_file_are_named(tmp_path, memory):
    text = "1\nenergy={}\nCu 0 0 0\n"
    path = tmp_path / "a.xyz"
    path.write_text(text.format(1.0) * 9 + "2\nenergy=1.0\nCu 0 0 0\n")
    with pytest.raises(
        DataError, match=r"a\.xyz: frame 9 starts at line 28 and announces 2 atoms, but"
    ):
        Dataset.read(path, memory=memory)
    path.write_text(text.format(1.0) * 9 + text.format("nan"))
    with pytest.raises(DataError, match=r"a\.xyz:9: the energy is nan"):
        Dataset.read(path, memory=memory)


def test_a_file_that_changes_after_it_was_read_changes_nothing(tmp_path):
    path = tmp_path / "a.xyz"
    HELD.write(path)
    data = Dataset.read(path, memory=1e-6)
    path.write_text("nonsense")
    np.testing.assert_allclose(data[-1].positions, HELD[-1].positions, atol=1e-7)
