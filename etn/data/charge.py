"""Total charges of structures: where they stand, and what fits make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from etn.surface import option

if TYPE_CHECKING:
    from ase import Atoms

    from etn.data.dataset import Dataset

__all__ = ["check_charges", "total_charge"]


def total_charge(atoms: Atoms, key: str | None = "charge") -> float:
    """The total charge of a structure, elementary charges: what ``atoms.info`` has under a key.

    It is zero where there is no single number, as where charges of the atoms have that name.

    Examples
    --------
    >>> from ase import Atoms
    >>> total_charge(Atoms("Cl", info={"charge": -1})), total_charge(Atoms("Cl"))
    (-1.0, 0.0)
    """
    value = np.asarray(None if key is None else atoms.info.get(key))
    return float(value.item()) if value.size == 1 and value.dtype.kind in "iuf" else 0.0


def check_charges(datasets: Mapping[str, Dataset]) -> list[str]:
    """Say that a fit does not read the total charges in which frames differ.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from etn.data import Dataset
    >>> test = Dataset.read("etn:Mo/test")
    >>> check_charges({"test": test})
    []
    >>> print(check_charges({"test": Dataset([*test, replace(test[0], charge=-1)])})[0])
    test: charges -1 to 0 are not read by a fit: frames that differ in charge alone have one energy;
    train a network that reads them (tensornet), take charged frames out, or leave charges out
    (charge=None)
    """
    charges = {name: [frame.charge for frame in data] for name, data in datasets.items()}
    everywhere = [charge for of_set in charges.values() for charge in of_set]
    low, high = min(everywhere), max(everywhere)
    if low == high:
        return []
    return [
        f"{', '.join(name for name, of_set in charges.items() if any(of_set))}: charges {low:g} to "
        f"{high:g} are not read by a fit: frames that differ in charge alone have one energy; "
        "train a network that reads them (tensornet), take charged frames out, or leave charges "
        f"out ({option('charge_key', None)})"
    ]
