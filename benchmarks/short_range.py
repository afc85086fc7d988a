"""What a potential does where its data end: dimers, squeezed packings, misplaced atoms, heat.

    python benchmarks/short_range.py runs/Mo/model.etn runs/Si/model.etn
    python benchmarks/short_range.py runs/Mo/model.etn --steps 500   # a shorter simulation

The potentials are any that `etn fit` made, as with `python benchmarks/fit.py Mo --keep runs`.
Dimers of every two elements are stretched from 0.3 Å to the closest distance of the data, to the
radius where they never met.  Packings of 32 atoms at 40 % of the usual volume, and crystals with an
atom put at random 0.5 to 1.8 Å from another, are relaxed; atoms are fused if they end up nearer
than half the closest distance of the data.  The crystal, a random alloy of all elements, is heated
to three times its melting temperature.  Elements without a simple crystal have none to melt.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atom, Atoms, units
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import FIRE
from common import write

from etn.data import Frame
from etn.potential import Potential, load

MELTING = {"Mo": 2896, "Si": 1687, "Cu": 1358, "Nb": 2750, "Ta": 3290, "W": 3695}
FUSED = 0.5


def dimers(model: Potential) -> dict[str, dict[str, float]]:
    """Least force outwards and depth of the deepest well of every two elements."""
    assert model.inner is not None
    found = {}
    for i, j in zip(*np.triu_indices(len(model.elements)), strict=True):
        one, two = model.elements[i], model.elements[j]
        end = min(model.inner.closest[i, j], 0.98 * model.r_max)
        frames = [
            Frame(
                [atomic_numbers[one], atomic_numbers[two]],
                [[0, 0, 0], [0, 0, r]],
                np.zeros((3, 3)),
                [False] * 3,
            )
            for r in np.linspace(0.3, end, 400)
        ]
        predictions = model.predict(frames)
        forces = np.array([p.forces[1, 2] for p in predictions])
        energies = np.array([p.energy for p in predictions])
        # A well is what an energy lies below one further out.
        wells = np.maximum.accumulate(energies[::-1])[::-1] - energies
        found[f"{one}-{two}"] = {"least force": float(forces.min()), "well": float(wells.max())}
    return found


def closeness(atoms: Atoms, model: Potential) -> float:
    """Smallest distance relative to the closest one in the data."""
    assert model.inner is not None
    element = [model.elements.index(symbol) for symbol in atoms.get_chemical_symbols()]
    closest = model.inner.closest[np.ix_(element, element)]
    distances = atoms.get_all_distances(mic=True) + 1e3 * np.eye(len(atoms))
    return float((distances / np.where(closest < np.inf, closest, 1.5)).min())


def relax(atoms: Atoms, model: Potential, steps: int) -> float:
    """Closeness after a relaxation."""
    atoms.calc = model.calculator(gamma_warn=None)
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.1, steps=steps)
    return closeness(atoms, model)


def packing(model: Potential, volume: float, rng: np.random.Generator) -> Atoms:
    """Spread-out random atoms at 40 % of the volume per atom."""
    n, edge = 32, (32 * 0.4 * volume) ** (1 / 3)
    positions = rng.random((n, 3)) * edge
    for _ in range(300):
        apart = positions[:, None] - positions
        apart -= edge * np.round(apart / edge)
        r = np.linalg.norm(apart, axis=2) + 1e3 * np.eye(n)
        near = np.maximum((1.4 * edge**3 / n) ** (1 / 3) - r, 0.0)
        positions += 0.1 * np.sum((near / r)[:, :, None] * apart, axis=1)
    return Atoms(rng.choice(model.elements, n), positions, cell=[edge] * 3, pbc=True)


def crystal(model: Potential, rng: np.random.Generator) -> Atoms | None:
    """Some tens of atoms of the crystal of the first element, of all elements at random."""
    try:
        atoms = bulk(model.elements[0], cubic=True)
    except ValueError:
        return None
    atoms *= (3, 3, 3) if len(atoms) < 4 else (2, 2, 2)
    atoms.symbols = rng.choice(model.elements, len(atoms))
    return atoms


def heat(model: Potential, atoms: Atoms, steps: int) -> dict[str, Any]:
    """Molecular dynamics at three times the melting temperature, 1 fs a step."""
    kelvin = 3 * float(np.mean([MELTING.get(s, 2000) for s in model.elements]))
    rng = np.random.default_rng(0)
    atoms.calc = model.calculator(gamma_warn=None)
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=rng)
    dynamics = Langevin(atoms, units.fs, temperature_K=kelvin, friction=0.02, rng=rng)
    nearest: list[float] = []
    dynamics.attach(lambda: nearest.append(closeness(atoms, model)), 10)
    dynamics.run(steps)
    found = {"kelvin": kelvin, "steps": steps, "kelvin at the end": float(atoms.get_temperature())}
    return found | {
        "closeness": min(nearest),
        "survived": bool(atoms.get_temperature() < 2 * kelvin),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--packings", type=int, default=10)
    parser.add_argument("--interstitials", type=int, default=50)
    parser.add_argument("--steps", type=int, default=5000)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    results = {}
    for path in given.models:
        start, model, rng = time.perf_counter(), load(path), np.random.default_rng(0)
        name = Path(path).parent.name
        pairs = dimers(model)
        result: dict[str, Any] = {
            "elements": model.elements,
            "dimers": pairs,
            "pairs with a well": sum(pair["least force"] <= 0 for pair in pairs.values()),
        }
        host = crystal(model, rng)
        radius = np.mean([covalent_radii[atomic_numbers[s]] for s in model.elements])
        volume = host.get_volume() / len(host) if host else 6.0 * float(radius) ** 3
        ends = [relax(packing(model, volume, rng), model, 150) for _ in range(given.packings)]
        result["packings"] = {"fused": sum(end < FUSED for end in ends), "closeness": min(ends)}
        if host is not None:
            ends = []
            for _ in range(given.interstitials):
                atoms = host.copy()
                way = rng.normal(size=3)
                way *= rng.uniform(0.5, 1.8) / np.linalg.norm(way)
                atoms.append(Atom(rng.choice(model.elements), atoms.positions[0] + way))
                ends.append(relax(atoms, model, 120))
            result["interstitials"] = {
                "tried": len(ends),
                "fused": sum(end < FUSED for end in ends),
                "closeness": min(ends),
            }
            result["heat"] = heat(model, host, given.steps)
        result["seconds"] = time.perf_counter() - start
        results[name] = result
        print(name, {key: value for key, value in result.items() if key != "dimers"})
    content = {"benchmark": "short_range", "packings": given.packings, "models": results}
    print("written to", write("short_range", content))


if __name__ == "__main__":
    main()
