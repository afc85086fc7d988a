"""Cartesian products beside flashcart and e3nn, and times of the exact tables.

    python benchmarks/cartesian.py                      # L = 2, 3, 4; 2000 x 16 channels, float64
    python benchmarks/cartesian.py --rank 8             # also path matrices of rank 8

The product has the even paths of tensors of natural parity, channel by channel, one thread.
"per path": one weight a path and channel, the same for all rows, which is the function that
flashcart and e3nn compute.  "shared": one weight a channel for all paths.  Contestants take turns;
a time is the median of its turns.  flashcart (its Python path) and e3nn are left out where they
are not installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from typing import Any

import torch
from common import result_name, write
from products import measure, step

from etn.o3 import cartesian
from etn.product import CartesianProduct, DecomposedProduct


def contestants(l_max: int, batch: int, channels: int) -> dict[str, tuple[Any, Any]]:
    """Functions of (x, y, w) and their operands, by name."""
    leg = "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(l_max + 1))
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, y = draw(batch, (l_max + 1) ** 2 * channels), draw(batch, (l_max + 1) ** 2 * channels)
    products = {
        "per path": CartesianProduct(
            leg, leg, leg, mode="uuu", weights="per_path", packing="monomial", normalization="unity"
        ),
        "shared, dense": CartesianProduct(
            leg, leg, leg, mode="uuu", packing="monomial", normalization="unity", scheme="dense"
        ),
        "shared, cp": DecomposedProduct(leg, leg, leg, mode="uuu", cp="even"),
    }
    found: dict[str, tuple[Any, Any]] = {
        name: (p.module(dtype=torch.float64), (x, y, draw(p.weight_numel)))
        for name, p in products.items()
    }
    try:
        from flashcart.o3 import TensorProduct
    except ImportError:
        pass
    else:
        theirs = TensorProduct(
            l_max, l_max, l_max, channels, channels, shared_weights=True, reduce_paths=True
        ).double()
        found["flashcart, per path"] = theirs, (x, y, draw(theirs.n_total_paths * channels))
    try:
        from e3nn import o3
    except ImportError:
        return found
    degrees = range(l_max + 1)
    paths = [
        (i, j, k, "uuu", True)
        for i in degrees
        for j in degrees
        for k in degrees
        if abs(i - j) <= k <= i + j and (i + j + k) % 2 == 0
    ]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        product = o3.TensorProduct(
            leg, leg, leg, paths, shared_weights=True, internal_weights=False
        )
    finally:
        torch.set_default_dtype(before)
    found["e3nn, per path"] = product, (x, y, draw(product.weight_numel))
    return found


def tables(ranks: list[int]) -> dict[str, float]:
    """Seconds to build coefficients, in a fresh process, and path matrices."""
    code = """
import time
from etn.o3 import cartesian
degrees = range(7)
triples = ((i, j, k) for i in degrees for j in degrees for k in degrees)
paths = [(i, j, k) for i, j, k in triples if abs(i - j) <= k <= i + j]
for _ in range(2):
    start = time.perf_counter()
    for path in paths:
        cartesian.coefficients(*path)
    print(time.perf_counter() - start)
"""
    cold, cached = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    found = {
        "coefficients to l = 6, cold": float(cold),
        "coefficients to l = 6, cached": float(cached),
    }
    for rank in ranks:
        start = time.perf_counter()
        matrices = cartesian.decompose("ijklmnopq"[:rank]).matrices()
        found[f"path matrices of rank {rank}"] = time.perf_counter() - start
        del matrices
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--l-max", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--rank", type=int, default=7, help="largest rank of path matrices")
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--name", type=result_name, default="cartesian")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="(e3nn|torch|flashcart)")
    torch.set_num_threads(1)
    rows = []
    for l_max in args.l_max:
        runs = {
            name: step(function, operands, args.backward)
            for name, (function, operands) in contestants(l_max, args.batch, args.channels).items()
        }
        times = measure(runs, 8.0)
        rows.append({"l_max": l_max, "microseconds": times})
        print(f"L = {l_max}")
        for name, t in sorted(times.items(), key=lambda item: item[1]):
            print(f"  {name:24}{t / 1000:10.2f} ms", flush=True)
    built = tables(list(range(6, args.rank + 1)))
    for name, seconds in built.items():
        print(f"{name:32}{seconds:10.4f} s")
    print(write(args.name, {"settings": vars(args), "threads": 1, "rows": rows, "tables": built}))


if __name__ == "__main__":
    main()
