r"""Weights for every path where channels meet one to one: all paths of two terms at once.

.. math:: z_{b k u} = \sum_{p} w_{p u}\, \alpha_p \sum_{ij} W^p_{kij}\, x_{b i u}\, y_{b j u}

The outer product of two irreps serves every path that couples them, and each block of rows of the
result carries one weight a channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from etn.backend import Array, FloatArray, frozen
from etn.product.kernels import BLOCK_BYTES, Constants, in_one_block
from etn.product.path_contraction import PathContraction

__all__ = ["ElementwisePathContraction"]


class ElementwisePathContraction(PathContraction):
    """The mode ``uuu`` with equal multiplicities, by matrix products over blocks of columns."""

    @staticmethod
    def fits(contraction: PathContraction) -> bool:
        """Whether the channels of a product meet one to one."""
        uniform = len({term.mul for leg in contraction.legs for term in leg}) == 1
        return contraction.mode == "uuu" and uniform and bool(contraction.fused.paths)

    @cached_property
    def _pairs(self) -> dict[tuple[int, int], list[int]]:
        """Paths by the terms of the operands."""
        found: dict[tuple[int, int], list[int]] = {}
        for n, path in enumerate(self.fused.paths):
            found.setdefault((path.ins[0], path.ins[1]), []).append(n)
        return found

    @cached_property
    def _rows(self) -> list[int]:
        """The path that each row of all couplings, one below the other, is of."""
        dims = [self.fused.out[path.out].ir.dim for path in self.fused.paths]
        return [n for numbers in self._pairs.values() for n in numbers for _ in range(dims[n])]

    @cached_property
    def constants(self) -> Mapping[str, FloatArray]:
        """Couplings of each pair of terms, one below the other, and the sum over paths."""
        found: dict[str, FloatArray] = {}
        add = np.zeros((self.fused.shape[0], len(self._rows)))
        start = 0
        for (i, j), numbers in self._pairs.items():
            blocks = []
            for n in numbers:
                path = self.fused.paths[n]
                tensor = self.fused.coefficients[n] * self.fused.path_tensor(path)
                blocks.append(tensor.reshape(len(tensor), -1))
                here = slice(start, start := start + len(tensor))
                add[self.fused.slices(path)[0], here] = np.eye(len(tensor))
            found[f"pair{i}_{j}"] = frozen(np.concatenate(blocks))
        found["add"] = frozen(add)
        return found

    def apply(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        """Contract flat operands (b, dim1) and (b, dim2) to (b, dim3)."""
        d3, d1, d2 = self.fused.shape
        mul, b = self.legs[0][0].mul, x.shape[0]
        x, y = x.reshape((b, d1, mul)).swapaxes(0, 1), y.reshape((b, d2, mul)).swapaxes(0, 1)
        if w is not None:
            w = w.reshape((w.shape[0], len(self.fused.paths), mul)).swapaxes(0, 1)[self._rows]
        z = self._blocks(xp, c, x, y, w)
        return z.swapaxes(0, 1).reshape((b, d3 * mul))

    def _blocks(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        """Components first, a block of the batch at a time."""
        b = x.shape[1]
        step = max(1, BLOCK_BYTES // (len(self._rows) * x.itemsize * x.shape[2]))
        # Asked first: for a compiler the batch is no number that a loop could end at.
        if in_one_block(xp, x) or b <= step:
            return self._columns(xp, c, x, y, w)
        pieces = []
        for start in range(0, b, step):
            here = slice(start, start + step)
            weights = w if w is None or w.shape[1] == 1 else w[:, here]
            pieces.append(self._columns(xp, c, x[:, here], y[:, here], weights))
        return xp.concat(pieces, axis=1)

    def _columns(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        """Components first: (d1, b, C) and (d2, b, C) to (d3, b, C)."""
        _, b, mul = x.shape
        first, second = (leg.slices() for leg in self.fused.ins)
        terms = []
        for i, j in self._pairs:
            outer = x[first[i], None] * y[None, second[j]]
            terms.append(
                c[f"pair{i}_{j}"] @ outer.reshape((outer.shape[0] * outer.shape[1], b * mul))
            )
        rows = terms[0] if len(terms) == 1 else xp.concat(terms, axis=0)
        if w is not None:
            rows = (rows.reshape((len(self._rows), b, mul)) * w).reshape(rows.shape)
        return (c["add"] @ rows).reshape((self.fused.shape[0], b, mul))

    def flops(self) -> int:
        """Multiplications of one batch entry."""
        first, second = self.fused.ins
        mul, n_rows = self.legs[0][0].mul, len(self._rows)
        pairs = sum(
            first[i].ir.dim
            * second[j].ir.dim
            * (1 + sum(self.fused.out[self.fused.paths[n].out].ir.dim for n in numbers))
            for (i, j), numbers in self._pairs.items()
        )
        return mul * (pairs + n_rows * (1 + self.fused.shape[0]))
