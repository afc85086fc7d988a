"""How contraction and singular value decomposition scale with l_max and with the bond.

A core reads a leg with two copies of every irrep up to l_max (natural parity) between two bonds
with `bond` copies of the same irreps.  Measured are its contraction with a batch of samples, from
one bond to the other, and its singular value decomposition on the last leg.  Beside each time
stands the count of floating-point operations; the exponents of time and of flops are slopes of
straight lines through the logarithms.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import write

from etn.backend import Kind
from etn.network.environment import propagate
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, matricize, svd
from etn.testing import random_blocks

COPIES = 2


def natural(l_max: int, copies: int) -> Irreps:
    """Copies of each irrep with the parity of a spherical harmonic."""
    return Irreps([(copies, Irrep(l, (-1) ** l)) for l in range(l_max + 1)])


def contraction_flops(core: Core, samples: int) -> int:
    """Coupling of bond and leg, all copies, and the product with the core."""
    total = 0
    for (ir1, ir2, ir3), block in core:
        r1, n, r3 = block.shape
        total += r1 * n * ir1.dim * ir2.dim * ir3.dim
        total += r1 * n * r3 * ir3.dim
    return 2 * samples * total


def svd_flops(core: Core) -> int:
    """Of a thin decomposition with both sets of vectors, 6 m n^2 + 20 n^3 (Golub, Van Loan)."""
    total = 0
    for matrix in matricize(core, 2).values():
        m, n = max(matrix.shape), min(matrix.shape)
        total += 6 * m * n**2 + 20 * n**3
    return total


def median_time(work: Callable[[], Any], repeats: int, wait: Callable[[], None]) -> float:
    """Median wall time of one call."""
    work()
    wait()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def slope(x: list[float], y: list[float]) -> float:
    """Exponent of y as a power of x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure(
    points: list[tuple[int, int]], samples: int, repeats: int, kind: Kind
) -> list[dict[str, Any]]:
    """Times and flops of each (l_max, bond)."""

    def wait() -> None:
        if kind.device != "cpu":
            kind.xp.cuda.synchronize()

    rows = []
    for l_max, bond in points:
        ends, leg = natural(l_max, bond), natural(l_max, COPIES)
        core = Core.random([ends, leg, ends], seed=0).to(**vars(kind))
        env, site = (
            {ir: kind.array(v) for ir, v in random_blocks(irreps, samples, seed=1).items()}
            for irreps in (ends, leg)
        )
        row = {
            "l_max": l_max,
            "bond": bond,
            "samples": samples,
            "parameters": core.n_parameters,
            "contraction_s": median_time(
                lambda c=core, e=env, v=site: propagate(c, e, v, to=2), repeats, wait
            ),
            "contraction_flops": contraction_flops(core, samples),
            "svd_s": median_time(lambda c=core: svd(c, 2), repeats, wait),
            "svd_flops": svd_flops(core),
        }
        rows.append(row)
        print(
            f"l_max {l_max}  bond {bond:3d}  contraction {row['contraction_s'] * 1e3:9.3f} ms "
            f"({row['contraction_flops'] / row['contraction_s'] / 1e9:6.1f} GFLOP/s)  "
            f"svd {row['svd_s'] * 1e3:8.3f} ms "
            f"({row['svd_flops'] / row['svd_s'] / 1e9:6.1f} GFLOP/s)",
            flush=True,
        )
    return rows


def exponents(
    rows: list[dict[str, Any]], over: Callable[[dict[str, Any]], float]
) -> dict[str, Any]:
    """Fitted exponents of times and flops."""
    x = [over(row) for row in rows]
    names = ("contraction_s", "contraction_flops", "svd_s", "svd_flops")
    return {name: slope(x, [row[name] for row in rows]) for name in names}


def main() -> None:
    """Measure both series and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="numpy", choices=["numpy", "torch"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    kind = Kind(options.backend, options.dtype, options.device)
    bonds = measure(
        [(2, bond) for bond in (16, 32, 64, 128, 256)], options.samples, options.repeats, kind
    )
    degrees = measure(
        [(l_max, 8) for l_max in (1, 2, 3, 4, 5, 6)], options.samples, options.repeats, kind
    )
    result = {
        "kind": str(kind),
        "against_bond": {
            "rows": bonds,
            "exponents": exponents(bonds, lambda row: row["bond"]),
            # The last points, where the cost of calls no longer counts.
            "exponents_of_the_last_three": exponents(bonds[-3:], lambda row: row["bond"]),
        },
        "against_l_max": {
            "rows": degrees,
            "exponents": exponents(degrees, lambda row: row["l_max"] + 1),
            "exponents_of_the_last_three": exponents(degrees[-3:], lambda row: row["l_max"] + 1),
        },
    }
    if options.device != "cpu":
        result["gpu"] = kind.xp.cuda.get_device_name()
    for name in ("against_bond", "against_l_max"):
        print(
            name, {k: round(v, 2) for k, v in result[name]["exponents_of_the_last_three"].items()}
        )
    suffix = "" if kind == Kind() else f"-{options.backend}-{options.dtype}-{options.device}"
    print(write(f"scaling{suffix}", result))


if __name__ == "__main__":
    main()
