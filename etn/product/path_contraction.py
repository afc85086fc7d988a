r"""The contraction with weights of its own for every path, and any multiplicities.

.. math:: z_{b k w} = \sum_p \alpha_p \sum_{ij} W^p_{kij} \sum_{uv} w^p_{uvw}\, x_{b i u} y_{b j v}

for the mode ``uvw``, and accordingly for the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etn.backend import Array, FloatArray, frozen
from etn.o3 import Irreps
from etn.product.fused_tensor import FusedTensor, Path
from etn.product.kernels import Constants
from etn.product.modes import Mode, weight_shape
from etn.product.weight_sharing import WeightPlan

__all__ = ["PathContraction"]


@dataclass(frozen=True, eq=False)
class PathContraction:
    """Path by path; where the second operand has one channel, all paths of an input at once.

    Parameters
    ----------
    fused : FusedTensor
    legs : (first, second, output)
        Irreps with their multiplicities, term by term those of ``fused``.
    mode : str
    weighted : bool
        Whether every path has weights; they are 1 otherwise.
    """

    fused: FusedTensor
    legs: tuple[Irreps, Irreps, Irreps]
    mode: Mode
    weighted: bool = True
    name: str = "paths"

    def channels(self, path: Path) -> tuple[int, int, int]:
        """Multiplicities of the terms that a path couples."""
        first, second, out = self.legs
        return first[path.ins[0]].mul, second[path.ins[1]].mul, out[path.out].mul

    @cached_property
    def plan(self) -> WeightPlan:
        """Blocks of the weights."""
        shapes = {
            f"path {n}": weight_shape(self.mode, self.channels(path))
            for n, path in enumerate(self.fused.paths)
        }
        return WeightPlan(shapes if self.weighted else {})

    @property
    def at_once(self) -> bool:
        """Whether the one-channel operand can be contracted first for all paths."""
        first, second, out = self.legs
        uniform = len({term.mul for term in (*first, *out)}) == 1
        one_channel = all(term.mul == 1 for term in second)
        return self.mode == "uvu" and uniform and one_channel and bool(self.fused.paths)

    @cached_property
    def _from(self) -> dict[int, list[int]]:
        """Paths by the term of the first operand."""
        groups: dict[int, list[int]] = {}
        for n, path in enumerate(self.fused.paths):
            groups.setdefault(path.ins[0], []).append(n)
        return groups

    @cached_property
    def constants(self) -> Mapping[str, FloatArray]:
        """Numbers that stay the same, by name."""
        blocks = [
            alpha * self.fused.path_tensor(path)
            for path, alpha in zip(self.fused.paths, self.fused.coefficients, strict=True)
        ]
        if not self.at_once:
            # As matrices (output, first times second), for an outer product of the operands.
            matrices = {f"path{n}": frozen(b.reshape(len(b), -1)) for n, b in enumerate(blocks)}
            # From no component to every one: what nothing reaches, and what a gradient passes.
            return {**matrices, "nothing": frozen(np.zeros((0, self.legs[2].dim)))}
        columns = []
        for numbers in self._from.values():
            for n in numbers:
                out, _, second = self.fused.slices(self.fused.paths[n])
                column = np.zeros((self.fused.shape[2], self.fused.shape[0], blocks[n].shape[1]))
                column[second, out] = blocks[n].transpose(2, 0, 1)
                columns.append(column)
        fold = np.concatenate(columns, axis=2)
        return {"fold": frozen(fold.reshape(len(fold), -1))}

    def apply(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        """Contract flat operands (b, dim1) and (b, dim2) to (b, dim3)."""
        return (self._all_at_once if self.at_once else self._one_by_one)(xp, c, x, y, w)

    def _all_at_once(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        """Weights times x for every path, and the matrix K y of all paths on top of that."""
        d3, d1, _ = self.fused.shape
        mul = self.legs[0][0].mul
        x = x.reshape((-1, d1, mul))
        weights = None if w is None else w.reshape((w.shape[0], len(self.fused.paths), mul))
        weighted = []
        for t, numbers in self._from.items():
            part = x[:, self.fused.ins[0].slices()[t]]
            if weights is None:
                weighted += [part] * len(numbers)
            else:
                first, last = numbers[0], numbers[-1] + 1
                in_a_row = len(numbers) == last - first
                own = weights[:, first:last] if in_a_row else weights[:, numbers]
                parts = own[:, :, None] * part[:, None]
                weighted.append(parts.reshape((parts.shape[0], len(numbers) * part.shape[1], mul)))
        stacked = xp.concat(weighted, axis=1) if len(weighted) > 1 else weighted[0]
        matrices = (y @ c["fold"]).reshape((-1, d3, stacked.shape[1]))
        z: Array = matrices @ stacked
        return z.reshape((-1, d3 * mul))

    def _one_by_one(self, xp: Any, c: Constants, x: Array, y: Array, w: Array | None) -> Array:
        first, second, out = self.legs
        blocks = {} if w is None else self.plan.split(w)
        pieces: dict[int, Array] = {}
        for n, path in enumerate(self.fused.paths):
            (i, j), k = path.ins, path.out
            one = x[:, first.slices()[i]].reshape((-1, first[i].ir.dim, first[i].mul))
            two = y[:, second.slices()[j]].reshape((-1, second[j].ir.dim, second[j].mul))
            part = self._couple(xp, c[f"path{n}"], one, two, blocks.get(f"path {n}"), out[k].mul)
            pieces[k] = pieces[k] + part if k in pieces else part
        b = x.shape[0]
        nothing = c["nothing"]
        if not pieces:
            return x[:, :0] @ nothing + y[:, :0] @ nothing
        flat = [
            pieces[k].reshape((b, t.dim)) if k in pieces else x[:, :0] @ nothing[:, part]
            for k, (t, part) in enumerate(zip(out, out.slices(), strict=True))
        ]
        return xp.concat(flat, axis=1)

    def _couple(
        self, xp: Any, matrix: Array, x: Array, y: Array, w: Array | None, channels: int
    ) -> Array:
        """One path: operands (b, d1, C1) and (b, d2, C2) to (b, d3, C3)."""
        mode, (b, d1, c1), (_, d2, c2) = self.mode, x.shape, y.shape
        if mode == "uvu":
            y = y.sum(2)[:, :, None] if w is None else y @ w.swapaxes(1, 2)
        elif mode == "uvv":
            x = x.sum(2)[:, :, None] if w is None else x @ w
        if mode == "uvw":
            outer = x[:, :, None, :, None] * y[:, None, :, None, :]
            z = matrix @ outer.reshape((b, d1 * d2, c1 * c2))
        else:
            outer = x[:, :, None, :] * y[:, None, :, :]
            z = matrix @ outer.reshape((b, d1 * d2, outer.shape[3]))
        if mode[2] == "w":
            if w is None:
                # Times one for an array of its own: what is broadcast cannot be written to.
                return xp.broadcast_to(z.sum(2)[:, :, None], (*z.shape[:2], channels)) * 1.0
            return z @ w.reshape((w.shape[0], z.shape[2], channels))
        return z * w[:, None, :] if mode == "uuu" and w is not None else z

    def flops(self) -> int:
        """Multiplications of one batch entry."""
        total = 0
        for path in self.fused.paths:
            c1, c2, c3 = self.channels(path)
            d3, d1, d2 = self.fused.path_tensor(path).shape
            if self.at_once:
                total += self.fused.shape[0] * d1 * (self.fused.shape[2] + c1) + d1 * c1
            else:
                wide = c1 * c2 if self.mode == "uvw" else max(c1, c2, 1)
                total += d1 * d2 * wide * (d3 + 1) + d3 * wide * (c3 if self.mode[2] == "w" else 1)
                total += math.prod(weight_shape(self.mode, (c1, c2, c3))) * (d1 + d2)
        return total
