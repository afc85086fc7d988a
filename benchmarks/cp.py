"""CP decompositions of the fused Clebsch-Gordan tensor, beside tensorly on the same tensor.

    python benchmarks/cp.py                       # ranks 7 L^2 for L = 1, 2, 3, and the exact ones
    python benchmarks/cp.py --l-max 4 --restarts 2

Both in float64 and one thread.  tensorly: ``parafac`` from random starts until its error changes
by less than 1e-9, the best of the restarts.  etn: ``decompose`` with its defaults.  The time to
reach tensorly's error is that of ``decompose`` with this error as its tolerance.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from common import write

from etn.product import FusedTensor, decompose, fused_cg

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--l-max", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--name", default="cp")
    args = parser.parse_args()
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
