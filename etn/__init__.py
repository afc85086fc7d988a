"""O(3)-equivariant tensor networks for interatomic potentials and mathematics.

The subpackages, from the bottom up:

- :mod:`etn.o3`: irreps, couplings, rotations and harmonics;
- :mod:`etn.tensor`: equivariant cores, their factorisations and truncation, on NumPy or torch;
- :mod:`etn.network`: chains, trees and graphs of cores, operators on chains;
- :mod:`etn.sweep`: the DMRG sweep engine and its local problems: regression, eigenstates;
- :mod:`etn.product`: products of equivariant features, exact or CP-decomposed, for NumPy and torch;
- :mod:`etn.potential`: data sets, features, baselines, potentials and their fit;
- :mod:`etn.interfaces`: use in other programs.

The names below and the subpackages load on first use, so ``import etn`` costs next to nothing.

Examples
--------
>>> import etn
>>> etn.Irreps("8x0e+4x1o").dim
20
>>> etn.o3.clebsch_gordan(1, 1, 2).shape
(3, 3, 5)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etn import (
        backend,
        data,
        errors,
        interfaces,
        io,
        network,
        o3,
        plot,
        potential,
        product,
        run,
        sweep,
        tensor,
        testing,
    )
    from etn.data import embedded as datasets
    from etn.data.dataset import Dataset
    from etn.network import Chain
    from etn.o3 import Irrep, Irreps
    from etn.potential import Baseline, Basis, PolynomialPotential, fit, load
    from etn.tensor import Core, Truncation

__version__ = "0.1.0"

__all__ = [
    "Baseline",
    "Basis",
    "Chain",
    "Core",
    "Dataset",
    "Irrep",
    "Irreps",
    "PolynomialPotential",
    "Truncation",
    "__version__",
    "backend",
    "data",
    "datasets",
    "errors",
    "fit",
    "interfaces",
    "io",
    "load",
    "network",
    "o3",
    "plot",
    "potential",
    "product",
    "run",
    "sweep",
    "tensor",
    "testing",
]

# Where each name lives; every other name of __all__ is a module, by that name or another.
_HOMES = {
    "Baseline": "etn.potential",
    "Basis": "etn.potential",
    "Chain": "etn.network",
    "Core": "etn.tensor",
    "Dataset": "etn.data",
    "Irrep": "etn.o3",
    "Irreps": "etn.o3",
    "PolynomialPotential": "etn.potential",
    "Truncation": "etn.tensor",
    "fit": "etn.potential",
    "load": "etn.potential",
}
_MODULES = {"datasets": "etn.data.embedded"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in __all__:
        value = import_module(_MODULES.get(name, f"{__name__}.{name}"))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Found here from now on, without another call of this function.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
