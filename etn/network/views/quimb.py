"""Networks of etn as tensor networks of quimb.

Each core becomes a dense ``quimb.tensor.Tensor`` whose indices are the names of its legs.  Tags
say what quimb does not know:

- ``I{k}``: number k of the core, which is the site in a chain;
- ``leg{n}:{index}={irreps}``: leg n of the core is this index and carries these irreps, such as
  ``leg1:x0=2x0e+1x1o``.

Transpositions in quimb do no harm, since a leg is found by the name of its index.  quimb is an
optional dependency: ``pip install "etn[quimb]"``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etn.backend import Array
from etn.errors import CoreError
from etn.machine import check_memory
from etn.network.views.wiring import Wired, Wiring, as_wiring
from etn.tensor import Core

if TYPE_CHECKING:
    from quimb.tensor import TensorNetwork


def to_quimb(network: Wired) -> TensorNetwork:
    """Tensor network of quimb with the dense cores.

    Parameters
    ----------
    network : Chain, Wiring or a network with a method ``wiring``

    Returns
    -------
    quimb.tensor.TensorNetwork
        Indices are named as the legs: ``start``, ``x0`` .., ``b1`` .., ``out`` for a chain.  The
        arrays are of the kind of the cores.

    Raises
    ------
    CoreError
        If quimb is not installed, or there is no memory for the dense cores.

    Examples
    --------
    >>> from etn.network import Chain
    >>> chain = Chain.random(["2x0e+1x1o"] * 3, seed=0)
    >>> tn = to_quimb(chain)
    >>> tn["I1"].inds, sorted(tn["I0"].tags)[:3]
    (('b1', 'x1', 'b2'), ['I0', 'leg0:start=1x0e', 'leg1:x0=2x0e+1x1o'])
    >>> dense = tn.contract(output_inds=["start", "x0", "x1", "x2", "out"]).data
    >>> bool(abs(dense - chain.to_dense()).max() < 1e-13)
    True
    """
    wiring = as_wiring(network)
    entries = sum(math.prod(leg.dim for leg in core.legs) for core in wiring.cores)
    check_memory(8.0 * entries, f"the dense cores of {wiring!r}", "truncate its bonds first")
    return quimb_network(wiring, [core.to_dense() for core in wiring.cores])


def quimb_network(wiring: Wiring, arrays: Sequence[Array]) -> TensorNetwork:
    """Tensor network of quimb with these arrays for the cores, and the tags of its legs."""
    qtn = _quimb()
    return qtn.TensorNetwork(
        [
            qtn.Tensor(array, labels, [f"I{number}", *_leg_tags(core, labels)])
            for number, (core, labels, array) in enumerate(
                zip(wiring.cores, wiring.labels, arrays, strict=True)
            )
        ]
    )


def _leg_tags(core: Core, labels: Sequence[str]) -> list[str]:
    return [
        f"leg{position}:{label}={leg}"
        for position, (label, leg) in enumerate(zip(labels, core.legs, strict=True))
    ]


def _quimb() -> Any:
    try:
        import quimb.tensor
    except ImportError as error:
        raise CoreError(
            'this needs quimb, which is not installed: pip install "etn[quimb]"'
        ) from error
    return quimb.tensor
