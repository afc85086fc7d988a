"""Lists of neighbours in the form of the shared library."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.native.lists import lists_of, neighbors, rows_of
from etn.potential import Dataset, Pairs


@pytest.fixture(scope="module")
def pairs():
    return Pairs.find([Dataset.read("etn:Mo/train")[0]], ("Mo",), 3.0)


def read(address, n, kind):
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(kind)), (n,))


def test_pairs_are_lists_of_each_center(pairs):
    lists, held = neighbors(**lists_of(pairs))
    assert (lists.n_atoms, lists.n_centers, lists.n_frames) == (pairs.n_atoms, pairs.n_samples, 1)
    first = read(lists.first, pairs.n_samples + 1, ctypes.c_int64)
    neighbor = read(lists.neighbor, first[-1], ctypes.c_int64)
    for k in range(pairs.n_samples):
        expected = pairs.neighbor[pairs.center == k]
        np.testing.assert_array_equal(neighbor[first[k] : first[k + 1]], expected)
    vector = read(lists.vector, 3 * len(neighbor), ctypes.c_double)
    np.testing.assert_array_equal(vector, pairs.vector.ravel())
    assert lists.position is None
    assert held


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vector", lambda a: a[:2], r"vector: expected an array of shape \(\d+, 3\), got \(2, 3\)"),
        ("frame", lambda a: a[:2], r"frame: expected an array of shape \(\d+,\), got \(2,\)"),
        ("center", lambda a: a[::-1], "center: expected rising numbers of the"),
        ("center", lambda a: a + 1000, "center: expected rising numbers of the"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(pairs, name, change, message):
    lists = lists_of(pairs)
    with pytest.raises(SettingsError, match=message):
        neighbors(**{**lists, name: change(lists[name])})


@pytest.mark.parametrize(("energy", "strain"), [(True, True), (False, True), (True, False)])
def test_wanted_rows_are_counted(pairs, energy, strain):
    atoms = np.array([1, 4])
    _, wanted, n_rows, _ = rows_of(pairs, energy, atoms, strain)
    assert n_rows == 6 + energy + 6 * strain
    assert (wanted.energy, wanted.strain, wanted.n_atoms) == (energy, strain, 2)
    np.testing.assert_array_equal(read(wanted.atom, 2, ctypes.c_int64), atoms)
