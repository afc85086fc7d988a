"""Laying one structure on another: symmetric ones, every number of periodic directions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule, nanotube
from ase.cluster import Octahedron
from hypothesis import given
from hypothesis import strategies as st

from etn.data import Frame
from etn.data.superposition import Placed, _lattice_maps, are_superposable


def frame(atoms) -> Frame:
    return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def same(one: Frame, other: Frame, tolerance: float = 1e-4) -> bool:
    return are_superposable(Placed(one), Placed(other), tolerance)


def slab():
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    atoms.pbc = (True, True, False)
    return atoms


def tube():
    atoms = nanotube(5, 0, length=2, vacuum=5.0)
    atoms.pbc = (False, False, True)
    return atoms


KINDS = {
    "crystal": lambda: bulk("Mo", cubic=True) * 4,
    "compound": lambda: bulk("NaCl", "rocksalt", a=5.6),
    "slab": slab,
    "tube": tube,
    "chain": lambda: bulk("Cu", "sc", a=2.5) * (1, 1, 3),
    "fullerene": lambda: molecule("C60"),
    "linear": lambda: molecule("CO2"),
    "planar": lambda: molecule("C6H6"),
    "atom": lambda: molecule("H"),
    "cluster": lambda: Octahedron("Au", 7, 2),
}


def kind_of(name):
    atoms = KINDS[name]()
    if name == "chain":
        atoms.pbc = (False, False, True)
    return atoms


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 300))
def test_symmetric_structures_lie_on_their_copies(copied, kind, seed):
    one = frame(kind_of(kind))
    assert same(one, copied(one, seed))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "atom"])
def test_a_moved_atom_is_found_wherever_symmetry_puts_it(copied, kind):
    atoms = kind_of(kind)
    atoms.positions[-1, 0] += 0.02
    moved = frame(atoms)
    assert same(moved, copied(moved, 3))
    assert not same(moved, frame(kind_of(kind)))
    atoms.positions[-1, 0] += 0.01
    assert not same(moved, frame(atoms))


def test_the_tolerance_is_a_distance():
    atoms = bulk("Mo", cubic=True) * 2
    one = frame(atoms)
    for length, expected in ((5e-5, True), (2e-4, False)):
        atoms.positions = one.positions
        atoms.positions[0, 1] += length
        assert same(one, frame(atoms)) is expected


def test_structures_with_the_same_surroundings_of_every_atom_differ():
    """Layers further apart than surroundings reach, at the same distances in another order."""
    frames = []
    for places in ([0, 1, 3, 4], [0, 1, 2, 5]):  # homometric on a ring of eight
        positions = [[0, 0, 6.0 * place] for place in places]
        frames.append(Frame([42] * 4, positions, np.diag([3.0, 3.0, 48.0]), [True] * 3))
    assert not same(*frames)


def test_alloys_on_one_lattice(copied):
    atoms = bulk("Mo", cubic=True) * 5
    frames = []
    for seed in range(3):
        atoms.numbers = np.random.default_rng(seed).permutation([42, 74] * 125)
        frames.append(frame(atoms))
    assert same(frames[0], copied(frames[0], 5))
    assert not same(frames[0], frames[1])
    assert not same(frames[0], frames[2])


@pytest.mark.parametrize(
    ("cell", "order"),
    [
        (np.eye(3), 48),
        (np.diag([1, 1, 1.3]), 16),
        (np.diag([1, 1.2, 1.3]), 8),
        ([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, 1.7]], 24),
        ([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], 48),
        ([[1, 0, 0], [0.1, 1.1, 0], [0.2, 0.3, 1.4]], 2),
        (np.eye(3)[:2], 8),
        (np.eye(3)[:1], 2),
        (np.zeros((0, 3)), 1),
    ],
)
def test_lattices_have_as_many_maps_as_their_point_group(cell, order):
    cell = 3.0 * np.asarray(cell, dtype=float)
    maps = _lattice_maps(cell, cell, 1e-6)
    assert len(maps) == order
    np.testing.assert_array_equal(maps[0], np.eye(len(cell)))
    for lattice in maps:
        moved = lattice @ cell
        np.testing.assert_allclose(moved @ moved.T, cell @ cell.T, atol=1e-9)


@given(seed=st.integers(0, 2000))
def test_against_all_orders_of_a_cluster(seed):
    """Distances fix a cluster up to a motion: some order must make all of them equal."""
    rng = np.random.default_rng(seed)
    # On a coarse grid, so that many clusters are the same.
    first, second = (2.0 * rng.permutation(list(np.ndindex(3, 2, 2)))[:4] for _ in range(2))
    numbers = rng.permutation([1, 1, 1, 8])

    def table(positions):
        return np.linalg.norm(positions[:, None] - positions, axis=2)

    expected = any(
        np.array_equal(numbers[list(order)], numbers)
        and np.allclose(table(second[list(order)]), table(first), atol=1e-6)
        for order in permutations(range(4))
    )
    frames = [Frame(numbers, p, np.zeros((3, 3)), [False] * 3) for p in (first, second)]
    assert same(*frames) is expected
