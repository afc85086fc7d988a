"""Conservation of the energy in molecular dynamics: fcc copper at 600 K in ASE, NVE.

    python benchmarks/nve.py runs/cu/model.etn

108 atoms, 5000 steps of 2 fs by default. The atoms start on the lattice with velocities of twice
the temperature, half of which turns into potential energy; the energy is recorded after that.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from common import write

import etn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="model file of a potential")
    parser.add_argument("--element", default="Cu")
    parser.add_argument("--lattice", default="fcc")
    parser.add_argument("--constant", type=float, default=3.63, help="lattice constant, Å")
    parser.add_argument("--cells", type=int, default=3, help="cubic cells along each axis")
    parser.add_argument("--temperature", type=float, default=600.0, help="K")
    parser.add_argument("--step", type=float, default=2.0, help="fs")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--settle", type=int, default=500, help="steps before those that count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="result file")
    given = parser.parse_args()

    model = etn.load(given.model)
    atoms = bulk(given.element, given.lattice, a=given.constant, cubic=True) * ([given.cells] * 3)
    atoms.calc = model.calculator()
    rng = np.random.default_rng(given.seed)
    spread = np.sqrt(2 * given.temperature * units.kB / atoms.get_masses())
    velocities = spread[:, None] * rng.normal(size=(len(atoms), 3))
    atoms.set_velocities(velocities - np.average(velocities, axis=0, weights=atoms.get_masses()))
    energies, temperatures = [], []

    def note() -> None:
        energies.append(1e3 * atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())

    dynamics = VelocityVerlet(atoms, timestep=given.step * units.fs)
    dynamics.run(given.settle)
    dynamics = VelocityVerlet(atoms, timestep=given.step * units.fs)
    dynamics.attach(note)
    start = time.perf_counter()
    dynamics.run(given.steps)
    wall = time.perf_counter() - start

    energy = np.array(energies)  # meV/atom, the first before the first step
    picoseconds = given.step * np.arange(len(energy)) / 1e3
    slope, offset = np.polyfit(picoseconds, energy, 1)
    fifth = max(1, len(energy) // 5)
    result = {
        "benchmark": "nve",
        "model": repr(model),
        "atoms": len(atoms),
        "structure": f"{given.element} {given.lattice}, a = {given.constant} Å",
        "step_fs": given.step,
        "steps": given.steps,
        "settle_steps": given.settle,
        "seed": given.seed,
        "mean_temperature_K": float(np.mean(temperatures)),
        "drift_meV_per_atom": float(slope * picoseconds[-1]),
        "drift_meV_per_atom_per_ps": float(slope),
        "largest_deviation_meV_per_atom": float(np.abs(energy - energy[0]).max()),
        "fluctuation_meV_per_atom": float(np.std(energy - slope * picoseconds - offset)),
        "fifths_meV_per_atom": [
            float(energy[at : at + fifth].mean() - energy[0])
            for at in range(0, fifth * 5, fifth)
            if at < len(energy)
        ],
        "seconds_per_step": wall / given.steps,
        "wall_s": wall,
    }
    print(
        f"{len(atoms)} atoms, {given.steps} steps of {given.step:g} fs, "
        f"{result['mean_temperature_K']:.0f} K\n"
        f"drift (linear fit)  {result['drift_meV_per_atom']:+.5f} meV/atom over the run\n"
        f"largest deviation   {result['largest_deviation_meV_per_atom']:.5f} meV/atom\n"
        f"fluctuation (rms)   {result['fluctuation_meV_per_atom']:.5f} meV/atom\n"
        f"time                {1e3 * result['seconds_per_step']:.1f} ms a step"
    )
    print(f"-> {write('nve', result, out=given.out).name}")


if __name__ == "__main__":
    main()
