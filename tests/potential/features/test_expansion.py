"""Features against an explicit loop, directions against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import sph_harm_y

from etn.data.stress import VOIGT
from etn.potential import Frame
from etn.potential.features.pairs import Pairs
from etn.testing import dense_leg

ELEMENTS = ("Cu", "Mo", "W")
KINDS = ("cluster", "slab", "small")


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("elements", [("Mo",), ELEMENTS, ("W", "Cu", "Mo")], ids=str)
def test_features_are_the_explicit_sum(kind, elements, frame_of, basis):
    basis = replace(basis, elements=elements)
    frame = frame_of(kind, elements)
    expected = slow_features(basis, frame, elements)
    got = dense_leg(basis.leg, features(basis, [frame]))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_features_of_a_batch_stand_side_by_side(frame_of, basis):
    frames = [frame_of(kind) for kind in KINDS]
    together = features(basis, frames)
    apart = [features(basis, [frame]) for frame in frames]
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("elements", [("Mo",), ELEMENTS], ids=str)
def test_directions_are_finite_differences(kind, elements, frame_of, basis):
    basis = replace(basis, elements=elements)
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


def test_energy_rows_count_the_atoms_and_their_vacua(frame_of, basis):
    frames = [frame_of("cluster"), frame_of("small", ("Mo", "W", "Mo"))]
    pairs = Pairs.find(frames, ELEMENTS, basis.r_max)
    expansion = basis.expand(pairs)
    samples = expansion.samples(energy=True, force_atoms=np.empty(0, dtype=np.int64), strain=False)
    assert samples.n_rows == samples.n_sums == 2
    rows = dense_directions(basis, samples)
    legs = dense_leg(basis.leg, expansion.values)
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


@pytest.mark.parametrize("kind", KINDS)
def test_forces_and_virial_contract_the_directions(kind, rng, frame_of, basis):
    frames = [frame_of(kind), frame_of(kind, ("W", "W", "Cu"))]
    pairs = Pairs.find(frames, ELEMENTS, basis.r_max)
    expansion = basis.expand(pairs)
    gradient = {ir: rng.normal(size=v.shape) for ir, v in expansion.values.items()}
    forces, strain = expansion.forces_and_virial(gradient)
    samples = expansion.samples(energy=False, force_atoms=np.arange(8), strain=True)
    rows = dense_directions(basis, samples)[:, :, :8]
    contracted = np.einsum("kds,ds->k", rows, dense_leg(basis.leg, gradient))
    np.testing.assert_allclose(forces.ravel(), contracted[:24], atol=1e-11)
    # Random gradients are not invariant, so the strain derivative is not symmetric.
    upper = [strain[f, a, b] for f in range(2) for a, b in VOIGT]
    np.testing.assert_allclose(upper, contracted[24:], atol=1e-11)


def test_selected_centers_have_the_same_features_and_directions(frame_of, basis):
    frame = frame_of("small")
    pairs = Pairs.find([frame], ELEMENTS, basis.r_max)
    chosen, atoms = np.array([1, 3]), np.array([0, 3])
    whole = basis.expand(pairs).samples(energy=False, force_atoms=atoms, strain=True)
    part = basis.expand(pairs.select(chosen)).samples(energy=False, force_atoms=atoms, strain=True)
    one, two = dense_directions(basis, whole), dense_directions(basis, part)
    np.testing.assert_allclose(two[:, :, :2], one[:, :, chosen], atol=1e-13)


def test_atoms_without_neighbours_carry_the_constant_alone(basis):
    frame = Frame([29, 42], [[0, 0, 0], [50, 0, 0]], np.zeros((3, 3)), [False] * 3)
    leg = dense_leg(basis.leg, features(basis, [frame]))
    np.testing.assert_array_equal(leg[0], 1.0)
    assert not leg[1:].any()
