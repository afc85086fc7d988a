"""Least squares on samples: each site of a chain reads a vector, the chain predicts another one.

    minimize  sum_s weight_s |T · (x1_s ⊗ ... ⊗ xd_s) - y_s|^2 + ridge ||T||^2

With all cores but one or two neighbouring ones fixed this is linear in the matrices Theta_j of
the free ones (:mod:`etn.tensor.pair`).  The sites left of the split couple to the irreps j of the
bond with components u_j, those right of it with components w_j, and a row of the design is

    row[(s, o), (j, a, b)] = sum_m u_j[a, m, s] w_j[b, m, o, s],

o running over the components of the last bond.  In the unknowns sqrt(2 j + 1) Theta_j the ridge
is the identity, as the chain is canonical.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from etn.backend import Array, Kind, as_block, is_finite, kind_of, to_numpy
from etn.errors import CoreError, DataError, IrrepsError, SettingsError
from etn.network import Blocks, Chain
from etn.network.environment import couple, coupling_matrix, propagate
from etn.o3 import Irrep, Irreps
from etn.sweep.eigen import Carried
from etn.sweep.problem import LocalSolution
from etn.tensor import Core, Pair, matricize, merge, tensorize
from etn.tensor.factor import stacking
from etn.tensor.pair import pair_shapes

Sides = tuple[Blocks, Blocks]
"""u and w of a design: {j: (a, 2 j + 1, samples)} and {j: (b, 2 j + 1, outputs * samples)}."""

ROWS = 4096
"""Fewest rows of the design that are held at a time."""


def to_blocks(values: Array, leg: Irreps) -> Blocks:
    """Components of each irrep of dense vectors.

    Parameters
    ----------
    values : (samples, leg.dim)
    leg : Irreps

    Returns
    -------
    {ir: (multiplicity, 2 l + 1, samples)}

    Examples
    --------
    >>> blocks = to_blocks(np.arange(8.0).reshape(2, 4), Irreps("1x0e+1x1o"))
    >>> blocks[Irrep("1o")][0, :, 0]
    array([1., 2., 3.])
    """
    xp = kind_of(values).xp
    columns = values.T
    blocks = {}
    for ir in leg.unique:
        index = leg.indices(ir)
        # Contiguous, as couplings run over the samples.
        blocks[ir] = xp.stack([columns[int(i)] for i in index.ravel()]).reshape(*index.shape, -1)
    return blocks


def from_blocks(blocks: Blocks, leg: Irreps) -> Array:
    """Inverse of :func:`to_blocks`: (samples, leg.dim)."""
    one = next(iter(blocks.values()))
    dense = kind_of(one).zeros((leg.dim, one.shape[-1]))
    for ir, block in blocks.items():
        dense[leg.indices(ir)] = block
    return dense.T


class Solved(NamedTuple):
    """Solution of a linear least-squares problem."""

    x: Array
    loss: float
    condition: float
    gradient: float


class Regression:
    r"""Least squares of chains on samples: local problems of one-site and two-site sweeps.
    """

    def __init__(
        self,
        inputs: Array | Sequence[Array],
        targets: Array,
        *,
        sites: Irreps | str | Sequence[Irreps | str],
        out: Irreps | str = "0e",
        start: Irreps | str = "0e",
        start_values: Array | None = None,
        weights: Array | None = None,
        ridge: float = 0.0,
        proximal: float = 0.0,
    ) -> None:
        self.out, self.start = Irreps(out), Irreps(start)
        shared = not isinstance(inputs, (list, tuple))
        self.legs = [Irreps(sites)] if shared else [Irreps(s) for s in sites]
        arrays = [as_block(x) for x in ([inputs] if shared else inputs)]
        self.shared = shared
        self.kind = kind_of(*arrays)
        xp = self.kind.xp
        self.n_samples = arrays[0].shape[0]
        y = as_block(targets)
        self.targets = self.kind.array(y).reshape(self.n_samples, self.out.dim)
        w = self.kind.ones((self.n_samples,)) if weights is None else self.kind.array(weights)
        self._root = xp.sqrt(w)
        self.ridge, self.proximal = ridge, proximal
        self._sites = [to_blocks(x, leg) for x, leg in zip(arrays, self.legs)]
        n_out = self.out.dim
        self._tiled = self._sites if n_out == 1 else [
            {ir: xp.concat([v] * n_out, axis=-1) for ir, v in b.items()} for b in self._sites]
        first = self.kind.ones((self.n_samples, 1)) if start_values is None else start_values
        eye = self.kind.eye(n_out)
        last = xp.reshape(xp.stack([eye] * self.n_samples, axis=-1), (n_out, -1))  # (component, o s)
        last = to_blocks(last.T, self.out)
        self._left = Carried(to_blocks(first, self.start), self._step_left)
        self._right = Carried(last, self._step_right)

    def _step_left(self, site, core, env):
        return propagate(core, env, self._site(site), to=2)

    def _step_right(self, number, core, env):
        return propagate(core, env, self._tile(-1 - number), to=0)

    def _site(self, site): return self._sites[0 if self.shared else site]
    def _tile(self, site): return self._tiled[0 if self.shared else site]

    def left(self, chain, site):
        return self._left.after(chain.cores[:site])

    def right(self, chain, site):
        return self._right.after(chain.cores[:site:-1]) if site >= 0 else None

    def enlarged_left(self, chain, site, wanted):
        core = chain[site]
        env, v = self.left(chain, site), self._site(site)
        legs = (core.legs[0], core.legs[1], Irreps([(1, ir) for ir in sorted(wanted)]))
        out = {}
        for ir, rows in stacking(legs, 2).items():
            parts = [couple(env[r.path[0]], v[r.path[1]], coupling_matrix(r.path, 2, self.kind)) for r in rows]
            out[ir] = self.kind.xp.concat([p.reshape(-1, *p.shape[2:]) for p in parts])
        return out

    def enlarged_right(self, chain, site, wanted):
        core = chain[site]
        env, v = self.right(chain, site), self._tile(site - len(chain))
        legs = (Irreps([(1, ir) for ir in sorted(wanted)]), core.legs[1], core.legs[2])
        out = {}
        for ir, rows in stacking(legs, 0).items():
            parts = [couple(v[r.path[1]], env[r.path[2]], coupling_matrix(r.path, 0, self.kind)) / r.weight for r in rows]
            out[ir] = self.kind.xp.concat([p.reshape(-1, *p.shape[2:]) for p in parts])
        return out

    def triangle(self, sides, targets):
        xp = self.kind.xp
        n_out = self.out.dim
        columns = sum(u[ir].shape[0]*w[ir].shape[0] for u, w in sides for ir in u if ir in w)
        step = max(1, max(ROWS, 2*(columns+1)) // n_out)
        tri = None
        for first in range(0, self.n_samples, step):
            part = slice(first, first+step)
            parts = []
            for u, w in sides:
                for ir in sorted(u):
                    if ir not in w: continue
                    b = w[ir].reshape(*w[ir].shape[:2], n_out, self.n_samples)[..., part]
                    p = xp.einsum("ams,bmos->abos", u[ir][..., part], b) / math.sqrt(ir.dim)
                    parts.append(p.reshape(u[ir].shape[0]*w[ir].shape[0], p.shape[2]*p.shape[3]))
            parts.append(targets[part].T.reshape(1, -1))
            rows = xp.concat(parts).T
            root = self._root[part]
            rows = rows * (root if n_out == 1 else xp.concat([root]*n_out))[:, None]
            tri = xp.linalg.qr(rows if tri is None else xp.concat([tri, rows]), mode="r")
            tri = tri[1] if isinstance(tri, tuple) else tri
        return tri

    def _solve(self, sides, matrices):
        common = {ir: m for ir, m in matrices.items()}
        x0 = self.kind.xp.concat([(math.sqrt(ir.dim)*m).reshape(-1) for ir, m in sorted(common.items())])
        tri = self.triangle([sides], self.targets)
        s = least_squares(tri, self.ridge, self.proximal, x0, self.n_samples*self.out.dim)
        out, at = {}, 0
        for ir, m in sorted(common.items()):
            n = m.shape[0]*m.shape[1]
            out[ir] = s.x[at:at+n].reshape(m.shape)/math.sqrt(ir.dim)
            at += n
        return out, s

    def solve(self, chain):
        site = chain.center
        core = chain[site]
        old = matricize(core, 2)
        sides = self.enlarged_left(chain, site, old), self.right(chain, site)
        new, s = self._solve(sides, old)
        core = Core.trusted(core.legs, tensorize(new, core.legs, 2, self.kind).blocks, self.kind)
        return LocalSolution(core, s.loss, s.condition, "qr", s.gradient)

    def solve_pair(self, chain, site):
        pair = merge(chain[site], chain[site+1])
        sides = self.enlarged_left(chain, site, pair.matrices), self.enlarged_right(chain, site+1, pair.matrices)
        new, s = self._solve(sides, pair.matrices)
        return LocalSolution(Pair(pair.legs, new), s.loss, s.condition, "qr", s.gradient)

    def predict(self, chain):
        return from_blocks(self._left.after(chain.cores), self.out)

    def residuals(self, chain):
        return self.targets - self.predict(chain)

    def loss(self, chain):
        r = self.residuals(chain) * self._root[:, None]
        return float(to_numpy((r*r).sum())) + self.ridge * chain.norm()**2


def least_squares(tri, ridge, proximal, x0, n_rows):
    kind = kind_of(tri); xp = kind.xp
    R, q = tri[:, :-1], tri[:, -1]
    n = R.shape[1]
    A, b = R, q
    pen = ridge + proximal
    if pen > 0:
        A = xp.concat([R, math.sqrt(pen)*kind.eye(n)]); b = xp.concat([q, (proximal/math.sqrt(pen))*x0])
    scale = xp.linalg.vector_norm(A, axis=0)
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    U, S, Vh = xp.linalg.svd(A/scale, full_matrices=False)
    tol = max(n_rows, n)*kind.eps
    keep = int((S > tol*S[0]).sum())
    x = (Vh[:keep].T @ ((U[:, :keep].T @ b)/S[:keep]))/scale
    if keep < n:
        U2, S2, V2 = xp.linalg.svd(A/scale, full_matrices=True)
        N = V2[keep:].T/scale[:, None]
        Q, _ = xp.linalg.qr(N)
        x = x - Q @ (Q.T @ x)
    r = R @ x - q
    g = R.T @ (R@x0 - q) + ridge*x0
    return Solved(x, float((r*r).sum()) + ridge*float((x*x).sum()), float(S[0]/S[max(keep-1,0)]), float(xp.linalg.vector_norm(g)))
