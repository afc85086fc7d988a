"""The Haldane chain by DMRG: energy, entropy and gap of open Heisenberg chains of spins 1.

An open chain ends in two spins 1/2.  They couple to a singlet and a triplet that come together as
the chain grows, so the gap of the bulk is the energy of the quintet above the triplet.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from etn.network import heisenberg
from etn.sweep import Report, Schedule, ground_state

# White and Huse, Phys. Rev. B 48, 3844 (1993): energy of a site and gap of the infinite chain.
ENERGY, GAP = -1.401484, 0.41050


class Levels(NamedTuple):
    """Lowest states with total spin 0, 1 and 2."""

    singlet: Report
    triplet: Report
    quintet: Report

    @property
    def gap(self) -> float:
        return self.quintet.energy - self.triplet.energy

    @property
    def mean(self) -> float:
        """Energy without the interaction of the two ends, which has mean zero over four states."""
        return (self.singlet.energy + 3 * self.triplet.energy) / 4


schedule = Schedule(sites=2, max_multiplets=[20, 40], max_sweeps=8, rel_tol=1e-9)
levels = {}
print("sites      energy  triplet - singlet  quintet - triplet  entropy  middle bond, singlet")
for n in (8, 16, 24, 32):
    operator = heisenberg(n, spin=1)
    levels[n] = Levels(
        *(ground_state(operator, f"{spin}e", schedule=schedule) for spin in (0, 1, 2))
    )
    singlet, triplet, _ = levels[n]
    bond = singlet.chain.bonds[n // 2 - 1]
    print(
        f"{n:5}  {singlet.energy:10.6f}  {triplet.energy - singlet.energy:17.6f}  "
        f"{levels[n].gap:17.6f}  {singlet.chain.entropy(n // 2 - 1):7.4f}  "
        f"{bond}: {bond.num_irreps} multiplets, {bond.dim} states"
    )

# Exact diagonalisation of eight sites.
assert abs(levels[8].singlet.energy - -10.124637222) < 1e-6

# A site of the bulk, from the difference of two chains, in which the ends cancel.
energy = (levels[32].mean - levels[24].mean) / 8
# The quintet holds one magnon, a particle in a box: its energy falls with 1/n^2 to the gap.
a, b = 24**-2, 32**-2
gap = (a * levels[32].gap - b * levels[24].gap) / (a - b)
print(f"energy of a site {energy:.6f}, infinite chain {ENERGY}")
print(f"gap {gap:.4f}, infinite chain {GAP}")
assert abs(energy - ENERGY) < 5e-5
assert abs(gap - GAP) < 0.02

# What is left of the interaction of the ends falls by exp(-length / 6).
ends = [levels[n].triplet.energy - levels[n].singlet.energy for n in (16, 32)]
print(f"correlation length {16 / math.log(ends[0] / ends[1]):.2f}, infinite chain 6.03")
assert abs(16 / math.log(ends[0] / ends[1]) - 6.03) < 0.3
