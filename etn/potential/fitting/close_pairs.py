"""What a fit is told of atoms closer than any in the data.

Two atoms alone are rarely among the data, and a polynomial may well attract them where the data
end.  A few rows say otherwise: at the closest distance of two elements and somewhat below, the
network is asked to push the atoms of a dimer apart at least a little; the repulsion of the nuclei,
which the baseline adds further in, does the rest.  Beside the rows of the data they weigh next to
nothing, and where the data make a network push harder they have no say: they decide where the data
do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etn.data.frame import Frame
from etn.potential.base import Potential
from etn.potential.features.basis import Basis
from etn.potential.features.inner import REST
from etn.potential.features.zbl import atomic_numbers_of
from etn.potential.fitting.targets import RowGroup

__all__ = ["attractions", "close_pairs", "dimers"]

# The least force that the network is asked for, eV/Å, and its weight: a force in the data has 1.
PUSH, WEIGHT = 1.5, 0.2
# Distances at which a fitted potential is tried, relative to the closest one, and what it may pull.
TRIED, PULL = np.linspace(0.3, 0.99, 70), 0.5


def dimers(basis: Basis) -> list[Frame]:
    """Dimers of all elements that met, along z, at and below their closest distance."""
    if basis.inner is None:
        return []
    z = atomic_numbers_of(basis.elements)
    found = []
    for i, j in zip(*np.triu_indices(len(z)), strict=True):
        closest, onset = basis.inner.closest[i, j], basis.inner.onset[i, j]
        if closest == np.inf:
            continue
        for r in np.unique([closest, (closest + onset) / 2, onset, onset - REST / 2 * closest]):
            found.append(_dimer(z[[i, j]], r, f"{basis.elements[i]}-{basis.elements[j]} dimer"))
    return found


def attractions(model: Potential) -> list[str]:
    """The pairs of elements that a fitted potential lets attract each other below the data."""
    if (inner := model.inner) is None:
        return []
    found, z = [], atomic_numbers_of(model.elements)
    for i, j in np.argwhere(np.triu(np.isfinite(inner.closest))):
        r = inner.closest[i, j] * TRIED
        pull = np.array([-p.forces[1, 2] for p in model.predict([_dimer(z[[i, j]], d) for d in r])])
        if len(far := r[pull > PULL]):
            found.append(
                f"{inner.elements[i]}-{inner.elements[j]}: two atoms alone attract each other at "
                f"{far[0]:.2f} to {far[-1]:.2f} Å, closer than any in the data "
                f"({inner.closest[i, j]:.2f} Å), and might fuse: add structures with such close "
                "atoms, or try a larger r_max"
            )
    return found


def _dimer(numbers: NDArray[np.int64], r: float, name: str = "") -> Frame:
    positions = np.diag([0.0, 0.0, r])[1:]
    return Frame(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), name=name)


def close_pairs(frames: list[Frame], *, energy: bool = False) -> RowGroup:
    """Rows of dimers: the forces on both atoms, and energies without weight if asked for."""
    atoms = np.arange(2 * len(frames))
    forces = np.tile([[0.0, 0.0, -PUSH], [0.0, 0.0, PUSH]], (len(frames), 1)).ravel()
    silent = np.zeros(len(frames) if energy else 0)
    return RowGroup(
        frames,
        atoms,
        energy,
        False,
        np.concatenate([silent, forces]),
        np.concatenate([silent, np.full(len(forces), WEIGHT)]),
    )
