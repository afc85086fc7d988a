"""Vectors that the sites of a chain read: checked, split into irreps, and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etn.backend import Array, as_block, is_finite, kind_of, to_numpy
from etn.errors import DataError, IrrepsError
from etn.network import Blocks, Chain
from etn.network.environment import propagate
from etn.o3 import Irreps


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
    >>> from etn.o3 import Irrep
    >>> blocks = to_blocks(np.arange(8.0).reshape(2, 4), Irreps("1x0e+1x1o"))
    >>> blocks[Irrep("1o")][0, :, 0]
    array([1., 2., 3.])
    """
    # Stacked row by row, as couplings run over contiguous samples.
    xp, rows = kind_of(values).xp, values.T
    return {
        ir: xp.reshape(
            xp.stack([rows[i] for i in leg.indices(ir).ravel().tolist()]),
            (leg.count(ir), ir.dim, -1),
        )
        for ir in leg.unique
    }


def from_blocks(blocks: Blocks, leg: Irreps) -> Array:
    """Inverse of :func:`to_blocks`: (samples, leg.dim)."""
    one: Array = next(iter(blocks.values()))
    dense = kind_of(one).zeros((leg.dim, one.shape[-1]))
    for ir, block in blocks.items():
        dense[leg.indices(ir)] = block
    return dense.T


def evaluate_samples(chain: Chain, first: Array, inputs: Sequence[Array]) -> Array:
    """Values of a chain, (samples, out.dim), from the vectors of its start and of each site."""
    env = to_blocks(first, chain.start)
    for core, x in zip(chain, inputs, strict=True):
        env = propagate(core, env, to_blocks(x, core.legs[1]), to=2)
    return from_blocks(env, chain.out)


def check_inputs(inputs: Sequence[Array], legs: Sequence[Irreps]) -> list[Array]:
    """Arrays of one kind, one of shape (samples, leg.dim) for each leg.

    Raises
    ------
    DataError
        If an array has another shape, or a value that is not finite.
    IrrepsError
        If the number of legs is not that of the arrays.
    CoreError
        If the arrays are of different kinds.
    """
    if not inputs or len(inputs) != len(legs):
        raise IrrepsError(
            f"inputs: expected one array for each of {len(legs)} legs, got {len(inputs)}"
        )
    values = [as_block(x) for x in inputs]
    n_samples = int(values[0].shape[0]) if values[0].ndim else 0
    for site, (x, leg) in enumerate(zip(values, legs, strict=True)):
        check_values(f"site {site}", x, (n_samples, leg.dim), f" from the leg {leg}")
    kind_of(*values)
    return values


def check_values(name: str, values: Array, shape: tuple[int, ...], source: str) -> None:
    """Raise a :class:`DataError` unless the values have this shape and are finite."""
    if tuple(values.shape) != shape or not values.shape[0]:
        raise DataError(f"{name}: expected shape {shape}{source}, got {tuple(values.shape)}")
    if not is_finite(values):
        bad = ~np.isfinite(to_numpy(values)).reshape(len(values), -1)
        rows = np.any(bad, axis=1)
        raise DataError(
            f"{name}: expected finite values, got inf or nan in {rows.sum()} of {len(rows)} "
            f"samples, the first one is sample {rows.argmax()}"
        )
