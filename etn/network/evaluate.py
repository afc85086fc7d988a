"""Values and gradients of a chain for a batch of samples."""

from __future__ import annotations

from etn.backend import Array, kind_of
from etn.errors import CoreError
from etn.network.chain import Chain
from etn.network.environment import couple, coupling_matrix, propagate
from etn.network.samples import Blocks
from etn.o3 import Irrep


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
    kind = chain.kind
    gradient: Blocks = {ir: kind.zeros(tuple(v.shape)) for ir, v in site.items()}
    right: Blocks = {Irrep(0, 1): kind.ones((1, 1, len(values)))}
    for core, left in zip(reversed(chain.cores), reversed(lefts[:-1]), strict=True):
        for path, block in core:
            ir = path[1]
            u = couple(left[path[0]], right[path[2]], coupling_matrix(path, 1, kind))
            a = kind.xp.permute_dims(block, (1, 0, 2)).reshape(block.shape[1], -1)
            part = a @ u.reshape(a.shape[1], -1)
            gradient[ir] = gradient[ir] + part.reshape(tuple(gradient[ir].shape))
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
    lefts = [start]
    for core in chain:
        lefts.append(propagate(core, lefts[-1], site, to=2))
    return lefts
