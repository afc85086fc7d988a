"""What two-site sweeps and joint steps gain for a small potential.

    python benchmarks/refinement.py

Fits all frames of etn:Mo but a fifth, which is held out and picks the best sweep or step, with
n_max 6, l_max 2 and three copies on the bonds: one- and two-site sweeps, with and without five
joint steps after them. All else is as by default.

Writes results/refinement.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from common import write

from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.sweep import Schedule

STEPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="another file for the result")
    given = parser.parse_args()
    train = Dataset.read("etn:Mo/train")
    fits = [measure(train, sites, steps) for sites in (1, 2) for steps in (0, STEPS)]
    print(write("refinement", {"valid": 0.2, "fits": fits}, out=given.out))


def measure(data: Dataset, sites: int, steps: int) -> dict[str, Any]:
    """One fit, and its errors on the held-out frames."""
    basis = Basis.for_dataset(data, n_max=6, l_max=2)
    model = PolynomialPotential(basis, body_order=4, max_bond=3, baseline=Baseline.fit(data))
    began = time.perf_counter()
    report = fit(
        model, data, valid=0.2, refine=steps,
        schedule=Schedule(sites=sites, max_sweeps=(2, 2)),
    )  # fmt: skip
    seconds = time.perf_counter() - began
    _, held_out = data.split(0.2, 0)
    errors = report.model.evaluate(held_out)
    assert errors.energy is not None
    assert errors.forces is not None
    found = {
        "sites": sites,
        "steps": steps,
        "parameters": report.model.n_parameters,
        "loss": report.history[-1].loss,
        "energy": errors.energy.mae,
        "forces": errors.forces.mae,
        "seconds": seconds,
    }
    print(found, flush=True)
    return found


def table(result: dict[str, Any]) -> str:
    """The fits in Markdown."""
    lines = ["| fit | loss | energy, meV/atom | forces, eV/Å |", "|---|---|---|---|"]
    for each in result["fits"]:
        name = {1: "one-site", 2: "two-site"}[each["sites"]]
        name += f", {each['steps']} joint steps" if each["steps"] else ""
        cells = (f"{each['loss']:.1f}", f"{1e3 * each['energy']:.2f}", f"{each['forces']:.4f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
