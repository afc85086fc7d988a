"""Time of one update of the middle core, and how far it is from the flop bound.

The problem is molybdenum with three sites (body order 4). An update builds the design rows of all
training frames, adds each batch to the Gram matrix (SYRK), and solves. The bound is

    t = rows' needed flops / DGEMM rate + rows P^2 / DSYRK rate

with P the unknowns of the core. Needed for the rows are, for each pair of neighbours, three
directions and three terms of the product rule with 2 (2 l + 1) flops for each unknown, l that of
the leg which the term differentiates. Both rates are measured here, in the same process, with the
threads that the BLAS uses by itself.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import write
from numpy.typing import NDArray
from scipy.linalg import blas

from etn.network import Chain
from etn.network.design import CoreDesign
from etn.potential import Baseline, Basis, Dataset, Pairs, PolynomialPotential, Rows, Weights
from etn.sweep import Batch, LeastSquares, share
from etn.sweep.regression.normal_equations import MAX_GRAMS, NormalEquations, solve_normal
from etn.tensor import Core

RIDGE = 1e-2
PARTS = ("rows", "syrk", "solve")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--r-max", type=float, default=5.2)
    parser.add_argument("--n-max", type=int, default=8)
    parser.add_argument("--l-max", type=int, default=4)
    parser.add_argument("--max-bond", default="5,4,3,3,2", help="for l = 0, 1, ...")
    parser.add_argument("--stride", type=int, default=1, help="take every n-th training frame")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=2000, help="of the matrices for the rates")
    parser.add_argument("--out", type=Path, help="result file")
    given = parser.parse_args()

    train = Dataset.read("etn:Mo/train")[:: given.stride]
    basis = Basis.for_dataset(train, r_max=given.r_max, n_max=given.n_max, l_max=given.l_max)
    bonds = [int(text) for text in given.max_bond.split(",")]
    model = PolynomialPotential(basis, max_bond=bonds, baseline=Baseline.fit(train))
    chain = model.initial_chain(seed=0).insert(1).canonicalize(1)
    rows = Rows(train, basis, model.baseline, Weights())
    problem = LeastSquares(rows.builders, ridge=RIDGE)

    # The first pass fills the store of features, as the first update of a fit does.
    first, solution = timed(lambda: problem.solve(chain))
    whole = [timed(lambda: problem.solve(chain))[0] for _ in range(given.repeats)]
    split = [split_update(chain, rows) for _ in range(given.repeats)]
    seconds = {part: median(run[part] for run in split) for part in PARTS}

    pairs = sum(len(Pairs.find([frame], basis.elements, basis.r_max).distance) for frame in train)
    core = chain[1]
    flops = {
        "rows_needed": rows_flops(core, 3 * pairs),
        "syrk": len(rows) * float(core.n_parameters) ** 2,
    }
    rates = {
        "dgemm": rate(given.size, given.repeats, syrk=False),
        "dsyrk": rate(given.size, given.repeats, syrk=True),
    }
    bound = {
        "rows": flops["rows_needed"] / rates["dgemm"],
        "syrk": flops["syrk"] / rates["dsyrk"],
    }
    total = median(whole)
    result: dict[str, Any] = {
        "benchmark": "core_update",
        "sizes": {
            "frames": len(train),
            "atoms": train.n_atoms,
            "pairs": pairs,
            "neighbours": pairs / train.n_atoms,
            "rows": len(rows),
            "unknowns": core.n_parameters,
            "sites": len(chain),
            "bonds": [str(bond) for bond in chain.bonds],
            "leg": str(basis.leg),
            "r_max": basis.r_max,
        },
        "repeats": given.repeats,
        "threads": split[0]["threads"],
        "seconds": {"first_update": first, "update": total, **seconds},
        "flops": flops,
        "flops_per_second": rates,
        "bound_s": {**bound, "total": sum(bound.values())},
        "times_the_bound": {
            "update": total / sum(bound.values()),
            "rows": seconds["rows"] / bound["rows"],
            "syrk": seconds["syrk"] / bound["syrk"],
        },
        "solver": solution.solver,
        "condition": solution.condition,
    }
    show(result)
    print(f"-> {write('core_update', result, out=given.out).name}")


def split_update(chain: Chain, rows: Rows) -> dict[str, float]:
    """One update as LeastSquares.solve does it, with the time of each part.

    The batches are shared among threads; the time of a part is the mean over the threads.
    """
    design = CoreDesign(chain[1])
    penalty = RIDGE * chain[1].metric()[design.order]

    def accumulate(builders: Iterator[Callable[[], Batch]]) -> tuple[NormalEquations, Counter[str]]:
        normal, spent = NormalEquations(design.columns), Counter[str]()
        for build in builders:
            clock = [time.perf_counter()]
            batch = build()
            block = batch.rows(chain, design, 1, batch.weights)
            clock.append(time.perf_counter())
            normal.add(block, batch.weights * batch.targets)
            clock.append(time.perf_counter())
            for part, start, end in zip(PARTS, clock, clock[1:], strict=False):
                spent[part] += end - start
        return normal, spent

    most = max(1, int(MAX_GRAMS / (8.0 * design.columns**2)))
    shares = share(accumulate, rows.builders(), most=most)
    total = sum((spent for _, spent in shares), Counter())
    times = {part: total[part] / len(shares) for part in PARTS}
    start = time.perf_counter()
    normal = shares[0][0]
    for other, _ in shares[1:]:
        normal += other
    solve_normal(normal, penalty)
    times["solve"] = time.perf_counter() - start
    return {**times, "threads": len(shares)}


def rows_flops(core: Core, directions: int) -> float:
    """Flops of the three terms of the product rule for a number of (sample, direction) pairs."""
    per_direction = sum(
        2 * ir.dim * block.size for path, block in core.blocks.items() for ir in path
    )
    return float(per_direction) * directions


def rate(size: int, repeats: int, *, syrk: bool) -> float:
    """Flops per second of DGEMM or DSYRK on square matrices."""
    a: NDArray[np.float64] = np.asfortranarray(np.random.default_rng(0).normal(size=(size, size)))
    work: Callable[[], Any] = (lambda: blas.dsyrk(1.0, a)) if syrk else (lambda: a @ a)
    work()
    seconds = median(timed(work)[0] for _ in range(max(3, repeats)))
    return (1 if syrk else 2) * float(size) ** 3 / seconds


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value


def show(result: dict[str, Any]) -> None:
    sizes, seconds, flops = result["sizes"], result["seconds"], result["flops"]
    rates, bound, times = result["flops_per_second"], result["bound_s"], result["times_the_bound"]
    print(
        f"{sizes['frames']} frames, {sizes['atoms']} atoms, {sizes['neighbours']:.1f} neighbours, "
        f"{sizes['rows']} rows, P = {sizes['unknowns']} unknowns"
    )
    print(f"DGEMM {rates['dgemm'] / 1e9:.1f} GFLOP/s, DSYRK {rates['dsyrk'] / 1e9:.1f} GFLOP/s")
    needed, syrk = (flops[key] / 1e12 for key in ("rows_needed", "syrk"))
    print(f"TFLOP: rows {needed:.4f} needed; SYRK {syrk:.4f}")
    print("  ".join(f"{part} {seconds[part]:.2f} s" for part in PARTS))
    print(
        f"update {seconds['update']:.2f} s (median of {result['repeats']}), bound "
        f"{bound['total']:.2f} s = rows {bound['rows']:.2f} s + SYRK {bound['syrk']:.2f} s"
    )
    print("times the bound: " + ", ".join(f"{part} {ratio:.2f}" for part, ratio in times.items()))


if __name__ == "__main__":
    main()
