r"""Bases of the polynomials of one feature, degree by degree.

Coupling n copies of a feature x one after the other gives every polynomial of degree n, most of
them many times over: paths that differ only in the order of equal factors are linearly dependent.
As :math:`S^n V \subset S^{n-1} V \otimes V`, the couplings of a basis of degree n-1 with x span
degree n, and a basis is chosen among them.  How many there are is known beforehand, from
characters, see :func:`symmetric_multiplicities`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from etn.backend import Array, FloatArray, frozen, library, like
from etn.errors import CoreError, SettingsError
from etn.o3 import Irrep, Irreps, IrrepsLike, clebsch_gordan
from etn.o3.irrep import as_int

__all__ = [
    "Coupled",
    "Degree",
    "copies",
    "coupling_matrix",
    "evaluate",
    "polynomial_basis",
    "symmetric_multiplicities",
]

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
class Coupled:
    """Polynomials of one irrep and the degree below, coupled with one term of x to one irrep.

    Attributes
    ----------
    parent : Irrep
        Of the polynomials below.
    term : int
        Of x.
    parents : tuple of int
        Which of the polynomials of that irrep.
    """

    parent: Irrep
    term: int
    parents: tuple[int, ...]


Degree = Mapping[Irrep, tuple[Coupled, ...]]
"""How the polynomials of one degree are made: for each irrep, in the order of its copies."""


def copies(degree: Degree) -> dict[Irrep, int]:
    """How many polynomials there are of each irrep."""
    return {ir: sum(len(c.parents) for c in coupled) for ir, coupled in degree.items()}


@cache
def polynomial_basis(
    irreps: Irreps, order: int, out: tuple[Irrep, ...], reduced: bool = True
) -> tuple[Degree, ...]:
    """How to make a basis of the polynomials of one degree, and those of all degrees below it.

    Parameters
    ----------
    irreps : Irreps
        Of the feature x, each multiplicity 1.
    order : int
        The degree.
    out : tuple of Irrep
        Irreps that are wanted of it; those below are whatever leads there.
    reduced : bool
        ``False`` keeps every path, a redundant set.

    Returns
    -------
    tuple of Degree
        Degree 1 first.

    Raises
    ------
    SettingsError
        If there would be too many paths to choose from; the message says how many.

    Examples
    --------
    >>> degrees = polynomial_basis(Irreps("0e+1o"), 4, (Irrep("0e"), Irrep("1o")))
    >>> {str(ir): n for ir, n in copies(degrees[-1]).items()}
    {'0e': 3, '1o': 2}
    """
    first: Degree = {}
    for t, (_, ir) in enumerate(irreps):
        first = {**first, ir: (*first.get(ir, ()), Coupled(ir, t, (0,)))}
    degrees = [first]
    for degree in range(2, order + 1):
        # Higher than this, an irrep cannot come down to the output with the factors left.
        most = max(ir.l for ir in out) + (order - degree) * irreps.l_max
        candidates = _candidates(degrees[-1], irreps, most, None if degree < order else out)
        total = sum(copies(candidates).values())
        if total > MAX_CANDIDATES:
            raise SettingsError(
                f"degree {degree} of {irreps}: {total} paths to choose from, more than "
                f"{MAX_CANDIDATES}; lower the order or l_max"
            )
        degrees.append(_independent(degrees, candidates, irreps) if reduced else candidates)
    if order == 1:
        degrees = [{ir: first[ir] for ir in out}]
    return tuple(degrees)


def evaluate(
    degrees: Sequence[Degree], irreps: Irreps, parts: Mapping[int, Array]
) -> dict[Irrep, Array]:
    """Polynomials of the last degree, (..., n, 2l+1, channels) for each irrep.

    Parameters
    ----------
    degrees : sequence of Degree
        Degree 1 first, see :func:`polynomial_basis`.
    irreps : Irreps
        Of the feature x, each multiplicity 1.
    parts : mapping of int to (..., 1, 2l+1, channels) array
        x, term by term.

    Examples
    --------
    >>> degrees = polynomial_basis(Irreps("1o"), 2, (Irrep("0e"),))
    >>> values = evaluate(degrees, Irreps("1o"), {0: np.array([1.0, 2.0, 2.0]).reshape(1, 3, 1)})
    >>> abs(round(float(values[Irrep("0e")].item() * np.sqrt(3)), 12))  # the square of the norm
    9.0
    """
    values: dict[Irrep, Array] = {}
    for degree in degrees:
        values = _next(degree, values, irreps, parts)
    return values


def _next(
    degree: Degree, values: Mapping[Irrep, Array], irreps: Irreps, parts: Mapping[int, Array]
) -> dict[Irrep, Array]:
    """Polynomials of one degree from those of the degree below; none below degree 1."""
    found = {}
    for ir, coupled in degree.items():
        pieces = []
        for one in coupled:
            x = parts[one.term]
            if not values:  # degree 1 is x itself
                pieces.append(x)
                continue
            parent = values[one.parent]
            n = parent.shape[-3]
            if one.parents != tuple(range(n)):
                parent = parent[..., list(one.parents), :, :]
            coupling = like(coupling_matrix(one.parent.l, irreps[one.term].ir.l, ir.l), x)
            outer = parent[..., :, None, :] * x[..., None, :, :]
            size = (*outer.shape[:-3], outer.shape[-3] * outer.shape[-2], outer.shape[-1])
            pieces.append(coupling @ outer.reshape(size))
        found[ir] = library(pieces[0]).concat(pieces, -3) if len(pieces) > 1 else pieces[0]
    return found


@cache
def coupling_matrix(l1: int, l2: int, l3: int) -> FloatArray:
    """Isometric coupling as a matrix (2 l3 + 1, (2 l1 + 1)(2 l2 + 1))."""
    tensor = clebsch_gordan(l1, l2, l3)
    return frozen(np.moveaxis(tensor, -1, 0).reshape(2 * l3 + 1, -1))


def _candidates(
    below: Degree, irreps: Irreps, most: int, out: Sequence[Irrep] | None
) -> dict[Irrep, tuple[Coupled, ...]]:
    """All couplings of the polynomials of one degree with the terms of x."""
    found: dict[Irrep, tuple[Coupled, ...]] = {}
    for parent, n in copies(below).items():
        for t, (_, ir) in enumerate(irreps):
            for to in parent * ir:
                if to.l <= most and (out is None or to in out):
                    found[to] = (*found.get(to, ()), Coupled(parent, t, tuple(range(n))))
    return dict(sorted(found.items()))


def _independent(
    degrees: Sequence[Degree], candidates: Degree, irreps: Irreps
) -> dict[Irrep, tuple[Coupled, ...]]:
    """A largest set of candidates without a linear relation, by their values at random points."""
    from scipy.linalg import qr

    degree = len(degrees) + 1
    known = symmetric_multiplicities(irreps, degree)
    # As many numbers as unknowns of a relation, and some more.
    points = 8 + max(known[ir] // ir.dim for ir in candidates if ir in known)
    rng = np.random.default_rng(degree)
    parts = {t: rng.normal(size=(points, 1, ir.dim, 1)) for t, (_, ir) in enumerate(irreps)}
    chosen: dict[Irrep, tuple[Coupled, ...]] = {}
    for ir, value in evaluate([*degrees, candidates], irreps, parts).items():
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
        kept, start = [], 0
        for one in candidates[ir]:
            parents = tuple(k for k in one.parents if start + k in keep)
            start += len(one.parents)
            if parents:
                kept.append(Coupled(one.parent, one.term, parents))
        chosen[ir] = tuple(kept)
    return chosen
