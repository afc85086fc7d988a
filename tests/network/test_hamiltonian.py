"""Spin Hamiltonians against Kronecker products of textbook matrices."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError
from etn.network import aklt, bilinear_biquadratic, heisenberg, pair_sum
from etn.network.hamiltonian import pair_coefficients
from etn.network.operator import operator_basis
from etn.o3 import Irrep, Irreps


def spin_matrices(spin):
    """S_x, S_y, S_z on the states m = spin .. -spin."""
    m = np.arange(spin, -spin - 1, -1)
    raising = np.diag(np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), 1)
    return [(raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m)]


def to_real(spin):
    """Rows: the real states m = -l .. l in the states m = l .. -l, as for real harmonics."""
    rows = np.zeros((2 * spin + 1, 2 * spin + 1), dtype=complex)
    rows[spin, spin] = 1
    for m in range(1, spin + 1):
        up, down = spin - m, spin + m
        rows[spin + m, up], rows[spin + m, down] = (-1) ** m / math.sqrt(2), 1 / math.sqrt(2)
        rows[spin - m, up], rows[spin - m, down] = -1j * (-1) ** m / math.sqrt(2), 1j / math.sqrt(2)
    return rows


def pair_function(spin, f):
    """f(S · S') on two sites."""
    product = sum(np.kron(s, s) for s in spin_matrices(spin))
    values, vectors = np.linalg.eigh(product)
    return (vectors * f(values.round(9))) @ vectors.conj().T


def dense_sum(n_sites, spin, f, strength):
    """Sum over pairs of strength(distance) f(S_i · S_j), in the real basis."""
    dim = 2 * spin + 1
    u = to_real(spin)
    both = np.kron(u, u)
    pair = both.conj() @ pair_function(spin, f) @ both.T
    assert np.abs(pair.imag).max() < 1e-12
    pair = pair.real.reshape([dim] * 4)
    total = np.zeros((dim**n_sites,) * 2)
    for i, j in combinations(range(n_sites), 2):
        if strength(j - i):
            rest = np.eye(dim ** (n_sites - 2)).reshape([dim] * (2 * n_sites - 4))
            full = np.tensordot(strength(j - i) * pair, rest, axes=0)
            # Axes: (i', j', i, j, others', others)
            others = [k for k in range(n_sites) if k not in (i, j)]
            at = [i, j, i + n_sites, j + n_sites, *others, *(k + n_sites for k in others)]
            total += full.transpose(np.argsort(at)).reshape(total.shape)
    return total


def nearest(r):
    return float(r == 1)


@pytest.mark.parametrize("spin", [1, 2, 3])
def test_pair_coefficients_give_the_projectors(spin):
    energies = np.random.default_rng(spin).normal(size=2 * spin + 1)
    u = to_real(spin)
    both = np.kron(u, u)
    values = {J: J * (J + 1) / 2 - spin * (spin + 1) for J in range(2 * spin + 1)}

    def energy(x):
        return sum(e * np.isclose(x, values[J]) for J, e in enumerate(energies))

    expected = (both.conj() @ pair_function(spin, energy) @ both.T).real
    basis = operator_basis(Irreps([(1, Irrep(spin, 1))])).to_dense()
    found = np.zeros_like(expected)
    at = 0
    for k, c in pair_coefficients(spin, energies).items():
        for q in range(at, at + 2 * k + 1):
            found += c * np.kron(basis[..., q], basis[..., q])
        at += 2 * k + 1
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("spin", "n_sites"), [(1, 2), (1, 3), (1, 5), (2, 2), (2, 3), (3, 3)])
def test_heisenberg(spin, n_sites):
    found = heisenberg(n_sites, spin=spin, coupling=-0.7).to_dense()
    np.testing.assert_allclose(
        found, -0.7 * dense_sum(n_sites, spin, lambda x: x, nearest), atol=1e-11
    )


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.5, 0.9, 1.25, 1.7])
def test_bilinear_biquadratic(angle):
    a, b = math.cos(math.pi * angle), math.sin(math.pi * angle)
    found = bilinear_biquadratic(4, bilinear=a, biquadratic=b).to_dense()
    expected = dense_sum(4, 1, lambda x: a * x + b * x**2, nearest)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_biquadratic_of_spin_two():
    found = bilinear_biquadratic(3, bilinear=0.3, biquadratic=-0.2, spin=2).to_dense()
    np.testing.assert_allclose(
        found, dense_sum(3, 2, lambda x: 0.3 * x - 0.2 * x**2, nearest), atol=1e-11
    )


def test_aklt():
    found = aklt(4).to_dense()
    np.testing.assert_allclose(found, dense_sum(4, 1, lambda x: x + x**2 / 3, nearest), atol=1e-12)
    values = np.linalg.eigvalsh(found)
    np.testing.assert_allclose(values[:4], -2, atol=1e-12)
    assert values[4] > -1.8


@pytest.mark.parametrize("f", [lambda x: x, lambda x: 0.4 * x + x**2], ids=["S·S", "with rank 0"])
@pytest.mark.parametrize(
    ("distances", "decays"),
    [
        ([0.0, 1.0], []),
        ([1.0, -0.5, 0.25], []),
        ([], [(1.0, 0.5)]),
        ([], [(0.7, 0.9), (-1.3, -0.4)]),
        ([0.3, 0.2], [(1.0, 0.5), (0.5, 0.1)]),
        ([1, 2, 3, 4, 5, 6, 7, 8], []),
    ],
    ids=str,
)
def test_long_ranges(distances, decays, f):
    def strength(r):
        finite = distances[r - 1] if r <= len(distances) else 0.0
        return finite + sum(a * ratio ** (r - 1) for a, ratio in decays)

    energies = [f(J * (J + 1) / 2 - 2) for J in range(3)]
    found = pair_sum(5, energies, distances=distances, decays=decays)
    np.testing.assert_allclose(found.to_dense(), dense_sum(5, 1, f, strength), atol=1e-11)


def test_a_power_law_as_a_sum_of_exponentials():
    n_sites, r = 6, np.arange(1, 6)
    ratios = np.array([0.05, 0.2, 0.45, 0.7, 0.9])
    amplitudes = np.linalg.solve(ratios[None] ** (r[:, None] - 1), r**-3.0)
    operator = pair_sum(
        n_sites,
        [-2, -1, 1],
        distances=(),
        decays=[(float(a), float(x)) for a, x in zip(amplitudes, ratios, strict=True)],
    )
    assert operator.chain.bonds[2] == Irreps("2x0e+5x1e")
    expected = dense_sum(n_sites, 1, lambda x: x, lambda r: r**-3.0)
    np.testing.assert_allclose(operator.to_dense(), expected, atol=1e-10)


def test_bonds_grow_with_ranks_and_ranges_only():
    assert set(heisenberg(9).chain.bonds) == {Irreps("2x0e+1x1e")}
    assert set(aklt(9).chain.bonds) == {Irreps("2x0e+1x1e+1x2e")}
    assert set(heisenberg(5, spin=3).chain.bonds) == {Irreps("2x0e+1x1e")}
    wide = pair_sum(9, [-2, -1, 1], distances=[1, 1], decays=[(1, 0.5)])
    assert set(wide.chain.bonds) == {Irreps("2x0e+3x1e")}


def test_equal_sites_share_one_core():
    assert len({id(core) for core in heisenberg(50).chain}) == 3
    assert len({id(core) for core in aklt(50).chain}) == 3


def test_a_constant_interaction_is_a_number():
    constant = pair_sum(4, [0.5, 0.5, 0.5])
    np.testing.assert_allclose(constant.to_dense(), 1.5 * np.eye(81), atol=1e-13)
    assert not pair_sum(3, [0, 0, 0]).to_dense().any()


def test_errors():
    with pytest.raises(CoreError, match="at least 2 sites, got 1"):
        heisenberg(1)
    with pytest.raises(CoreError, match="strengths in distances or decays, got neither"):
        pair_sum(4, [-2, -1, 1], distances=())
    with pytest.raises(IrrepsError, match=r"J = 0\.\.2 spin, got spin 1 and 2 energies"):
        pair_sum(4, [0, 1])
    for spin in (0, 0.5, 1.5):
        with pytest.raises(IrrepsError, match=f"expected an integer spin .* got spin {spin}"):
            heisenberg(4, spin=spin)


def test_numbers_of_every_type_are_spins_and_lengths():
    same = heisenberg(4).to_dense()
    for spin, n in ((1.0, 4), (np.int64(1), np.int64(4)), (np.float64(1), 4)):
        np.testing.assert_array_equal(heisenberg(n, spin=spin).to_dense(), same)
    for spin in (0.5, 0, -1, 1j, "1", np.nan, np.inf, None, np.float64(1.5)):
        with pytest.raises(IrrepsError, match="expected an integer spin of at least 1, got"):
            heisenberg(4, spin=spin)
    for n in (1, 2.5, "4", None):
        with pytest.raises(CoreError, match="expected at least 2 sites, got"):
            heisenberg(n)
