"""Random samples, targets and weights to try chains and local problems on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etn.backend import Kind, to_numpy
from etn.errors import CoreError
from etn.network import Blocks, Chain, Samples
from etn.o3 import Irrep, Irreps
from etn.sweep import Batch

SCALAR = Irrep(0, 1)


def random_blocks(
    irreps: Irreps | str,
    n_samples: int,
    *,
    seed: int | np.random.Generator = 0,
    kind: Kind | None = None,
) -> Blocks:
    """Gaussian components of an equivariant vector: {ir: (multiplicity, 2 l + 1, samples)}.

    The numbers are those of NumPy for every library, precision and device (``kind``).

    Examples
    --------
    >>> [str(ir) for ir in random_blocks("2x0e+1x1o", 3)]
    ['0e', '1o']
    """
    rng = np.random.default_rng(seed)
    irreps = Irreps(irreps)
    drawn = {ir: rng.normal(size=(irreps.count(ir), ir.dim, n_samples)) for ir in irreps.unique}
    return drawn if kind is None else {ir: kind.array(values) for ir, values in drawn.items()}


def random_batch(
    chain: Chain,
    *,
    seed: int | np.random.Generator = 0,
    n_samples: int = 24,
    n_sums: int = 6,
    n_tangents: int = 40,
    constant: bool = True,
) -> Batch:
    """Random samples for a chain, with random targets and weights.

    Each sample belongs to one of the sums; a tangent moves the legs of all samples.

    Parameters
    ----------
    chain : Chain
        Its sites must all read the same leg.
    seed : int or numpy Generator
    n_samples : int
        Number of samples.
    n_sums, n_tangents : int
        Number of rows that sum values and of rows that are directional derivatives.
    constant : bool
        Whether scalar channel 0 of the leg is the constant 1.

    Returns
    -------
    Batch
        A start of scalars only is one-hot, as the element of an atom; any other is random.

    Raises
    ------
    CoreError
        If the sites read different legs.

    Examples
    --------
    >>> chain = Chain.random(["1x0e+2x1o"] * 2, max_bond=2, seed=0)
    >>> batch = random_batch(chain, seed=0, n_sums=3, n_tangents=7)
    >>> batch.samples.n_rows, batch.samples.n_sums, batch.targets.shape
    (10, 3, (10,))
    """
    rng = np.random.default_rng(seed)
    leg = chain.sites[0]
    if any(other != leg for other in chain.sites):
        legs = ", ".join(map(str, chain.sites))
        raise CoreError(f"expected a chain whose sites read the same leg, got {legs}")
    start = random_blocks(chain.start, n_samples, seed=rng)
    if chain.start.unique == (SCALAR,):
        kind = rng.integers(chain.start.count(SCALAR), size=n_samples)
        start = {SCALAR: np.eye(chain.start.count(SCALAR))[:, None, kind]}
    site = random_blocks(leg, n_samples, seed=rng)
    if constant:
        site[SCALAR][0] = 1.0
    member = np.arange(n_samples) % n_sums if n_sums else np.zeros(n_samples, dtype=int)
    directions: Blocks = {}
    for ir, values in site.items():
        d = rng.normal(size=(ir.dim, n_samples, n_sums + n_tangents, len(values)))
        if constant and ir == SCALAR:
            d[..., 0] = 0.0
        d[:, :, :n_sums] = 0.0
        if n_sums:
            d[:, np.arange(n_samples), member] = values.transpose(1, 2, 0)
        directions[ir] = d
    n_rows = n_sums + n_tangents
    return Batch(
        Samples(start, site, directions, n_sums),
        rng.normal(size=n_rows),
        rng.uniform(0.5, 2.0, size=n_rows),
    )


def dense_leg(irreps: Irreps | str, blocks: Blocks) -> NDArray[np.float64]:
    """Components in the order of the dense leg, in NumPy: (irreps.dim, samples)."""
    irreps = Irreps(irreps)
    dense = np.zeros((irreps.dim, next(iter(blocks.values())).shape[-1]))
    for ir, block in blocks.items():
        dense[irreps.indices(ir)] = to_numpy(block)
    return dense


def dense_value(chain: Chain, legs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Brute-force contraction of the dense tensor of a chain with a vector on every leg.

    In NumPy and double precision, whatever the chain is made of.

    Parameters
    ----------
    chain : Chain
    legs : sequence of array
        The start and one vector for each site, each of shape (irreps dimension, samples); see
        :func:`dense_leg`.

    Returns
    -------
    (chain.out.dim, samples)

    Examples
    --------
    >>> chain = Chain.random(["1x0e+2x1o"] * 2, max_bond=2, seed=0)
    >>> vectors = [np.ones((leg.dim, 3)) for leg in (chain.start, *chain.sites)]
    >>> dense_value(chain, vectors).shape
    (1, 3)
    """
    dense = to_numpy(chain.to_dense()).astype(float)
    value = np.einsum("a...,as->...s", dense, legs[0])
    for leg in legs[1:]:
        value = np.einsum("a...s,as->...s", value, leg)
    return value
