"""Factorisations of cores, irrep by irrep on the reduced blocks.

A bond carries (+)_l R_l copies of irrep l.  By Schur's lemma the only freedom on it is one
R_l x R_l matrix for each l, so a factorisation acts on the reduced blocks stacked for each irrep
of a leg, and a multiplet is never split.

Seen from leg k, the Clebsch-Gordan tensor of a path has the norm of the last leg spread over
2 l_k + 1 components.  With the weight sqrt((2 l_last + 1) / (2 l_k + 1)) on its rows a stack of
blocks is the matrix of an equivariant map in orthonormal bases, so orthonormal columns are a
dense isometry and its singular values are those of the dense core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.backend import Array, Kind, kind_of, to_numpy
from etn.errors import CoreError
from etn.o3 import Irrep, Irreps
from etn.tensor.core import Block, Core, Path, allowed_paths
from etn.tensor.pullback import is_full, kept, nearest_isometry, needs_pullback, spanned
from etn.tensor.truncation import Spectrum, Truncation

BondMatrix = dict[Irrep, Block]
"""A matrix on a bond: for each irrep, (new multiplicity, old multiplicity)."""


class Factors(NamedTuple):
    """An isometric core and the bond matrix that restores the original core.

    Attributes
    ----------
    isometry : Core
        Isometric from the other legs to the leg that was split off.
    bond : dict of Irrep to array
        To be absorbed by the neighbouring core; see :func:`absorb`.
    """

    isometry: Core
    bond: BondMatrix


class Singular(NamedTuple):
    """A truncated singular value decomposition of a core.

    Attributes
    ----------
    isometry : Core
        Isometric from the other legs to the leg that was split off.
    spectrum : Spectrum
        Singular values that were kept.
    bond : dict of Irrep to array
        diag(s) V^T, to be absorbed by the neighbouring core.
    discarded : float
        Frobenius norm of (core - isometry · bond).
    """

    isometry: Core
    spectrum: Spectrum
    bond: BondMatrix
    discarded: float


class RowRange(NamedTuple):
    """Where a path stands in the stack of an irrep: rows start:stop, times the weight."""

    path: Path
    start: int
    stop: int
    weight: float


@lru_cache(maxsize=4096)
def stacking(legs: tuple[Irreps, ...], leg: int) -> dict[Irrep, tuple[RowRange, ...]]:
    """For each irrep of a leg, the paths that reach it in the order in which they are stacked."""
    stacks: dict[Irrep, list[RowRange]] = {}
    others = [k for k in range(len(legs)) if k != leg]
    for path in allowed_paths(legs):
        stack = stacks.setdefault(path[leg], [])
        start = stack[-1].stop if stack else 0
        size = math.prod(legs[k].count(path[k]) for k in others)
        stack.append(RowRange(path, start, start + size, math.sqrt(path[-1].dim / path[leg].dim)))
    return {ir: tuple(stacks[ir]) for ir in sorted(stacks)}


def matricize(core: Core, leg: int = -1) -> dict[Irrep, Array]:
    """Matrices of the map from a leg to the other legs, in orthonormal bases.

    Parameters
    ----------
    core : Core
        With two or three legs.
    leg : int

    Returns
    -------
    dict of Irrep to array of shape (couplings of the other legs, multiplicity on the leg)
        Rows run over the paths, within a path over the copies on the other legs.  Irreps that
        no path reaches are left out.
    """
    leg = _leg(core, leg)
    xp = core.kind.xp
    others = [k for k in range(core.order) if k != leg]
    matrices = {}
    for ir, stack in stacking(core.legs, leg).items():
        mul = core.legs[leg].count(ir)
        rows = [
            xp.reshape(xp.permute_dims(core.blocks[row.path], (*others, leg)), (-1, mul))
            * row.weight
            for row in stack
        ]
        matrices[ir] = rows[0] if len(rows) == 1 else xp.concat(rows)
    return matrices


def tensorize(
    matrices: Mapping[Irrep, Array], legs: tuple[Irreps, ...], leg: int, kind: Kind
) -> Core:
    """Inverse of :func:`matricize`; the leg gets the irreps and multiplicities of the matrices.

    Parameters
    ----------
    matrices : dict of Irrep to array
    legs : tuple of Irreps
        What is given for ``leg`` does not matter.
    leg : int
    kind : Kind
    """
    leg %= len(legs)
    new = Irreps([(matrices[ir].shape[1], ir) for ir in sorted(matrices)])
    legs = (*legs[:leg], new, *legs[leg + 1 :])
    others = [k for k in range(len(legs)) if k != leg]
    back = tuple([*others, leg].index(k) for k in range(len(legs)))
    blocks: dict[Path, Block] = dict.fromkeys(allowed_paths(legs))
    for ir, stack in stacking(legs, leg).items():
        for row in stack:
            shape = [legs[k].count(row.path[k]) for k in others]
            part = kind.xp.reshape(
                matrices[ir][row.start : row.stop] * (1 / row.weight), (*shape, -1)
            )
            blocks[row.path] = kind.xp.permute_dims(part, back)
    return Core.trusted(legs, blocks, kind)


def _leg(core: Core, leg: int) -> int:
    if core.order < 2:
        raise CoreError(f"a factorisation needs a core with two or three legs, got {core!r}")
    if not -core.order <= leg < core.order:
        raise CoreError(f"expected a leg 0..{core.order - 1} of {core!r}, got {leg}")
    return leg % core.order


def qr(core: Core, leg: int = -1) -> Factors:
    """Split off a leg: core = isometry · bond, each bond matrix upper triangular.

    For the last leg M[(l1 l2 r1 r2), r3] = Q R, and the dense isometry satisfies
    sum_{12} Q[1, 2, 3] Q[1, 2, 3'] = delta_{33'}; likewise for the other legs.  With ``leg=0``
    this is the LQ decomposition of the core read from left to right.

    Parameters
    ----------
    core : Core
        With two or three legs.
    leg : int

    Returns
    -------
    Factors
        The diagonals of the bond matrices are not negative, which makes the factors unique where
        the matrices have full rank.  Where they have not, derivatives (torch) are those of what is
        made of the tensor isometry · bond; see :mod:`etn.tensor.pullback`.

    Raises
    ------
    CoreError
        If there is no such leg.

    Examples
    --------
    >>> core = Core.random(["1x0e", "4x0e+3x1o", "2x0e+2x1o"], seed=1)
    >>> q = qr(core).isometry.to_dense().reshape(-1, 8)
    >>> bool(abs(q.T @ q - np.eye(8)).max() < 1e-14)
    True
    """
    leg = _leg(core, leg)
    xp = core.kind.xp
    isometries, bond = {}, {}
    for ir, matrix in matricize(core, leg).items():
        q, r = _orthonormal(matrix, core.kind)
        # Positive diagonal: the factors are unique and do not depend on the LAPACK in use.
        sign = 1.0 - 2.0 * (xp.linalg.diagonal(r) < 0)
        sign = xp.astype(sign, r.dtype)
        isometries[ir], bond[ir] = q * sign, r * sign[:, None]
    return Factors(tensorize(isometries, core.legs, leg, core.kind), bond)


def _orthonormal(matrix: Array, kind: Kind) -> tuple[Array, Array]:
    if needs_pullback(matrix):
        q, r = kind.xp.linalg.qr(matrix.detach())
        if not is_full(r, kind):
            return spanned(matrix, q, r)
    factors: tuple[Array, Array] = kind.xp.linalg.qr(matrix)
    return factors


def polar(core: Core, leg: int = -1) -> Factors:
    """Split off a leg: core = isometry · bond, each bond matrix symmetric and not negative.

    Of all isometric cores on the same legs, this isometry is the nearest to the core.

    Raises
    ------
    CoreError
        If an irrep of the leg has more copies than couplings of the other legs that reach it:
        there is no isometry then.
    """
    leg = _leg(core, leg)
    isometries, bond = {}, {}
    for ir, matrix in matricize(core, leg).items():
        rows, columns = matrix.shape
        if rows < columns:
            raise CoreError(
                f"polar: leg {leg} of {core!r} carries {columns}x{ir}, but the other legs couple "
                f"to {rows}x{ir} only; use qr, which lowers the multiplicity"
            )
        u, s, vh = thin_svd(matrix, core.kind)
        if needs_pullback(matrix):
            isometries[ir] = nearest_isometry(matrix, u, s, vh)
            bond[ir] = isometries[ir].T @ matrix
        else:
            isometries[ir], bond[ir] = u @ vh, vh.T @ (s[:, None] * vh)
    return Factors(tensorize(isometries, core.legs, leg, core.kind), bond)


def svd(core: Core, leg: int = -1, truncation: Truncation | None = None) -> Singular:
    """Split off a leg by singular values, and keep of them what a rule says.

    Parameters
    ----------
    core : Core
        With two or three legs.
    leg : int
    truncation : Truncation, optional
        By default all singular values stay.

    Returns
    -------
    Singular

    Notes
    -----
    Derivatives (torch) are finite also where singular values are equal or zero, and right of what
    is made of the tensor isometry · bond; see :mod:`etn.tensor.pullback`.

    Raises
    ------
    CoreError
        If there is no such leg, or the truncation leaves nothing.

    Examples
    --------
    >>> core = Core.random(["1x0e+1x1o", "4x0e+3x1o", "3x0e+2x1o"], seed=1)
    >>> cut = svd(core, truncation=Truncation(max_multiplets=2))
    >>> rest = core.to_dense() - absorb_back(cut).to_dense()
    >>> cut.spectrum.irreps, bool(abs(np.linalg.norm(rest) - cut.discarded) < 1e-14)
    (1x0e+1x1o, True)
    """
    leg = _leg(core, leg)
    matrices = matricize(core, leg)
    factors = {ir: thin_svd(matrix, core.kind) for ir, matrix in matrices.items()}
    numbers, discarded = cut({ir: s for ir, (_, s, _) in factors.items()}, truncation)
    left, bond = {}, {}
    for ir, n in numbers.items():
        left[ir], bond[ir] = kept(matrices[ir], *factors[ir], n)
    isometry = tensorize(left, core.legs, leg, core.kind)
    spectrum = Spectrum({ir: to_numpy(factors[ir][1][:n]) for ir, n in numbers.items()})
    return Singular(isometry, spectrum, bond, discarded)


def cut(
    values: Mapping[Irrep, Array],
    truncation: Truncation | None,
    parameters: Mapping[Irrep, int] | None = None,
) -> tuple[dict[Irrep, int], float]:
    """How many singular values of each irrep stay, and the norm of the others."""
    if truncation is None:
        return {ir: len(s) for ir, s in values.items()}, 0.0
    spectrum = Spectrum({ir: to_numpy(s) for ir, s in values.items()})
    return truncation.cut(spectrum, parameters)


def thin_svd(matrix: Array, kind: Kind) -> tuple[Array, Array, Array]:
    """U, s and V^T of a matrix, as many columns as its smaller side; without derivatives.

    These follow where the factors are used, see :func:`etn.tensor.pullback.kept`.
    """
    if needs_pullback(matrix):
        matrix = matrix.detach()
    try:
        return kind.xp.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        # Divide and conquer may fail to converge where the slower QR iteration does not.
        import scipy.linalg

        return scipy.linalg.svd(matrix, full_matrices=False, lapack_driver="gesvd")


def eigh(core: Core) -> tuple[Spectrum, Core]:
    """Eigenvalues and eigenvectors of a symmetric core with two equal legs.

    Parameters
    ----------
    core : Core
        Blocks a[r, r'] on a leg twice, each symmetric.

    Returns
    -------
    values : Spectrum
        Eigenvalues of each irrep, descending.
    vectors : Core
        (leg, eigenvectors): core = vectors · diag(values) · vectors^T.

    Raises
    ------
    CoreError
        If the legs differ or a block is not symmetric.

    Examples
    --------
    >>> a = Core.random(["2x0e+2x1o"] * 2, seed=0)
    >>> square = a.replace({path: block @ block.T for path, block in a})
    >>> eigh(square)[0].irreps
    2x0e+2x1o
    """
    if core.order != 2 or core.legs[0] != core.legs[1]:
        raise CoreError(f"eigh needs a core with two equal legs, got {core!r}")
    xp = core.kind.xp
    values: dict[Irrep, NDArray[np.float64]] = {}
    vectors: dict[Path, Block] = {}
    for (ir, _), block in core:
        skew = float(to_numpy(xp.max(xp.abs(block - block.T))))
        size = float(to_numpy(xp.max(xp.abs(block))))
        if skew > 1e3 * core.kind.eps * size:
            raise CoreError(f"eigh: block {ir} is not symmetric, |a - a^T| reaches {skew:.3g}")
        w, v = xp.linalg.eigh(block)
        values[ir], vectors[ir, ir] = to_numpy(xp.flip(w, axis=(0,))), xp.flip(v, axis=(1,))
    spectrum = Spectrum(values)
    return spectrum, Core.trusted((core.legs[0], core.legs[1].regroup()), vectors, core.kind)


def absorb(core: Core, bond: BondMatrix, leg: int) -> Core:
    """Multiply a bond matrix on a leg: core'[..new..] = sum_old bond[new, old] core[..old..].

    Irreps that the bond matrix does not name are dropped.

    Raises
    ------
    CoreError
        If there is no such leg, or the matrix of an irrep does not fit the multiplicity on the
        leg or is of another library, precision or device than the core.
    """
    if not -core.order <= leg < core.order:
        raise CoreError(f"absorb: expected a leg 0..{core.order - 1} of {core!r}, got {leg}")
    leg %= core.order
    for ir, matrix in bond.items():
        if kind_of(matrix) != core.kind:
            raise CoreError(
                f"absorb: leg {leg} of {core!r} is of {core.kind}, the bond matrix of {ir} of "
                f"{kind_of(matrix)}; convert with .to(backend=, dtype=, device=)"
            )
        if matrix.shape[1] != core.legs[leg].count(ir):
            raise CoreError(
                f"absorb: leg {leg} of {core!r} carries {core.legs[leg].count(ir)}x{ir}, the bond "
                f"matrix expects {matrix.shape[1]}x{ir}"
            )
    xp = core.kind.xp
    new = Irreps([(bond[ir].shape[0], ir) for ir in sorted(bond) if core.legs[leg].count(ir)])
    legs = (*core.legs[:leg], new, *core.legs[leg + 1 :])
    blocks = {
        path: xp.moveaxis(xp.tensordot(bond[path[leg]], block, axes=([1], [leg])), 0, leg)
        for path, block in core.blocks.items()
        if path[leg] in bond
    }
    return Core.trusted(legs, blocks, core.kind)


def absorb_back(factors: Factors | Singular, leg: int = -1) -> Core:
    """The core that was factorised: isometry · bond, as far as it was kept.

    Irreps of the leg of which nothing was kept are missing; ``core.replace(result.blocks)`` puts
    zeros in their place.
    """
    back = {ir: matrix.T for ir, matrix in factors.bond.items()}
    return absorb(factors.isometry, back, leg)


def isometry_error(core: Core, *, leg: int) -> float:
    """Largest deviation of the dense core from an isometry on one leg.

    max |sum_{other legs} T T - identity|, computed from the reduced blocks.
    """
    leg = _leg(core, leg)
    matrices = matricize(core, leg)
    # Irreps of the leg that no path reaches have a Gram matrix of zero.
    error = 0.0 if all(ir in matrices for ir in core.legs[leg].unique) else 1.0
    for m in map(to_numpy, matrices.values()):
        error = max(error, float(np.abs(m.T @ m - np.eye(m.shape[1])).max(initial=0.0)))
    return error
