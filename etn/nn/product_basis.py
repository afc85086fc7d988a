r"""Weighted sums of all products of the features of an atom with themselves, up to some order.

.. math:: z_{l_3 c} = \sum_{\nu} \sum_{\eta} w^{\nu}_{Z \eta c}\, B^{\nu}_{\eta l_3 c}, \qquad
    B^{\nu}_{\eta} = \bigl( B^{\nu - 1}_{\eta'} \otimes A_{l_2} \bigr)_{l_3}

over a basis of the polynomials of each degree, see :mod:`etn.product.symmetric_powers`.  A degree
is made of the one below, so all are made once; and where polynomials are only summed, the weights
are applied first,

.. math:: \sum_{\eta'} w_{\eta'} \bigl( B_{\eta'} \otimes A \bigr) =
    \Bigl( \sum_{\eta'} w_{\eta'} B_{\eta'} \Bigr) \otimes A,

which leaves one coupling for each path of degrees, however many polynomials go along it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

from etn.backend import FloatArray
from etn.errors import IrrepsError
from etn.o3 import Irrep, Irreps
from etn.product.symmetric_powers import (
    Degree,
    coupling_matrix,
    polynomial_basis,
    symmetric_multiplicities,
)

__all__ = ["WeightedProducts"]

Values = dict[Irrep, torch.Tensor]


class Summand(NamedTuple):
    """Polynomials of one irrep, coupled with one term to one output, by their own weights.

    Attributes
    ----------
    order : int
    parent, ir : Irrep
    term : int
    parents : slice or list of int
        Which polynomials of the parent.
    start, stop : int
        Their weights among those of the order.
    coupling : str
        Name of the buffer.
    """

    order: int
    parent: Irrep
    ir: Irrep
    term: int
    parents: tuple[int, ...]
    start: int
    stop: int
    coupling: str


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
        self.channels = irreps[0].mul
        self.dims = [term.ir.dim for term in irreps]
        self.out = [term.ir for term in out]
        single = Irreps([(1, term.ir) for term in irreps])
        self.terms = [term.ir for term in single]
        wanted = tuple(dict.fromkeys(self.out))
        self.degrees = _degrees(single, order, wanted, reduced)
        self.summands: list[Summand] = []
        self.counts: list[int] = []
        for number, degree in enumerate(self.degrees, start=1):
            at = 0
            for ir in wanted:
                for one in degree.get(ir, ()):
                    stop = at + len(one.parents)
                    name = "" if number == 1 else self._keep(one.parent, self.terms[one.term], ir)
                    self.summands.append(
                        Summand(number, one.parent, ir, one.term, one.parents, at, stop, name)
                    )
                    at = stop
            self.counts.append(at)
        for degree in self.degrees[1:-1]:
            for ir, coupled in degree.items():
                for one in coupled:
                    self._keep(one.parent, self.terms[one.term], ir)
        if not self.summands:
            raise IrrepsError(f"no product of up to {order} factors {single} transforms as {out}")
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n_elements, count, self.channels, dtype=torch.float64))
            for count in self.counts
        )

    def forward(self, A: torch.Tensor, element: torch.Tensor) -> torch.Tensor:
        """The sums (atoms, out.dim) of the products of features (atoms, irreps.dim)."""
        parts = A.reshape(len(A), -1, self.channels).split(self.dims, dim=1)
        values: Values = {}
        for ir, part in zip(self.terms, parts, strict=True):
            values[ir] = part[:, None]
        below: Values = {}
        totals: dict[Irrep, list[torch.Tensor]] = {ir: [] for ir in self.out}
        for number, table in enumerate(self.weights, start=1):
            if number > 1:
                below = values
            if self.counts[number - 1]:
                scale = 1.0 / math.sqrt(self.counts[number - 1])
                weights = table.index_select(0, element) * scale
                for one in self.summands:
                    if one.order == number:
                        totals[one.ir].append(self._sum(one, below, parts, weights))
            if 1 < number < len(self.weights):
                values = self._next(self.degrees[number - 1], below, parts)
        found = []
        for ir in self.out:
            if totals[ir]:
                found.append(torch.stack(totals[ir]).sum(0))
            else:
                found.append(A.new_zeros((len(A), ir.dim, self.channels)))
        return torch.cat(found, 1).flatten(1)

    def _sum(
        self,
        one: Summand,
        below: Values,
        parts: tuple[torch.Tensor, ...],
        weights: torch.Tensor,
    ) -> torch.Tensor:
        own = weights[:, one.start : one.stop, None]
        if one.order == 1:
            return parts[one.term] * own[:, 0]
        parent = _chosen(below[one.parent], one.parents)
        summed = (parent * own).sum(1)
        outer = summed[:, :, None] * parts[one.term][:, None]
        coupled: torch.Tensor = torch.matmul(self.get_buffer(one.coupling), outer.flatten(1, 2))
        return coupled

    def _next(self, degree: Degree, below: Values, parts: tuple[torch.Tensor, ...]) -> Values:
        """Polynomials of one degree, {ir: (atoms, n, 2 l + 1, channels)}."""
        found: dict[Irrep, list[torch.Tensor]] = {ir: [] for ir in degree}
        # What two irreps make together is formed once, whatever it is coupled to.
        outers: dict[tuple[Irrep, int], torch.Tensor] = {}
        for ir, coupled in degree.items():
            for one in coupled:
                key = (one.parent, one.term)
                if key not in outers:
                    x = parts[one.term][:, None, None]
                    outers[key] = (below[one.parent][:, :, :, None] * x).flatten(2, 3)
                matrix = self.get_buffer(_name(one.parent, self.terms[one.term], ir))
                found[ir].append(torch.matmul(matrix, _chosen(outers[key], one.parents)))
        return {ir: torch.cat(pieces, 1) for ir, pieces in found.items()}

    def _keep(self, one: Irrep, two: Irrep, to: Irrep) -> str:
        """Hold a coupling as a buffer; its name."""
        name = _name(one, two, to)
        if name not in self._buffers:
            matrix: FloatArray = coupling_matrix(one.l, two.l, to.l)
            self.register_buffer(name, torch.as_tensor(matrix.copy()), persistent=False)
        return name


def _degrees(
    single: Irreps, order: int, wanted: tuple[Irrep, ...], reduced: bool
) -> tuple[Degree, ...]:
    """How the polynomials of each degree are made, that of the last without what is not wanted."""
    for most in range(order, 1, -1):
        known = symmetric_multiplicities(single, most)
        if reached := tuple(ir for ir in wanted if ir in known):
            return polynomial_basis(single, most, reached, reduced)
    return polynomial_basis(single, 1, tuple(term.ir for term in single), reduced)


def _chosen(values: torch.Tensor, which: tuple[int, ...]) -> torch.Tensor:
    """Some of the polynomials, along axis 1."""
    n = values.shape[1]
    if which == tuple(range(n)):
        return values
    if which == tuple(range(which[0], which[-1] + 1)):
        return values[:, which[0] : which[-1] + 1]
    return torch.stack([values[:, k] for k in which], 1)


def _name(one: Irrep, two: Irrep, to: Irrep) -> str:
    return f"couple_{one}_{two}_{to}"
