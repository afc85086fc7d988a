"""Neighbours of atoms: those of ASE, and frames without any."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from etn.data import Frame
from etn.data.neighbours import is_dissociated, neighbour_list
from etn.errors import DataError


@pytest.mark.parametrize("pbc", [(False,) * 3, (True, False, True), (True,) * 3])
def test_the_pairs_are_those_of_ase(rng, pbc):
    cell = 4 * np.eye(3) + 0.5 * rng.normal(size=(3, 3))
    frame = Frame([42] * 5, 4 * rng.random((5, 3)), cell, pbc)
    first, second, vector, distance = neighbour_list(frame, 4.5)
    atoms = Atoms("Mo5", frame.positions, cell=cell, pbc=pbc)
    i, j, d = neighbor_list("ijD", atoms, 4.5)
    ours = sorted(zip(first, second, *vector.round(8).T, strict=True))
    np.testing.assert_allclose(ours, sorted(zip(i, j, *d.round(8).T, strict=True)), atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(vector, axis=1), distance, rtol=1e-12)
    assert np.all(np.diff(first) >= 0)


def test_coincident_atoms_are_refused():
    with pytest.raises(DataError, match=r"frame a\.xyz:3: atoms 0 and 1 coincide"):
        neighbour_list(Frame([6, 6], np.zeros((2, 3)), np.zeros((3, 3)), [False] * 3,
                             name="a.xyz:3"), 4.0)  # fmt: skip


@pytest.mark.parametrize(
    ("positions", "cell", "pbc", "apart"),
    [
        ([[0, 0, 0]], np.zeros((3, 3)), [False] * 3, True),
        ([[0, 0, 0]], 20 * np.eye(3), [True] * 3, True),
        # Its image is 4 Å away in one direction, or, in a skew cell, along no cell vector.
        ([[0, 0, 0]], np.diag([20, 20, 4.0]), [True] * 3, False),
        ([[0, 0, 0]], np.diag([20, 20, 4.0]), [True, True, False], True),
        ([[0, 0, 0]], [[8, 0, 0], [7, 3, 0], [0, 0, 20]], [True] * 3, False),
        ([[0, 0, 0], [0, 0, 6]], np.zeros((3, 3)), [False] * 3, True),
        ([[0, 0, 0], [0, 0, 6]], 20 * np.eye(3), [True] * 3, True),
        ([[0, 0, 0], [0, 0, 6]], 8 * np.eye(3), [True] * 3, False),
        ([[0, 0, 0], [0, 0, 20], [0, 0, 22]], np.zeros((3, 3)), [False] * 3, False),
    ],
)
def test_frames_without_neighbours(positions, cell, pbc, apart):
    frame = Frame([29] * len(positions), positions, cell, pbc)
    assert is_dissociated(frame, 5.0) is apart
    assert len(neighbour_list(frame, 5.0)[0]) == 0 if apart else True


@pytest.mark.parametrize("distance", [1e3, 1e5, 1e8, 1e300])
@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (1, 1, 0)])
@pytest.mark.parametrize("axes", [(2,), (1, 2)])
def test_an_atom_that_has_flown_away_changes_nothing_for_the_others(distance, pbc, axes):
    """The search divided by zero, which ended Python, or never came to an end."""
    positions = np.array([[0, 0, 0], [0, 0, 1.5], [0.3, 0.2, 0.1], [0.5, 1.4, 2.0]])
    positions[2, list(axes)] = distance
    cell = np.diag([4.0, 4.5, 5.0])
    whole = neighbour_list(Frame([42] * 4, positions, cell, np.array(pbc, bool)), 5.0)
    near = [0, 1, 3]
    rest = neighbour_list(Frame([42] * 3, positions[near], cell, np.array(pbc, bool)), 5.0)

    def rows(first, second, vectors, numbers):
        both = np.isin(first, numbers) & np.isin(second, numbers)
        table = np.column_stack([first[both], second[both], vectors[both]])
        return table[np.lexsort(np.round(table, 6).T[::-1])]

    one, two = rows(*whole[:3], near), rows(*rest[:3], [0, 1, 2])
    np.testing.assert_array_equal(one[:, :2], np.array(near)[two[:, :2].astype(int)])
    np.testing.assert_allclose(one[:, 2:], two[:, 2:], atol=1e-12)
    alone = whole[2][(whole[0] == 2) & (whole[1] != 2)]
    assert len(alone) == 0 or not all(pbc[axis] == 0 for axis in axes)


def test_gaps_that_are_closed_hide_no_neighbours(rng):
    """Clusters along a line, further apart than any neighbours: as each for itself."""
    clusters = [rng.random((5, 3)) * 4.0 + [0, 0, 100.0 * k] for k in range(3)]
    box = np.zeros((3, 3)), np.zeros(3, bool)
    whole = neighbour_list(Frame([42] * 15, np.concatenate(clusters), *box), 3.0)[3]
    parts = [neighbour_list(Frame([42] * 5, c, *box), 3.0)[3] for c in clusters]
    np.testing.assert_allclose(np.sort(whole), np.sort(np.concatenate(parts)), atol=1e-11)
