r"""Cubature on the sphere: points and weights exact for polynomials up to a degree.

.. math:: \sum_p w_p\, f(r_p) = \int_{S^2} f \, d\Omega \qquad \text{for all } f
    \text{ of degree} \le t

Lebedev's rules have full octahedral symmetry, which takes more points than needed: a free point
has a weight and two angles against (t+1)^2 conditions, so (t+1)^2 / 3 points are about the least.
Rules with less symmetry come close to it at low degree.  They are solved for here: on orbits of a
point group only its invariant harmonics are left as conditions (Sobolev 1962; McLaren, Math. Comp.
17, 361 (1963)), and the few unknowns follow from least squares.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.o3 import spherical_harmonics, spherical_harmonics_with_gradients
from etn.o3.irrep import as_int
from etn.product.point_groups import CORNER, POLE, VERTEX, images, point_group

__all__ = ["Cubature", "cubature"]

TOLERANCE = 1e-13
ATTEMPTS = 40


class Cubature(NamedTuple):
    """A rule on the unit sphere.

    Attributes
    ----------
    points : (n, 3) ndarray
        Unit vectors.
    weights : (n,) ndarray
        Their sum is 4 pi.
    """

    points: FloatArray
    weights: FloatArray


class _Orbits(NamedTuple):
    """A rule as orbits of a group: free ones, and those of given directions."""

    group: str
    order: int
    free: int
    fixed: tuple[tuple[tuple[float, float, float], int], ...]  # direction, size of its orbit
    seed: int = 0  # the first that leads to a rule

    @property
    def size(self) -> int:
        return self.order * self.free + sum(size for _, size in self.fixed)


# By degree.  Those with free orbits were found by trying groups in the order of size.
_COMPACT = {
    2: _Orbits("T", 12, 0, ((CORNER, 4),)),
    3: _Orbits("O", 24, 0, ((POLE, 6),)),
    5: _Orbits("I", 60, 0, ((VERTEX, 12),)),
    6: _Orbits("D4", 8, 2, ((POLE, 2),)),
    8: _Orbits("T", 12, 2, ((CORNER, 4),)),
    9: _Orbits("I", 60, 0, ((VERTEX, 12), (CORNER, 20))),
    11: _Orbits("O", 24, 2, ()),
    12: _Orbits("D4", 8, 7, ((POLE, 2),)),
    14: _Orbits("I", 60, 1, ((VERTEX, 12),)),
    15: _Orbits("C5i", 10, 8, ((POLE, 2),)),
    17: _Orbits("C3i", 6, 17, ((POLE, 2),), seed=5),
    18: _Orbits("D5", 10, 12, ((POLE, 2),)),
}


def cubature(degree: int, rule: Literal["compact", "lebedev"] = "compact") -> Cubature:
    """Give a rule that is exact for all polynomials up to a degree.

    Parameters
    ----------
    degree : int
        Up to 131.
    rule : {"compact", "lebedev"}
        ``"compact"``: the fewest points known here, Lebedev's above degree 18; ``"lebedev"``:
        those of :func:`scipy.integrate.lebedev_rule`.

    Returns
    -------
    Cubature
        Cached and read-only.

    Raises
    ------
    SettingsError
        If the degree is out of reach, the rule unknown, or SciPy older than 1.15 where Lebedev's
        rules are needed.

    Examples
    --------
    >>> points, weights = cubature(4)
    >>> points.shape, round(float(weights @ points[:, 0] ** 4) * 5 / (4 * np.pi), 12)
    ((12, 3), 1.0)
    >>> [len(cubature(t, rule="lebedev").weights) for t in (3, 6, 9)]
    [6, 26, 38]
    """
    degree = as_int(degree, "degree", minimum=0)
    if rule not in ("compact", "lebedev"):
        raise SettingsError(f"rule: expected compact or lebedev, got {rule!r}")
    if degree == 0 and rule == "compact":
        return Cubature(np.array([[0.0, 0.0, 1.0]]), np.array([4.0 * np.pi]))
    enough = [t for t in _COMPACT if t >= degree]
    if rule == "lebedev" or not enough:
        return _lebedev(degree)
    return _solve(min(enough, key=lambda t: _COMPACT[t].size))


@cache
def _lebedev(degree: int) -> Cubature:
    try:
        from scipy.integrate import lebedev_rule
    except ImportError as error:
        raise SettingsError(
            "Lebedev's rules come from SciPy 1.15 or newer; upgrade it (pip install -U scipy)"
        ) from error
    for order in range(max(3, degree), 132):
        try:
            points, weights = lebedev_rule(order)
        except NotImplementedError:  # rules exist for some orders only
            continue
        return _frozen(np.asarray(points).T, np.asarray(weights))
    raise SettingsError(f"degree: expected at most 131, the last of Lebedev's rules, got {degree}")


@cache
def _solve(degree: int) -> Cubature:
    """Solve for the free directions and all weights of a compact rule."""
    from scipy.optimize import least_squares

    orbits = _COMPACT[degree]
    group = point_group(orbits.group)
    fixed = [_orbit(group, direction) for direction, _ in orbits.fixed]
    n = (degree + 1) ** 2
    sums = np.array([spherical_harmonics(degree, points).sum(0) for points in fixed])
    sums = sums.reshape(len(fixed), n)
    integral = np.zeros(n)
    integral[0] = math.sqrt(4.0 * np.pi)

    def split(x: FloatArray) -> tuple[FloatArray, ...]:
        directions, free, tied = np.split(x, (3 * orbits.free, 4 * orbits.free))
        return directions.reshape(-1, 3), free, tied

    def turned(directions: FloatArray) -> FloatArray:
        return np.einsum("gab,nb->nga", group, directions)

    def residual(x: FloatArray) -> FloatArray:
        directions, free, tied = split(x)
        values = spherical_harmonics(degree, turned(directions)).sum(axis=1)
        return free @ values + tied @ sums - integral

    def jacobian(x: FloatArray) -> FloatArray:
        directions, free, _ = split(x)
        values, gradients = spherical_harmonics_with_gradients(degree, turned(directions))
        pulled = np.einsum("ngai,gab->nbi", gradients, group) * free[:, None, None]
        rows = (pulled.reshape(3 * orbits.free, n), values.sum(axis=1), sums)
        return np.concatenate(rows).T

    for seed in range(orbits.seed, orbits.seed + ATTEMPTS):
        rng = np.random.default_rng((degree, seed))
        directions = rng.normal(size=(orbits.free, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        equal = np.full(orbits.free + len(fixed), 4.0 * np.pi / orbits.size)
        start = np.concatenate([directions.ravel(), equal])
        found = least_squares(
            residual,
            start,
            jacobian,
            x_scale="jac",
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-13,
            max_nfev=100,
        ).x
        if np.linalg.norm(residual(found)) <= TOLERANCE * math.sqrt(orbits.size):
            directions, free, tied = split(found)
            points = np.concatenate([turned(directions).reshape(-1, 3), *fixed])
            weights = [np.repeat(free, len(group))]
            weights += [np.full(len(o), w) for o, w in zip(fixed, tied, strict=True)]
            norms = np.linalg.norm(points, axis=1, keepdims=True)
            return _frozen(points / norms, np.concatenate(weights))
    raise SettingsError(
        f"degree {degree}: no compact rule was found in {ATTEMPTS} attempts; take rule='lebedev'"
    )


def _orbit(group: FloatArray, direction: tuple[float, float, float]) -> FloatArray:
    """The different images of a direction, as unit vectors."""
    unit = np.array(direction) / np.linalg.norm(direction)
    return group[images(group, unit)] @ unit


def _frozen(points: FloatArray, weights: FloatArray) -> Cubature:
    points, weights = np.array(points, order="C"), np.array(weights)
    points.setflags(write=False)
    weights.setflags(write=False)
    return Cubature(points, weights)
