"""Factorisations of cores, irrep by irrep on the reduced blocks.

A bond carries (+)_l R_l copies of irrep l.  By Schur's lemma the only freedom on it is one
R_l x R_l matrix for each l, so QR acts on the reduced blocks stacked for each irrep and a
multiplet is never split.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from etn.errors import CoreError
from etn.o3 import Irrep, Irreps
from etn.tensor.core import Block, Core, Path

BondMatrix = dict[Irrep, Block]
"""A matrix on a bond: for each irrep, (new multiplicity, old) or (old, new)."""


class Factors(NamedTuple):
    """An isometric core and the bond matrix that restores the original core.

    Attributes
    ----------
    isometry : Core
    bond : dict of Irrep to array
        To be absorbed by the neighbouring core with :func:`absorb_left` or
        :func:`absorb_right`.
    """

    isometry: Core
    bond: BondMatrix


def qr_left(core: Core) -> Factors:
    """Split off the last leg: core = isometry · bond.

    For each irrep l3 of the last leg the blocks are stacked to
    M[(l1 l2 r1 r2), r3] = Q R; the dense isometry satisfies
    sum_{12} Q[1, 2, 3] Q[1, 2, 3'] = delta_{33'}, because the Clebsch-Gordan tensor is isometric.

    Parameters
    ----------
    core : Core
        With two or three legs.

    Returns
    -------
    Factors
        isometry: the left-orthogonal core; bond[l3]: (new r3, old r3).

    Examples
    --------
    >>> core = Core.random(["1x0e", "4x0e+3x1o", "2x0e+2x1o"], seed=1)
    >>> q = qr_left(core).isometry.to_dense().reshape(-1, 8)
    >>> bool(abs(q.T @ q - np.eye(8)).max() < 1e-14)
    True
    """
    return _qr(core, leg=core.order - 1)


def qr_right(core: Core) -> Factors:
    """Split off the first leg: core = bond · isometry.

    The rows of M[r1, (l2 l3 r2 r3)] sqrt((2 l3 + 1) / (2 l1 + 1)) are made orthonormal: with
    this weight, which is the norm of the Clebsch-Gordan tensor seen from the first leg, the
    dense isometry satisfies sum_{23} Q[1, 2, 3] Q[1', 2, 3] = delta_{11'}.

    Returns
    -------
    Factors
        isometry: the right-orthogonal core; bond[l1]: (old r1, new r1).
    """
    return _qr(core, leg=0)


def _qr(core: Core, leg: int) -> Factors:
    if core.order < 2:
        raise CoreError(f"QR needs a core with two or three legs, got {core!r}")
    stacks: dict[Irrep, list[tuple[Path, Block, float]]] = {}
    for path, block in core.blocks.items():
        weight = math.sqrt(path[-1].dim / path[leg].dim)
        matrix = np.moveaxis(block, leg, -1)
        stacks.setdefault(path[leg], []).append((path, matrix, weight))
    blocks: dict[Path, Block] = {}
    bond: BondMatrix = {}
    multiplicity: dict[Irrep, int] = {}
    for ir, stack in stacks.items():
        rows = [weight * m.reshape(-1, m.shape[-1]) for _, m, weight in stack]
        q, r = np.linalg.qr(np.concatenate(rows))
        # Positive diagonal: the factors are unique and do not depend on the LAPACK in use.
        sign = np.where(np.diagonal(r) < 0, -1.0, 1.0)
        q, r = q * sign, r * sign[:, None]
        bond[ir] = r if leg else r.T
        multiplicity[ir] = len(r)
        at = 0
        for (path, m, weight), rows_of_path in zip(stack, rows, strict=True):
            part = q[at : at + len(rows_of_path)] / weight
            at += len(rows_of_path)
            blocks[path] = np.moveaxis(part.reshape(*m.shape[:-1], -1), -1, leg)
    legs = list(core.legs)
    # Irreps of the bond that no path reaches carry nothing and are dropped.
    legs[leg] = Irreps([(multiplicity[ir], ir) for ir in sorted(multiplicity)])
    return Factors(Core(legs, blocks), bond)


def absorb_left(bond: BondMatrix, core: Core) -> Core:
    """The core bond · core: the bond matrix multiplies the first leg."""
    return _absorb(bond, core, leg=0)


def absorb_right(core: Core, bond: BondMatrix) -> Core:
    """The core core · bond: the bond matrix multiplies the last leg."""
    return _absorb({ir: matrix.T for ir, matrix in bond.items()}, core, leg=core.order - 1)


def _absorb(bond: BondMatrix, core: Core, leg: int) -> Core:
    legs = list(core.legs)
    legs[leg] = Irreps([(len(bond[ir]), ir) for ir in sorted(bond)])
    blocks = {
        path: np.moveaxis(np.tensordot(bond[path[leg]], block, (1, leg)), 0, leg)
        for path, block in core.blocks.items()
        if path[leg] in bond
    }
    return Core(legs, blocks)


def isometry_error(core: Core, *, leg: int) -> float:
    """Largest deviation of the dense core from an isometry on one leg.

    max |sum_{other legs} T T - identity| for leg = 0 (right-orthogonal) or the last leg
    (left-orthogonal), computed from the reduced blocks.
    """
    gram: dict[Irrep, Block] = {
        ir: np.zeros((core.legs[leg].count(ir),) * 2) for ir in core.legs[leg].unique
    }
    for path, block in core.blocks.items():
        m = np.moveaxis(block, leg, -1).reshape(-1, block.shape[leg])
        gram[path[leg]] += path[-1].dim / path[leg].dim * (m.T @ m)
    return max(
        (float(np.abs(g - np.eye(len(g))).max()) for g in gram.values() if g.size), default=0.0
    )
