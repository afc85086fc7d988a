"""What the forces say of the energies, before anything is fitted to both.

An energy weighs as much as hundreds of force components, and a small set has few: a fit follows a
single wrong one, spoils the forces for it, and then finds nothing wrong.  So a first, short fit is
to forces and stresses alone.  They fix the energies up to a constant for each element, on which
most of the energies agree; one that does not has its weight lowered before the fit begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.isolated import count_atoms
from etn.data.robust import Huber, composition_offsets
from etn.network import Chain
from etn.sweep import LeastSquares, Schedule, sweep

if TYPE_CHECKING:
    from etn.potential.fitting.rows import Rows

__all__ = ["judge_energies"]


def judge_energies(rows: Rows, problem: LeastSquares, start: Chain) -> None:
    """Take the first robust weights of the energies from a sweep over the forces alone.

    Other labels keep their plain weights until they are judged by a fit to all; so do the energies
    if no frame has forces.

    Parameters
    ----------
    rows : Rows
        With a robust function.
    problem : LeastSquares
        Over these rows.
    start : Chain
        From which the fit will start; it is not changed.
    """
    given = rows.robust
    with_energy = [bool(group.energy and group.weighted("energy").any()) for group in rows.groups]
    with_forces = [bool(group.weighted("forces").any()) for group in rows.groups]
    if given is None or not any(with_energy) or not any(with_forces):
        return
    # Forces that are far from all others must not spoil the trial.
    rows.robust = Huber()
    rows.reweigh(start, [-group.targets for group in rows.groups])
    for group, weights in zip(rows.groups, rows.row_weights, strict=True):
        group.labels(weights)["energy"][:] = 0.0
    chain = start.canonicalize(0)
    for step in sweep(chain, problem, Schedule(max_sweeps=1)):
        chain = step.chain
    rows.robust = given
    rows.reweigh(start, _energy_errors(rows, chain))


def _energy_errors(rows: Rows, chain: Chain) -> list[Array]:
    """Errors of the energies beyond an offset for each element, and zero for all other rows."""
    found = [np.zeros(len(group.targets)) for group in rows.groups]
    judged = []
    for group, own, every in zip(rows.groups, found, rows.errors(chain), strict=True):
        if group.energy:
            shares = count_atoms(group.frames, rows.basis.elements) / group.sizes[:, None]
            errors = group.labels(every)["energy"][:, 0] / group.sizes
            # A view, to be written to.
            judged.append((group, shares, errors, group.labels(own)["energy"][:, 0]))
    offsets = composition_offsets(
        np.concatenate([shares[g.weighted("energy")] for g, shares, _, _ in judged]),
        np.concatenate([errors[g.weighted("energy")] for g, _, errors, _ in judged]),
    )
    for group, shares, errors, left in judged:
        left[:] = group.sizes * (errors - shares @ offsets)
    return found
