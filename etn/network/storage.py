"""Cores and chains as named arrays and a plain header, ready for a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from etn.backend import to_numpy
from etn.errors import ModelFileError
from etn.network.chain import Chain
from etn.o3 import Irrep, Irreps
from etn.stored import conform
from etn.tensor import Core
from etn.tensor.core import Path, allowed_paths

Arrays = Mapping[str, NDArray[Any]]

# What a stored core may ask for: a file of a few bytes can name irreps that couple in more ways
# than can be listed, or by tensors that no memory holds.
MAX_PATHS = 10**6
"""Most triples of irreps, allowed or not."""
MAX_COUPLING = 2**27
"""Most entries of all Clebsch-Gordan tensors of the cores in a file: 1 GB."""


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


def chain_from_arrays(header: Mapping[str, Any], arrays: Arrays, *, name: str = "core") -> Chain:
    """Inverse of :func:`chain_to_arrays`; arrays of other names are ignored.

    The chain holds NumPy arrays, also if the stored one held tensors of torch; ``.to("torch")``
    takes it back.

    Raises
    ------
    ModelFileError, CoreError or IrrepsError
        If header and arrays are not those of a chain.
    """
    legs = conform(header["legs"], list[list[str]], f"{name}: legs")
    prefix = f"{name}."
    own = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
    cores = cores_from_arrays({str(site): each for site, each in enumerate(legs)}, own)
    # Files of version 0.1.0 do not say what was discarded.
    discarded = conform(header.get("discarded_weight", 0.0), float, f"{name}: discarded_weight")
    center = conform(header["center"], int | None, f"{name}: center")
    return Chain(list(cores.values()), center=center, discarded_weight=discarded)


def cores_from_arrays(legs: Mapping[str, list[str]], arrays: Arrays) -> dict[str, Core]:
    """Cores by name, of arrays with the names ``NAME.IR1.IR2.IR3``, of which none may be missing.

    Raises
    ------
    ModelFileError
        If a block is missing or is there twice, an array belongs to no core, or legs name irreps
        that no memory holds.
    CoreError or IrrepsError
        If legs or blocks are not those of a core.
    """
    blocks: dict[str, dict[Path, NDArray[Any]]] = {name: {} for name in legs}
    for key, array in arrays.items():
        name, *irreps = key.split(".")
        path = tuple(map(Irrep, irreps))
        if name not in blocks or path in blocks[name]:
            raise ModelFileError(f"array {key}: expected one for each block of {', '.join(legs)}")
        blocks[name][path] = array
    every = {name: [Irreps(leg) for leg in each] for name, each in legs.items()}
    entries = 0
    for name, each in every.items():
        if not 1 <= len(each) <= 3:
            raise ModelFileError(f"core {name}: expected one to three legs, got {len(each)}")
        triples = math.prod(len(leg.unique) for leg in each)
        if triples > MAX_PATHS:
            raise ModelFileError(
                f"core {name}: expected at most {MAX_PATHS} triples of irreps, got {triples}"
            )
        paths = allowed_paths(each)
        missing = [path for path in paths if path not in blocks[name]]
        if missing:
            raise ModelFileError(
                f"core {name}: the block of {', '.join(map(str, missing[0]))} is missing"
            )
        entries += sum(math.prod(ir.dim for ir in path) for path in paths)
        if entries > MAX_COUPLING:
            raise ModelFileError(
                f"core {name}: expected degrees whose Clebsch-Gordan tensors have at most "
                f"{MAX_COUPLING} entries in all, got {entries}"
            )
    return {name: Core(every[name], blocks[name]) for name in legs}
