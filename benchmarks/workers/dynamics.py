"""Molecular dynamics in ASE as it is run: what a step costs, searches for neighbours included."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from etn.potential import Potential

KELVIN, FEMTOSECONDS = 300.0, 2.0
STEPS = 100  # of a block, so that every block has some searches


class Dynamics:
    """Blocks of steps at constant energy, of which the first bring the crystal into equilibrium.

    Parameters
    ----------
    model : Potential
    crystal : Atoms
        At rest, so that half of the velocities' energy goes into the positions.

    Attributes
    ----------
    inside : list of float
        Seconds of a step that were spent in the calculator, for each block; the rest is of ASE.
    kelvin : list of float
        Temperature at the end of each block.
    """

    def __init__(self, model: Potential, crystal: Atoms) -> None:
        self.atoms = crystal.copy()
        speed = np.sqrt(2 * KELVIN * units.kB / self.atoms.get_masses())[:, None]
        velocities = speed * np.random.default_rng(0).normal(size=(len(self.atoms), 3))
        self.atoms.set_velocities(velocities - velocities.mean(axis=0))
        self.atoms.calc = model.calculator(gamma_warn=None)
        self._calculate, self._spent = self.atoms.calc.calculate, 0.0
        self.atoms.calc.calculate = self._timed
        self._dynamics = VelocityVerlet(self.atoms, timestep=FEMTOSECONDS * units.fs)
        self.inside: list[float] = []
        self.kelvin: list[float] = []

    def __call__(self) -> float:
        """Seconds of a step, the mean of a block."""
        self._spent, start = 0.0, time.perf_counter()
        self._dynamics.run(STEPS)
        whole = time.perf_counter() - start
        self.inside.append(self._spent / STEPS)
        self.kelvin.append(self.atoms.get_temperature())
        return whole / STEPS

    @property
    def note(self) -> str:
        """What is to be said of it after its blocks."""
        steps = STEPS * len(self.inside) / self.atoms.calc._lists.searches
        return (
            f"velocity Verlet, {FEMTOSECONDS:g} fs, {np.mean(self.kelvin[2:]):.0f} K, a search "
            f"every {steps:.0f} steps"
        )

    def _timed(self, *arguments: Any, **options: Any) -> None:
        start = time.perf_counter()
        self._calculate(*arguments, **options)
        self._spent += time.perf_counter() - start
