"""Features of a batch of atoms in factored form, and the directions to differentiate along."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.stress import VOIGT
from etn.network.samples import Blocks, Samples
from etn.o3 import Irrep, spherical_harmonics_with_gradients
from etn.potential.features.inner import Crowd
from etn.potential.features.pairs import Pairs

if TYPE_CHECKING:
    from etn.potential.features.basis import Basis

SCALAR = Irrep(0, 1)


class Expansion:
    """The features of a batch of atoms in factored form.

    Pairs are grouped by (center, element of the neighbour) and padded to equal group size, so
    that every sum over neighbours is one batched matrix product.
    """

    def __init__(self, basis: Basis, pairs: Pairs) -> None:
        self.basis = basis
        self.pairs = pairs
        self.g, self.dg = basis.radial_functions(pairs)
        self.y, self.dy = spherical_harmonics_with_gradients(basis.l_max, pairs.vector)
        self.unit = pairs.vector / pairs.distance[:, None]
        n_elements = len(basis.elements)
        group = pairs.center * n_elements + pairs.element[pairs.neighbor]
        counts = np.bincount(group, minlength=pairs.n_samples * n_elements)
        order = np.argsort(group, kind="stable")
        first = np.cumsum(counts) - counts
        slot = np.empty(len(group), dtype=np.int64)
        slot[order] = np.arange(len(group)) - first[group[order]]
        self._shape = (len(counts), int(counts.max(initial=1)) or 1)
        self._padded = group * self._shape[1] + slot

    @property
    def nbytes(self) -> int:
        """Memory of the pair arrays, bytes; the padded copies come to about as much again."""
        pair = (self.g, self.dg, self.y, self.dy, self.unit)
        padded = 3 * self._shape[0] * self._shape[1] * self.basis.n_max * 8
        return sum(array.nbytes for array in pair) + padded

    def pad(self, values: Array) -> Array:
        """Scatter values of pairs (pairs, ...) to (groups, slots, ...), zero where empty."""
        out = np.zeros((self._shape[0] * self._shape[1], *values.shape[1:]))
        out[self._padded] = values
        return out.reshape(*self._shape, *values.shape[1:])

    def _to_blocks(self, sums: Array) -> Blocks:
        """(groups, (l_max + 1)^2, n_max) to {ir: (multiplicity, 2 l + 1, samples)}."""
        n_samples, basis = self.pairs.n_samples, self.basis
        z = sums.reshape(n_samples, len(basis.elements), -1, basis.n_max)
        blocks = {}
        for ir in basis.leg.unique:
            lm = z[:, :, ir.l**2 : (ir.l + 1) ** 2].transpose(2, 0, 1, 3)
            blocks[ir] = basis.contraction.contract(ir, lm).transpose(2, 0, 1)
        blocks[SCALAR] = np.concatenate([np.ones((1, 1, n_samples)), blocks[SCALAR]])
        return {ir: np.ascontiguousarray(block) for ir, block in blocks.items()}

    @cached_property
    def crowd(self) -> Crowd | None:
        """Crowding of the samples, if any of them is beyond the data."""
        crowd = None if self.basis.inner is None else self.basis.inner.crowd(self.pairs)
        return crowd if crowd is not None and crowd.is_beyond else None

    @cached_property
    def _padded_g(self) -> Array:
        return self.pad(self.g)

    @cached_property
    def _padded_dg(self) -> Array:
        return self.pad(self.dg)

    @cached_property
    def values(self) -> Blocks:
        """Leg of every sample: {ir: (multiplicity, 2 l + 1, samples)}."""
        return self._to_blocks(np.matmul(self.pad(self.y).transpose(0, 2, 1), self._padded_g))

    def forces_and_virial(
        self, gradient: Blocks, slopes: Array | None = None
    ) -> tuple[Array, Array]:
        """Forces and strain derivatives from the gradient of the energies.

        Parameters
        ----------
        gradient : {ir: (multiplicity, 2 l + 1, samples)}
            Derivative of the energy of each sample with respect to its own leg.
        slopes : (pairs,), optional
            More derivatives, with respect to the distances.

        Returns
        -------
        forces : (atoms, 3), eV/Å
        strain : (frames, 3, 3), eV
            dE/d epsilon, the stress times the volume.
        """
        pairs, basis = self.pairs, self.basis
        parts = []
        for ir in basis.leg.unique:
            block = gradient[ir][1:] if ir == SCALAR else gradient[ir]
            parts.append(basis.contraction.expand(ir, block.transpose(2, 1, 0)).swapaxes(1, 2))
        grad = np.concatenate(parts, axis=2).reshape(self._shape[0], -1, basis.n_max)
        # (groups, slots, (l_max + 1)^2): gradient contracted with the radial functions.
        with_g = np.matmul(self._padded_g, grad.transpose(0, 2, 1))
        with_dg = np.matmul(self._padded_dg, grad.transpose(0, 2, 1))
        with_g = with_g.reshape(-1, with_g.shape[2])[self._padded]
        with_dg = with_dg.reshape(-1, with_dg.shape[2])[self._padded]
        radial = np.einsum("pk,pk->p", with_dg, self.y)
        slope = radial[:, None] * self.unit + np.matmul(self.dy, with_g[:, :, None])[:, :, 0]
        if slopes is not None:
            slope += slopes[:, None] * self.unit
        forces = np.empty((pairs.n_atoms, 3))
        for axis in range(3):
            pull = slope[:, axis]
            forces[:, axis] = np.bincount(
                pairs.sample[pairs.center], pull, pairs.n_atoms
            ) - np.bincount(pairs.neighbor, pull, pairs.n_atoms)
        frame = pairs.sample_frame[pairs.center]
        strain = np.empty((pairs.n_frames, 3, 3))
        for a in range(3):
            for b in range(3):
                strain[:, a, b] = np.bincount(
                    frame, slope[:, a] * pairs.vector[:, b], pairs.n_frames
                )
        return forces, strain

    def samples(self, *, energy: bool, force_atoms: NDArray[np.int64], strain: bool) -> Samples:
        """Legs and the directions of energy, force and strain rows.

        Rows: the energy of every frame (if asked for), then the force components of the given
        atoms (x, y, z for each), then dE/d epsilon of every frame in Voigt order (if asked
        for).  Atoms without neighbours, one of each element, follow the samples: the energy
        rows count from them, so that the energy of an isolated atom is that of the baseline.

        Parameters
        ----------
        energy, strain : bool
        force_atoms : (targets,) int
            Atoms of the batch whose forces are wanted.
        """
        pairs, basis = self.pairs, self.basis
        n_frames, n_samples = pairs.n_frames, pairs.n_samples
        n_elements = len(basis.elements)
        n_sums = n_frames if energy else 0
        n_forces = 3 * len(force_atoms)
        n_rows = n_sums + n_forces + (6 * n_frames if strain else 0)
        start, site = (
            {ir: np.concatenate([here[ir], alone[ir]], axis=2) for ir in here}
            for here, alone in zip(
                (basis.start_values(pairs), self.values), basis.vacuum(), strict=True
            )
        )
        pull = _Pull(self, force_atoms)
        index = np.arange(n_samples)
        directions: Blocks = {}
        for ir in basis.leg.unique:
            constant = int(ir == SCALAR)
            d = np.zeros((ir.dim, site[ir].shape[2], n_rows, len(site[ir])))
            if energy:
                d[:, index, pairs.sample_frame] = self.values[ir].transpose(1, 2, 0)
            if energy and constant:
                composition = np.zeros((n_elements, n_frames))
                np.add.at(composition, (pairs.element[pairs.sample], pairs.sample_frame), 1.0)
                d[0, n_samples:, :n_frames, 0] = -composition
            view = d[:, :n_samples, :, constant:]
            if n_forces:
                pull.add_to(view[:, :, n_sums : n_sums + n_forces], ir)
            if strain:
                rows = n_sums + n_forces + 6 * pairs.sample_frame[:, None] + np.arange(6)
                view[:, index[:, None], rows] = self._strain(ir)
            directions[ir] = d
        return Samples(start, site, directions, n_sums)

    def pair_sums(self, ir: Irrep, directions: Array) -> Array:
        """Sum over neighbours of the derivative of the leg along vectors of each pair.

        Parameters
        ----------
        directions : (pairs, k, 3)

        Returns
        -------
        (2 l + 1, samples, k, K_l)
        """
        lm = slice(ir.l**2, (ir.l + 1) ** 2)
        k = directions.shape[1]
        along = np.matmul(directions, self.unit[:, :, None])[:, :, 0]
        a = along[:, :, None] * self.y[:, None, lm]
        b = np.matmul(directions, self.dy[:, :, lm])
        a, b = self.pad(a.reshape(len(a), k * ir.dim)), self.pad(b.reshape(len(b), k * ir.dim))
        sums = np.matmul(a.transpose(0, 2, 1), self._padded_dg)
        sums += np.matmul(b.transpose(0, 2, 1), self._padded_g)
        n_elements = len(self.basis.elements)
        split = sums.reshape(-1, n_elements, k, ir.dim, self.basis.n_max).transpose(3, 0, 2, 1, 4)
        return self.basis.contraction.contract(ir, split)

    def _strain(self, ir: Irrep) -> Array:
        vector = self.pairs.vector
        directions = np.zeros((len(vector), 6, 3))
        for row, (a, b) in enumerate(VOIGT):
            directions[:, row, a] = vector[:, b]
        return self.pair_sums(ir, directions)


class _Pull:
    """Directions of force rows: minus the derivative of each leg when one atom moves."""

    def __init__(self, expansion: Expansion, force_atoms: NDArray[np.int64]) -> None:
        self.expansion = expansion
        pairs = expansion.pairs
        position = np.full(pairs.n_atoms, -1)
        position[force_atoms] = np.arange(len(force_atoms))
        self._position = position[pairs.sample]
        # An atom's own images move with it.
        index = np.flatnonzero(~pairs.is_image & (position[pairs.neighbor] >= 0))
        center, neighbor = pairs.center[index], pairs.neighbor[index]
        # A neighbour may be met through several periodic images, whose pulls add up: number
        # the images of each pair, so that the indices are unique within one number.
        order = np.lexsort((neighbor, center))
        key = (center * pairs.n_atoms + neighbor)[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        run = np.diff(np.append(first, len(key)))
        image = np.arange(len(key)) - np.repeat(first, run)
        by_image = np.argsort(image, kind="stable")
        self._bounds = np.cumsum(np.concatenate([[0], np.bincount(image)])).astype(int)
        index = index[order][by_image]
        self._center = pairs.center[index]
        self._column = position[pairs.neighbor[index]]
        self._element = pairs.element[pairs.neighbor[index]]
        self._unit = expansion.unit[index]
        self._g, self._dg = expansion.g[index], expansion.dg[index]
        self._y, self._dy = expansion.y[index], expansion.dy[index]
        self._axes = np.eye(3) * ~pairs.is_image[:, None, None]

    def add_to(self, view: Array, ir: Irrep) -> None:
        """Write the rows; view is (2 l + 1, samples, 3 targets, K_l), zero before."""
        lm = slice(ir.l**2, (ir.l + 1) ** 2)
        y = np.ascontiguousarray(self._y[:, lm].T)
        dy = np.ascontiguousarray(self._dy[:, :, lm].transpose(2, 0, 1))
        channels = self.expansion.basis.contraction
        g = channels.of_pairs(ir, self._g, self._element)
        dg = channels.of_pairs(ir, self._dg, self._element)
        pull = y[:, :, None, None] * (self._unit[:, :, None] * -dg[:, None, :])
        pull -= dy[:, :, :, None] * g[:, None, :]
        dim, n_samples, n_rows, n_channels = view.shape
        target = view.reshape(dim, n_samples, n_rows // 3, 3, n_channels)
        for image, (start, stop) in enumerate(
            zip(self._bounds[:-1], self._bounds[1:], strict=True)
        ):
            part = slice(start, stop)
            at = (slice(None), self._center[part], self._column[part])
            if image == 0:
                target[at] = pull[:, part]
            else:
                target[at] += pull[:, part]
        # The moved atom's own leg: all its neighbours recede.
        own = self.expansion.pair_sums(ir, self._axes)
        moved = np.flatnonzero(self._position >= 0)
        target[:, moved, self._position[moved]] = own[:, moved]
