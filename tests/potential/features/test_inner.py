"""The inner end of the data: what it leaves alone, and what is smooth and bounded beyond it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.data import covalent_radii
from ase.formula import Formula

from etn.data import Dataset, Frame
from etn.errors import SettingsError
from etn.potential import Basis
from etn.potential.features.inner import (
    BEGIN,
    END,
    MARGIN,
    MIXED,
    REST,
    WALL,
    Inner,
    elements_of,
)
from etn.potential.features.pairs import Pairs
from etn.potential.features.radial import Radial

ELEMENTS = ("H", "C", "O")
R_MAX = 4.0


def molecule(numbers, positions):
    return Frame(numbers, positions, np.zeros((3, 3)), [False] * 3)


@pytest.fixture(scope="module")
def data():
    """C-H at 1.0 to 1.2 Å, mostly 1.1; carbon and oxygen at 3 Å; hydrogen and oxygen far."""
    frames = []
    for bond in (1.0, 1.1, 1.1, 1.1, 1.2):
        positions = np.array([[0, 0, 0], [0, 0, bond], [0, 0, -3.0]])
        frames.append(molecule([6, 1, 8], positions))
    return Dataset(frames)


@pytest.fixture(scope="module")
def inner(data):
    return Inner.of(data, ELEMENTS, R_MAX)


def test_distances_of_the_data_by_hand(inner):
    expected = np.full((3, 3), np.inf)
    expected[0, 1] = expected[1, 0] = 1.0
    expected[1, 2] = expected[2, 1] = 3.0
    np.testing.assert_array_equal(inner.closest, expected)
    # As far below as the data reach from the usual distance, 1.1 Å; at 3 Å they reach nowhere.
    assert inner.onset[0, 1] == pytest.approx(0.9)
    assert inner.onset[1, 2] == pytest.approx(3.0)
    assert inner.onset[0, 2] == np.inf


def test_deep_in_the_repulsion_nothing_below_the_data_is_trusted():
    frames = [molecule([1, 1], [[0, 0, 0], [0, 0, r]]) for r in (1.0, 1.5, 1.5)]
    assert Inner.of(Dataset(frames), ("H",), R_MAX).onset == 1.0
    frames = [molecule([1, 1], [[0, 0, 0], [0, 0, r]]) for r in (1.0, 1.1, 1.24, 1.24, 1.24)]
    assert Inner.of(Dataset(frames), ("H",), R_MAX).onset == pytest.approx(0.8 * 1.24)


def test_crowding_of_the_data_is_at_most_one_and_reaches_it(data, inner):
    largest = np.zeros((3, 3))
    for frame in data:
        pairs = Pairs.find([frame], ELEMENTS, R_MAX)
        crowd = inner.crowd(pairs)
        assert not crowd.is_beyond
        np.maximum.at(largest, pairs.element, crowd.parts)
    bonded = inner.closest == 1.0
    np.testing.assert_allclose(largest[bonded], 1.0)
    np.testing.assert_array_equal(largest[np.isinf(inner.closest)], 0.0)
    # Carbon and oxygen met at 3 Å alone: one neighbour at half the radius counts as data.
    ratio = (1 - 3.0 / R_MAX) ** 3 / ((3.0 / 2.0) ** 4 * (1 - 2.0 / R_MAX) ** 3)
    assert largest[1, 2] == pytest.approx(ratio)


def test_crowding_by_hand(inner):
    z = np.array([0.8, -0.9, 2.0])
    frame = molecule([6, 1, 1, 8], [[0, 0, 0], *np.outer(z, [0, 0, 1])])
    crowd = inner.crowd(Pairs.find([frame], ELEMENTS, R_MAX))

    def count(c, r):
        return (c / r) ** 4 * (1 - r / R_MAX) ** 3

    hydrogen = (count(1.0, 0.8) + count(1.0, 0.9)) / count(1.0, 1.0)
    oxygen = count(3.0, 2.0) / count(3.0, R_MAX / 2)
    np.testing.assert_allclose(crowd.parts[0], [hydrogen, 0.0, oxygen])
    assert crowd.x[0] == pytest.approx((hydrogen**8 + oxygen**8) ** (1 / 8))
    # Hydrogen and oxygen never met: one neighbour at the covalent distance counts as one.
    covalent = covalent_radii[1] + covalent_radii[8]
    assert crowd.parts[3, 0] == pytest.approx(sum(count(covalent, r) for r in (1.2, 2.9)))


def alloy(elements, seed, n_frames):
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n_frames):
        atoms = bulk("Cu", a=3.7, cubic=True) * (2, 1, 1)
        atoms.symbols = rng.choice(elements, len(atoms))
        atoms.rattle(0.1, rng=rng)
        frames.append(Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
    return frames


@pytest.mark.parametrize(("elements", "n_frames"), [("CuAu", 5), ("CuAuAgNiPd", 15)])
def test_a_few_frames_of_an_alloy_do_not_wall_in_the_next_ones(elements, n_frames):
    symbols = Formula(elements).count()
    inner = Inner.of(Dataset(alloy([*symbols], 0, n_frames)), tuple(symbols), 4.5)
    crowd = inner.crowd(Pairs.find(alloy([*symbols], 1, 60), inner.elements, 4.5))
    assert crowd.x.max() < BEGIN
    # Nor do they leave it open: squeezed to half of the volume every atom meets the wall.
    squeezed = [
        Frame(f.numbers, f.positions * 0.5 ** (1 / 3), f.cell * 0.5 ** (1 / 3), f.pbc)
        for f in alloy([*symbols], 1, 20)
    ]
    x = inner.crowd(Pairs.find(squeezed, inner.elements, 4.5)).x
    assert (x > BEGIN).mean() > 0.9


def test_elements_that_met_at_the_end_of_the_radius_alone_meet_no_cliff():
    positions = np.array([[0, 0, 0], [0, 0, 2.5]])
    frames = [Frame([z, z], positions, np.zeros((3, 3)), [False] * 3) for z in (29, 79)]
    apart = [[0, 0, 0], [0, 0, R_MAX - 1e-9]]
    inner = Inner.of(Dataset([*frames, molecule([29, 79], apart)]), ("Cu", "Au"), R_MAX)
    near = inner.crowd(Pairs.find([molecule([29, 79], positions)], inner.elements, R_MAX))
    assert near.x.max() < END
    # They count as if they stood at the sum of their covalent radii, and so does their limit.
    end = covalent_radii[29] + covalent_radii[79]
    own = (1 - 2.5 / R_MAX) ** 3
    limit = MIXED * own * ((R_MAX - 1e-9) / end) ** 4
    assert inner.fullest[0, 1] == pytest.approx(limit, rel=1e-6)


def test_atoms_of_a_molecule_that_met_at_the_end_of_the_radius_alone_meet_no_wall():
    """A conformer in which two of its atoms come nearer than in those of the data."""
    frames = [
        molecule([7, 1, 8, 1], [[0, 0, 0], [0, 0, -1.0], [0, 0, r], [0, 0, r + 0.97]])
        for r in (3.98, 3.99)
    ]
    inner = Inner.of(Dataset(frames), ("H", "N", "O"), R_MAX)
    for r in (2.1, 2.5, 3.0, 3.5):
        near = molecule([7, 8], [[0, 0, 0], [0, 0, r]])
        assert inner.crowd(Pairs.find([near], inner.elements, R_MAX)).x.max() < BEGIN
    bonded = molecule([7, 8], [[0, 0, 0], [0, 0, 1.4]])
    assert inner.crowd(Pairs.find([bonded], inner.elements, R_MAX)).x.max() > END


def test_what_does_not_bond_mixes_with_nothing():
    """The oxygen atoms of carbon dioxide stand 2.3 Å apart: no more of them than in the data."""
    frame = molecule([8, 6, 8], [[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
    inner = Inner.of(Dataset([frame]), ("C", "O"), 5.0)
    assert inner.fullest[1, 1] == pytest.approx((1 - 2.32 / 5.0) ** 3)


@pytest.mark.parametrize(("one", "two"), [(0, 1), (1, 2), (0, 2)])
def test_radial_functions_are_those_of_the_polynomials_from_the_onset_outwards(inner, one, two):
    radial = Radial(5, 0.8, R_MAX)
    r = np.linspace(0.3, 3.9, 400)
    z = [1, 6, 8]
    frames = [molecule([z[one], z[two]], [[0, 0, 0], [0, 0, x]]) for x in r]
    pairs = Pairs.find(frames, ELEMENTS, R_MAX)
    g, dg = inner.radial_functions(radial, pairs)
    plain, dplain = radial.compute(pairs.distance)
    beyond = pairs.distance >= inner.onset[elements_of(pairs)]
    np.testing.assert_array_equal(g[beyond], plain[beyond])
    np.testing.assert_array_equal(dg[beyond], dplain[beyond])
    if np.isinf(inner.closest[one, two]):
        np.testing.assert_array_equal(g, 0.0)
        return
    # Bounded by what the polynomials are within the length of rest, and at rest from there.
    c, onset = inner.closest[one, two], inner.onset[one, two]
    near = radial.compute(np.linspace(onset - REST * c, onset, 200))[0]
    assert np.abs(g[~beyond]).max() <= np.abs(near).max()
    resting = pairs.distance <= onset - REST * c
    np.testing.assert_allclose(dg[resting], 0.0, atol=1e-12)
    np.testing.assert_allclose(
        g[resting], np.tile(radial.compute(np.array([onset - REST * c / 2]))[0], (resting.sum(), 1))
    )


def test_the_continuation_is_smooth_to_the_second_derivative(inner):
    onset, c = inner.onset[0, 1], inner.closest[0, 1]
    for at in (onset, onset - REST * c):
        h = 1e-4
        r = at + h * np.array([-2.0, -1.0, 1.0, 2.0])
        s, slope = inner.continue_inwards(r, *np.array([[0], [1]]).repeat(4, axis=1))
        np.testing.assert_allclose(
            np.diff(s)[[0, 2]] / h, (slope[[0, 2]] + slope[[1, 3]]) / 2, atol=1e-6
        )
        # Left and right second derivatives agree: both are zero at the ends.
        np.testing.assert_allclose(np.diff(slope)[[0, 2]] / h, 0.0, atol=1e3 * h)
    assert MARGIN + REST < 0.5


def test_the_wall_takes_over_smoothly_and_its_slopes_are_its_derivatives(inner, rng):
    r = np.linspace(0.55, 1.0, 60)
    energies = np.full(60, -7.0)

    def total(r):
        frames = [molecule([6, 1, 8], [[0, 0, 0], [0, 0, x], [0, 0, -3]]) for x in r]
        pairs = Pairs.find(frames, ELEMENTS, R_MAX)
        crowd = inner.crowd(pairs)
        carbon = np.flatnonzero(pairs.element[pairs.sample] == 1)
        values, by_x = crowd.blend(np.full(pairs.n_samples, -7.0))
        slopes = crowd.pull_back(by_x)
        here = (pairs.element[pairs.sample[pairs.center]] == 1) & (
            pairs.element[pairs.neighbor] == 0
        )
        return values[carbon], slopes[here], crowd.x[carbon], crowd.share[carbon]

    values, slopes, x, share = total(r)
    np.testing.assert_array_equal(values[x <= BEGIN], energies[x <= BEGIN])
    np.testing.assert_allclose(values[x >= END], WALL * np.sqrt(x[x >= END] / END))
    assert (np.diff(values[x > BEGIN]) < 0).all()
    assert ((share >= 0) & (share <= 1)).all()
    h = 1e-5
    finite = (total(r + h)[0] - total(r - h)[0]) / (2 * h)
    np.testing.assert_allclose(slopes, finite, atol=1e-5 * np.abs(finite).max())


def test_what_is_no_end_of_data_is_refused(inner):
    with pytest.raises(SettingsError, match="expected closest as a table of 3 times 3"):
        replace(inner, closest=np.ones((2, 2)))
    with pytest.raises(SettingsError, match="expected onset"):
        replace(inner, onset=np.triu(np.ones((3, 3))))
    with pytest.raises(SettingsError, match="expected fullest"):
        replace(inner, fullest=np.zeros((3, 3)))
    with pytest.raises(SettingsError, match="inner: expected the end of data of C, H"):
        Basis(("C", "H"), r_max=R_MAX, inner=inner)


def test_files_keep_it(inner):
    again = Inner.from_arrays(ELEMENTS, R_MAX, inner.to_arrays())
    assert again == inner
    assert hash(again) == hash(inner)
    assert all(np.isfinite(table).all() for table in inner.to_arrays().values())
    assert again != replace(inner, r_max=5.0)
    assert inner != 3


def test_a_basis_is_informed_once(data):
    basis = Basis.for_dataset(data, r_max=R_MAX, n_max=3, l_max=1)
    assert basis.inner == Inner.of(data, basis.elements, R_MAX)
    header, arrays = basis.to_arrays()
    assert "inner" not in header
    assert Basis.from_arrays(header, arrays).inner == basis.inner


def test_the_usual_distance_is_that_of_the_atoms_that_are_bound(rng):
    """One nitrogen of three has a hydrogen, and one hydrogen of four a nitrogen."""
    bonds, frames = 1.0 + 0.04 * rng.uniform(-1, 1, size=40), []
    far = [[4.0, 0, 0], [4.0, 1.1, 0], [4.0, 0, 1.1], [4.0, 0, -1.1]]
    for bond in bonds:
        positions = [[0, 0, 0], [0, 0, bond], [0, 2.8, 0], [0, -2.8, 0], *far]
        frames.append(Frame([7, 1, 7, 7, 6, 1, 1, 1], positions, np.zeros((3, 3)), [False] * 3))
    inner = Inner.of(Dataset(frames), ("H", "C", "N"), 5.0)
    closest, usual = bonds.min(), np.median(bonds)
    assert inner.closest[0, 2] == pytest.approx(closest)
    assert inner.onset[0, 2] == pytest.approx(2 * closest - usual)
