"""What the forces say of the labels, before anything is fitted to energies.

An energy weighs as much as hundreds of force components, and a small set has few: a fit follows a
single wrong one, spoils the forces for it, and then finds nothing wrong.  So a first, short fit is
to forces and stresses alone.  They fix the energies up to a constant for each element, on which
most of the energies agree; labels that do not have their weights lowered before the fit begins.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.isolated import count_atoms
from etn.data.robust import Huber, composition_offsets
from etn.network import Chain
from etn.o3 import Irreps
from etn.sweep import LeastSquares, Schedule, sweep

if TYPE_CHECKING:
    from etn.potential.fitting.rows import Rows

__all__ = ["judge_labels"]

# Copies of each irrep on the bond of the trial: about as good a judge as more, in half the time.
BOND = 2
# Rows for each unknown that are enough for it: of many data it takes a part, evenly spread.
ENOUGH = 50


def judge_labels(rows: Rows, problem: LeastSquares, start: Chain) -> None:
    """Take the first robust weights from one sweep over the forces and stresses alone.

    The weights stay plain without a robust function, or where there are no energies or no forces.

    Parameters
    ----------
    rows : Rows
    problem : LeastSquares
        Over these rows.
    start : Chain
        Two sites, from which the fit will start; it is not changed.
    """
    robust = rows.robust
    labels = [x for x in ("energy", "forces") if any(g.weighted(x).any() for g in rows.groups)]
    if robust is None or len(labels) < 2:
        return
    # Forces that are far larger than all others must not spoil the trial.
    rows.robust = Huber()
    rows.reweigh(start, [-group.targets for group in rows.groups])
    for group, weights in zip(rows.groups, rows.row_weights, strict=True):
        group.labels(weights)["energy"][:] = 0.0
    narrow = Irreps([(min(n, BOND), ir) for n, ir in start.bonds[0]])
    chain = Chain.random(
        [rows.basis.leg] * 2, start=rows.basis.start, max_bond=narrow, seed=0
    ).canonicalize(0)
    every = max(1, int(len(rows) / (ENOUGH * chain.n_parameters)))
    trial = copy(problem)
    trial.batches = lambda: rows.builders()[::every]
    for step in sweep(chain, trial, Schedule(max_sweeps=1)):
        chain = step.chain
    rows.robust = robust
    rows.reweigh(chain, _without_offsets(rows, rows.errors(chain)))


def _without_offsets(rows: Rows, errors: list[Array]) -> list[Array]:
    """Errors of all rows, those of the energies less an offset for each element."""
    judged = []
    for group, own in zip(rows.groups, errors, strict=True):
        shares = count_atoms(group.frames, rows.basis.elements) / group.sizes[:, None]
        if group.energy:
            # A view of the errors, to be written to.
            judged.append(
                (group.weighted("energy"), group.sizes, shares, group.labels(own)["energy"])
            )
    offsets = composition_offsets(
        np.concatenate([shares[known] for known, _, shares, _ in judged]),
        np.concatenate([(left[:, 0] / sizes)[known] for known, sizes, _, left in judged]),
    )
    for _, sizes, shares, left in judged:
        left[:, 0] -= sizes * (shares @ offsets)
    return errors
