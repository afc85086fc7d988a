"""The same structure in other coordinates, and different ones that look alike."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from ase.build import bulk, make_supercell, molecule
from hypothesis import given
from hypothesis import strategies as st

from etn.data import Frame, duplicates
from etn.data.duplicates import find_duplicates
from etn.o3 import random_rotation


def frame(atoms, seed: int | None = None, **labels) -> Frame:
    atoms = atoms.copy()
    if seed is not None:
        atoms.rattle(0.1, seed=seed)
    return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, **labels)


def crystal(seed: int, **labels) -> Frame:
    return frame(bulk("NaCl", "rocksalt", a=5.6, cubic=True), seed, **labels)


def slab(seed: int) -> Frame:
    atoms = bulk("Mo", "bcc", a=3.16, cubic=True) * (2, 2, 2)
    atoms.pbc = (True, False, True)
    return frame(atoms, seed)


def hexagonal(seed: int) -> Frame:
    return frame(bulk("Ti") * (2, 2, 1), seed)


KINDS = {
    "crystal": crystal,
    "molecule": lambda seed: frame(molecule("CH3CH2OH"), seed),
    "slab": slab,
    "hexagonal": hexagonal,
    "perfect": lambda _: frame(bulk("Mo", "bcc", a=3.16, cubic=True) * 2),
    "atom": lambda _: frame(bulk("Mo", "bcc", a=3.16)),
}


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000))
def test_copies_are_the_same_structure(copied, kind, seed):
    one = KINDS[kind](seed)
    assert find_duplicates([one, copied(one, seed)]) == [[0, 1]]


@pytest.mark.parametrize("kind", ["crystal", "molecule", "slab", "hexagonal"])
def test_different_structures_are_not(kind):
    assert find_duplicates([KINDS[kind](seed) for seed in range(6)]) == []


def test_displacements_of_phonon_calculations_differ():
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * 2
    frames = [frame(atoms)]
    for length in (0.005, 0.01, 0.02):
        moved = atoms.copy()
        moved.positions[0, 0] += length
        frames.append(frame(moved))
    assert find_duplicates(frames) == []
    # By symmetry the same displacement of another atom, and along another axis, is no news.
    moved = atoms.copy()
    moved.positions[8, 1] -= 0.01
    assert find_duplicates([*frames, frame(moved)]) == [[2, 4]]


def test_volumes_differ():
    frames = [frame(bulk("Cu", a=3.6 + 0.001 * k)) for k in range(5)]
    assert find_duplicates(frames) == []


def test_strains_differ():
    atoms = bulk("Cu", a=3.6, cubic=True)
    frames = []
    for gamma in (0.0, 0.002, 0.004):
        sheared = atoms.copy()
        sheared.set_cell(atoms.cell.array @ np.array([[1, gamma, 0], [0, 1, 0], [0, 0, 1]]), True)
        frames.append(frame(sheared))
    assert find_duplicates(frames) == []


def test_orderings_of_an_alloy_with_the_same_distances_differ(copied):
    """Homometric on a ring: 0,1,4,7 and 0,1,3,4 ... have the same distances in Z_8."""
    ring = np.arange(8)
    one, other = {0, 1, 3, 4}, {0, 1, 2, 5}
    differences = [
        sorted(min((a - b) % 8, (b - a) % 8) for a in part for b in part) for part in (one, other)
    ]
    assert differences[0] == differences[1]
    frames = [
        Frame(
            np.where(np.isin(ring, list(part)), 42, 74),
            np.outer(ring, [3.0, 0, 0]),
            np.diag([24.0, 3.0, 3.0]),
            [True] * 3,
        )
        for part in (one, other)
    ]
    assert find_duplicates(frames) == []
    assert find_duplicates([frames[0], copied(frames[0], 1)]) == [[0, 1]]


def test_elements_matter():
    one = crystal(0)
    swapped = Frame(one.numbers[::-1], one.positions, one.cell, one.pbc)
    assert find_duplicates([one, swapped]) == []


def test_against_all_distances_by_brute_force():
    """A check that knows nothing of fingerprints: sorted distances within a large cluster."""
    atoms = make_supercell(bulk("Ti"), np.diag([2, 2, 1]))
    frames = [frame(atoms, seed) for seed in range(4)]
    turn = random_rotation(np.random.default_rng(5))
    one = frames[2]
    frames.append(Frame(one.numbers, one.positions[::-1] @ turn.T, one.cell @ turn.T, one.pbc))

    def distances(one: Frame) -> np.ndarray:
        shifts = np.array(list(np.ndindex(7, 7, 7))) - 3
        ends = (one.positions[None] + (shifts @ one.cell)[:, None]).reshape(-1, 3)
        found = np.linalg.norm(one.positions[:, None] - ends, axis=2).ravel()
        return np.sort(found)[:300]

    same = [
        [i, j]
        for i in range(5)
        for j in range(i + 1, 5)
        if np.allclose(distances(frames[i]), distances(frames[j]), atol=1e-4)
    ]
    assert find_duplicates(frames) == same == [[2, 4]]


@pytest.mark.parametrize("is_rattled", [True, False])
def test_a_large_frame_that_stands_twice_costs_little(copied, is_rattled):
    atoms = bulk("Cu", cubic=True) * 8
    one = frame(atoms, 0 if is_rattled else None)
    assert one.n_atoms == 2048
    other = copied(one, 1)
    find_duplicates([crystal(0), copied(crystal(0), 1)])  # loads what is imported when needed
    tracemalloc.start()
    start = time.perf_counter()
    try:
        assert find_duplicates([one, other, one]) == [[0, 1, 2]]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # bytes; a table of all distances alone has 34 MB
    assert time.perf_counter() - start < 5


def test_frames_that_agree_to_the_bit_are_not_compared(monkeypatch):
    monkeypatch.setattr(duplicates, "_fingerprint", None)
    assert find_duplicates([crystal(0), slab(1), crystal(0), crystal(0)]) == [[0, 2, 3]]


def test_atoms_far_from_each_other(copied):
    positions = [[0, 0, 0], [100, 0, 0], [0, 300, 0]]
    one = Frame([1, 1, 8], positions, np.zeros((3, 3)), [False] * 3)
    other = Frame([1, 1, 8], 1.01 * np.array(positions), np.zeros((3, 3)), [False] * 3)
    assert find_duplicates([one, other, copied(one, 1)]) == [[0, 2]]


def test_many_displacements_of_one_crystal(copied):
    """Frames of phonon calculations, of which symmetry makes most the same: six are not."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * 2
    frames, expected = [], {}
    for number in range(60):
        rng = np.random.default_rng(number)
        moved, length = atoms.copy(), 0.01 * (1 + number % 6)
        moved.positions[rng.integers(64), rng.integers(3)] += length * rng.choice([-1, 1])
        frames.append(frame(moved))
        expected.setdefault(number % 6, []).append(number)
    assert find_duplicates(frames) == list(expected.values())
