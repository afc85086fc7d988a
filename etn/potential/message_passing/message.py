r"""Messages: what the neighbours tell an atom, as elements of a tensor network.

Atom j has equivariant outputs u_j, the open last bond of a chain over its own leg.  An edge
carries radial functions times harmonics.  The message that reaches atom i is

.. math:: A_i^{L} = \sum_j s_{ij}\; [\, g_n(r_{ij}) Y_l(\hat r_{ij}) \otimes u_j \,]^{L},
    \qquad s_{ij} = q_i \cdot k_j ,

coupled by isometric Clebsch-Gordan tensors.  The sum over j is the pooling: a leg that all
neighbours share and that is summed.  The score s_ij is the attention: the l = 0 contraction of a
query of the receiver and a key of the sender, each the last bond of a chain of its own; without
attention it is 1.  There is no softmax, so a message is linear in u, in q and in k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from etn.backend import FloatArray as Array
from etn.errors import SettingsError
from etn.network import Blocks
from etn.o3 import Irrep, Irreps
from etn.tensor.core import coupling

SCALAR = Irrep(0, 1)


@dataclass(frozen=True)
class Messages:
    """Settings of the first layer and of the messages that it sends.

    Parameters
    ----------
    outputs : Irreps or str
        Irreps of u_j.
    body_order : int
        Of u_j: the atom j and ``body_order - 1`` neighbours of it, at least 2.
    max_bond : int or Irreps or str
        Multiplicities on the inner bonds of the chains of the first layer.
    n_max, l_max : int
        Radial functions and highest degree of an edge.
    attention : Irreps or str, optional
        Irreps of queries and keys besides the constant 1 that both hold, which makes a score
        1 + q · k; no attention by default.

    Raises
    ------
    SettingsError
        If a number is out of range or there are no outputs.

    Examples
    --------
    >>> Messages("2x0e+1x1o", n_max=3, l_max=1).coupling("1x0e+1x1o").leg
    9x0e+9x1o
    """

    outputs: Irreps | str = "2x0e+2x1o+1x2e"
    body_order: int = 3
    max_bond: int | Irreps | str = "4x0e+3x1o+2x2e"
    n_max: int = 4
    l_max: int = 2
    attention: Irreps | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", Irreps(self.outputs).regroup())
        if not isinstance(self.max_bond, int):
            object.__setattr__(self, "max_bond", Irreps(self.max_bond).regroup())
        if not Irreps(self.outputs).dim:
            raise SettingsError("messages: expected at least one irrep in outputs, got none")
        if self.body_order < 2:
            raise SettingsError(f"messages: body_order: expected at least 2, got {self.body_order}")
        if not 1 <= self.n_max <= 200:
            raise SettingsError(f"messages: n_max: expected 1..200, got {self.n_max}")
        every = Irreps(self.outputs) + Irreps(self.attention or "")
        if not 0 <= self.l_max <= 12 or every.l_max > 12:
            raise SettingsError(f"messages: l_max: expected 0..12 for all irreps, got {self.l_max}")

    def to_header(self) -> dict[str, int | str | None]:
        """The settings as JSON values; ``Messages(**header)`` is the inverse."""
        return {k: str(v) if isinstance(v, Irreps) else v for k, v in vars(self).items()}

    def __str__(self) -> str:
        attention = "" if self.attention is None else f", attention 0e+{self.attention}"
        return (
            f"{self.outputs} of body order {self.body_order}, bonds up to {self.max_bond}"
            f"{attention}\nedges of n_max {self.n_max}, l_max {self.l_max}"
        )

    @property
    def score(self) -> Irreps:
        """Irreps of queries and keys, the constant first."""
        return (Irreps("0e") + Irreps(self.attention or "")).regroup()

    def coupling(self, into: Irreps | str) -> MessageCoupling:
        """How edges and outputs couple to the irreps that the second layer reads."""
        return _coupling(self.n_max, self.l_max, Irreps(self.outputs), Irreps(into).regroup())


class _Pair(NamedTuple):
    """One degree of the edge with one irrep of the outputs, and all that they couple to."""

    edge: slice
    source: slice
    shape: tuple[int, int, int, int]  # n, 2 l + 1, multiplicity, 2 l_u + 1
    results: tuple[tuple[Irrep, slice, slice], ...]  # irrep, where in matrix, copies in the leg
    matrix: Array  # ((2 l + 1) (2 l_u + 1), sum of 2 L + 1)


class MessageCoupling:
    """Couples edge ⊗ outputs to the leg of the second layer.

    An edge is a vector over (l, n, m), outputs are a vector over (irrep, copy, m); the leg holds,
    for each result L, the copies (n, copy) of one pair (l, irrep) after another.

    Parameters
    ----------
    n_max, l_max : int
    outputs, into : Irreps
        Regrouped.

    Attributes
    ----------
    leg : Irreps
    n_edge, n_source : int
        Lengths of an edge vector and of an output vector.

    Raises
    ------
    SettingsError
        If nothing couples to the irreps asked for.
    """

    def __init__(self, n_max: int, l_max: int, outputs: Irreps, into: Irreps) -> None:
        self.outputs = outputs
        self.n_edge, self.n_source = n_max * (l_max + 1) ** 2, outputs.dim
        copies = dict.fromkeys(into.unique, 0)
        self._pairs: list[_Pair] = []
        for l in range(l_max + 1):
            edge = Irrep(l, (-1) ** l)
            rows, column = slice(n_max * l**2, n_max * (l + 1) ** 2), 0
            for ir in outputs.unique:
                mul = outputs.count(ir)
                columns = slice(column, column + mul * ir.dim)
                column = columns.stop
                results, matrices, at = [], [], 0
                for result in sorted(set(edge * ir) & copies.keys()):
                    part = slice(at, at + result.dim)
                    place = slice(copies[result], copies[result] + n_max * mul)
                    at, copies[result] = part.stop, place.stop
                    results.append((result, part, place))
                    matrices.append(coupling((edge, ir, result)).reshape(-1, result.dim))
                if results:
                    shape = (n_max, edge.dim, mul, ir.dim)
                    matrix = np.concatenate(matrices, axis=1)
                    self._pairs.append(_Pair(rows, columns, shape, tuple(results), matrix))
        self.leg = Irreps([(n, ir) for ir, n in copies.items() if n])
        if not self.leg.dim:
            raise SettingsError(
                f"messages: outputs {outputs} and edges up to l = {l_max} couple to none of the "
                f"irreps {into} of the bonds: expected one that both hold, such as 0e"
            )

    def couple(self, product: Array) -> Blocks:
        """Irreps of a product of edge and outputs.

        Parameters
        ----------
        product : (..., n_edge, n_source)

        Returns
        -------
        {L: (..., multiplicity, 2 L + 1)}
        """
        lead = product.shape[:-2]
        out = {ir: np.empty((*lead, self.leg.count(ir), ir.dim)) for ir in self.leg.unique}
        for pair in self._pairs:
            n, d1, mul, d2 = pair.shape
            part = product[..., pair.edge, pair.source].reshape(*lead, n, d1, mul, d2)
            coupled = part.swapaxes(-3, -2).reshape(-1, d1 * d2) @ pair.matrix
            coupled = coupled.reshape(*lead, n * mul, -1)
            for ir, columns, place in pair.results:
                out[ir][..., place, :] = coupled[..., columns]
        return out

    def uncouple(self, blocks: Blocks) -> Array:
        """Adjoint of :meth:`couple`: (..., n_edge, n_source)."""
        lead = next(iter(blocks.values())).shape[:-2]
        out = np.zeros((*lead, self.n_edge, self.n_source))
        for pair in self._pairs:
            n, d1, mul, d2 = pair.shape
            coupled = np.concatenate(
                [blocks[ir][..., place, :] for ir, _, place in pair.results], axis=-1
            )
            part = (coupled @ pair.matrix.T).reshape(*lead, n, mul, d1, d2).swapaxes(-3, -2)
            out[..., pair.edge, pair.source] = part.reshape(*lead, n * d1, mul * d2)
        return out


@lru_cache(maxsize=64)
def _coupling(n_max: int, l_max: int, outputs: Irreps, into: Irreps) -> MessageCoupling:
    return MessageCoupling(n_max, l_max, outputs, into)
