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


def zbl(
    distance: Array, z1: NDArray[np.int64], z2: NDArray[np.int64], r_off: Array
) -> tuple[Array, Array]:
    """Screened nuclear repulsion, switched off smoothly.

        V(r) = k Z1 Z2 / r  phi(r / a) s(r),     a = 0.46850 Å / (Z1^0.23 + Z2^0.23)

    s falls from 1 at r_off / 2 to 0 at r_off as a polynomial of degree 5 whose first and
    second derivatives vanish at both ends.

    Parameters
    ----------
    distance : (pairs,), Å
    z1, z2 : (pairs,)
        Atomic numbers.
    r_off : (pairs,), Å

    Returns
    -------
    energy, derivative : (pairs,), eV and eV/Å

    Examples
    --------
    >>> one = np.array([1])
    >>> energy, slope = zbl(np.array([0.1]), one, one, np.array([1.0]))
    >>> bool(energy[0] > 0 > slope[0])
    True
    """
    charge = COULOMB * z1 * z2
    length = 0.46850 / (z1**0.23 + z2**0.23)
    x = distance / length
    terms = AMPLITUDES * np.exp(-DECAYS * x[:, None])
    phi = terms.sum(1)
    dphi = -(terms * DECAYS).sum(1) / length
    t = np.clip(2 * distance / r_off - 1, 0, 1)
    switch = 1 - t**3 * (10 - 15 * t + 6 * t**2)
    dswitch = -30 * t**2 * (1 - t) ** 2 * 2 / r_off
    bare = charge / distance
    energy = bare * phi * switch
    derivative = bare * (dphi * switch + phi * dswitch - phi * switch / distance)
    return energy, derivative


def switch_radii(elements: Sequence[str]) -> Array:
    """Where the repulsion of two elements ends: the sum of their covalent radii, Å."""
    from ase.data import atomic_numbers, covalent_radii

    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in elements])
    return np.asarray(radii[:, None] + radii[None, :])
