"""The Ziegler-Biersack-Littmark repulsion of bare nuclei at short distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array

# e^2 / (4 pi epsilon_0) in eV Å, and the universal screening function of Ziegler, Biersack and
# Littmark, "The Stopping and Range of Ions in Matter" (1985).
COULOMB = 14.3996454784
AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
DECAYS = np.array([3.19980, 0.94229, 0.40290, 0.20162])
LENGTH, POWER = 0.46850, 0.23


def zbl(
    distance: Array, z1: NDArray[np.int64], z2: NDArray[np.int64], r_on: Array, r_off: Array
) -> tuple[Array, Array]:
    """Screened nuclear repulsion, switched off smoothly.

        V(r) = k Z1 Z2 / r  phi(r / a) s(r),     a = 0.46850 Å / (Z1^0.23 + Z2^0.23)

    s falls from 1 at r_on to 0 at r_off, see :func:`fall`.

    Parameters
    ----------
    distance : (pairs,), Å
    z1, z2 : (pairs,)
        Atomic numbers.
    r_on, r_off : (pairs,), Å

    Returns
    -------
    energy, derivative : (pairs,), eV and eV/Å

    Examples
    --------
    >>> one = np.array([1])
    >>> energy, slope = zbl(np.array([0.1]), one, one, np.array([0.5]), np.array([1.0]))
    >>> bool(energy[0] > 0 > slope[0])
    True
    """
    charge = COULOMB * z1 * z2
    length = LENGTH / (z1**POWER + z2**POWER)
    x = distance / length
    terms = AMPLITUDES * np.exp(-DECAYS * x[:, None])
    phi = terms.sum(1)
    dphi = -(terms * DECAYS).sum(1) / length
    switch, dswitch = fall((distance - r_on) / (r_off - r_on))
    dswitch = dswitch / (r_off - r_on)
    bare = charge / distance
    energy = bare * phi * switch
    derivative = bare * (dphi * switch + phi * dswitch - phi * switch / distance)
    return energy, derivative


def fall(t: Array) -> tuple[Array, Array]:
    """A polynomial of degree 5 that falls from 1 (t <= 0) to 0 (t >= 1), and its slope.

    Its first and second derivatives vanish at both ends.

    Examples
    --------
    >>> fall(np.array([-1.0, 0.5, 2.0]))[0]
    array([1. , 0.5, 0. ])
    """
    t = np.clip(t, 0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2), -30 * t**2 * (1 - t) ** 2


def settle(t: Array) -> Array:
    """The integral of :func:`fall`: t up to zero, and 1/2 from t = 1 on.

    Examples
    --------
    >>> settle(np.array([-1.0, 0.0, 0.5, 2.0])).round(3)
    array([-1.   ,  0.   ,  0.422,  0.5  ])
    """
    v = np.clip(t, 0, 1)
    return np.minimum(t, 0) + v - v**4 * (2.5 - 3 * v + v**2)


def atomic_numbers_of(elements: Sequence[str]) -> NDArray[np.int64]:
    """Atomic numbers of chemical symbols."""
    from ase.data import atomic_numbers

    return np.array([atomic_numbers[symbol] for symbol in elements])


def covalent_distances(elements: Sequence[str]) -> Array:
    """Sums of the covalent radii of two elements: (elements, elements), Å."""
    from ase.data import covalent_radii

    radii = covalent_radii[atomic_numbers_of(elements)]
    return np.asarray(radii[:, None] + radii[None, :])
