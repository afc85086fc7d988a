r"""Products of a feature with itself: all equivariant polynomials of a degree, none twice.

The product of n copies of one feature x lives in the symmetric power :math:`S^n V`.  Coupling the
copies one after the other gives every polynomial, most of them many times over: paths that differ
only in the order of equal factors are linearly dependent.  As :math:`S^n V \subset S^{n-1} V
\otimes V`, the couplings of a basis of degree n-1 with x span degree n, and a basis is chosen
among them.  How many there are is known beforehand, from characters, see
:func:`symmetric_multiplicities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from etn.backend import Array, FloatArray, library, like
from etn.errors import CoreError, IrrepsError, SettingsError
from etn.o3 import Irrep, Irreps, IrrepsLike, clebsch_gordan
from etn.o3.irrep import as_int
from etn.product.channel_coupling import bare
from etn.product.fused_tensor import frozen

__all__ = ["SymmetricProduct", "symmetric_multiplicities"]

# Diagonal entries of a triangular factor: independent candidates stay above, others below.  They
# lie at 1e-3 and 1e-13; what comes between would say that more points are needed.
INDEPENDENT = 1e-8
MAX_CANDIDATES = 20_000


def symmetric_multiplicities(irreps: IrrepsLike, order: int) -> dict[Irrep, int]:
    r"""Count the irreps in the symmetric power of a representation.

    .. math:: \sum_n t^n \chi_{S^n V}(q) = \prod_{w \in V} \frac{1}{1 - t\, q^w}

    over the weights w = -l..l of V, with parities carried along; the multiplicity of l is the
    number of weights l minus that of weights l + 1.  Integer arithmetic.

    Parameters
    ----------
    irreps : irreps
    order : int
        Degree n of the polynomials, at least 1.

    Returns
    -------
    dict of Irrep to int
        Those that occur, sorted.

    Examples
    --------
    >>> {str(ir): n for ir, n in symmetric_multiplicities("1o", 3).items()}
    {'1o': 1, '3o': 1}
    """
    irreps, order = Irreps(irreps), as_int(order, "order", minimum=1)
    top = order * irreps.l_max
    # counts[n, parity, top + w]
    counts = np.zeros((order + 1, 2, 2 * top + 1), dtype=object)
    counts[0, 0, top] = 1
    for mul, ir in irreps:
        for w in list(range(-ir.l, ir.l + 1)) * mul:
            flip = (1 - ir.p) // 2
            for n in range(1, order + 1):
                # One more factor of this weight on top of what degree n-1 has by now.
                shifted = np.roll(counts[n - 1], w, axis=1)
                counts[n] += shifted[::-1] if flip else shifted
    found = {}
    for l in range(top + 1):
        for flip in (0, 1):
            row = counts[order, flip]
            n = int(row[top + l] - (row[top + l + 1] if l < top else 0))
            if n:
                found[Irrep(l, 1 - 2 * flip)] = n
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Group:
    """Couplings of one irrep of the degree below with one term of x to one irrep."""

    parent: Irrep
    term: int
    parents: tuple[int, ...]


# What makes the polynomials of one degree: for each irrep, groups in the order of its copies.
_Step = dict[Irrep, tuple[_Group, ...]]


class SymmetricProduct:
    r"""A basis of the equivariant polynomials of one degree of a feature, channel by channel.

    .. math:: B^{(n)}_{\eta} = \bigl(B^{(n-1)}_{\eta'} \otimes x_{l}\bigr)_{l'},
        \qquad z_{l' u} = \sum_\eta w_{\eta u}\, B^{(n)}_{\eta u}

    with isometric couplings, over a selection of paths with no linear relation between them.

    Parameters
    ----------
    irreps_in : irreps
        All with the same multiplicity, the channels.
    order : int
        Degree n of the polynomials.
    irreps_out : irreps, optional
        Degrees wanted, multiplicities do not matter; by default those of the input that occur.
    reduced : bool
        ``False`` keeps every path of coupling one factor after the other, as the full variant of
        ICTP does; a redundant set.

    Attributes
    ----------
    irreps_basis : Irreps
        The outputs, their multiplicities the numbers of basis polynomials.

    Raises
    ------
    IrrepsError
        If nothing of ``irreps_out`` occurs.
    SettingsError
        If there would be too many paths to choose from; the message says how many.

    Examples
    --------
    >>> product = SymmetricProduct("8x0e+8x1o", order=4, irreps_out="0e+1o")
    >>> product.irreps_basis
    3x0e+2x1o
    >>> SymmetricProduct("8x0e+8x1o", order=4, irreps_out="0e+1o", reduced=False).irreps_basis
    10x0e+16x1o
    >>> product(np.ones((5, 32))).shape
    (5, 32)
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        order: int,
        irreps_out: IrrepsLike | None = None,
        *,
        reduced: bool = True,
    ) -> None:
        self.irreps_in = Irreps(irreps_in)
        self.order = as_int(order, "order", minimum=1)
        self.reduced = reduced
        counts = {term.mul for term in self.irreps_in}
        if len(counts) != 1 or counts == {0}:
            raise IrrepsError(
                f"{self.irreps_in}: expected one number of channels for all irreps, got "
                f"{sorted(counts)}"
            )
        self.channels = counts.pop()
        self.single = bare(self.irreps_in)
        wanted = self.single if irreps_out is None else Irreps(irreps_out)
        known = symmetric_multiplicities(self.single, self.order)
        self.out = tuple(dict.fromkeys(ir for _, ir in wanted if ir in known))
        if not self.out:
            raise IrrepsError(
                f"no polynomial of degree {self.order} of {self.single} transforms as {wanted}; "
                f"there are {', '.join(map(str, known))}"
            )
        self._steps = _steps(self.single, self.order, self.out, reduced)
        last = self._counts(self._steps[-1])
        self.irreps_basis = Irreps([(last[ir], ir) for ir in self.out])
        self.irreps_out = Irreps([(self.channels, ir) for ir in self.out])

    @staticmethod
    def _counts(step: _Step) -> dict[Irrep, int]:
        return {ir: sum(len(g.parents) for g in groups) for ir, groups in step.items()}

    @property
    def weight_numel(self) -> int:
        """Weights: one for each basis polynomial and channel, the polynomials slowest."""
        return self.irreps_basis.num_irreps * self.channels

    def basis(self, x: Array) -> dict[Irrep, Array]:
        """All basis polynomials of features.

        Parameters
        ----------
        x : (..., irreps_in.dim) array
            NumPy or torch, layout ``"ir_mul"``.

        Returns
        -------
        dict of Irrep to (..., n, 2l+1, channels) array

        Raises
        ------
        IrrepsError
            If the last axis has another dimension.
        """
        if tuple(x.shape[-1:]) != (self.irreps_in.dim,):
            raise IrrepsError(
                f"expected a last axis of {self.irreps_in.dim} ({self.irreps_in}), got shape "
                f"{tuple(x.shape)}"
            )
        lead = tuple(x.shape[:-1])
        parts = {
            t: x[..., part].reshape((*lead, 1, term.ir.dim, self.channels))
            for t, (term, part) in enumerate(
                zip(self.irreps_in, self.irreps_in.slices(), strict=True)
            )
        }
        values: dict[Irrep, Array] = {}
        for step in self._steps:
            values = _advance(step, values, parts, self.single)
        return {ir: values[ir] for ir in self.out}

    def __call__(self, x: Array, w: Array | None = None) -> Array:
        """Sum of the basis polynomials with weights, (..., irreps_out.dim).

        Parameters
        ----------
        x : (..., irreps_in.dim) array
        w : (..., weight_numel) array, optional
            1 if not given.
        """
        xp = library(x)
        values, pieces, start = self.basis(x), [], 0
        for ir in self.out:
            value = values[ir]
            n = value.shape[-3]
            if w is None:
                total = value.sum(-3)
            else:
                if tuple(w.shape[-1:]) != (self.weight_numel,):
                    raise IrrepsError(
                        f"weights: expected a last axis of {self.weight_numel}, got shape "
                        f"{tuple(w.shape)}"
                    )
                block = w[..., start * self.channels : (start + n) * self.channels]
                block = block.reshape((*w.shape[:-1], n, 1, self.channels))
                total = (value * block).sum(-3)
            start += n
            pieces.append(total.reshape((*total.shape[:-2], ir.dim * self.channels)))
        return xp.concat(pieces, -1)

    def __repr__(self) -> str:
        """Return input, degree and basis."""
        kind = "reduced" if self.reduced else "full"
        return (
            f"SymmetricProduct({self.irreps_in}, order {self.order} -> {self.irreps_basis}, {kind})"
        )


def _advance(
    step: _Step, values: dict[Irrep, Array], parts: dict[int, Array], single: Irreps
) -> dict[Irrep, Array]:
    """Polynomials of the next degree, (..., n, 2l+1, channels) for each irrep."""
    found = {}
    for ir, groups in step.items():
        pieces = []
        for group in groups:
            x = parts[group.term]
            if not values:  # degree 1 is x itself
                pieces.append(x)
                continue
            parent = values[group.parent]
            n = parent.shape[-3]
            if group.parents != tuple(range(n)):
                parent = parent[..., list(group.parents), :, :]
            coupling = like(_coupling(group.parent.l, single[group.term].ir.l, ir.l), x)
            outer = parent[..., :, None, :] * x[..., None, :, :]
            size = (*outer.shape[:-3], outer.shape[-3] * outer.shape[-2], outer.shape[-1])
            pieces.append(coupling @ outer.reshape(size))
        found[ir] = library(pieces[0]).concat(pieces, -3) if len(pieces) > 1 else pieces[0]
    return found


@cache
def _coupling(l1: int, l2: int, l3: int) -> FloatArray:
    """Isometric coupling as a matrix (2 l3 + 1, (2 l1 + 1)(2 l2 + 1))."""
    tensor = clebsch_gordan(l1, l2, l3)
    return frozen(np.moveaxis(tensor, -1, 0).reshape(2 * l3 + 1, -1))


@cache
def _steps(single: Irreps, order: int, out: tuple[Irrep, ...], reduced: bool) -> tuple[_Step, ...]:
    first: _Step = {}
    for t, (_, ir) in enumerate(single):
        first[ir] = (*first.get(ir, ()), _Group(ir, t, (0,)))
    steps = [first]
    for degree in range(2, order + 1):
        # Higher than this, an irrep cannot come down to the output with the factors left.
        most = max(ir.l for ir in out) + (order - degree) * single.l_max
        candidates = _candidates(steps[-1], single, most, None if degree < order else out)
        total = sum(len(g.parents) for groups in candidates.values() for g in groups)
        if total > MAX_CANDIDATES:
            raise SettingsError(
                f"degree {degree} of {single}: {total} paths to choose from, more than "
                f"{MAX_CANDIDATES}; lower the order or l_max"
            )
        steps.append(_independent(steps, candidates, single) if reduced else candidates)
    if order == 1:
        steps = [{ir: first[ir] for ir in out}]
    return tuple(steps)


def _candidates(
    step: _Step, single: Irreps, most: int, out: Sequence[Irrep] | None
) -> dict[Irrep, tuple[_Group, ...]]:
    """All couplings of the polynomials of one degree with the terms of x."""
    found: dict[Irrep, tuple[_Group, ...]] = {}
    for parent, n in SymmetricProduct._counts(step).items():
        for t, (_, ir) in enumerate(single):
            for to in parent * ir:
                if to.l <= most and (out is None or to in out):
                    found[to] = (*found.get(to, ()), _Group(parent, t, tuple(range(n))))
    return dict(sorted(found.items()))


def _independent(steps: list[_Step], candidates: _Step, single: Irreps) -> _Step:
    """A largest set of candidates without a linear relation, by their values at random points."""
    from scipy.linalg import qr

    degree = len(steps) + 1
    known = symmetric_multiplicities(single, degree)
    # As many numbers as unknowns of a relation, and some more.
    points = 8 + max(known[ir] // ir.dim for ir in candidates if ir in known)
    rng = np.random.default_rng(degree)
    parts: dict[int, Any] = {
        t: rng.normal(size=(points, 1, ir.dim, 1)) for t, (_, ir) in enumerate(single)
    }
    values: dict[Irrep, Array] = {}
    for step in steps:
        values = _advance(step, values, parts, single)
    chosen: _Step = {}
    for ir, value in _advance(candidates, values, parts, single).items():
        if ir not in known:
            continue  # all its candidates vanish, as x times x to an odd degree
        columns = np.moveaxis(value[..., 0], 1, -1).reshape(points * ir.dim, -1)
        norms = np.linalg.norm(columns, axis=0)
        scale = np.where(norms > INDEPENDENT * norms.max(), norms, np.inf)
        triangle, pivots = qr(columns / scale, mode="r", pivoting=True)
        sizes = np.abs(np.diag(triangle))
        n = known[ir]
        if sizes[n - 1] < INDEPENDENT or (n < len(sizes) and sizes[n] > INDEPENDENT):
            raise CoreError(
                f"{ir} at degree {degree}: expected {n} independent paths, found sizes "
                f"{sizes[n - 1 : n + 1]} around that number; please report this"
            )
        keep = set(pivots[:n].tolist())
        groups, start = [], 0
        for group in candidates[ir]:
            kept = tuple(k for k in group.parents if start + k in keep)
            start += len(group.parents)
            if kept:
                groups.append(_Group(group.parent, group.term, kept))
        chosen[ir] = tuple(groups)
    return chosen
