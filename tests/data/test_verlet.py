"""Lists with a skin: complete within the radius for as long as they serve."""

from __future__ import annotations

import numpy as np
import pytest

from etn.data import Frame
from etn.data.neighbours import neighbour_list
from etn.data.verlet import VerletList
from etn.errors import DataError


def frame_at(positions, cell, pbc=(True, True, False)):
    return Frame(np.full(len(positions), 42), positions, cell, pbc)


def vectors(positions, found, r_max):
    """Pairs within the radius as (first, second, vector), in one order."""
    d = positions[found.second] - positions[found.first] + found.shift
    near = np.linalg.norm(d, axis=1) < r_max
    rows = np.column_stack([found.first[near], found.second[near], d[near].round(9)])
    return rows[np.lexsort(rows.T[::-1])]


def test_pairs_are_complete_while_atoms_move(rng):
    cell = np.array([[5.0, 0.3, 0.0], [0.0, 6.0, 0.5], [0.0, 0.0, 9.0]])
    positions = rng.uniform(size=(12, 3)) @ cell
    lists = VerletList(3.2, skin=0.6)
    for _ in range(60):
        frame = frame_at(positions, cell)
        first, second, vector, _ = neighbour_list(frame, 3.2)
        expected = np.column_stack([first, second, vector.round(9)])
        np.testing.assert_allclose(
            vectors(positions, lists.of(frame), 3.2), expected[np.lexsort(expected.T[::-1])],
            atol=2e-9,
        )  # fmt: skip
        positions = positions + 0.03 * rng.normal(size=positions.shape)
    assert 3 < lists.searches < 40


def test_what_else_may_change_is_seen(rng):
    cell = 6.0 * np.eye(3)
    positions = rng.uniform(size=(5, 3)) @ cell
    lists = VerletList(3.0, skin=0.5)
    lists.of(frame_at(positions, cell))
    lists.of(frame_at(positions, cell))
    assert lists.searches == 1
    for frame in (
        frame_at(positions, 1.01 * cell), frame_at(positions, cell),
        frame_at(positions, cell, (True, False, False)), frame_at(positions[:4], cell),
    ):  # fmt: skip
        before = lists.searches
        lists.of(frame)
        assert lists.searches == before + 1
    bare = VerletList(3.0, skin=0.0)
    bare.of(frame_at(positions, cell))
    bare.of(frame_at(positions + 1e-6, cell))
    assert bare.searches == 2


def test_coincident_atoms_are_named():
    with pytest.raises(DataError, match="atoms 0 and 1 coincide"):
        VerletList(3.0).of(frame_at(np.zeros((2, 3)), 6.0 * np.eye(3)))
