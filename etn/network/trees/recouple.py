r"""Changes of the coupling tree on reduced blocks: exchange of two legs and the F-move.

Three legs can be coupled to a fourth in two ways, and a 6j symbol joins them:

.. math:: |((l_1 l_2) l_{12}, l_3)\, l\rangle
    = \sum_{l_{23}} F_{l_{12} l_{23}}\, |(l_1, (l_2 l_3) l_{23})\, l\rangle .

F acts on the reduced arrays alone and is orthogonal, so a move is exact; what the new bond carries
is found by a singular value decomposition for each of its irreps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from etn.backend import Array, Kind
from etn.o3 import Irrep, Irreps, recoupling_matrix
from etn.tensor import Core, Pair, Truncation, allowed_paths, merge
from etn.tensor.factor import stacking
from etn.tensor.pair import pair_shapes

Quadruple = tuple[Irrep, Irrep, Irrep, Irrep]


def rounding(kind: Kind) -> Truncation:
    """Rule that drops numerically zero singular values: 64 rounding units, 1.4e-14 in float64.

    Examples
    --------
    >>> rounding(Kind())
    Truncation(rel_tol=1.42e-14)
    """
    return Truncation(rel_tol=64 * kind.eps)


def swap(core: Core) -> Core:
    r"""Exchange the first two legs of a core.

    .. math:: C^{l_3 m_3}_{l_2 m_2, l_1 m_1}
        = (-1)^{l_1 + l_2 - l_3}\, C^{l_3 m_3}_{l_1 m_1, l_2 m_2}

    Parameters
    ----------
    core : Core
        With three legs.

    Examples
    --------
    >>> core = Core.random(["1x0e+2x1o", "1x1o", "1x1o+1x1e+1x2e"], seed=0)
    >>> bool((swap(core).to_dense() == core.to_dense().swapaxes(0, 1)).all())
    True
    """
    first, second, last = core.legs
    legs = (second, first, last)
    blocks = {}
    for path in allowed_paths(legs):
        one, two, three = path
        block = core.kind.xp.permute_dims(core.blocks[two, one, three], (1, 0, 2))
        blocks[path] = -block if (one.l + two.l + three.l) % 2 else block
    return Core.trusted(legs, blocks, core.kind)


def recouple(pair: Pair) -> Pair:
    r"""The same tensor of legs a, b, c, d as a pair of legs b, c, a, d.

    A pair is split between its second and its third leg, so this goes from the bond
    (a ⊗ b) -> e, (e ⊗ c) -> d to the bond (b ⊗ c) -> f, (f ⊗ a) -> d:

    .. math:: \Theta'_f = \sqrt{2 l_d + 1 \over 2 l_f + 1}\, (-1)^{l_a + l_f - l_d}
        \sum_e F_{ef} \sqrt{2 l_e + 1 \over 2 l_d + 1}\, \Theta_e .

    Three of these steps give the pair back.

    Parameters
    ----------
    pair : Pair

    Returns
    -------
    Pair
        Of the same norm.

    Notes
    -----
    F as in :func:`etn.o3.recoupling_matrix` with l1, l2, l3, l = a, b, c, d.

    Examples
    --------
    >>> from etn.tensor import merge
    >>> one = Core.random(["2x0e+1x1o", "1x1o", "2x0e+1x1o"], seed=0)
    >>> two = Core.random(["2x0e+1x1o", "1x0e+1x2e", "1x1o"], seed=1)
    >>> pair = recouple(merge(one, two))
    >>> pair
    Pair(1x1o ⊗ 1x0e+1x2e → 2x0e+1x1o ⊗ 1x1o, couplings 2x1o+1x2o+1x3o | 1x0e+2x1o+1x1e+1x2e)
    >>> bool(abs(pair.norm() - merge(one, two).norm()) < 1e-14)
    True
    """
    a, b, c, d = pair.legs
    kind = pair.kind
    xp = kind.xp
    theta = _by_legs(pair)
    mixed: dict[tuple[Quadruple, int], Array] = {}
    for legs, parts in theta.items():
        change = recoupling_matrix(*(ir.l for ir in legs))
        stack = xp.stack([parts[l] for l in change.l12])
        turned = xp.tensordot(kind.constant(change.matrix), stack, axes=([0], [0]))
        for number, l in enumerate(change.l23):
            mixed[legs, l] = turned[number, ...]
    matrices = {}
    new = (b, c, a, d)
    bond = Irreps([(1, ir) for ir in pair_shapes(new)])
    for f, shape in pair_shapes(new).items():
        matrix = kind.zeros(shape)
        for row in stacking((b, c, bond), 2)[f]:
            for column in stacking((bond, a, d), 0)[f]:
                legs = (column.path[1], row.path[0], row.path[1], column.path[2])
                sign = (-1) ** (legs[0].l + f.l + legs[3].l)
                # (ra, rb, rc, rd) -> (rb rc, ra rd)
                part = xp.permute_dims(mixed[legs, f.l], (1, 2, 0, 3))
                part = xp.reshape(part, (row.stop - row.start, column.stop - column.start))
                at = (slice(row.start, row.stop), slice(column.start, column.stop))
                matrix[at] = sign * column.weight * part
        matrices[f] = matrix
    return Pair(new, matrices)


class Moved(NamedTuple):
    """Two cores after a move of the edge between them.

    Attributes
    ----------
    lower, upper : Core
        The lower one is an isometry towards the new edge.
    discarded : float
        Norm of what the truncation dropped.
    """

    lower: Core
    upper: Core
    discarded: float


def move(lower: Core, upper: Core, truncation: Truncation | None, *, leg: int) -> Moved:
    """Recouple ((a, b), c) to (a, (b, c)), or back if the lower core stands on leg 1 of the upper.

    Parameters
    ----------
    lower, upper : Core
        Couplings (a, b) -> e and (e, c) -> d; for ``leg=1``, (b, c) -> f and (a, f) -> d.
    truncation : Truncation or None
        By default :func:`rounding`.
    leg : {0, 1}

    Returns
    -------
    Moved
        Couplings (b, c) -> f and (a, f) -> d; for ``leg=1``, (a, b) -> e and (e, c) -> d.
    """
    # Read from right to left, (a, (b, c)) is ((c, b), a).
    first, second = (lower, upper) if leg == 0 else (swap(lower), swap(upper))
    pair = recouple(merge(first, second))
    rule = rounding(lower.kind) if truncation is None else truncation
    # Where the legs have no coupling at all, there is nothing to drop.
    left, right, _, discarded = pair.split(rule if pair.matrices else None)
    return Moved(left, swap(right), discarded) if leg == 0 else Moved(swap(left), right, discarded)


def _by_legs(pair: Pair) -> dict[Quadruple, dict[int, Array]]:
    """Reduced arrays [ra, rb, rc, rd] of a pair, by the irreps of its legs and l of the bond."""
    a, b, c, d = pair.legs
    bond = Irreps([(1, ir) for ir in pair.matrices])
    parts: dict[Quadruple, dict[int, Any]] = {}
    for e, matrix in pair.matrices.items():
        for row in stacking((a, b, bond), 2)[e]:
            for column in stacking((bond, c, d), 0)[e]:
                legs = (*row.path[:2], *column.path[1:])
                shape = tuple(leg.count(ir) for leg, ir in zip(pair.legs, legs, strict=True))
                part = matrix[row.start : row.stop, column.start : column.stop]
                part = pair.kind.xp.reshape(part * (1 / column.weight), shape)
                parts.setdefault(legs, {})[e.l] = part  # type: ignore[arg-type]
    return parts
