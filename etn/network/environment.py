"""Environments of a site: what the rest of the chain does to each sample.

With all cores but one fixed the value of a sample is linear in that core,

    value = sum_paths sum_m  a[r1, n, r3] C[m1, m2, m3] L[r1, m1] v[n, m2] R[r3, m3],

where v is the sample's site leg and L, R are the left and right environments.  This module
computes L, R and their Jacobians with respect to v for a batch of samples.  Values are held as
{ir: (multiplicity, 2 l + 1, samples)}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from etn.backend import FloatArray as Array
from etn.backend import Kind
from etn.network.samples import Blocks, Samples
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, coupling

# A flop of a sum over samples in step costs as much as this many of a matrix product.
SUM_COST = 8


@dataclass(frozen=True)
class Environment:
    """One side of a site.

    Attributes
    ----------
    irreps : Irreps
        Of the bond between this environment and the site.
    values : {ir: (multiplicity, 2 l + 1, samples)}
    linear : {ir: (samples, n, multiplicity)} or None
        Set if the environment is an equivariant linear map of the site leg,
        dvalues[r, m] = sum_n linear[n, r] dv[n, m].  So it is next to an end of the chain.
    jacobian : (samples, sum n (2 l + 1), sum multiplicity (2 l + 1)) or None
        General case; both axes run over irreps, then m, then multiplicity.
    """

    irreps: Irreps
    values: Blocks
    linear: Blocks | None = None
    jacobian: Array | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the values do not depend on the site leg."""
        return self.linear is None and self.jacobian is None

    def push_forward(self, samples: Samples) -> Blocks:
        """Derivatives of the values along the rows beyond the sums.

        Returns
        -------
        {ir: (2 l + 1, samples, rows - n_sums, multiplicity)}
        """
        rows = slice(samples.n_sums, None)
        if self.linear is not None:
            return {
                ir: np.matmul(samples.directions[ir][:, :, rows], matrix)
                for ir, matrix in self.linear.items()
            }
        if self.jacobian is None:
            return {}
        stacked = np.concatenate(
            [
                d[:, :, rows].transpose(1, 2, 0, 3).reshape(d.shape[1], -1, d.shape[0] * d.shape[3])
                for d in samples.directions.values()
            ],
            axis=2,
        )
        moved = np.matmul(stacked, self.jacobian)
        out: Blocks = {}
        at = 0
        for ir in self.irreps.unique:
            mul = self.irreps.count(ir)
            part = moved[:, :, at : at + ir.dim * mul]
            at += ir.dim * mul
            shaped = part.reshape(*part.shape[:2], ir.dim, mul)
            out[ir] = np.ascontiguousarray(shaped.transpose(2, 0, 1, 3))
        return out


def couple(x: Array, y: Array, matrix: Array) -> Array:
    """Couple two irreps of every sample for all pairs of copies.

    Parameters
    ----------
    x, y : (multiplicity, 2 l + 1, samples)
    matrix : (2 l + 1 of the result, (2 lx + 1) (2 ly + 1))

    Returns
    -------
    (mul x, mul y, 2 l + 1 of the result, samples)
    """
    outer = x[:, None, :, None, :] * y[None, :, None, :, :]
    mul_x, mul_y, dim_x, dim_y, n = outer.shape
    return matrix @ outer.reshape(mul_x, mul_y, dim_x * dim_y, n)


def coupling_matrix(path: tuple[Irrep, ...], out: int, kind: Kind | None = None) -> Array:
    """Coupling tensor of a path as a matrix from the two other legs to leg ``out``, read-only."""
    matrix = _coupling_matrix(path, out)
    return matrix if kind is None else kind.constant(matrix)


@cache
def _coupling_matrix(path: tuple[Irrep, ...], out: int) -> Array:
    tensor = np.moveaxis(coupling(path), out, 0)
    matrix = np.ascontiguousarray(tensor.reshape(len(tensor), -1))
    matrix.setflags(write=False)
    return matrix


def propagate(core: Core, env: Blocks, site: Blocks, *, to: int) -> Blocks:
    """Absorb a core and its site leg into an environment.

    Parameters
    ----------
    core : Core
    env : values on the bond that is left (the first leg for ``to=2``, the last for ``to=0``)
    site : values on the site leg
    to : leg of the core on which the result lives, 0 or 2

    Returns
    -------
    {ir: (multiplicity, 2 l + 1, samples)}
    """
    of = 2 - to
    kind = core.kind
    xp = kind.xp
    out: Blocks = {}
    for path, block in core:
        source, result = path[of], path[to]
        v = site[path[1]]
        x = env[source]
        r, n, t = block.shape[of], block.shape[1], block.shape[to]
        d1, d2, d3 = source.dim, path[1].dim, result.dim
        matrix = coupling_matrix(path, to, kind)
        # The order of the two coupled legs is that of coupling_matrix: rising.
        if r * n * (d1 * d2 * (1 + d3) + t * d3) < r * t * d2 * (n + SUM_COST * d1):
            # Couple all copies first, then one product with the core.
            pairs = couple(x, v, matrix) if to == 2 else couple(v, x, matrix)
            order = (to, of, 1) if to == 2 else (to, 1, of)
            a = xp.reshape(xp.permute_dims(block, order), (t, r * n))
            y = (a @ pairs.reshape(r * n, -1)).reshape(t, d3, -1)
        else:
            # Contract the core with the site leg first: (mul of, mul to, 2 l2 + 1, samples).
            a = xp.permute_dims(block, (of, to, 1)).reshape(-1, n)
            av = (a @ v.reshape(n, -1)).reshape(r, t, *v.shape[1:])
            pair = xp.einsum("ras,rtbs->tabs" if to == 2 else "ras,rtbs->tbas", x, av)
            y = matrix @ pair.reshape(t, d1 * d2, -1)
        out[result] = out[result] + y if result in out else y
    n = next(iter(site.values())).shape[-1]
    for ir in core.legs[to].unique:
        if ir not in out:
            out[ir] = kind.zeros((core.legs[to].count(ir), ir.dim, n))
    return out


def left_environment(cores: Sequence[Core], samples: Samples, *, jacobian: bool) -> Environment:
    """Environment of the site that follows these cores, built from the first bond.

    Parameters
    ----------
    cores : the cores left of the site, in chain order
    samples : Samples
    jacobian : whether derivatives with respect to the site leg are wanted
    """
    irreps = cores[0].legs[0] if cores else None
    return _environment(cores, samples.start, samples, to=2, jacobian=jacobian, irreps=irreps)


def right_environment(cores: Sequence[Core], samples: Samples, *, jacobian: bool) -> Environment:
    """Environment of the site that precedes these cores; the last bond is a scalar, value 1.

    Parameters
    ----------
    cores : the cores right of the site, in chain order
    samples : Samples
    jacobian : whether derivatives with respect to the site leg are wanted
    """
    one = {Irrep(0, 1): np.ones((1, 1, samples.n_samples))}
    irreps = cores[-1].legs[2] if cores else None
    return _environment(list(reversed(cores)), one, samples, to=0, jacobian=jacobian, irreps=irreps)


def _environment(
    cores: Sequence[Core],
    values: Blocks,
    samples: Samples,
    *,
    to: int,
    jacobian: bool,
    irreps: Irreps | None,
) -> Environment:
    if irreps is None:
        irreps = Irreps([(len(block), ir) for ir, block in values.items()])
    env = Environment(irreps, values)
    for core in cores:
        step = propagate(core, env.values, samples.site, to=to)
        linear: Blocks | None = None
        dense: Array | None = None
        if jacobian and env.is_constant and all(ir.l == 0 for ir in env.values):
            linear = _linear_map(core, env.values, to=to)
        elif jacobian:
            dense = direct_jacobian(core, env.values, samples, to=to)
            if not env.is_constant:
                transfer = transfer_matrix(core, env, samples, to=to)
                dense += np.matmul(_dense_jacobian(env, samples), transfer)
        env = Environment(core.legs[to], step, linear, dense)
    return env


def _linear_map(core: Core, env: Blocks, *, to: int) -> Blocks:
    """Map of the site leg to the next bond when the environment holds scalars only."""
    maps: Blocks = {}
    for path, block in core:
        scalar = env[path[2 - to]][:, 0, :]
        a = np.moveaxis(block, (2 - to, 1, to), (0, 1, 2))
        # C couples l with 0: a multiple of the identity, read off its first entry.
        weight = float(coupling(path).ravel()[0])
        term = weight * np.tensordot(scalar, a, (0, 0))
        ir = path[to]
        maps[ir] = maps[ir] + term if ir in maps else term
    return maps


def _axis(irreps: Sequence[tuple[Irrep, int]]) -> tuple[dict[Irrep, slice], int]:
    slices, at = {}, 0
    for ir, mul in irreps:
        slices[ir] = slice(at, at + ir.dim * mul)
        at += ir.dim * mul
    return slices, at


def _site_axis(samples: Samples) -> tuple[dict[Irrep, slice], int]:
    return _axis([(ir, d.shape[3]) for ir, d in samples.directions.items()])


def _bond_axis(irreps: Irreps) -> tuple[dict[Irrep, slice], int]:
    return _axis([(ir, irreps.count(ir)) for ir in irreps.unique])


def direct_jacobian(core: Core, env: Blocks, samples: Samples, *, to: int) -> Array:
    """Derivative of the next environment through this core's own site leg."""
    rows, n_rows = _site_axis(samples)
    cols, n_cols = _bond_axis(core.legs[to])
    jacobian = np.zeros((samples.n_samples, n_rows, n_cols))
    for path, block in core:
        x = env[path[2 - to]]
        a = np.moveaxis(block, (1, to, 2 - to), (0, 1, 2))
        xa = np.tensordot(a, x, 1)  # (n, mul to, 2 l of + 1, samples)
        c = np.moveaxis(coupling(path), (1, to, 2 - to), (0, 1, 2))
        d2, d3, d1 = c.shape
        part = np.matmul(c.reshape(d2 * d3, d1), xa)  # (n, mul to, m2 m3, samples)
        n, mul = part.shape[:2]
        view = part.reshape(n, mul, d2, d3, -1).transpose(4, 2, 0, 3, 1)
        jacobian[:, rows[path[1]], cols[path[to]]] += view.reshape(-1, d2 * n, d3 * mul)
    return jacobian


def transfer_matrix(core: Core, env: Environment, samples: Samples, *, to: int) -> Array:
    """Matrix of every sample that takes the environment over this core."""
    rows, n_rows = _bond_axis(env.irreps)
    cols, n_cols = _bond_axis(core.legs[to])
    transfer = np.zeros((samples.n_samples, n_rows, n_cols))
    for path, block in core:
        v = samples.site[path[1]]
        a = np.moveaxis(block, (2 - to, to, 1), (0, 1, 2))
        av = np.tensordot(a, v, 1)  # (mul of, mul to, m2, samples)
        c = np.moveaxis(coupling(path), (2 - to, to, 1), (0, 1, 2))
        d1, d3, d2 = c.shape
        part = np.matmul(c.reshape(d1 * d3, d2), av)
        mul1, mul3 = part.shape[:2]
        view = part.reshape(mul1, mul3, d1, d3, -1).transpose(4, 2, 0, 3, 1)
        transfer[:, rows[path[2 - to]], cols[path[to]]] += view.reshape(-1, d1 * mul1, d3 * mul3)
    return transfer


def _dense_jacobian(env: Environment, samples: Samples) -> Array:
    if env.jacobian is not None:
        return env.jacobian
    assert env.linear is not None
    rows, n_rows = _site_axis(samples)
    cols, n_cols = _bond_axis(env.irreps)
    jacobian = np.zeros((samples.n_samples, n_rows, n_cols))
    for ir, matrix in env.linear.items():
        n, mul = matrix.shape[1:]
        block = jacobian[:, rows[ir], cols[ir]].reshape(-1, ir.dim, n, ir.dim, mul)
        for m in range(ir.dim):
            block[:, m, :, m, :] = matrix
        jacobian[:, rows[ir], cols[ir]] = block.reshape(-1, ir.dim * n, ir.dim * mul)
    return jacobian
