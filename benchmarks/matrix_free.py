"""Solving for a core by conjugate gradients on products with its rows, beside a Gram matrix.

    python benchmarks/matrix_free.py

The core is the middle one of three sites, for the frames of etn:Mo and for five copies of each
whose atoms are moved by 0.05 Å at random; labels are those of a small potential fitted to etn:Mo,
with errors of 2 meV/atom and 0.08 eV/Å at random. "random" starts from the random chain of a fit;
"again" from the solution, after the core left of it has changed by one percent, as in a sweep.

A last core, of 10^5 unknowns, has equations that do not fit into the memory it is given.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
from common import write

from etn.machine import peak_memory, threads
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, Rows, Weights, fit
from etn.sweep import LeastSquares, Schedule
from etn.sweep.regression import matrix_free
from etn.sweep.regression.core_rows import CoreRows
from etn.sweep.regression.matrix_free import IterativeSolution, is_cheaper, solve_matrix_free

RIDGE = 3e-3
MOVED, ENERGY, FORCES = 0.05, 0.002, 0.08  # Å; eV/atom; eV/Å
BONDS = ("5,4,3,3,2",)
COPIES = (1, 5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bonds", nargs="+", default=BONDS, help="for l = 0, 1, ...")
    parser.add_argument("--copies", type=int, nargs="+", default=COPIES, help="of each frame")
    parser.add_argument("--large", type=int, default=13, help="n_max of the last core; 0 for none")
    parser.add_argument("--memory", type=float, default=4.0, help="of the last core, GB")
    given = parser.parse_args()
    basis, baseline, sets = frames_of(given.copies)
    lines = []
    for copies, data in sets.items():
        rows = Rows(data, basis, baseline, Weights())
        for bonds in given.bonds:
            lines += compared(rows, random_chain(basis, baseline, bonds), copies)
            print(*lines[-2:], sep="\n")
    result: dict[str, Any] = {"benchmark": "matrix_free", "threads": threads(), "lines": lines}
    if given.large:
        result["large"] = without_gram(sets[1], baseline, given.large, given.memory)
        print(result["large"])
    print(f"-> {write('matrix_free', result).name}")


def frames_of(copies: list[int]) -> tuple[Basis, Baseline, dict[int, Dataset]]:
    """Frames of etn:Mo, and more that are moved, with labels of a small potential."""
    train = Dataset.read("etn:Mo/train")
    basis = Basis.for_dataset(train, r_max=5.2, n_max=8, l_max=4)
    small = PolynomialPotential(
        Basis.for_dataset(train, r_max=5.2, n_max=6, l_max=3), max_bond=(3, 2, 2, 1),
        baseline=Baseline.fit(train),
    )  # fmt: skip
    teacher = fit(small, train, schedule=Schedule(max_sweeps=1), uncertainty=False).model
    rng = np.random.default_rng(0)
    sets = {}
    for count in sorted({1, *copies}):
        moved = [
            replace(frame, positions=frame.positions + MOVED * rng.normal(size=(frame.n_atoms, 3)))
            for _ in range(count)
            for frame in train
        ]
        labelled = [
            replace(
                frame,
                energy=found.energy + ENERGY * frame.n_atoms * rng.normal(),
                forces=found.forces + FORCES * rng.normal(size=found.forces.shape),
                stress=None,
            )
            for frame, found in zip(moved, teacher.predict(moved), strict=True)
        ]
        sets[count] = Dataset(labelled)
    return basis.informed(sets[max(sets)]), small.baseline, sets


def random_chain(basis: Basis, baseline: Baseline, bonds: str) -> Chain:
    """Three sites, the center in the middle."""
    most = [int(text) for text in bonds.split(",")]
    model = PolynomialPotential(basis, max_bond=most, baseline=baseline)
    return model.initial_chain(seed=0).insert(1).canonicalize(1)


def compared(rows: Rows, chain: Chain, copies: int) -> list[dict[str, Any]]:
    """Both ways, from a random core and from the solution of a core that has changed since."""
    lines = []
    for start in ("random", "again"):
        gram = LeastSquares(rows.builders, ridge=RIDGE, products=False)
        products = LeastSquares(rows.builders, ridge=RIDGE, products=True)
        begin = time.perf_counter()
        direct = gram.solve(chain)
        between = time.perf_counter()
        with Counted() as counted:
            found = products.solve(chain)
        end = time.perf_counter()
        core_rows = CoreRows(chain, CoreDesign(chain[1]), gram.stream())
        lines.append(
            {
                "copies": copies,
                "rows": core_rows.count()[0],
                "unknowns": chain[1].n_parameters,
                "start": start,
                "gram_s": between - begin,
                "products_s": end - between,
                "iterations": counted.iterations,
                "higher": found.loss / direct.loss - 1,
                "chosen": "products" if is_cheaper(core_rows) else "Gram matrix",
            }
        )
        solved = chain.replace(1, direct.core)
        noise = np.random.default_rng(1).normal(size=chain[0].n_parameters)
        first = chain[0].to_vector() * (1 + 0.01 * noise)
        chain = solved.replace(0, chain[0].from_vector(first)).canonicalize(1)
    return lines


def without_gram(data: Dataset, baseline: Baseline, n_max: int, memory: float) -> dict[str, Any]:
    """A core whose Gram matrix would take 80 GB."""
    basis = Basis.for_dataset(data, r_max=5.2, n_max=n_max, l_max=4).informed(data)
    chain = random_chain(basis, baseline, ",".join([str(n_max + 1)] * 5))
    rows = Rows(data, basis, baseline, Weights())
    problem = LeastSquares(rows.builders, ridge=RIDGE, max_grams=memory * 1e9)
    unknowns = chain[1].n_parameters
    start = problem.loss(chain)
    begin = time.perf_counter()
    with Counted() as counted:
        found = problem.solve(chain)
    return {
        "rows": len(rows),
        "unknowns": unknowns,
        "gram_gb": 8e-9 * unknowns**2,
        "memory_gb": memory,
        "peak_gb": peak_memory(),
        "seconds": time.perf_counter() - begin,
        "iterations": counted.iterations,
        "start": start / problem.size,
        "end": found.loss / problem.size,
    }


class Counted:
    """Counts the iterations of the solutions within."""

    iterations = 0

    def __enter__(self) -> Counted:
        def solve(*arguments: Any, **options: Any) -> IterativeSolution:
            found = solve_matrix_free(*arguments, **options)
            self.iterations += found.iterations
            return found

        matrix_free.solve_matrix_free = solve
        return self

    def __exit__(self, *error: object) -> None:
        matrix_free.solve_matrix_free = solve_matrix_free


def table(result: dict[str, Any]) -> str:
    """Markdown: both ways side by side, then the core without a Gram matrix."""
    head = ["rows", "unknowns", "core", "Gram matrix, s", "products, s", "iterations", "loss"]
    lines = ["| " + " | ".join([*head, "chosen"]) + " |", "|---" * 8 + "|"]
    for each in result["lines"]:
        cells = [
            f"{each['rows']:,}", f"{each['unknowns']:,}", each["start"], f"{each['gram_s']:.1f}",
            f"{each['products_s']:.1f}", str(each["iterations"]), f"{each['higher']:+.0e}",
            each["chosen"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    text = "\n".join(lines) + (
        f"\n\nSeconds with {result['threads']} thread(s). Middle cores of chains for molybdenum, "
        "random or solved for before and again after the core left of it has changed by one "
        "percent. The loss is that by products beside that by the Gram matrix, which loses digits "
        "to its condition; the choice counts operations."
    )
    if large := result.get("large"):
        text += (
            f" A random core of {large['unknowns']:,} unknowns, whose Gram matrix would take "
            f"{large['gram_gb']:.0f} GB, with {large['memory_gb']:g} GB for blocks of it: the loss "
            f"falls to {large['end']:.1e} of that of nothing in {large['iterations']} iterations, "
            f"{large['seconds'] / 60:.0f} minutes, {large['peak_gb']:.1f} GB in all."
        )
    return text


if __name__ == "__main__":
    main()
