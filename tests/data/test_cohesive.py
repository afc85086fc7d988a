"""Cohesive energies against the enthalpies of formation of gaseous atoms."""

from __future__ import annotations

import pytest
from ase.data import chemical_symbols

from etn.data.cohesive import COHESIVE, cohesive_energy

# kJ/mol at 298 K: J. D. Cox, D. D. Wagman, V. A. Medvedev, CODATA Key Values for Thermodynamics
# (1989).  The gas, liquid or solid that is stable there stands for the solid at 0 K.
ENTHALPIES = {
    "H": 217.998, "Li": 159.3, "Be": 324, "B": 565, "C": 716.68, "N": 472.68, "O": 249.18,
    "F": 79.38, "Na": 107.5, "Mg": 147.1, "Al": 330.0, "Si": 450, "P": 316.5, "S": 277.17,
    "Cl": 121.301, "K": 89.0, "Ca": 177.8, "Ti": 473, "Cu": 337.4, "Zn": 130.40, "Ge": 372,
    "Br": 111.87, "Rb": 80.9, "Ag": 284.9, "Cd": 111.80, "Sn": 301.2, "I": 106.76, "Cs": 76.5,
    "Hg": 61.38, "Pb": 195.2, "Th": 602, "U": 533,
}  # fmt: skip
KJ_PER_MOL = 1 / 96.48533212  # eV


@pytest.mark.parametrize(("symbol", "enthalpy"), ENTHALPIES.items())
def test_the_table_agrees_with_thermochemistry(symbol, enthalpy):
    assert cohesive_energy(symbol) == pytest.approx(enthalpy * KJ_PER_MOL, abs=0.16)


def test_what_the_table_lacks_is_typical():
    assert set(chemical_symbols[1:84]) - set(COHESIVE) == {"He", "Pm"}
    assert cohesive_energy("Pm") == cohesive_energy("Pu") == 3.5
    mean = sum(COHESIVE.values()) / len(COHESIVE)
    assert cohesive_energy("Pm") == pytest.approx(mean, abs=0.2)


def test_only_noble_gases_are_hardly_bound():
    weak = {symbol for symbol, energy in COHESIVE.items() if energy < 0.5}
    assert weak == {"Ne", "Ar", "Kr", "Xe"}
