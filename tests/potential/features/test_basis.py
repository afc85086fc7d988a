"""Features against an explicit loop, directions against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import sph_harm_y

from etn.data.labels import VOIGT, voigt
from etn.errors import DataError, SettingsError
from etn.o3 import Irreps
from etn.potential import Basis, Dataset, Frame
from etn.potential.features.pairs import Pairs
from etn.testing import dense_leg

ELEMENTS = ("Cu", "Mo", "W")
BASIS = Basis(ELEMENTS, r_max=4.0, n_max=3, l_max=3, r_min=1.5, scale=1.7, smoothness=0.8)
CELLS = {
    "cluster": (np.zeros((3, 3)), (False, False, False)),
    "slab": (np.diag([3.1, 3.4, 20.0]), (True, True, False)),
    # Smaller than r_max: atoms see their own images, and neighbours through several images.
    "small": (np.array([[2.9, 0.2, 0.1], [0.0, 3.0, 0.3], [0.4, -0.1, 3.2]]), (True, True, True)),
}


def frame_of(kind, elements=ELEMENTS, *, name=""):
    cell, pbc = CELLS[kind]
    numbers = [{"Cu": 29, "Mo": 42, "W": 74}[elements[k % len(elements)]] for k in (0, 1, 2, 1)]
    positions = [[0.1, 0.0, 0.2], [1.5, 1.6, 0.1], [0.1, 1.5, 1.8], [1.6, 0.2, 1.7]]
    return Frame(numbers, positions, cell, pbc, name=name)


def real_harmonics(l, vector):
    """Orthonormal real harmonics of degree l, m = -l..l, from the complex ones of scipy."""
    x, y, z = vector / np.linalg.norm(vector)
    m = np.arange(l + 1)
    complex_ = sph_harm_y(l, m, np.arccos(z), np.arctan2(y, x)) * (-1.0) ** m
    sine = np.sqrt(2) * complex_.imag[:0:-1]
    cosine = np.sqrt(2) * complex_.real[1:]
    return np.concatenate([sine, complex_.real[:1], cosine])


def slow_features(basis, frame, elements):
    """(leg.dim, atoms) by loops over atoms, cells, elements, n and l."""
    reach = range(-4, 5)
    shifts = [
        np.array([a, b, c]) @ frame.cell
        for a in (reach if frame.pbc[0] else [0])
        for b in (reach if frame.pbc[1] else [0])
        for c in (reach if frame.pbc[2] else [0])
    ]
    leg = basis.leg
    out = np.zeros((leg.dim, frame.n_atoms))
    out[0] = 1.0
    for i in range(frame.n_atoms):
        for j, symbol in enumerate(frame.symbols):
            for shift in shifts:
                vector = frame.positions[j] + shift - frame.positions[i]
                r = np.linalg.norm(vector)
                if not 0 < r < basis.r_max:
                    continue
                g = basis.radial.compute(np.array([r]))[0][0]
                for l, ir in enumerate(leg.unique):
                    Y = real_harmonics(l, vector)
                    for n in range(basis.n_max):
                        copy = elements.index(symbol) * basis.n_max + n + (l == 0)
                        w = basis.scale / ((1 + n) * (1 + l)) ** basis.smoothness
                        out[leg.indices(ir)[copy], i] += w * g[n] * Y
    return out


def features(basis, frames):
    return basis.expand(Pairs.find(frames, basis.elements, basis.r_max)).values


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("elements", [("Mo",), ELEMENTS, ("W", "Cu", "Mo")], ids=str)
def test_features_are_the_explicit_sum(kind, elements):
    basis = replace(BASIS, elements=elements)
    frame = frame_of(kind, elements)
    expected = slow_features(basis, frame, elements)
    got = dense_leg(basis.leg, features(basis, [frame]))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_features_of_a_batch_stand_side_by_side():
    frames = [frame_of(kind) for kind in CELLS]
    together = features(BASIS, frames)
    apart = [features(BASIS, [frame]) for frame in frames]
    for ir, block in together.items():
        np.testing.assert_allclose(
            block, np.concatenate([a[ir] for a in apart], axis=2), rtol=0, atol=1e-13
        )


def dense_directions(basis, samples):
    """(rows, leg.dim, samples)"""
    return np.stack(
        [
            dense_leg(
                basis.leg,
                {ir: d[:, :, k].transpose(2, 0, 1) for ir, d in samples.directions.items()},
            )
            for k in range(samples.n_rows)
        ]
    )


def finite(function, h=1e-3):
    at = [function(t * h) for t in (-2, -1, 1, 2)]
    return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("elements", [("Mo",), ELEMENTS], ids=str)
def test_directions_are_finite_differences(kind, elements):
    basis = replace(BASIS, elements=elements)
    frame = frame_of(kind, elements)
    pairs = Pairs.find([frame], elements, basis.r_max)
    atoms = np.array([0, 2, 3])
    samples = basis.expand(pairs).samples(energy=True, force_atoms=atoms, strain=True)
    assert samples.n_sums == 1
    assert samples.n_rows == 1 + 9 + 6
    assert samples.n_samples == 4 + len(elements)
    rows = dense_directions(basis, samples)

    def leg(frame):
        return dense_leg(basis.leg, features(basis, [frame]))

    for k, atom in enumerate(atoms):
        for axis in range(3):

            def move(t, atom=atom, axis=axis):
                positions = frame.positions.copy()
                positions[atom, axis] += t
                return leg(replace(frame, positions=positions))

            expected = -finite(move)
            got = rows[1 + 3 * k + axis]
            scale = np.abs(expected).max()
            np.testing.assert_allclose(got[:, :4], expected, rtol=0, atol=1e-8 * scale)
            assert not got[:, 4:].any()
    for k, (a, b) in enumerate(VOIGT):

        def deform(t, a=a, b=b):
            strain = np.eye(3)
            strain[a, b] += t  # r_a changes by epsilon_ab r_b
            return leg(
                replace(frame, positions=frame.positions @ strain.T, cell=frame.cell @ strain.T)
            )

        expected = finite(deform, h=2e-4)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(rows[10 + k][:, :4], expected, rtol=0, atol=1e-7 * scale)
        assert not rows[10 + k][:, 4:].any()


def test_energy_rows_count_the_atoms_and_their_vacua():
    frames = [frame_of("cluster"), frame_of("small", ("Mo", "W", "Mo"))]
    pairs = Pairs.find(frames, ELEMENTS, BASIS.r_max)
    expansion = BASIS.expand(pairs)
    samples = expansion.samples(energy=True, force_atoms=np.empty(0, dtype=np.int64), strain=False)
    assert samples.n_rows == samples.n_sums == 2
    rows = dense_directions(BASIS, samples)
    legs = dense_leg(BASIS.leg, expansion.values)
    np.testing.assert_array_equal(rows[0, :, :4], legs[:, :4])
    np.testing.assert_array_equal(rows[1, :, 4:8], legs[:, 4:8])
    assert not rows[0, :, 4:8].any()
    assert not rows[1, :, :4].any()
    # The vacua: minus the number of atoms of Cu, Mo, W on the constant.
    np.testing.assert_array_equal(rows[0, 0, 8:], [-1, -2, -1])
    np.testing.assert_array_equal(rows[1, 0, 8:], [0, -2, -2])
    assert not rows[:, 1:, 8:].any()
    (start,) = samples.start.values()
    np.testing.assert_array_equal(start[:, 0, 8:], np.eye(3))
    np.testing.assert_array_equal(start[:, 0].argmax(0)[:8], pairs.element)


@pytest.mark.parametrize("kind", CELLS)
def test_forces_and_virial_contract_the_directions(kind, rng):
    frames = [frame_of(kind), frame_of(kind, ("W", "W", "Cu"))]
    pairs = Pairs.find(frames, ELEMENTS, BASIS.r_max)
    expansion = BASIS.expand(pairs)
    gradient = {ir: rng.normal(size=v.shape) for ir, v in expansion.values.items()}
    forces, strain = expansion.forces_and_virial(gradient)
    samples = expansion.samples(energy=False, force_atoms=np.arange(8), strain=True)
    rows = dense_directions(BASIS, samples)[:, :, :8]
    contracted = np.einsum("kds,ds->k", rows, dense_leg(BASIS.leg, gradient))
    np.testing.assert_allclose(forces.ravel(), contracted[:24], atol=1e-11)
    # Random gradients are not invariant, so the strain derivative is not symmetric.
    upper = [strain[f, a, b] for f in range(2) for a, b in VOIGT]
    np.testing.assert_allclose(upper, contracted[24:], atol=1e-11)


def test_selected_centers_have_the_same_features_and_directions():
    frame = frame_of("small")
    pairs = Pairs.find([frame], ELEMENTS, BASIS.r_max)
    chosen, atoms = np.array([1, 3]), np.array([0, 3])
    whole = BASIS.expand(pairs).samples(energy=False, force_atoms=atoms, strain=True)
    part = BASIS.expand(pairs.select(chosen)).samples(energy=False, force_atoms=atoms, strain=True)
    one, two = dense_directions(BASIS, whole), dense_directions(BASIS, part)
    np.testing.assert_allclose(two[:, :, :2], one[:, :, chosen], atol=1e-13)


def test_the_leg():
    assert BASIS.leg == Irreps("10x0e+9x1o+9x2e+9x3o")
    assert BASIS.start == Irreps("3x0e")
    values = features(BASIS, [frame_of("small")])
    np.testing.assert_array_equal(next(iter(values.values()))[0], 1.0)


def test_atoms_without_neighbours_carry_the_constant_alone():
    frame = Frame([29, 42], [[0, 0, 0], [50, 0, 0]], np.zeros((3, 3)), [False] * 3)
    leg = dense_leg(BASIS.leg, features(BASIS, [frame]))
    np.testing.assert_array_equal(leg[0], 1.0)
    assert not leg[1:].any()


def test_basis_of_a_data_set():
    data = Dataset([frame_of("small"), frame_of("cluster")])
    basis = Basis.for_dataset(data, r_max=4.0, n_max=2, l_max=1)
    assert basis.elements == ELEMENTS
    pairs = [Pairs.find([f], ELEMENTS, 4.0).distance for f in data]
    shortest = min(d.min() for d in pairs)
    assert basis.r_min == pytest.approx(0.9 * shortest, abs=5e-4)
    density = sum(map(len, pairs)) / 8 / (4 / 3 * np.pi * 4.0**3)
    assert basis.scale == pytest.approx(density**-0.5, rel=1e-3)


def test_frames_of_lone_atoms_have_no_basis():
    lone = Frame([29], [[0, 0, 0]], np.zeros((3, 3)), [False] * 3)
    with pytest.raises(DataError, match=r"no two atoms .* within r_max = 4.0"):
        Basis.for_dataset(Dataset([lone]), r_max=4.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elements": ()}, "elements: expected at least one"),
        ({"l_max": -1}, r"l_max: expected 0..12, got -1"),
        ({"l_max": 13}, r"l_max: expected 0..12, got 13"),
        ({"r_max": -1.0}, "r_max -1.0"),
        ({"n_max": 0}, "n_max: expected at least 1"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(SettingsError, match=message):
        Basis(**{"elements": ("Mo",), **options})


def test_voigt_takes_the_symmetric_part(rng):
    matrix = rng.normal(size=(5, 3, 3))
    xx, yy, zz, yz, xz, xy = np.moveaxis(voigt(matrix), -1, 0)
    np.testing.assert_allclose(np.stack([xx, yy, zz], -1), np.einsum("kii->ki", matrix))
    np.testing.assert_allclose(yz, (matrix[:, 1, 2] + matrix[:, 2, 1]) / 2)
    np.testing.assert_allclose(xz, (matrix[:, 0, 2] + matrix[:, 2, 0]) / 2)
    np.testing.assert_allclose(xy, (matrix[:, 0, 1] + matrix[:, 1, 0]) / 2)
