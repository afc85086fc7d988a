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
