"""Files of networks: every kind of network is saved and loaded by the same two functions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from etn import io
from etn.backend import to_numpy
from etn.errors import ModelFileError
from etn.network.chain import Chain
from etn.network.graphs.network import Network
from etn.network.operator import Operator
from etn.network.storage import chain_from_arrays, chain_to_arrays, cores_from_arrays
from etn.network.trees.tree import Tree
from etn.o3 import Irreps
from etn.stored import conform, unpacking
from etn.tensor import Core

AnyNetwork = Core | Chain | Tree | Network | Operator
Arrays = dict[str, NDArray[Any]]

KINDS = ("core", "chain", "tree", "network", "operator")
"""What a file of a network says that it is."""


def save(network: AnyNetwork, path: str | os.PathLike[str]) -> None:
    """Write a core, a chain, a tree, a network or an operator; the old file stays until done.

    Blocks keep their precision.  They are stored as NumPy arrays, wherever they live.

    Raises
    ------
    ModelFileError
        If it is none of these.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "chain.etn")
    >>> save(Chain.random(["1x0e+1x1o"] * 2, max_bond=1), path)
    >>> load(path)
    Chain(2 sites, bonds 1x0e+1x1o, 4 parameters, not canonical)
    """
    kind, header, arrays = _pack(network)
    io.save(path, kind=kind, header=header, arrays=arrays)


def load(path: str | os.PathLike[str]) -> AnyNetwork:
    """Read what :func:`save` wrote, with blocks of NumPy.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, of a newer format, or holds no network, be it by intent.
    """
    return unpack(io.load(path), path)


def unpack(stored: io.StoredModel, path: str | os.PathLike[str]) -> AnyNetwork:
    """The network in a file that has been read."""
    if stored.kind not in KINDS:
        raise ModelFileError(
            f"{path}: expected a file of one of the kinds {', '.join(KINDS)}, "
            f"this one is of kind {stored.kind!r}; pass another file"
        )
    with unpacking(path, stored.kind):
        return _unpack(stored.kind, stored.header, stored.arrays)


def _unpack(kind: str, header: Mapping[str, Any], arrays: Arrays) -> AnyNetwork:
    if kind == "chain":
        return chain_from_arrays(header, arrays)
    if kind == "operator":
        chain = chain_from_arrays(header, arrays)
        return Operator(chain, [_site(site, chain) for site in header["sites"]])
    cores = cores_from_arrays(conform(header["legs"], dict[str, list[str]], "legs"), arrays)
    if kind == "core":
        (core,) = cores.values()
        return core
    if kind == "network":
        return Network(conform(header["formula"], str, "formula"), **cores)
    return Tree(
        _pairs(header["topology"]),
        [cores[str(number)] for number in range(len(cores))],
        center=conform(header["center"], tuple[int, ...] | None, "center"),
        discarded_weight=conform(header["discarded_weight"], float, "discarded_weight"),
    )


def _site(site: Any, chain: Chain) -> Irreps:
    """What a site of a state carries; its operators reach to twice its degree."""
    irreps = Irreps(conform(site, str, "sites"))
    most = max(leg.l_max for leg in chain.sites)
    if irreps.l_max > most:
        raise ModelFileError(f"sites: expected degrees up to {most} of the chain, got {irreps}")
    return irreps


def _pack(network: AnyNetwork) -> tuple[str, dict[str, Any], Arrays]:
    if isinstance(network, Chain):
        return ("chain", *chain_to_arrays(network))
    if isinstance(network, Operator):
        header, arrays = chain_to_arrays(network.chain)
        return "operator", {**header, "sites": [str(site) for site in network.sites]}, arrays
    if isinstance(network, Core):
        return ("core", *_to_arrays({"0": network}))
    if isinstance(network, Tree):
        header, arrays = _to_arrays({str(n): core for n, core in enumerate(network.cores)})
        header |= {
            "topology": network.topology.nested,
            "center": network.center,
            "discarded_weight": network.discarded_weight,
        }
        return "tree", header, arrays
    if isinstance(network, Network):
        header, arrays = _to_arrays(network.cores)
        return "network", {**header, "formula": network.formula}, arrays
    raise ModelFileError(
        f"expected a Core, Chain, Tree, Network or Operator to save, got {type(network).__name__}"
    )


def _to_arrays(cores: Mapping[str, Core]) -> tuple[dict[str, Any], Arrays]:
    legs = {name: [str(leg) for leg in core.legs] for name, core in cores.items()}
    arrays = {
        ".".join((name, *map(str, path))): to_numpy(block)
        for name, core in cores.items()
        for path, block in core
    }
    return {"legs": legs}, arrays


def _pairs(nested: Any) -> Any:
    """Nested pairs, which JSON gives back as lists."""
    return tuple(map(_pairs, nested)) if isinstance(nested, list) else nested
