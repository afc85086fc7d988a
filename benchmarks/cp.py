"""CP decompositions of the fused Clebsch-Gordan tensor, beside tensorly on the same tensor.

    python benchmarks/cp.py                       # ranks 7 L^2 for L = 1, 2, 3, and the exact ones
    python benchmarks/cp.py --l-max 4 --restarts 2
    python benchmarks/cp.py --figure docs/figures/cp-ranks.svg    # errors against ranks, L = 1..6

Both in float64 and one thread.  tensorly: ``parafac`` from random starts until its error changes
by less than 1e-9, the best of the restarts.  etn: ``decompose`` with its defaults.  The time to
reach tensorly's error is that of ``decompose`` with this error as its tolerance.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import result_name, save, write

from etn.product import FusedTensor, available_tables, decompose, fused_cg

EXACT_RANKS = {1: 8, 2: 31, 3: 96}


def tensorly(target: FusedTensor, cp_rank: int, restarts: int) -> tuple[float, float]:
    """Best relative error of tensorly, and the seconds that all restarts took."""
    from tensorly.decomposition import parafac

    dense, best = np.array(target.dense()), np.inf
    start = time.perf_counter()
    for seed in range(restarts):
        factors = parafac(
            dense, cp_rank, n_iter_max=3000, init="random", tol=1e-9, random_state=seed
        )
        rebuilt = np.einsum("r,ir,jr,kr->ijk", factors.weights, *factors.factors, optimize=True)
        best = min(best, float(np.linalg.norm(rebuilt - dense)) / target.norm)
    return best, time.perf_counter() - start


def time_to_reach(target: FusedTensor, cp_rank: int, error: float) -> float:
    """Seconds until an error is reached, from the first random start on."""
    start = time.perf_counter()
    decompose(target, cp_rank, tol=error)
    return time.perf_counter() - start


def errors_by_rank(l_max: int) -> list[tuple[int, float]]:
    """Ranks and errors: a few short runs below 7 L^2, and the shipped tables."""
    target = fused_cg(l_max)
    points = []
    for share in (0.25, 0.5, 0.75):
        cp_rank = max(1, round(share * 7 * l_max**2))
        cp = decompose(target, cp_rank, method="als", starts=2)
        points.append((cp_rank, cp.relative_error))
    tables = {t.kind: t for t in available_tables() if t.l_max == l_max}
    points.append((tables["tdn"].cp_rank, tables["tdn"].relative_error))
    points.append((tables["exact"].cp_rank, tables["exact"].relative_error))
    return points


def draw(path: Path) -> dict[int, list[tuple[int, float]]]:
    """Relative error against rank, with the points at which the error vanishes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    found = {}
    for l_max in range(1, 7):
        found[l_max] = errors_by_rank(l_max)
        *inexact, (exact, _) = found[l_max]
        (line,) = axes.plot(*zip(*inexact, strict=True), "o-", label=f"L = {l_max}", markersize=4)
        axes.plot([exact], [2e-3], "v", color=line.get_color())
        print(l_max, found[l_max], flush=True)
    axes.set(xscale="log", yscale="log", xlabel="cp_rank", ylabel="relative error", ylim=(1e-3, 1))
    axes.text(0.98, 0.04, "triangles: exact tables", transform=axes.transAxes, ha="right")
    axes.legend(ncols=2)
    save(figure, path)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--l-max", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--name", type=result_name, default="cp")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    if args.figure:
        print(write("cp-ranks", {"rank_and_error": draw(args.figure)}))
        return
    warnings.filterwarnings("ignore", module="tensorly")
    rows: list[dict[str, Any]] = []
    for l_max in args.l_max:
        target = fused_cg(l_max)
        ranks = [7 * l_max**2]
        ranks += [EXACT_RANKS[l_max]] if l_max in EXACT_RANKS else []
        for cp_rank in ranks:
            theirs, their_time = tensorly(target, cp_rank, args.restarts)
            start = time.perf_counter()
            ours = decompose(target, cp_rank).relative_error
            our_time = time.perf_counter() - start
            reached = time_to_reach(target, cp_rank, theirs)
            row = {
                "l_max": l_max,
                "cp_rank": cp_rank,
                "tensorly": {
                    "error": theirs,
                    "seconds": their_time,
                    "restarts": args.restarts,
                },
                "etn": {"error": ours, "seconds": our_time},
                "seconds_to_their_error": reached,
            }
            rows.append(row)
            print(
                f"L={l_max} rank {cp_rank}: tensorly {theirs:.3g} in {their_time:.1f} s; etn "
                f"{ours:.3g} in {our_time:.1f} s, their error in {reached:.2f} s",
                flush=True,
            )
    print(write(args.name, {"settings": vars(args), "rows": rows}))


if __name__ == "__main__":
    main()
