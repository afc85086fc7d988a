"""etn itself: potentials with structures that they are timed on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk
from common import shared_data
from fit import SETS, run
from workers.turns import Contestant, timed

from etn.data.verlet import VerletList
from etn.native import Evaluator
from etn.potential import Dataset, Frame, PolynomialPotential, load
from etn.potential.features.pairs import element_indices

CONSTANT, CELLS, RATTLE = 3.1652, 8, 0.05
STRUCTURE = f"bcc, a = {CONSTANT} Å, atoms moved by {RATTLE} Å"


class Case(NamedTuple):
    """A potential, a structure and its neighbours, found beforehand."""

    model: PolynomialPotential
    atoms: Atoms
    frame: Frame
    evaluator: Evaluator

    @classmethod
    def of(cls, path: Path | str, atoms: Atoms) -> Case:
        model = load(path)
        if not isinstance(model, PolynomialPotential) or model.evaluator is None:
            raise SystemExit(f"{path}: is not compiled; etn info says why")
        frame = Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        return cls(model, atoms, frame, model.evaluator)

    @property
    def neighbors(self) -> float:
        pairs = VerletList(self.model.r_max, skin=0.0).of(self.frame)
        return len(pairs.first) / self.frame.n_atoms

    @property
    def operations(self) -> float:
        return self.evaluator.operations(self.neighbors)

    def facts(self) -> dict[str, Any]:
        bonds = self.model.chain.bonds if self.model.chain else ()
        return {
            "model": repr(self.model), "elements": len(self.model.elements),
            "atoms": self.frame.n_atoms, "r_max": self.model.r_max, "neighbors": self.neighbors,
            "bonds": ", ".join(map(str, dict.fromkeys(bonds))), "operations": self.operations,
            "target": self.evaluator.target,
        }  # fmt: skip

    def compiled(self, bits: int = 64) -> Contestant:
        own, frame = Evaluator(self.evaluator.content, precision=bits), self.frame
        pairs = VerletList(self.model.r_max, skin=0.0).of(frame)
        element, every = element_indices(frame, self.model.elements), np.arange(frame.n_atoms)
        return timed(
            lambda: own.evaluate(
                element=element, frame=0 * every, n_frames=1, sample=every, center=pairs.first,
                neighbor=pairs.second, position=frame.positions, shift=pairs.shift,
            )
        )  # fmt: skip

    def numpy(self) -> Contestant:
        def predict() -> None:
            os.environ["ETN_NATIVE"] = "0"
            try:
                self.model.predict([self.frame])
            finally:
                del os.environ["ETN_NATIVE"]

        return timed(predict)

    def step(self) -> Contestant:
        atoms = self.atoms.copy()
        atoms.calc = self.model.calculator(gamma_warn=None)

        def step() -> None:
            atoms.positions += 1e-4
            atoms.get_forces()

        return timed(step)


def fitted(folder: Path, size: str) -> Path:
    """The model file of a size for Mo, fitted if it is not there."""
    if not (folder / "model.etn").exists():
        run("Mo", ["--size", size, "--quiet"], folder)
    return folder / "model.etn"


def structure(name: str, elements: tuple[str, ...]) -> Atoms:
    """About 1024 atoms: a gas of the molecules of a set, or a bcc crystal of random elements."""
    if "H" in elements:
        molecules = Dataset.read(SETS[name][0].replace("{data}", str(shared_data())))
        gas = Atoms()
        for k in range(2 * CELLS**3 // molecules[0].n_atoms):
            molecule = molecules[k % len(molecules)].to_atoms()
            molecule.positions += 25.0 * np.array(np.unravel_index(k, (CELLS, CELLS, CELLS)))
            gas += molecule
        return gas
    crystal = bulk("Mo", "bcc", a=CONSTANT, cubic=True) * (CELLS, CELLS, CELLS)
    crystal.symbols = np.random.default_rng(0).choice(elements, size=len(crystal))
    crystal.rattle(RATTLE, seed=0)
    return crystal
