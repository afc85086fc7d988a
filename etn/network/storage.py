"""Chains as named arrays and a plain header, ready for a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from etn.backend import to_numpy
from etn.network.chain import Chain
from etn.o3 import Irrep
from etn.tensor import Core


def chain_to_arrays(
    chain: Chain, *, name: str = "core"
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and NumPy arrays of a chain; array names are ``NAME.SITE.IR1.IR2.IR3``.

    The precision is kept, the library and the device are not: a file says nothing of them.
    """
    assert "." not in name, name
    header = {
        "center": chain.center,
        "discarded_weight": chain.discarded_weight,
        "legs": [[str(leg) for leg in core.legs] for core in chain],
    }
    arrays = {
        f"{name}.{site}." + ".".join(map(str, path)): to_numpy(block)
        for site, core in enumerate(chain)
        for path, block in core
    }
    return header, arrays


def chain_from_arrays(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, name: str = "core"
) -> Chain:
    """Inverse of :func:`chain_to_arrays`; arrays of other names are ignored.

    The chain holds NumPy arrays, also if the stored one held tensors of torch; ``.to("torch")``
    takes it back.
    """
    blocks: list[dict[tuple[Irrep, ...], NDArray[Any]]] = [{} for _ in header["legs"]]
    for key, array in arrays.items():
        kind, *rest = key.split(".")
        if kind == name:
            blocks[int(rest[0])][tuple(Irrep(ir) for ir in rest[1:])] = array
    cores = [Core(legs, b) for legs, b in zip(header["legs"], blocks, strict=True)]
    # Files of version 0.1.0 do not say what was discarded.
    discarded = header.get("discarded_weight", 0.0)
    return Chain(cores, center=header["center"], discarded_weight=discarded)
