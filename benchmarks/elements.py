"""How the cost of a potential grows with the number of elements.

    python benchmarks/elements.py [--sizes small wide] [--elements 1 2 4 10]

The training frames of molybdenum with their atoms renamed at random: the same pairs whatever the
number of elements, so that only the potential changes. Counts are of the chain; times are medians
over repeated runs of `predict` (energies, forces and stress) and of one core update's rows on the
largest core, for one atom and one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from common import write
from threadpoolctl import threadpool_limits

from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, Weights
from etn.potential.fitting.rows import Rows
from etn.run.sizes import SIZES
from etn.sweep import LeastSquares

NUMBERS = (42, 41, 73, 74, 23, 24, 22, 40, 72, 75)
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["small"])
    parser.add_argument("--elements", nargs="+", type=int, default=[1, 2, 4, 10])
    given = parser.parse_args()
    with threadpool_limits(1):
        results = {size: {str(n): measure(size, n) for n in given.elements} for size in given.sizes}
    for size, counts in results.items():
        for n, found in counts.items():
            print(size, n, found)
    write("elements", {"benchmark": "elements", "sizes": results})


def measure(size: str, n_elements: int) -> dict[str, Any]:
    """Counts and times of one size for one number of elements."""
    rng = np.random.default_rng(0)
    frames = [f for f in Dataset.read("etn:Mo/train", index="::8") if f.n_atoms > 10]
    alloy = Dataset(
        [replace(f, numbers=rng.choice(NUMBERS[:n_elements], f.n_atoms)) for f in frames]
    )
    values = SIZES[size].values()
    basis = Basis.for_dataset(alloy, n_max=values["n_max"], l_max=values["l_max"])
    model = PolynomialPotential(
        basis,
        body_order=values["body_order"],
        max_bond=values["max_bond"],
        baseline=Baseline(dict.fromkeys(basis.elements, 0.0)),
    )
    chain = model.initial_chain(seed=0)
    while len(chain) < model.body_order - 1:
        chain = chain.canonicalize(1).insert(1)
    chain = chain.canonicalize(1)
    model = model.with_chain(chain)
    rows = Rows(alloy, basis, model.baseline, Weights())
    problem = LeastSquares(rows.builders)
    return {
        "elements": len(basis.elements),
        "leg": str(basis.leg),
        "parameters": chain.n_parameters,
        "unknowns": max(core.n_parameters for core in chain.cores),
        "atoms": alloy.n_atoms,
        "predict_us_per_atom": 1e6 * median(lambda: model.predict(alloy)) / alloy.n_atoms,
        "update_ms_per_atom": 1e3 * median(lambda: problem.solve(chain), 1) / alloy.n_atoms,
    }


def median(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median of the seconds that some work takes."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
