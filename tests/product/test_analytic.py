"""Analytic decompositions: exact, small, and those of Gaunt integrals and of the bracket."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from etn.errors import IrrepsError, SettingsError
from etn.o3 import irreps_d, rotation_matrix
from etn.product.analytic import analytic_decomposition, bracket_factors, gaunt_factors
from etn.product.fusion import fused_cg


def dense(factors):
    return np.einsum("kr,ir,jr->kij", *factors)


def test_gaunt_integrals_of_sympy():
    wigner = pytest.importorskip("sympy.physics.wigner")
    G = dense(gaunt_factors(2))
    harmonics = [(l, m) for l in range(3) for m in range(-l, l + 1)]
    for (k, a), (i, b), (j, c) in itertools.combinations_with_replacement(enumerate(harmonics), 3):
        expected = float(wigner.real_gaunt(a[0], b[0], c[0], a[1], b[1], c[1]))
        assert G[k, i, j] == pytest.approx(expected, abs=1e-14)


def test_sizes_of_gaunt_coefficients():
    """Their size is sqrt((2 l1 + 1)(2 l2 + 1)(2 l3 + 1) / 4 pi) times the 3j symbol of m = 0."""
    wigner = pytest.importorskip("sympy.physics.wigner")
    target = fused_cg(4, parity="even")
    found = target.project(dense(gaunt_factors(4)))
    for path, value in zip(target.paths, found, strict=True):
        ls = (path.out, *path.ins)
        size = math.prod(2 * l + 1 for l in ls) / (4 * math.pi)
        symbol = float(wigner.wigner_3j(*ls, 0, 0, 0))
        assert abs(value) == pytest.approx(math.sqrt(size) * abs(symbol), rel=1e-12)


def test_bracket_with_a_vector_is_an_infinitesimal_rotation():
    """{n.r, B} = dB(R(phi) r)/dphi at 0, up to the sign of the axis: matrices, no gradients."""
    l_max, step = 3, 1e-5
    B = dense(bracket_factors(l_max))
    irreps = fused_cg(l_max, parity="even").out
    norm = math.sqrt(3 / (4 * math.pi))
    for i, axis in ((1, [0, 1, 0]), (2, [0, 0, 1]), (3, [1, 0, 0])):  # l = 1 is (y, z, x)
        forward, back = (irreps_d(irreps, rotation_matrix(axis, s * step)) for s in (1, -1))
        # Y_j(R r) = sum_k D[j, k] Y_k(r), and r x n is minus the velocity of a turn about n.
        slope = -norm * (forward - back) / (2 * step)
        assert pytest.approx(slope, abs=1e-8) == B[:, i, :].T


def test_bracket_of_two_vectors_by_hand():
    # {x, y} = z, with a factor sqrt(3 / 4 pi) for each harmonic and one taken back for Y_z.
    B = dense(bracket_factors(1))
    y, z, x = 1, 2, 3
    assert B[z, x, y] == pytest.approx(math.sqrt(3 / (4 * math.pi)), abs=1e-14)
    assert B[z, y, x] == pytest.approx(-math.sqrt(3 / (4 * math.pi)), abs=1e-14)


@pytest.mark.parametrize("parity", ["even", "none"])
@pytest.mark.parametrize("rule", ["compact", "lebedev"])
@pytest.mark.parametrize("l_max", range(7))
def test_decompositions_are_exact_and_even(l_max, rule, parity):
    cp = analytic_decomposition(l_max, parity, rule)
    alpha = cp.target.coefficients
    projected = cp.target.project(cp.dense())
    rest = cp.dense() - cp.target.with_coefficients(projected).dense()
    assert np.linalg.norm(rest) <= 1e-12 * np.linalg.norm(cp.dense())
    assert projected == pytest.approx(alpha, abs=1e-13)
    assert len(alpha) == len(fused_cg(l_max, parity=parity).paths)
    assert alpha.min() > 0.79
    assert alpha.max() < 1.15


LIMITS = {  # of points alone, l_max = 1 ... 6, with three terms a point for all paths
    "even": (6, 26, 38, 74, 86, 146),
    "none": (18, 78, 114, 222, 258, 438),
}


@pytest.mark.parametrize("parity", ["even", "none"])
def test_ranks(parity):
    compact = [analytic_decomposition(l, parity).cp_rank for l in range(1, 7)]
    lebedev = [analytic_decomposition(l, parity, "lebedev").cp_rank for l in range(1, 7)]
    assert all(a <= b <= c for a, b, c in zip(compact, lebedev, LIMITS[parity], strict=True))
    if parity == "even":
        assert lebedev == list(LIMITS["even"])


def test_beyond_the_compact_rules():
    cp = analytic_decomposition(8)
    assert cp.relative_error < 1e-13
    assert cp.target.coefficients.min() > 0.7


@pytest.mark.parametrize("parity", ["even", "none"])
def test_products_turn_with_their_inputs(parity, orthogonal, rng):
    cp = analytic_decomposition(4, parity)
    D = irreps_d(cp.target.out, orthogonal)
    x, y = rng.normal(size=(2, cp.target.out.dim))
    assert cp(D @ x, D @ y) == pytest.approx(D @ cp(x, y), abs=1e-12)


def test_method_is_recorded():
    assert analytic_decomposition(2, rule="lebedev").method == "analytic, lebedev cubature"


def test_wrong_arguments():
    with pytest.raises(SettingsError, match="none or even"):
        analytic_decomposition(2, "odd")
    with pytest.raises(IrrepsError, match="l_max"):
        bracket_factors(0)
    with pytest.raises(SettingsError, match="at most 131"):
        gaunt_factors(44)
