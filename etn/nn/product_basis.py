r"""Weighted sums of all products of the features of an atom with themselves, up to some order.

.. math:: z_{l_3 c} = \sum_{\nu} \sum_{\eta} w^{\nu}_{Z \eta c}\, B^{\nu}_{\eta l_3 c}, \qquad
    B^{\nu}_{\eta} = \bigl( B^{\nu - 1}_{\eta'} \otimes A_{l_2} \bigr)_{l_3}

over a basis of the polynomials of each degree, see :mod:`etn.product.symmetric_powers`.  Those of
the highest degree are only summed, so their weights are applied one degree below,

.. math:: z_{l_3} = \sum_{l_1 l_2} \bigl( S_{l_1 l_2 l_3} \otimes A_{l_2} \bigr)_{l_3}, \qquad
    S_{l_1 l_2 l_3} = \sum_{\nu \eta'} w^{\nu}_{Z \eta} B^{\nu - 1}_{\eta'},

which leaves one coupling for each path of degrees, for all orders and however many polynomials go
along it.  And the polynomials B are linear in the monomials of A, each of which is formed once.
Components come first here, so that all of it is a few products of large matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from etn.backend import FloatArray
from etn.errors import IrrepsError, SettingsError
from etn.nn.rounding import unrounded
from etn.o3 import Irrep, Irreps
from etn.product.symmetric_powers import (
    Degree,
    coupling_matrix,
    polynomial_basis,
    symmetric_multiplicities,
)

__all__ = ["WeightedProducts"]

# Numbers of the matrix that makes the polynomials of one degree of monomials.
MAX_MATRIX = 50_000_000


class Family(NamedTuple):
    """Polynomials of one irrep and all degrees, and the paths that begin with them.

    Attributes
    ----------
    dim : int
        2 l + 1.
    rows : list of (int, int, int)
        Degree of polynomials of this irrep, and where they start and stop among all of it.
    paths : int
    """

    dim: int
    rows: list[tuple[int, int, int]]
    paths: int


class WeightedProducts(nn.Module):
    """Products up to an order, summed with weights of each element and channel.

    Parameters
    ----------
    irreps : Irreps
        Of the features: every irrep once, all with the same number of channels.
    out : Irreps
        With the same channels; what no product reaches is zero.
    order : int
        Most factors.
    n_elements : int
    reduced : bool
        Whether to keep a basis of the polynomials only, or every path.

    Raises
    ------
    IrrepsError
        If no product has any of the outputs.
    SettingsError
        If there are too many polynomials.

    Examples
    --------
    >>> products = WeightedProducts(Irreps("4x0e+4x1o+4x2e"), Irreps("4x0e+4x1o"), 3, 2)
    >>> products.counts
    [2, 5, 10]
    >>> element = torch.tensor([0, 1, 1])
    >>> products(torch.randn(3, 36, dtype=torch.float64), element).shape
    torch.Size([3, 16])
    """

    def __init__(
        self, irreps: Irreps, out: Irreps, order: int, n_elements: int, *, reduced: bool = True
    ) -> None:
        super().__init__()
        self.told: torch.Tensor
        self.heard: torch.Tensor
        self.couple: torch.Tensor
        self.which: torch.Tensor
        self.channels = irreps[0].mul
        single = Irreps([(1, term.ir) for term in irreps])
        wanted = tuple(term.ir for term in out)
        degrees = _degrees(single, order, tuple(dict.fromkeys(wanted)), reduced)
        self.counts = [
            sum(len(one.parents) for ir in dict.fromkeys(wanted) for one in degree.get(ir, ()))
            for degree in degrees
        ]
        if not any(self.counts):
            raise IrrepsError(f"no product of up to {order} factors {single} transforms as {out}")
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n_elements, count, self.channels, dtype=torch.float64))
            for count in self.counts
        )
        basis = _Basis(single)
        for degree in degrees[1:-1]:
            basis.extend(degree)
            number = len(basis.matrices) - 1
            self._keep(f"left{number}", basis.left)
            self._keep(f"right{number}", basis.right)
            self._keep(f"basis{number}", basis.matrices[-1])
        self.n_degrees = len(basis.matrices)
        plan = _Plan(degrees, single, wanted, basis)
        self.families = plan.families
        self._keep("told", plan.left)
        self._keep("heard", plan.right)
        self._keep("couple", plan.couple)
        self.register_buffer("which", torch.as_tensor(plan.weights), persistent=False)

    @unrounded
    def forward(self, A: torch.Tensor, element: torch.Tensor) -> torch.Tensor:
        """The sums (atoms, out.dim) of the products of features (atoms, irreps.dim)."""
        n = len(A)
        x = A.reshape(n, -1, self.channels).transpose(0, 1).flatten(1)
        weights = self._weights(element)
        polynomials = self._polynomials(x)
        sums, at = [], 0
        for dim, rows, paths in self.families:
            B = torch.cat([polynomials[k][i:j] for k, i, j in rows]).unflatten(0, (-1, dim))
            size = paths * len(B)
            own = weights[at : at + size].unflatten(0, (paths, -1))
            sums.append((own[:, :, None] * B).sum(1).flatten(0, 1))
            at += size
        pairs = (self.told @ torch.cat(sums)) * (self.heard @ x)
        found: torch.Tensor = self.couple @ pairs
        return found.unflatten(1, (n, self.channels)).transpose(0, 1).flatten(1)

    def _weights(self, element: torch.Tensor) -> torch.Tensor:
        """Weights of all polynomials on all paths, zero where there is none, (all, atoms c)."""
        scaled = [
            table * (1.0 / math.sqrt(count))
            for table, count in zip(self.weights, self.counts, strict=True)
            if count
        ]
        none = scaled[0].new_zeros((len(scaled[0]), 1, self.channels))
        chosen = torch.cat([*scaled, none], 1).index_select(1, self.which)
        return chosen.index_select(0, element).transpose(0, 1).flatten(1)

    def _polynomials(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Those of every degree but the last, (all components, atoms c); degree 0 is one."""
        found = [torch.ones_like(x[:1]), x][: self.n_degrees]
        monomials = x
        for k in range(2, self.n_degrees):
            left, right = getattr(self, f"left{k}"), getattr(self, f"right{k}")
            monomials = (left @ monomials) * (right @ x)
            found.append(getattr(self, f"basis{k}") @ monomials)
        return found

    def _keep(self, name: str, matrix: FloatArray) -> None:
        self.register_buffer(name, torch.tensor(matrix), persistent=False)


class _Basis:
    """Polynomials of every degree as combinations of monomials.

    Attributes
    ----------
    matrices : list of (components, monomials) array
        Of the degrees from 0.
    places : list of dict of Irrep to (int, int)
        Where the components of an irrep start and stop in each degree.
    left, right : (monomials, ...) array
        Select the monomials below and the components of x that make those of the last degree.
    """

    def __init__(self, single: Irreps) -> None:
        self._single = single
        self.matrices: list[FloatArray] = [np.ones((1, 1)), np.eye(single.dim)]
        first = {
            term.ir: (at.start, at.stop) for term, at in zip(single, single.slices(), strict=True)
        }
        self.places = [{Irrep("0e"): (0, 1)}, first]
        self._monomials: list[tuple[int, ...]] = [(k,) for k in range(single.dim)]
        self.left = self.right = np.zeros((0, 0))

    def extend(self, degree: Degree) -> None:
        """Add the next degree."""
        dim, below = self._single.dim, {m: k for k, m in enumerate(self._monomials)}
        order = len(self.matrices)
        rows = sum(ir.dim * len(one.parents) for ir, all_ in degree.items() for one in all_)
        if rows * math.comb(dim + order - 1, order) > MAX_MATRIX:
            raise SettingsError(
                f"degree {order} of {self._single}: {rows} polynomials of "
                f"{math.comb(dim + order - 1, order)} monomials; lower the order or l_max"
            )
        made = list(combinations_with_replacement(range(dim), order))
        number = {m: k for k, m in enumerate(made)}
        # Monomial m below times component j of x.
        child = np.array([[number[tuple(sorted((*m, j)))] for j in range(dim)] for m in below])
        pieces, place, at = [], {}, 0
        for ir, coupled in degree.items():
            start = at
            for one in coupled:
                first, stop = self.places[-1][one.parent]
                parents = self.matrices[-1][first:stop].reshape(-1, one.parent.dim, len(below))
                term, own = self._single[one.term].ir, self._single.slices()[one.term]
                matrix = coupling_matrix(one.parent.l, term.l, ir.l)
                tensor = matrix.reshape(ir.dim, one.parent.dim, term.dim)
                # (parents, m3, monomials below, m2)
                parts = np.einsum("cab,nam->ncmb", tensor, parents[list(one.parents)])
                # Added up, as several pairs make one monomial.
                piece = np.zeros((len(made), len(parts) * ir.dim))
                sources = child[:, own].ravel()
                np.add.at(piece, sources, parts.reshape(-1, len(sources)).T)
                pieces.append(piece.T)
                at += len(pieces[-1])
            place[ir] = (start, at)
        self.matrices.append(np.concatenate(pieces))
        self.places.append(place)
        self.left = np.eye(len(below))[[below[m[:-1]] for m in made]]
        self.right = np.eye(dim)[[m[-1] for m in made]]
        self._monomials = made


class _Plan:
    """The paths of degrees (l1, l2, l3), for all orders together.

    Attributes
    ----------
    families : list of Family
    weights : list of int
        Which weight each polynomial of a family has on each of its paths, families one after the
        other; the one behind the last stands for none.
    left, right : (pairs, ...) array
        Select the components of sums S and of x that are multiplied.
    couple : (out.dim, pairs) array
    """

    def __init__(
        self, degrees: Sequence[Degree], single: Irreps, wanted: Sequence[Irrep], basis: _Basis
    ) -> None:
        one = Irrep("0e")
        # {l1: {(term, l3): {(degree below, copy): weight}}}
        found: dict[Irrep, dict[tuple[int, Irrep], dict[tuple[int, int], int]]] = {}
        at = 0
        for order, degree in enumerate(degrees, start=1):
            for ir in dict.fromkeys(wanted):
                for part in degree.get(ir, ()):
                    parent = part.parent if order > 1 else one
                    own = found.setdefault(parent, {}).setdefault((part.term, ir), {})
                    for copy in part.parents:
                        own[order - 1, copy] = at
                        at += 1
        self.families: list[Family] = []
        self.weights: list[int] = []
        pairs: list[tuple[int, int]] = []
        columns: list[FloatArray] = []
        sums = 0
        for parent, paths in found.items():
            rows = [(k, *place[parent]) for k, place in enumerate(basis.places) if parent in place]
            members = [(k, n) for k, i, j in rows for n in range((j - i) // parent.dim)]
            self.families.append(Family(parent.dim, rows, len(paths)))
            for (term, ir), own in paths.items():
                self.weights += [own.get(member, at) for member in members]
                two = single[term].ir
                matrix = coupling_matrix(parent.l, two.l, ir.l)
                zero = np.zeros_like(matrix[:1])
                parts = [matrix if to == ir else zero.repeat(to.dim, axis=0) for to in wanted]
                columns.append(np.concatenate(parts))
                heard = range(single.dim)[single.slices()[term]]
                pairs += product(range(sums, sums + parent.dim), heard)
                sums += parent.dim
        couple = np.concatenate(columns, axis=1)
        used = np.flatnonzero(couple.any(axis=0))
        told, heard_of = zip(*(pairs[k] for k in used), strict=True)
        self.left, self.right = np.eye(sums)[list(told)], np.eye(single.dim)[list(heard_of)]
        self.couple = couple[:, used]


def _degrees(
    single: Irreps, order: int, wanted: tuple[Irrep, ...], reduced: bool
) -> tuple[Degree, ...]:
    """How the polynomials of each degree are made, that of the last without what is not wanted."""
    for most in range(order, 1, -1):
        known = symmetric_multiplicities(single, most)
        if reached := tuple(ir for ir in wanted if ir in known):
            return polynomial_basis(single, most, reached, reduced)
    return polynomial_basis(single, 1, tuple(term.ir for term in single), reduced)
