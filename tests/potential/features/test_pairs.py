"""Pairs against the neighbour lists of ASE and matscipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list

from etn.errors import DataError
from etn.potential import Frame
from etn.potential.features.pairs import Pairs

PBC = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]


def table(i, j, vector):
    """Rows (i, j, vector) in an order that does not depend on the code."""
    rows = np.column_stack([i, j, np.round(vector, 8) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


def random_frame(rng, pbc, n_atoms=6, length=4.0):
    cell = length * (np.eye(3) + 0.25 * rng.uniform(-1, 1, size=(3, 3)))
    positions = rng.uniform(-0.5, 1.5, size=(n_atoms, 3)) @ cell  # some outside of the cell
    return Frame(np.full(n_atoms, 42), positions, cell, np.array(pbc, dtype=bool))


@pytest.mark.parametrize("r_max", [2.5, 6.5])
@pytest.mark.parametrize("pbc", PBC, ids=str)
def test_pairs_are_those_of_ase(rng, pbc, r_max):
    frame = random_frame(rng, pbc)
    pairs = Pairs.find([frame], ("Mo",), r_max)
    i, j, D = primitive_neighbor_list(
        "ijD", frame.pbc, frame.cell, frame.positions, r_max, self_interaction=False
    )
    assert len(i) > 0
    np.testing.assert_allclose(
        table(pairs.sample[pairs.center], pairs.neighbor, pairs.vector), table(i, j, D), atol=2e-8
    )
    np.testing.assert_allclose(np.linalg.norm(pairs.vector, axis=1), pairs.distance, rtol=1e-12)
    assert np.all(np.diff(pairs.center) >= 0)


def test_pairs_are_those_of_matscipy(rng):
    matscipy = pytest.importorskip("matscipy.neighbours")
    frame = random_frame(rng, (1, 1, 1), n_atoms=3, length=2.7)
    pairs = Pairs.find([frame], ("Mo",), 5.5)
    i, j, D = matscipy.neighbour_list("ijD", frame.to_atoms(), 5.5)
    np.testing.assert_allclose(
        table(pairs.center, pairs.neighbor, pairs.vector), table(i, j, D), atol=2e-8
    )


def test_each_vector_leads_to_an_image_of_the_neighbor(rng):
    frame = random_frame(rng, (1, 0, 1))
    pairs = Pairs.find([frame], ("Mo",), 6.0)
    away = frame.positions[pairs.center] + pairs.vector - frame.positions[pairs.neighbor]
    shifts = away @ np.linalg.inv(frame.cell)
    np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-12)
    np.testing.assert_allclose(shifts[:, 1], 0, atol=1e-12)


def test_a_cell_smaller_than_r_max_meets_its_own_images():
    frame = Frame([29], [[0.3, 0.2, 0.1]], 2.0 * np.eye(3), [True] * 3)
    pairs = Pairs.find([frame], ("Cu",), 4.1)
    # Lattice points of a cubic lattice with 0 < n^2 <= 4: 6 + 12 + 8 + 6.
    assert len(pairs.distance) == 32
    assert pairs.is_image.all()


def test_frames_of_a_batch_are_kept_apart(rng):
    frames = [random_frame(rng, (1, 1, 0), n_atoms=n) for n in (3, 1, 5)]
    pairs = Pairs.find(frames, ("Mo",), 4.5)
    assert pairs.n_frames == 3
    assert pairs.n_atoms == pairs.n_samples == 9
    np.testing.assert_array_equal(pairs.frame, [0] * 3 + [1] + [2] * 5)
    np.testing.assert_array_equal(pairs.frame[pairs.center], pairs.frame[pairs.neighbor])
    for k, frame in enumerate(frames):
        alone = Pairs.find([frame], ("Mo",), 4.5)
        here = pairs.frame[pairs.center] == k
        np.testing.assert_array_equal(pairs.vector[here], alone.vector)


def test_selected_centers_keep_their_pairs(rng):
    frames = [random_frame(rng, (1, 1, 1)) for _ in range(2)]
    pairs = Pairs.find(frames, ("Mo",), 4.5)
    chosen = np.array([1, 4, 7, 11])
    part = pairs.select(chosen)
    np.testing.assert_array_equal(part.sample, chosen)
    assert part.n_atoms == 12
    np.testing.assert_array_equal(part.sample_frame, [0, 0, 1, 1])
    for new, old in enumerate(chosen):
        np.testing.assert_array_equal(
            part.vector[part.center == new], pairs.vector[pairs.center == old]
        )
        np.testing.assert_array_equal(
            part.neighbor[part.center == new], pairs.neighbor[pairs.center == old]
        )
    again = part.select(np.array([2]))
    np.testing.assert_array_equal(again.sample, [7])
    np.testing.assert_array_equal(again.is_image, again.neighbor == 7)


def test_every_frame_keeps_its_charge(rng):
    frames = [replace(random_frame(rng, (1, 1, 1)), charge=charge) for charge in (0, -1, 2)]
    pairs = Pairs.find(frames, ("Mo",), 4.5)
    assert pairs.n_frames == 3
    np.testing.assert_array_equal(pairs.charge, [0, -1, 2])
    np.testing.assert_array_equal(pairs.select(np.array([3])).charge, [0, -1, 2])


def test_a_lone_atom_has_no_pairs():
    frame = Frame([42], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3)
    pairs = Pairs.find([frame], ("Mo",), 5.0)
    assert pairs.vector.shape == (0, 3)
    assert pairs.n_samples == 1


def test_elements_count_in_the_given_order():
    frame = Frame([29, 42, 29], 3.0 * np.arange(9).reshape(3, 3), np.zeros((3, 3)), [False] * 3)
    np.testing.assert_array_equal(Pairs.find([frame], ("Cu", "Mo"), 3.0).element, [0, 1, 0])
    np.testing.assert_array_equal(Pairs.find([frame], ("W", "Mo", "Cu"), 3.0).element, [2, 1, 2])


def test_coincident_atoms_are_named():
    positions = [[0, 0, 0], [2, 0, 0], [2, 5e-4, 0]]
    frame = Frame([42] * 3, positions, np.zeros((3, 3)), [False] * 3, name="x.xyz:7")
    with pytest.raises(
        DataError, match=r"frame x.xyz:7: atoms 1 and 2 coincide \(distance 5.0e-04"
    ):
        Pairs.find([frame], ("Mo",), 5.0)


def test_unknown_elements_are_named():
    frame = Frame([42, 74, 29], np.eye(3) * 3, np.zeros((3, 3)), [False] * 3, name="x.xyz:7")
    with pytest.raises(DataError, match=r"frame x.xyz:7: element Cu, W is unknown"):
        Pairs.find([frame], ("Mo",), 5.0)
