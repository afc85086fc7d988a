"""Tensor networks of quimb as networks of etn, and back.

The legs of etn are read from the tags that :mod:`etn.network.views.quimb` writes, or are given.
quimb is an optional dependency: ``pip install "etn[quimb]"``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etn.backend import Array, to_numpy
from etn.errors import CoreError
from etn.network.chain import Chain
from etn.network.views.quimb import to_quimb
from etn.network.views.wiring import Wiring
from etn.o3 import Irreps
from etn.o3.irreps import IrrepsLike
from etn.tensor import Core

if TYPE_CHECKING:
    from quimb.tensor import Tensor, TensorNetwork

__all__ = ["from_quimb", "to_quimb"]

_SITE = re.compile(r"I(\d+)", re.ASCII)
_LEG = re.compile(r"leg(\d):(.*)=([^=]*)", re.ASCII | re.DOTALL)

# Ends that a line of tensors has no index for.
_START, _OUT = "(start)", "(out)"


def from_quimb(
    tn: TensorNetwork,
    legs: Mapping[str, IrrepsLike] | None = None,
    *,
    tol: float | None = None,
) -> Chain | Wiring:
    """Network of etn from a tensor network of quimb, each tensor projected on a core.

    Parameters
    ----------
    tn : quimb.tensor.TensorNetwork
        Of real tensors with one to three indices.
    legs : mapping of index to Irreps, optional
        What each index carries.  An index that is not named here is read from the tags that
        :func:`to_quimb` writes.
    tol : float, optional
        Largest part of its norm that a tensor may lose in the projection; by default eps^(2/3)
        of its precision, 4e-11 in float64.

    Returns
    -------
    Chain or Wiring
        NumPy cores in the order of the tags ``I{k}``, others after them, with their legs in the
        order of the tags, or else of the indices.  A chain if they form one, without a center:
        quimb may have changed the gauge.  Tensors without tags of legs that stand in a line,
        such as a ``quimb.tensor.MatrixProductState``, are a chain as well; where an end has no
        open index besides that of its site it gets a scalar.

    Raises
    ------
    CoreError
        If the irreps of an index are not known or do not fit its size, a tensor is complex or
        has more than three indices, or one is not equivariant: the message has the residual of
        each of these.

    Examples
    --------
    >>> chain = Chain.random(["2x0e+1x1o"] * 3, seed=0)
    >>> again = from_quimb(to_quimb(chain))
    >>> bool(abs(again.to_dense() - chain.to_dense()).max() < 1e-13)
    True
    """
    named = {index: Irreps(irreps) for index, irreps in (legs or {}).items()}
    unknown = sorted(set(named) - set(tn.ind_map))
    if unknown:
        raise CoreError(f"legs: the network has no index {', '.join(unknown)}")
    tensors = [_read(tensor, named) for tensor in sorted(tn.tensors, key=_number)]
    if not any(tensor.tagged for tensor in tensors):
        tensors = _line(tensors) or tensors
    cores, faults = [], []
    for tensor in tensors:
        scale = float(np.linalg.norm(tensor.data))
        core, residual = Core.from_dense(tensor.data, [tensor.legs[i] for i in tensor.inds])
        cores.append(core)
        if residual > (core.kind.eps ** (2 / 3) if tol is None else tol) * scale:
            faults.append(f"{tensor.name} {residual / scale:.1e}")
    if faults:
        raise CoreError(
            "expected equivariant tensors, but the projection on cores would lose these parts of "
            f"their norms: {', '.join(faults)}; check the irreps of the indices (components "
            "m = -l..l of real harmonics, copies slower than m), or raise tol to project"
        )
    labels = [tensor.inds for tensor in tensors]
    wiring = Wiring(cores, labels)
    in_line = all(a[2:] == b[:1] for a, b in pairwise(labels)) and all(
        core.order == 3 for core in cores
    )
    return Chain(cores) if in_line and len(wiring.bonds) == len(cores) - 1 else wiring


class _Tensor(NamedTuple):
    """A tensor of quimb with its indices in the order of the legs of a core."""

    name: str
    data: Array
    inds: tuple[str, ...]
    legs: dict[str, Irreps]
    tagged: bool


def _number(tensor: Tensor) -> float:
    found = [int(match[1]) for tag in tensor.tags if (match := _SITE.fullmatch(tag))]
    return min(found, default=np.inf)


def _read(tensor: Tensor, named: Mapping[str, Irreps]) -> _Tensor:
    name = next((tag for tag in tensor.tags if _SITE.fullmatch(tag)), "/".join(tensor.tags)) or "?"
    if not 1 <= len(tensor.inds) <= 3:
        raise CoreError(
            f"tensor {name}: expected one to three indices, got {tensor.inds}; "
            "split it, or contract less"
        )
    tags = [match for tag in tensor.tags if (match := _LEG.fullmatch(tag))]
    position = {match[2]: int(match[1]) for match in tags}
    legs = {match[2]: Irreps(match[3]) for match in tags} | dict(named)
    for index in tensor.inds:
        if index not in legs:
            raise CoreError(
                f"tensor {name}: the irreps of index {index!r} are not known: give "
                f'legs={{"{index}": irreps}} with a dimension of {tensor.ind_size(index)}'
            )
        if legs[index].dim != tensor.ind_size(index):
            raise CoreError(
                f"tensor {name}: index {index!r} has size {tensor.ind_size(index)}, but "
                f"{legs[index]} has dimension {legs[index].dim}"
            )
    tagged = set(tensor.inds) <= set(position)
    inds = sorted(tensor.inds, key=position.__getitem__) if tagged else list(tensor.inds)
    data = to_numpy(tensor.transpose(*inds).data)
    if np.iscomplexobj(data):
        if np.any(data.imag):
            raise CoreError(f"tensor {name}: expected real entries, got complex ones")
        data = data.real
    return _Tensor(name, data, tuple(inds), legs, tagged)


def _line(tensors: Sequence[_Tensor]) -> list[_Tensor] | None:
    """The tensors as (left bond, site, right bond) with scalars at bare ends; None if no line."""
    count = Counter(index for tensor in tensors for index in tensor.inds)
    bonds: list[str] = []
    for one, other in pairwise(tensors):
        shared = [index for index in one.inds if index in other.inds]
        if len(shared) != 1:
            return None
        bonds += shared
    if sum(n - 1 for n in count.values()) != len(bonds):
        return None
    line = []
    for site, tensor in enumerate(tensors):
        own = bonds[max(0, site - 1) : site + 1]
        free = [index for index in tensor.inds if index not in own]
        # Two free indices at an end: the outer one of them comes first at the start, last at the
        # end, as in a chain.
        left = bonds[site - 1] if site else (free.pop(0) if len(free) > 1 else _START)
        right = bonds[site] if site < len(bonds) else (free.pop() if len(free) > 1 else _OUT)
        if len(free) != 1:
            return None
        line.append(_with_legs(tensor, (left, free[0], right)))
    return line


def _with_legs(tensor: _Tensor, inds: tuple[str, ...]) -> _Tensor:
    """The tensor with its legs in this order; a new one is a scalar of one component."""
    added = [index for index in inds if index not in tensor.inds]
    before = (*tensor.inds, *added)
    data = tensor.data.reshape(*tensor.data.shape, *[1] * len(added))
    return tensor._replace(
        data=data.transpose([before.index(index) for index in inds]),
        inds=inds,
        legs=tensor.legs | dict.fromkeys(added, Irreps("0e")),
    )
