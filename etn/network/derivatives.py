r"""Answers of a chain for samples, and their derivatives by all cores at once.

Where :mod:`etn.network.design` forms the matrix of one core, here no matrix is formed, and all
cores move.  A row is a sum of chain values, or the derivative of such a sum along a direction of
the site legs; see :class:`~etn.network.Samples`.  With L and R the environments of a site a row is

    sum over samples of (C L R a) · d,

d the direction.  A change of the cores moves L, R and a by the product rule, and what comes out is
one more contraction with d: the product J v.  Backwards, the directions weighted with a vector on
the rows are one direction h for each sample, along which L and R change by dL and dR, and

    J^T r = sum over samples of  C (dL v R + L h R + L v dR).

Both take a few contractions of the chain with its samples, whatever the number of parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from etn.backend import FloatArray as Array
from etn.network.chain import Chain
from etn.network.environment import couple, coupling_matrix, propagate
from etn.network.samples import Blocks, Samples
from etn.network.values import site_gradient, zeros_like
from etn.o3 import Irrep
from etn.tensor import Core


class BatchRows:
    """Rows of a scalar chain over a batch of samples.

    Parameters
    ----------
    chain : Chain
        With one scalar on its last bond; NumPy.
    samples : Samples
    """

    def __init__(self, chain: Chain, samples: Samples) -> None:
        self.chain, self.samples = chain, samples
        site = samples.site
        self._lefts = [samples.start]
        for core in chain.cores[:-1]:
            self._lefts.append(propagate(core, self._lefts[-1], site, to=2))
        rights = [{Irrep(0, 1): np.ones((1, 1, samples.n_samples))}]
        for core in chain.cores[:0:-1]:
            rights.append(propagate(core, rights[-1], site, to=0))
        self._rights = rights[::-1]

    @cached_property
    def values(self) -> Array:
        """All rows, (samples.n_rows,)."""
        slopes = [
            self._slope(core, left, right)
            for core, left, right in zip(self.chain, self._lefts, self._rights, strict=True)
        ]
        # A sum is linear in the leg of any one site; a derivative adds those of all sites.
        return self._along(slopes[0], _total(slopes))

    def push(self, changes: Sequence[Core]) -> Array:
        """Derivative of the rows along a change of all cores: J v."""
        site = self.samples.site
        lefts: list[Blocks | None] = [None]
        rights: list[Blocks | None] = [None]
        inner = range(len(self.chain) - 1)
        for k in inner:
            moved = propagate(changes[k], self._lefts[k], site, to=2)
            lefts.append(self._added(self.chain[k], lefts[-1], moved, to=2))
        for k in reversed(range(1, len(self.chain))):
            moved = propagate(changes[k], self._rights[k], site, to=0)
            rights.append(self._added(self.chain[k], rights[-1], moved, to=0))
        rights.reverse()
        own, slopes = [], []
        for k, core in enumerate(self.chain):
            own.append(self._slope(changes[k], self._lefts[k], self._rights[k]))
            if (left := lefts[k]) is not None:
                slopes.append(self._slope(core, left, self._rights[k]))
            if (right := rights[k]) is not None:
                slopes.append(self._slope(core, self._lefts[k], right))
        return self._along(_total(own), _total([*own, *slopes]))

    def pull(self, weights: Array) -> list[Core]:
        """Derivatives of the weighted sum of the rows by the entries of all cores: J^T r.

        Parameters
        ----------
        weights : (samples.n_rows,)
        """
        site, n_sums = self.samples.site, self.samples.n_sums
        along: Blocks = {}
        both: Blocks = {}
        for ir, d in self.samples.directions.items():
            first = _weigh(d[:, :, :n_sums], weights[:n_sums])
            along[ir] = _weigh(d[:, :, n_sums:], weights[n_sums:])
            both[ir] = first + along[ir]
        lefts: list[Blocks | None] = [None]
        rights: list[Blocks | None] = [None]
        for k in range(len(self.chain) - 1):
            moved = propagate(self.chain[k], self._lefts[k], along, to=2)
            lefts.append(self._added(self.chain[k], lefts[-1], moved, to=2))
        for k in reversed(range(1, len(self.chain))):
            moved = propagate(self.chain[k], self._rights[k], along, to=0)
            rights.append(self._added(self.chain[k], rights[-1], moved, to=0))
        rights.reverse()
        gradients = []
        for k, core in enumerate(self.chain):
            terms = [(self._lefts[k], both, self._rights[k])]
            if (left := lefts[k]) is not None:
                terms.append((left, site, self._rights[k]))
            if (right := rights[k]) is not None:
                terms.append((self._lefts[k], site, right))
            blocks = {path: sum(_entries(path, *term) for term in terms) for path in core.blocks}
            gradients.append(Core.trusted(core.legs, blocks, core.kind))
        return gradients

    def _added(self, core: Core, change: Blocks | None, moved: Blocks, *, to: int) -> Blocks:
        """A change of an environment over the next core, and what that core adds to it."""
        if change is None:
            return moved
        passed = propagate(core, change, self.samples.site, to=to)
        return {ir: passed[ir] + moved[ir] for ir in moved}

    def _slope(self, core: Core, left: Blocks, right: Blocks) -> Blocks:
        """Derivative of the value of each sample by the leg of this core."""
        onto = zeros_like(self.samples.site, self.chain.kind)
        return site_gradient(core, left, right, onto=onto)

    def _along(self, sums: Blocks, slopes: Blocks) -> Array:
        """Contract the directions: of the sums with one derivative, of the others with another."""
        n_sums = self.samples.n_sums
        rows = np.zeros(self.samples.n_rows)
        for ir, d in self.samples.directions.items():
            for part, slope in ((slice(n_sums), sums), (slice(n_sums, None), slopes)):
                rows[part] += np.matmul(d[:, :, part], slope[ir].transpose(1, 2, 0)[..., None])[
                    ..., 0
                ].sum(axis=(0, 1))
        return rows


def _weigh(directions: Array, weights: Array) -> Array:
    """Sum over the rows of weighted directions: (multiplicity, 2 l + 1, samples)."""
    return np.ascontiguousarray(np.matmul(weights, directions).transpose(2, 0, 1))


def _entries(path: tuple[Irrep, ...], left: Blocks, site: Blocks, right: Blocks) -> Array:
    """Derivative of the sum of all values by the block of a path."""
    pairs = couple(left[path[0]], site[path[1]], coupling_matrix(path, 2))
    return np.tensordot(pairs, right[path[2]], axes=([2, 3], [1, 2]))


def _total(parts: Sequence[Blocks]) -> Blocks:
    return {ir: sum(part[ir] for part in parts) for ir in parts[0]}
