"""Finite point groups, by name, as matrices; and what they make of a direction.

C<n> turns about z, D<n> also by half a turn about x; T, O and I are the rotations of the regular
tetrahedron, octahedron and icosahedron.  A final i adds the inversion.
"""

from __future__ import annotations

import math
import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.o3 import rotation_matrix

__all__ = ["CORNER", "POLE", "VERTEX", "axes", "images", "point_group", "stabilizer"]

GOLDEN = (1.0 + math.sqrt(5.0)) / 2.0
POLE = (0.0, 0.0, 1.0)
CORNER = (1.0, 1.0, 1.0)  # face of the octahedron and of the icosahedron
VERTEX = (0.0, 1.0, GOLDEN)  # of the icosahedron
_TOLERANCE = 1e-9

# Generators: rotations as (axis, order).
_GENERATORS = {
    "T": ((POLE, 2), (CORNER, 3)),
    "O": ((POLE, 4), (CORNER, 3)),
    "I": ((POLE, 2), (CORNER, 3), (VERTEX, 5)),
}


@cache
def point_group(name: str) -> FloatArray:
    """All elements of a point group.

    Parameters
    ----------
    name : str
        ``"C3"``, ``"D4"``, ``"T"``, ``"O"``, ``"I"``, ``"C5i"`` ...

    Returns
    -------
    (order, 3, 3) ndarray
        The identity first; cached and read-only.

    Raises
    ------
    SettingsError
        If there is no such group.

    Examples
    --------
    >>> [len(point_group(name)) for name in ("C3", "C3i", "D4", "T", "O", "I")]
    [3, 6, 8, 12, 24, 60]
    """
    parts = re.fullmatch(r"(?:(C|D)([1-9]\d?)|([TOI]))(i?)", name)
    if parts is None:
        raise SettingsError(
            "group: expected C1 to C99, D1 to D99, T, O or I, with an i behind it for the "
            f"inversion, got {name!r}"
        )
    family, turns, regular, inversion = parts.groups()
    about: tuple[tuple[tuple[float, float, float], int], ...]
    about = _GENERATORS[regular] if regular else ((POLE, int(turns)),)
    if family == "D":
        about = (*about, ((1.0, 0.0, 0.0), 2))
    generators = [rotation_matrix(axis, 2.0 * np.pi / n) for axis, n in about]
    if inversion:
        generators.append(-np.eye(3))
    elements = [np.eye(3)]
    for element in elements:  # grows while it is gone through
        for generator in generators:
            product = generator @ element
            if all(np.abs(product - known).max() > _TOLERANCE for known in elements):
                elements.append(product)
    group = np.array(elements)
    group.setflags(write=False)
    return group


def images(group: FloatArray, direction: FloatArray) -> NDArray[np.int64]:
    """Elements that take a direction to its different images, one for each, shape (n,).

    Examples
    --------
    >>> group = point_group("D4")
    >>> len(images(group, np.array(POLE))), len(images(group, np.array([1.0, 2.0, 3.0])))
    (2, 8)
    """
    points = group @ direction
    first: list[int] = []
    for number, point in enumerate(points):
        if all(np.abs(point - points[known]).max() > _TOLERANCE for known in first):
            first.append(number)
    return np.array(first)


def stabilizer(group: FloatArray, direction: FloatArray) -> NDArray[np.int64]:
    """Elements that leave a direction where it is, shape (n,).

    Examples
    --------
    >>> len(stabilizer(point_group("O"), np.array(CORNER)))
    3
    """
    return np.flatnonzero(np.abs(group @ direction - direction).max(axis=1) <= _TOLERANCE)


def axes(group: FloatArray) -> list[FloatArray]:
    """Axes of the rotations, one of each class that the group turns into one another.

    Directions of the same axis count as one.  Classes come in the order of their size.

    Examples
    --------
    >>> [len(images(point_group("O"), axis)) for axis in axes(point_group("O"))]
    [6, 8, 12]
    """
    found: list[FloatArray] = []
    for element in group[1:]:
        if np.linalg.det(element) < 0.0:
            continue
        # Twice cos(angle) across the axis, and 2 along it.
        _, vectors = np.linalg.eigh(element + element.T)
        axis = vectors[:, -1]
        turned = group @ axis
        near = [np.abs(np.abs(turned @ known) - 1.0).min() <= _TOLERANCE for known in found]
        if not any(near):
            found.append(axis)
    return sorted(found, key=lambda axis: len(images(group, axis)))
