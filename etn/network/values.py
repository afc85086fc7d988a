"""Values of a chain and their gradients by the legs of its sites, for a batch of samples.

:func:`evaluate` and :func:`value_and_gradient` feed all sites with one leg.  Below them stand the
passes that they share with every other code that feeds a chain, where each site has a leg of its
own: forward :func:`left_values`, backward :func:`pull_back`, and one :func:`site_gradient`.
"""

from __future__ import annotations

from collections.abc import Sequence

from etn.backend import Array, Kind, kind_of
from etn.errors import CoreError
from etn.network.chain import Chain
from etn.network.environment import couple, coupling_matrix, propagate
from etn.network.samples import Blocks
from etn.o3 import Irrep
from etn.tensor import Core


def evaluate(chain: Chain, start: Blocks, site: Blocks) -> Array:
    """Value of a scalar chain for each sample, all sites fed with the same leg.

    Parameters
    ----------
    chain : Chain with one scalar on its last bond
    start, site : {ir: (multiplicity, 2 l + 1, samples)}

    Returns
    -------
    (samples,)

    Raises
    ------
    CoreError
        If the last bond is no single scalar, or the samples are of another library, precision or
        device than the chain.
    """
    return _lefts(chain, start, site)[-1][Irrep(0, 1)][0, 0]


def value_and_gradient(chain: Chain, start: Blocks, site: Blocks) -> tuple[Array, Blocks]:
    """Value of a scalar chain and its gradient with respect to the site leg.

    The gradient sums the contributions of all sites; each is the core contracted with its
    left and right environment.

    Parameters
    ----------
    chain : Chain with one scalar on its last bond
    start, site : {ir: (multiplicity, 2 l + 1, samples)}

    Returns
    -------
    values : (samples,)
    gradient : {ir: (multiplicity, 2 l + 1, samples)}

    Raises
    ------
    CoreError
        As :func:`evaluate`.
    """
    lefts = _lefts(chain, start, site)
    values = lefts[-1][Irrep(0, 1)][0, 0]
    gradient = zeros_like(site, chain.kind)
    right: Blocks = {Irrep(0, 1): chain.kind.ones((1, 1, len(values)))}
    for core, left in zip(reversed(chain.cores), reversed(lefts[:-1]), strict=True):
        gradient = site_gradient(core, left, right, onto=gradient)
        right = propagate(core, right, site, to=0)
    return values, gradient


def _lefts(chain: Chain, start: Blocks, site: Blocks) -> list[Blocks]:
    if str(chain.out) != "1x0e":
        raise CoreError(f"expected a chain whose last bond is one scalar 1x0e, got {chain.out}")
    found = kind_of(*start.values(), *site.values())
    if found != chain.kind:
        raise CoreError(
            f"expected samples of the kind of the chain, {chain.kind}, got {found}; "
            "convert the chain with .to(backend=, dtype=, device=)"
        )
    return left_values(chain, start, [site] * len(chain))


def left_values(chain: Chain, start: Blocks, legs: Sequence[Blocks]) -> list[Blocks]:
    """Values on the first bond and after each core.

    Parameters
    ----------
    chain : Chain
    start : {ir: (multiplicity, 2 l + 1, samples)}
    legs : sequence of the same
        One for each site.
    """
    lefts = [start]
    for core, leg in zip(chain, legs, strict=True):
        lefts.append(propagate(core, lefts[-1], leg, to=2))
    return lefts


def pull_back(
    chain: Chain, lefts: Sequence[Blocks], legs: Sequence[Blocks], end: Blocks
) -> list[Blocks]:
    """Gradient of sum(end * last bond) by the leg of each site.

    Parameters
    ----------
    chain : Chain
    lefts : sequence of Blocks
        Of :func:`left_values`.
    legs : sequence of Blocks
        One for each site.
    end : {ir: (multiplicity, 2 l + 1, samples)}
        On the last bond.

    Returns
    -------
    list of {ir: (multiplicity, 2 l + 1, samples)}, one for each site
    """
    gradients: list[Blocks] = []
    right = end
    for core, left, leg in zip(
        reversed(chain.cores), reversed(lefts[:-1]), reversed(legs), strict=True
    ):
        gradients.append(site_gradient(core, left, right, onto=zeros_like(leg, core.kind)))
        right = propagate(core, right, leg, to=0)
    return gradients[::-1]


def site_gradient(core: Core, left: Blocks, right: Blocks, *, onto: Blocks) -> Blocks:
    """Gradient of the value by the leg of one site, added to another gradient.

    The value is linear in this leg: its gradient is the core between its two environments,

        g[n, m2] = sum_paths sum_{r1 r3 m1 m3}  a[r1, n, r3] C[m1, m2, m3] L[r1, m1] R[r3, m3].

    Parameters
    ----------
    core : Core
    left, right : {ir: (multiplicity, 2 l + 1, samples)}
        Values on the first and on the last leg of the core.
    onto : {ir: (multiplicity, 2 l + 1, samples)}
        What the gradient is added to, path by path: :func:`zeros_like` the leg, or the gradient of
        other sites that read the same leg.  It stays as it is.

    Returns
    -------
    {ir: (multiplicity, 2 l + 1, samples)}
    """
    kind, total = core.kind, dict(onto)
    for path, block in core:
        pairs = couple(left[path[0]], right[path[2]], coupling_matrix(path, 1, kind))
        a = kind.xp.permute_dims(block, (1, 0, 2)).reshape(block.shape[1], -1)
        part = a @ pairs.reshape(a.shape[1], -1)
        total[path[1]] = total[path[1]] + part.reshape(tuple(total[path[1]].shape))
    return total


def zeros_like(blocks: Blocks, kind: Kind) -> Blocks:
    """Zeros of the shapes of some blocks."""
    return {ir: kind.zeros(tuple(block.shape)) for ir, block in blocks.items()}
