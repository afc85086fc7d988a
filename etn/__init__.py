"""O(3)-equivariant tensor networks for interatomic potentials and mathematics.

The subpackages, from the bottom up:

- :mod:`etn.o3`: irreps, couplings, rotations and harmonics;
- :mod:`etn.data`: reference data: structures with labels, read and checked, and the embedded sets;
- :mod:`etn.tensor`: equivariant cores, their factorisations and truncation, on NumPy or torch;
- :mod:`etn.network`: chains, trees and graphs of cores, operators on chains;
- :mod:`etn.sweep`: the DMRG sweep engine and its local problems: regression, eigenstates;
- :mod:`etn.product`: products of equivariant features, exact or CP-decomposed, for NumPy and torch;
- :mod:`etn.potential`: features, baselines, potentials and their fit;
- :mod:`etn.interfaces`: use in other programs;
- :mod:`etn.run`: a fit from files to a run folder, as the command does it.

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

from typing import TYPE_CHECKING

from etn.lazy import attach

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
    from etn.data import Dataset
    from etn.data import embedded as datasets
    from etn.network import Chain
    from etn.o3 import Irrep, Irreps
    from etn.potential import Baseline, Basis, PolynomialPotential, Potential, fit, load
    from etn.tensor import Core, Truncation

__version__ = "0.1.0"

__all__ = [
    "Baseline", "Basis", "Chain", "Core", "Dataset", "Irrep", "Irreps", "PolynomialPotential",
    "Potential", "Truncation", "__version__", "backend", "data", "datasets", "errors", "fit",
    "interfaces", "io", "load", "network", "o3", "plot", "potential", "product", "run", "sweep",
    "tensor", "testing",
]  # fmt: skip

_HOMES = {
    "etn.data": "Dataset",
    "etn.network": "Chain",
    "etn.o3": "Irrep Irreps",
    "etn.potential": "Baseline Basis PolynomialPotential Potential fit load",
    "etn.tensor": "Core Truncation",
}
# Every other name is a module, by that name or another.
_NAMES = {name for names in _HOMES.values() for name in names.split()} | {"__version__"}
_MODULES = {name: f"etn.{name}" for name in __all__ if name not in _NAMES}
__getattr__, __dir__ = attach(__name__, _HOMES, _MODULES | {"datasets": "etn.data.embedded"})
