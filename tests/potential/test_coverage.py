"""What training data have shown, against neighbour lists and loops of others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bcc100, bulk
from ase.neighborlist import neighbor_list

from etn.potential import Dataset, Frame
from etn.potential.coverage import Coverage, ignorance
from etn.potential.features.pairs import Pairs

R_MAX = 4.6
ELEMENTS = ("Mo", "W")


def of(structures) -> list[Frame]:
    return list(Dataset.from_atoms(structures))


def grades(coverage, atoms) -> np.ndarray:
    elements = ELEMENTS[: len(coverage.closest)]
    return coverage.terms(Pairs.find(of([atoms]), elements, coverage.r_max))


def dimer(one, two, r) -> Atoms:
    return Atoms([one, two], [[0, 0, 0], [0, 0, r]])


def alloys(n, seed=0, symbols=ELEMENTS) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = bulk("Mo", a=3.17 * (1 + 0.01 * rng.normal()), cubic=True) * 2
        atoms.symbols = rng.choice(symbols, len(atoms))
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        found.append(atoms)
    return found


def counts_of(atoms):
    """Smooth numbers of neighbours and shortest distances, by loops over a list of ASE."""
    counts, nearest = np.zeros((len(atoms), 2)), np.full((len(atoms), 2), np.inf)
    for i, j, d in zip(*neighbor_list("ijd", atoms, R_MAX), strict=True):
        z = ELEMENTS.index(atoms.symbols[j])
        counts[i, z] += (1 - (d / R_MAX) ** 6) ** 3
        nearest[i, z] = min(nearest[i, z], d)
    return counts, nearest


@pytest.fixture(scope="module")
def seen():
    train = alloys(6)
    return train, Coverage.of(of(train), ELEMENTS, R_MAX)


def test_what_was_seen_is_that_of_a_loop(seen):
    train, coverage = seen
    closest, most = np.full((2, 2), np.inf), np.zeros((2, 2))
    for atoms in train:
        for own, counts, nearest in zip(atoms.symbols, *counts_of(atoms), strict=True):
            c = ELEMENTS.index(own)
            closest[c] = np.minimum(closest[c], nearest)
            most[c] = np.maximum(most[c], counts)
    np.testing.assert_allclose(coverage.closest, closest, rtol=1e-12)
    np.testing.assert_allclose(coverage.most, most, rtol=1e-12)
    np.testing.assert_array_equal(coverage.closest, coverage.closest.T)


def test_terms_are_those_of_a_loop(seen):
    train, coverage = seen
    numbers = [[], []]
    for atoms in train:
        for own, counts in zip(atoms.symbols, counts_of(atoms)[0], strict=True):
            numbers[ELEMENTS.index(own)].append(counts.sum())
    (other,) = alloys(1, seed=7)
    del other[[0, 5, 6]]
    other.set_cell(other.cell * 0.9, scale_atoms=True)
    found = grades(coverage, other)
    for k, (own, counts, nearest) in enumerate(zip(other.symbols, *counts_of(other), strict=True)):
        c = ELEMENTS.index(own)
        far = np.minimum(nearest, R_MAX)
        expected = (coverage.closest[c] / far) ** 12 - (coverage.closest[c] / R_MAX) ** 12
        np.testing.assert_allclose(found[k, :2], expected, rtol=1e-9)
        np.testing.assert_allclose(found[k, 2:4], counts / coverage.most[c], rtol=1e-10)
        ratios = counts.sum() / np.array(numbers[c])
        # Numbers are told apart to 5 %.
        s = np.exp(np.abs(np.log(ratios)).min())
        assert abs(np.log1p(found[k, 4]) - 3 * np.log(s)) < 3 * np.log(1.05)


def test_training_atoms_are_covered(seen):
    train, coverage = seen
    terms = np.concatenate([grades(coverage, atoms) for atoms in train])
    assert terms.max(axis=0) == pytest.approx([1, 1, 1, 1, 0], abs=0.08)
    assert terms.max() <= 1 + 1e-12


def test_ordinary_test_sets_are_covered():
    for name in ("Mo", "NbMoTaW"):
        train, test = Dataset.read(f"etn:{name}/train"), Dataset.read(f"etn:{name}/test")
        coverage = Coverage.of(train, train.elements, 5.0)
        terms = [coverage.terms(Pairs.find([f], train.elements, 5.0)).max() for f in test]
        assert max(terms) < 1.5


def test_an_element_without_neighbours_and_a_pair_that_never_met_are_far(seen):
    lone = [Atoms("W"), *alloys(4, symbols=("Mo",))]
    coverage = Coverage.of(of(lone), ELEMENTS, R_MAX)
    assert not coverage.closest[1].any()
    for r in (0.5, 2.5, 3.5):
        found = grades(coverage, dimer("W", "W", r))
        assert np.all(found.max(axis=1) > 50)
        # Mo never saw a W either.
        assert grades(coverage, dimer("Mo", "W", r))[0, 3] > 50
    apart = [*alloys(3, symbols=("Mo",)), *alloys(3, symbols=("W",), seed=1)]
    coverage = Coverage.of(of(apart), ELEMENTS, R_MAX)
    mixed = alloys(1, seed=9)[0]
    assert np.all(grades(coverage, mixed).max(axis=1) > 50)
    for pure in (alloys(1, 9, ("Mo",)), alloys(1, 9, ("W",))):
        assert grades(coverage, pure[0]).max() < 2


def test_distances_below_the_shortest_seen_are_far_and_farther_the_shorter(seen):
    _, coverage = seen
    shortest = coverage.closest[0, 1]
    near = [grades(coverage, dimer("Mo", "W", x * shortest))[0, 1] for x in (1, 0.943, 0.9, 0.5)]
    assert near == pytest.approx([1, 2.03, 3.54, 4096], rel=0.01)


@pytest.mark.parametrize("surfaces", [False, True])
def test_numbers_of_neighbours_never_seen_are_far(surfaces):
    train = alloys(8, symbols=("Mo",))
    slab = bcc100("Mo", (2, 2, 6), a=3.17, vacuum=8)
    if surfaces:
        slab.rattle(0.1, seed=0)
        train += [slab]
    coverage = Coverage.of(of(train), ("Mo",), R_MAX)
    terms = lambda atoms: grades(coverage, atoms)[:, 2]  # noqa: E731
    assert terms(dimer("Mo", "Mo", 2.5)).min() > 100
    adatom = slab.copy()
    add_adsorbate(adatom, "Mo", 1.7, "hollow")
    assert terms(adatom)[-1] > 2
    assert terms(adatom)[-1] > 2 * np.delete(terms(slab), -1).max()
    assert (terms(slab).max() < 0.2) == surfaces
    squeezed = train[0].copy()
    squeezed.set_cell(squeezed.cell * 0.8, scale_atoms=True)
    assert terms(squeezed).min() > 2


def test_numbers_between_two_that_were_seen_are_far():
    """Dimers and crystals: a square has two and more neighbours, and was never seen."""
    train = [*alloys(4, symbols=("Mo",)), *(dimer("Mo", "Mo", r) for r in np.arange(2, 4.6, 0.05))]
    coverage = Coverage.of(of(train), ("Mo",), R_MAX)
    assert grades(coverage, dimer("Mo", "Mo", 2.63))[:, 2].max() < 0.2
    square = Atoms("Mo4", [[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [2.5, 2.5, 0]])
    assert grades(coverage, square)[:, 2].min() > 5


@pytest.mark.parametrize("pair", [("Mo", "Mo"), ("Mo", "W"), ("W", "W")])
@pytest.mark.parametrize("bonded", [True, False])
def test_terms_are_continuous_and_vanish_where_the_neighbour_leaves(seen, pair, bonded):
    coverage = seen[1] if bonded else Coverage.of(of([Atoms("Mo"), Atoms("W")]), ELEMENTS, R_MAX)
    r = np.append(np.linspace(0.5, R_MAX - 1e-9, 2000), [R_MAX + 1e-9, 6.0])
    frames = [
        Frame(Atoms(pair).numbers, np.diag([0, 0, x])[1:], np.zeros((3, 3)), [False] * 3) for x in r
    ]
    terms = coverage.terms(Pairs.find(frames, ELEMENTS, R_MAX))[::2]
    found = terms.max(axis=1)
    assert np.all(found[-2:] == 0)
    assert found[-3] < 1e-6
    # No jump: neighbouring points differ by as much as the slope allows.
    assert np.abs(np.diff(terms, axis=0)).max() < 0.05 * (1 + terms[:-1].max())
    assert found[np.abs(r - 2.5).argmin()] > 50


def test_atoms_without_neighbours_have_no_terms(seen):
    assert not grades(seen[1], Atoms("W")).any()
    assert not grades(seen[1], dimer("W", "Mo", 9.0)).any()


def test_order_and_rotation_do_not_matter(seen):
    (atoms,) = alloys(1, seed=3)
    order = np.random.default_rng(0).permutation(len(atoms))
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(
        grades(seen[1], turned[order]), grades(seen[1], atoms)[order], rtol=1e-9
    )
    train = Coverage.of(of(seen[0][::-1]), ELEMENTS, R_MAX)
    np.testing.assert_array_equal(train.numbers, seen[1].numbers)


def test_some_centers_have_the_terms_of_all(seen):
    pairs = Pairs.find(of(alloys(2, seed=4)), ELEMENTS, R_MAX)
    some = np.array([0, 3, 17, 30])
    np.testing.assert_array_equal(seen[1].terms(pairs.select(some)), seen[1].terms(pairs)[some])


def test_arrays_say_the_same(seen):
    (atoms,) = alloys(1, seed=5)
    coverage = replace(seen[1], spread={"energy": 2.0, "forces": 0.5})
    again = Coverage.from_arrays(*coverage.to_arrays())
    np.testing.assert_array_equal(grades(again, atoms), grades(coverage, atoms))
    assert again.spread == coverage.spread


def test_ignorance_begins_where_a_grade_is_worth_a_look():
    terms = np.array([[0.0, 1.5], [2.0, 2.0], [2.8, 0.0], [10.0, 1.0], [1e9, 0.0]])
    np.testing.assert_allclose(ignorance(terms), [0, 0, 0.1, 1, 1])
    np.testing.assert_array_equal(ignorance(np.empty((3, 0))), 0)
