"""Arithmetic of tensor trains, on the reduced blocks of their cores.

The functions take and return sequences of cores; :class:`etn.network.Chain` checks the legs and
carries the results.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from etn.backend import Array, Kind, as_block, is_finite, kind_of
from etn.errors import CoreError
from etn.machine import check_memory
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, Truncation, coupling
from etn.tensor.factor import cut, tensorize, thin_svd
from etn.tensor.pair import couplings
from etn.tensor.pullback import kept
from etn.tensor.scale import frobenius, rescaled, unscaled


def direct_sum(one: Sequence[Core], two: Sequence[Core]) -> list[Core]:
    """Cores of the sum of two trains: their inner bonds are joined, copies of the first before.

    T1[s, x1 .. xd, o] + T2[s, x1 .. xd, o] with block-diagonal cores between a first core whose
    blocks stand side by side and a last core whose blocks stand one above the other.
    """
    last = len(one) - 1
    sums = []
    for site, (a, b) in enumerate(zip(one, two, strict=True)):
        inner = [leg for leg, at_end in ((0, site == 0), (2, site == last)) if not at_end]
        sums.append(join(a, b, inner))
    return sums


def join(one: Core, two: Core, joined: Collection[int]) -> Core:
    """Core on the joined copies of some legs and the same copies of the others."""
    legs = tuple(
        (a + b).regroup() if leg in joined else a
        for leg, (a, b) in enumerate(zip(one.legs, two.legs, strict=True))
    )
    blocks = {}
    for path, zero in Core(legs):
        block = one.kind.zeros(tuple(zero.shape))
        for part, after in ((one, False), (two, True)):
            if path in part.blocks:
                at = [slice(None)] * len(legs)
                for leg in joined:
                    start = one.legs[leg].count(path[leg]) if after else 0
                    at[leg] = slice(start, start + part.legs[leg].count(path[leg]))
                block[tuple(at)] += part.blocks[path]
        blocks[path] = block
    return Core.trusted(legs, blocks, one.kind)


def overlap(one: Sequence[Core], two: Sequence[Core]) -> Array:
    """Sum over all entries of the product of two trains, start and out legs included.

    The overlap of the parts left of a bond is one matrix E_l[r, r'] for each irrep,

        E_l3 = sum_paths a[r1, n, r3] E_l1[r1, r1'] a'[r1', n, r3'],

    as the Clebsch-Gordan tensors contract to the identity; the end counts 2 l + 1 times.

    Returns
    -------
    array of shape ()
    """
    kind = one[0].kind
    xp = kind.xp
    env = {ir: kind.eye(one[0].legs[0].count(ir)) for ir in one[0].legs[0].unique}
    total_power = 0
    for mine, theirs in zip(one, two, strict=True):
        (a, one_power), (b, two_power) = mine.unscaled(), theirs.unscaled()
        new: dict[Irrep, Array] = {}
        for path, block in a:
            other = b.blocks.get(path)
            if other is None or path[0] not in env:
                continue
            # (r1, n, r3), (r1', n, r3') -> (r3, r3')
            moved = xp.tensordot(env[path[0]], other, axes=([1], [0]))
            term = xp.tensordot(block, moved, axes=([0, 1], [0, 1]))
            new[path[2]] = new[path[2]] + term if path[2] in new else term
        env, power = unscaled(new)
        total_power += one_power + two_power + power
    total = kind.zeros(())
    for ir, matrix in env.items():
        total = total + ir.dim * xp.linalg.trace(matrix)
    return rescaled({"": total}, total_power, "the inner product")[""]


def dense_train(cores: Sequence[Core]) -> Array:
    """Dense tensor of shape (first bond, site, ..., site, last bond).

    Raises
    ------
    CoreError
        If its entries are beyond the range of floating point, or there is no memory for it.
    """
    kind = cores[0].kind
    # Before each step, the part so far and the last core; the largest array decides.
    entries, widest = cores[0].legs[0].dim, 0
    for core in cores:
        entries *= core.legs[1].dim
        widest = max(widest, entries * core.legs[2].dim)
    check_memory(widest * kind.itemsize, f"the dense tensor of {len(cores)} sites")
    first, total = cores[0].unscaled()
    dense = first.to_dense()
    for core in cores[1:]:
        small, one = core.unscaled()
        product, two = unscaled({"": kind.xp.tensordot(dense, small.to_dense(), axes=1)})
        dense, total = product[""], total + one + two
    return rescaled({"": dense}, total, "the largest entry of the dense tensor")[""]


def train_flops(cores: Sequence[Core]) -> int:
    """Cost of contracting a train with one vector on each open leg from the left.

    Block by block the two vectors are coupled first, or the site is contracted first, whichever
    takes less.  A multiplication with its addition counts as two.

    Examples
    --------
    >>> train_flops([Core.random(["1x0e", "2x0e", "1x0e"])])
    10
    """
    flops = 2 * cores[-1].legs[2].dim
    for core in cores:
        for (left, site, right), block in core:
            r1, n, r3 = block.shape
            pair = left.dim * site.dim
            # All pairs of copies, coupled to the right irrep, then one product with the core.
            couple_first = r1 * n * (pair + 2 * pair * right.dim + 2 * r3 * right.dim)
            # The core with the site values, that with the left values, coupled at last.
            couple_last = 2 * r3 * (r1 * n * site.dim + r1 * pair + pair * right.dim)
            flops += min(couple_first, couple_last)
    return flops


def train_of_dense(
    dense: Array, legs: Sequence[Irreps], truncation: Truncation | None, tolerance: float | None
) -> tuple[list[Core], float]:
    """Cores of a dense equivariant tensor by successive singular value decompositions.

    The first two legs are coupled to every irrep j they contain; on an equivariant tensor the
    matrix M_j[couplings, (m, other legs)] has singular values sqrt(2 j + 1) s, each with a left
    vector of the couplings alone, so its left vectors are the first core, left-orthogonal.  The
    rest is a tensor with one leg fewer.

    Parameters
    ----------
    dense : array of shape (leg.dim for leg in legs)
    legs : irreps of the start, the sites and the out leg
    truncation : Truncation or None
    tolerance : float or None
        Part of the norm that may be lost because it is not equivariant; 1e4 times the rounding
        unit if None.

    Returns
    -------
    cores : list of Core
        Canonical around the last one.
    discarded : float
        Norm of all that the truncation dropped.

    Raises
    ------
    CoreError
        If the shape is not that of the legs, a value is not finite, or more than the tolerance
        is not equivariant.
    """
    dense = as_block(dense)
    kind = kind_of(dense)
    expected = tuple(leg.dim for leg in legs)
    carried = ", ".join(map(str, legs))
    if tuple(dense.shape) != expected or len(legs) < 3:
        raise CoreError(
            f"dense tensor: expected shape {expected} from the legs ({carried}), got "
            f"{tuple(dense.shape)}"
        )
    if not is_finite(dense):
        raise CoreError("dense tensor: expected finite values, got inf or nan")
    cores, discarded = _split(dense, legs, truncation, kind)
    residual, size = frobenius([dense - dense_train(cores)]), frobenius([dense])
    allowed = 1e4 * kind.eps if tolerance is None else tolerance
    if residual > discarded + allowed * size:
        raise CoreError(
            f"dense tensor: it is not equivariant between the legs ({carried}): {residual:.3g} of "
            f"its norm {size:.3g} is left over, at most {allowed * size:.1g} was expected"
        )
    return cores, discarded


def _split(
    dense: Array, legs: Sequence[Irreps], truncation: Truncation | None, kind: Kind
) -> tuple[list[Core], float]:
    # Singular values at the level of rounding carry noise that is not equivariant.
    rule = Truncation(rel_tol=kind.eps) if truncation is None else truncation
    cores, total = [], 0.0
    bond, rest = legs[0], dense
    for site in legs[1:-2]:
        core, rest, discarded = split_first_legs(rest, bond, site, rule)
        cores.append(core)
        bond = core.legs[2]
        total = math.hypot(total, discarded)
    cores.append(Core.from_dense(rest, [bond, *legs[-2:]]).core)
    return cores, total


class FirstCore(NamedTuple):
    """A dense tensor whose first two legs a core has coupled.

    Attributes
    ----------
    core : Core
        Isometric towards its last leg.
    rest : array of shape (core.legs[2].dim, ...)
    discarded : float
        Norm of what the truncation dropped.
    """

    core: Core
    rest: Array
    discarded: float


def split_first_legs(
    dense: Array, first: Irreps, second: Irreps, truncation: Truncation
) -> FirstCore:
    """Split the first two legs off a dense equivariant tensor, by singular values.

    The legs are coupled to every irrep j they contain; on an equivariant tensor the matrix
    M_j[couplings, (m, other legs)] has singular values sqrt(2 j + 1) s, each with a left vector
    of the couplings alone, and these are the core.
    """
    kind = kind_of(dense)
    xp = kind.xp
    matrices = {
        ir: xp.reshape(matrix, (matrix.shape[0], -1))
        for ir, matrix in couple_first_legs(dense, first, second, kind).items()
    }
    factors = {ir: thin_svd(matrix, kind) for ir, matrix in matrices.items()}
    values = {ir: s / math.sqrt(ir.dim) for ir, (_, s, _) in factors.items()}
    numbers, discarded = cut(values, truncation)
    split = {ir: kept(matrices[ir], *factors[ir], n) for ir, n in numbers.items()}
    left = {ir: isometry for ir, (isometry, _) in split.items()}
    core = tensorize(left, (first, second, Irreps()), 2, kind)
    rest = kind.zeros((core.legs[2].dim, *dense.shape[2:]))
    for ir, n in numbers.items():
        part = xp.reshape(split[ir][1], (n * ir.dim, *dense.shape[2:]))
        rest[core.legs[2].indices(ir).ravel()] = part
    return FirstCore(core, rest, discarded)


def couple_first_legs(
    dense: Array, first: Irreps, second: Irreps, kind: Kind
) -> dict[Irrep, Array]:
    """{j: (couplings to j, 2 j + 1, other legs...)}, couplings in the order of a stack."""
    xp = kind.xp
    parts: dict[Irrep, list[Array]] = {ir: [] for ir in couplings(first, second)}
    for ir1 in sorted(first.unique):
        for ir2 in sorted(second.unique):
            rows, columns = first.indices(ir1), second.indices(ir2)
            block = dense[rows.ravel()][:, columns.ravel()]
            block = xp.reshape(block, (*rows.shape, *columns.shape, *dense.shape[2:]))
            for ir in ir1 * ir2:
                cg = kind.constant(coupling((ir1, ir2, ir)))
                # (r1, m1, r2, m2, ...) -> (r1, r2, ..., m) -> (r1 r2, m, ...)
                moved = xp.tensordot(block, cg, axes=([1, 3], [0, 1]))
                moved = xp.moveaxis(moved, -1, 2)
                parts[ir].append(xp.reshape(moved, (-1, ir.dim, *dense.shape[2:])))
    return {ir: xp.concat(part) for ir, part in parts.items()}
