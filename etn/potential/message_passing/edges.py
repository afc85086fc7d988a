"""Edges: the features of all pairs, and the sums over them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.stress import VOIGT
from etn.o3 import spherical_harmonics_with_gradients
from etn.potential.features.basis import Basis
from etn.potential.features.pairs import Pairs
from etn.potential.message_passing.message import Messages


class Sources(NamedTuple):
    """Outputs, queries and keys of all atoms, or their derivatives along rows.

    Attributes
    ----------
    value : (atoms, n_source) or (atoms, rows, n_source)
    query, key : (atoms, n_score) or (atoms, rows, n_score)
    """

    value: Array
    query: Array
    key: Array


class Edges:
    """Edge features w g_n(r) Y_lm of a batch, padded to (atoms, slots) neighbours.

    Every atom of the batch is a center, so that a sum over its neighbours is one batched matrix
    product.  Features of empty slots are zero.  Scale and weights are those of the basis.

    Parameters
    ----------
    basis : Basis
    messages : Messages
    pairs : Pairs
        Of all atoms of the batch.

    Attributes
    ----------
    values : (atoms, slots, n_edge)
    gradients : (atoms, slots, 3, n_edge)
        Derivative by the vector from center to neighbour.
    neighbor : (atoms, slots) int
    """

    def __init__(self, basis: Basis, messages: Messages, pairs: Pairs) -> None:
        self.pairs = pairs
        n_max, l_max, p = messages.n_max, messages.l_max, basis.smoothness
        g, dg = basis.radial_functions(pairs, n_max)
        weight = basis.scale * (1.0 + np.arange(n_max)) ** -p
        g, dg = g * weight, dg * weight
        y, dy = spherical_harmonics_with_gradients(l_max, pairs.vector)
        unit = pairs.vector / pairs.distance[:, None]
        values, gradients = [], []
        for l in range(l_max + 1):
            lm, w = slice(l**2, (l + 1) ** 2), (1.0 + l) ** -p
            size = n_max * (2 * l + 1)
            yl, dyl = w * y[:, None, lm], w * dy[:, :, None, lm]
            along = (dg[:, :, None] * yl).reshape(-1, 1, size) * unit[:, :, None]
            across = (g[:, None, :, None] * dyl).reshape(-1, 3, size)
            values.append((g[:, :, None] * yl).reshape(-1, size))
            gradients.append(along + across)
        n_atoms = pairs.n_atoms
        counts = np.bincount(pairs.center, minlength=n_atoms)
        self.n_slots = max(1, int(counts.max(initial=1)))
        first = np.cumsum(counts) - counts
        slot = np.arange(len(pairs.center)) - first[pairs.center]
        self._place = pairs.center * self.n_slots + slot
        self.values = self._pad(np.concatenate(values, axis=-1))
        self.gradients = self._pad(np.concatenate(gradients, axis=-1))
        self.neighbor = self._pad(pairs.neighbor)
        ones = np.ones(len(self._place))
        shape = (n_atoms, n_atoms * self.n_slots)
        self._to_neighbor = sp.csr_array((ones, (pairs.neighbor, self._place)), shape=shape)

    def _pad(self, values: NDArray[np.generic]) -> Array:
        n_atoms = self.pairs.n_atoms
        out = np.zeros((n_atoms * self.n_slots, *values.shape[1:]), dtype=values.dtype)
        out[self._place] = values
        return out.reshape(n_atoms, self.n_slots, *values.shape[1:])

    def collect(self, values: Array) -> Array:
        """Sum what the centers send back over the slots of each neighbour.

        Parameters
        ----------
        values : (atoms, slots, ...)

        Returns
        -------
        (atoms, ...)
        """
        flat = values.reshape(values.shape[0] * values.shape[1], -1)
        return (self._to_neighbor @ flat).reshape(values.shape[0], *values.shape[2:])

    def message(self, sources: Sources) -> Array:
        """Pooled products sum_j s_ij edge_ij ⊗ u_j: (atoms, n_edge, n_source)."""
        u = sources.value[self.neighbor]
        psi = self._scores(sources)[..., None] * self.values
        return np.matmul(psi.swapaxes(1, 2), u)

    def _scores(self, sources: Sources) -> Array:
        """Scores q_i · k_j: (atoms, slots)."""
        return np.matmul(sources.key[self.neighbor], sources.query[:, :, None])[..., 0]

    def pull_back(self, sources: Sources, gradient: Array) -> Sources:
        """Adjoint of :meth:`message`: derivatives of sum(gradient * message) by the sources.

        Parameters
        ----------
        gradient : (atoms, n_edge, n_source)
        """
        k, u = sources.key[self.neighbor], sources.value[self.neighbor]
        pulled = np.matmul(self.values, gradient)
        score = np.einsum("isx,isx->is", pulled, u)[..., None]
        return Sources(
            self.collect(self._scores(sources)[..., None] * pulled),
            np.sum(score * k, axis=1),
            self.collect(score * sources.query[:, None]),
        )

    def forces_and_strain(self, sources: Sources, gradient: Array) -> tuple[Array, Array]:
        """Forces and strain derivatives of sum(gradient * message) through the edges alone.

        Returns
        -------
        forces : (atoms, 3)
        strain : (frames, 3, 3)
        """
        pairs = self.pairs
        u = sources.value[self.neighbor]
        by_edge = np.matmul(u, gradient.swapaxes(1, 2)) * self._scores(sources)[..., None]
        slope = np.matmul(self.gradients, by_edge[..., None])[..., 0]
        pull = slope.reshape(-1, 3)[self._place]
        forces = slope.sum(axis=1) - self.collect(slope)
        strain = np.zeros((pairs.n_frames, 9))
        moment = pull[:, :, None] * pairs.vector[:, None, :]
        np.add.at(strain, pairs.sample_frame[pairs.center], moment.reshape(-1, 9))
        return forces, strain.reshape(-1, 3, 3)

    def slopes(self, *, strain: bool) -> Array:
        """Derivatives of the features along the rows of one frame.

        The rows are the force components of all atoms (minus the derivative by each position),
        then the strains in Voigt order if asked for.

        Returns
        -------
        (atoms, slots, rows, n_edge)
        """
        pairs, n = self.pairs, self.pairs.n_atoms
        padded = self.gradients.reshape(n * self.n_slots, 3, -1)
        gradients = padded[self._place]
        rows = np.zeros((n * self.n_slots, n + 2 * strain, 3, padded.shape[-1]))
        # A neighbour that is an image of its center moves along with it: nothing remains.
        rows[self._place, pairs.center] += gradients
        rows[self._place, pairs.neighbor] -= gradients
        if strain:
            parts = [gradients[:, a] * pairs.vector[:, b, None] for a, b in VOIGT]
            rows[self._place, n:] = np.stack(parts, axis=1).reshape(-1, 2, 3, padded.shape[-1])
        return rows.reshape(n, self.n_slots, -1, padded.shape[-1])

    def message_slopes(self, edge: Array, sources: Sources, slopes: Sources) -> Array:
        """Derivatives of :meth:`message` along rows, by the product rule.

        Parameters
        ----------
        edge : (atoms, slots, rows, n_edge)
            See :meth:`slopes`.
        sources, slopes : Sources
            Values and their derivatives along the rows.

        Returns
        -------
        (atoms, rows, n_edge, n_source)
        """
        s, ds = self._scores(sources), self._score_slopes(sources, slopes)
        u, du = sources.value[self.neighbor], slopes.value[self.neighbor]
        n, slots, rows, n_edge = edge.shape
        psi = s[..., None] * self.values
        dpsi = s[..., None, None] * edge + ds[..., None] * self.values[:, :, None]
        out = np.matmul(dpsi.reshape(n, slots, -1).swapaxes(1, 2), u)
        out = out.reshape(n, rows, n_edge, -1)
        more = np.matmul(psi.swapaxes(1, 2), du.reshape(n, slots, -1))
        return out + more.reshape(n, n_edge, rows, -1).swapaxes(1, 2)

    def _score_slopes(self, sources: Sources, slopes: Sources) -> Array:
        """Derivatives of the scores: (atoms, slots, rows)."""
        k, dk = sources.key[self.neighbor], slopes.key[self.neighbor]
        return np.einsum("irc,isc->isr", slopes.query, k) + np.einsum(
            "ic,isrc->isr", sources.query, dk
        )

    def pull_back_slopes(
        self,
        edge: Array,
        sources: Sources,
        slopes: Sources,
        gradient: Array,
        gradient_slopes: Array,
    ) -> Sources:
        """Derivatives of :meth:`pull_back` along rows.

        Parameters
        ----------
        edge, sources, slopes
            As in :meth:`message_slopes`.
        gradient : (atoms, n_edge, n_source)
        gradient_slopes : (atoms, rows, n_edge, n_source)

        Returns
        -------
        Sources
            Arrays (atoms, rows, ...).
        """
        n, slots, rows, n_edge = edge.shape
        k, u = sources.key[self.neighbor], sources.value[self.neighbor]
        dk, du = slopes.key[self.neighbor], slopes.value[self.neighbor]
        q, dq = sources.query[:, None], slopes.query[:, None]
        s, ds = self._scores(sources), self._score_slopes(sources, slopes)
        pulled = np.matmul(self.values, gradient)
        dpulled = np.matmul(edge.reshape(n, -1, n_edge), gradient).reshape(n, slots, rows, -1)
        moved = gradient_slopes.swapaxes(1, 2).reshape(n, n_edge, -1)
        dpulled += np.matmul(self.values, moved).reshape(n, slots, rows, -1)
        score = np.einsum("isx,isx->is", pulled, u)[..., None]
        dscore = np.einsum("isrx,isx->isr", dpulled, u) + np.einsum("isx,isrx->isr", pulled, du)
        dscore = dscore[..., None]
        return Sources(
            self.collect(s[..., None, None] * dpulled + ds[..., None] * pulled[:, :, None]),
            np.sum(dscore * k[:, :, None] + score[..., None] * dk, axis=1),
            self.collect(dscore * q[:, :, None] + score[..., None] * dq),
        )
