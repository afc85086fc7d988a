"""etn itself: potentials with structures that they are timed on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
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
from etn.network import Chain
from etn.potential import Basis, Dataset, Frame, PolynomialPotential, load
from etn.potential.features.batching import frame_batches
from etn.potential.features.pairs import Pairs, element_indices
from etn.run.bench import crystal

CONSTANT, CELLS, RATTLE = 3.1652, 8, 0.05
STRUCTURE = f"bcc, a = {CONSTANT} Å, atoms moved by {RATTLE} Å"


class Case(NamedTuple):
    """A potential, a structure and its neighbours, found beforehand."""

    model: PolynomialPotential
    atoms: Atoms
    frame: Frame
    evaluator: Evaluator

    @classmethod
    def of(cls, model: PolynomialPotential, atoms: Atoms) -> Case:
        assert model.evaluator is not None
        return cls(model, atoms, frame_of(atoms), model.evaluator)

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
            "target": self.evaluator.target, "leg": str(self.model.basis.leg),
        }  # fmt: skip

    def single_precision(self, frames: Iterable[Frame]) -> dict[str, float]:
        """By what single precision differs: components of forces, eV/Å; energies, eV/atom."""
        single = Evaluator(self.evaluator.content, precision=32)
        energies, forces = [], []
        for batch in frame_batches(frames):
            pairs = Pairs.find(batch, self.model.elements, self.model.r_max)
            one, two = single.answer(pairs), self.evaluator.answer(pairs)
            total = np.bincount(pairs.frame, one.energies - two.energies)
            energies.append(total / np.bincount(pairs.frame))
            forces.append((one.forces - two.forces).ravel())
        return {
            f"{name}_{kind}": float(value)
            for name, parts in (("energy", energies), ("forces", forces))
            for kind, value in (
                ("max", np.abs(np.concatenate(parts)).max()),
                ("rms", np.sqrt(np.mean(np.concatenate(parts) ** 2))),
            )
        }

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


def read(path: Path) -> PolynomialPotential:
    """A potential that is compiled."""
    model = load(path)
    if not isinstance(model, PolynomialPotential) or model.evaluator is None:
        raise SystemExit(f"{path}: is not compiled; etn info says why")
    return model


def force_error(path: Path) -> float | None:
    """Mean absolute error of forces on test data, eV/Å, as the report beside a model file says."""
    report = path.with_name("report.json")
    if not report.exists():
        return None
    metrics = json.loads(report.read_text(encoding="utf-8"))["metrics"]
    return float(metrics["test"]["forces"]["mae"]) if "test" in metrics else None


def held_out(name: str) -> Dataset:
    """The test data of a set of fit.py."""
    options = SETS[name]
    path = options[options.index("--test") + 1] if "--test" in options else f"{options[0]}/test"
    return Dataset.read(path.replace("{data}", str(shared_data())))


def with_elements(model: PolynomialPotential, atoms: Atoms) -> PolynomialPotential:
    """A random potential for the elements of a structure, all else as in a fit of `model`."""
    basis = Basis.for_dataset(
        Dataset([frame_of(atoms)]), r_max=model.r_max, n_max=model.basis.n_max,
        l_max=model.basis.l_max,
    )  # fmt: skip
    chain = Chain.random(
        [basis.leg] * (model.body_order - 1), start=basis.start, max_bond=model.max_bond, seed=0
    )
    return PolynomialPotential(
        basis, body_order=model.body_order, max_bond=model.max_bond, chain=chain
    )


def frame_of(atoms: Atoms) -> Frame:
    return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def structure(name: str, elements: tuple[str, ...]) -> Atoms:
    """About 1024 atoms: a gas of the molecules of a set, or a crystal, bcc where it is an alloy."""
    if "H" in elements:
        molecules = Dataset.read(SETS[name][0].replace("{data}", str(shared_data())))
        gas = Atoms()
        for k in range(2 * CELLS**3 // molecules[0].n_atoms):
            molecule = molecules[k % len(molecules)].to_atoms()
            molecule.positions += 25.0 * np.array(np.unravel_index(k, (CELLS, CELLS, CELLS)))
            gas += molecule
        return gas
    if len(elements) == 1 and elements != ("Mo",):
        return crystal(elements[0])
    alloy = perfect()
    alloy.symbols = np.random.default_rng(0).choice(elements, size=len(alloy))
    alloy.rattle(RATTLE, seed=0)
    return alloy


def perfect() -> Atoms:
    """A crystal of Mo with 1024 atoms."""
    return bulk("Mo", "bcc", a=CONSTANT, cubic=True) * (CELLS, CELLS, CELLS)
