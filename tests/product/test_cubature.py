"""Cubature rules against integrals of monomials, which are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.errors import IrrepsError, SettingsError
from etn.product.cubature import cubature


def integral(a, b, c):
    """Of x^a y^b z^c over the unit sphere (Folland, Amer. Math. Monthly 108, 446 (2001))."""
    if a % 2 or b % 2 or c % 2:
        return 0.0
    betas = [math.gamma((n + 1) / 2) for n in (a, b, c)]
    return 2.0 * math.prod(betas) / math.gamma((a + b + c + 3) / 2)


def worst(rule, degree):
    """Largest error over the monomials of one degree."""
    x, y, z = rule.points.T[:, None] ** np.arange(degree + 1)[:, None]
    monomials = [(a, b, degree - a - b) for a in range(degree + 1) for b in range(degree + 1 - a)]
    return max(
        abs(rule.weights @ (x[a] * y[b] * z[c]) - integral(a, b, c)) for a, b, c in monomials
    )


SIZES = {0: 1, 2: 4, 3: 6, 5: 12, 6: 18, 8: 28, 9: 32, 11: 48, 12: 58, 14: 72, 15: 82, 17: 104}


@pytest.mark.parametrize(("degree", "size"), [*SIZES.items(), (18, 122)])
def test_compact_rules(degree, size):
    rule = cubature(degree)
    assert len(rule.weights) == size
    assert np.linalg.norm(rule.points, axis=1) == pytest.approx(np.ones(size), abs=1e-15)
    assert max(worst(rule, t) for t in range(degree + 1)) < 1e-13
    # A rule of its size has its degree and not much more.
    assert max(worst(rule, t) for t in range(degree + 1, degree + 4)) > 1e-6


@pytest.mark.parametrize(("degree", "size"), [(3, 6), (12, 74), (14, 86), (21, 170)])
def test_lebedev_rules(degree, size):
    rule = cubature(degree, "lebedev")
    assert len(rule.weights) == size
    assert max(worst(rule, t) for t in range(degree + 1)) < 1e-13


@pytest.mark.parametrize("degree", range(1, 24))
def test_compact_is_never_the_larger_one_from_where_it_is_used(degree):
    needed = degree % 3 != 1  # 3 l and 3 l - 1
    if needed:
        assert len(cubature(degree).weights) <= len(cubature(degree, "lebedev").weights)


def test_rules_are_cached_and_read_only():
    assert cubature(6).points is cubature(6).points
    with pytest.raises(ValueError, match="read-only"):
        cubature(6).points[0] = 0.0


def test_wrong_arguments():
    with pytest.raises(SettingsError, match="at most 131"):
        cubature(132)
    with pytest.raises(SettingsError, match="compact or lebedev"):
        cubature(3, "gauss")
    with pytest.raises(IrrepsError, match="degree"):
        cubature(-1)
