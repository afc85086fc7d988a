"""Tensor products beside e3nn, cuEquivariance and a plain einsum, in one process and one thread.

    python benchmarks/products.py                      # both modes, L = 1..6, forward
    python benchmarks/products.py --modes uuu --l-max 3 4 --backward
    python benchmarks/products.py --compile            # every contestant compiled as well

Contestants take turns of a few calls, so that a disturbance of the machine meets all of them; the
first call of a turn is not counted.  A time is the median of a contestant's calls.  e3nn computes
weights of their own for every path, the others the same weights for all paths: one function class
holds the other, and the table says which it is.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import result_name, write

from etn.product import DecomposedProduct, SphericalProduct, TensorProduct, fused_cg

Run = Callable[[], Any]

# Calls of a turn that count.
BURST = 4


def legs(l_max: int, channels: int) -> str:
    """All degrees, even, so that every coupling of SO(3) is allowed."""
    return "+".join(f"{channels}x{l}e" for l in range(l_max + 1))


def contestants(mode: str, l_max: int, args: argparse.Namespace) -> dict[str, tuple[Any, Any]]:
    """Functions of (x, y, w) and their operands, by name."""
    dtype, c, b = getattr(torch, args.dtype), args.channels, args.batch
    first, second = legs(l_max, c), legs(l_max, 1 if mode == "uvu" else c)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    d = (l_max + 1) ** 2
    x, y, w = draw(b, d * c), draw(b, d * (1 if mode == "uvu" else c)), draw(b, c)
    made: dict[str, tuple[Any, Any]] = {}

    def add(name: str, product: TensorProduct) -> None:
        module = product.module(dtype=dtype, batch=b)
        made[name if name != "auto" else f"auto ({module.scheme})"] = module, (x, y, w)

    options = {"mode": mode, "weights": "shared", "coefficients": "free"}
    if mode == "uvu":
        add("y_first", SphericalProduct(first, second, first, scheme="y_first", **options))
    add("dense", SphericalProduct(first, second, first, scheme="dense", **options))
    add("cp exact", DecomposedProduct(first, second, first, mode=mode))
    add("cp tdn", DecomposedProduct(first, second, first, mode=mode, cp="tdn"))
    add("auto", TensorProduct(first, second, first, **options))
    per_path = SphericalProduct(first, second, first, mode=mode, weights="per_path")
    made["paths (weights per path)"] = (
        per_path.module(dtype=dtype),
        (x, y, draw(b, per_path.weight_numel)),
    )

    fused = torch.tensor(fused_cg(l_max).dense(), dtype=dtype)

    def einsum(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        one, two = x.reshape(b, d, c), y.reshape(b, d, -1)
        if mode == "uvu":
            return torch.einsum("kij,biu,bj,bu->bku", fused, one, two[..., 0], w)
        return torch.einsum("kij,biu,bju,bu->bku", fused, one, two, w)

    made["einsum, dense"] = einsum, (x, y, w)
    made |= peers(mode, l_max, args, draw, x, y)
    return made


def peers(
    mode: str, l_max: int, args: argparse.Namespace, draw: Any, x: torch.Tensor, y: torch.Tensor
) -> dict[str, tuple[Any, Any]]:
    """e3nn and cuEquivariance, where they are installed."""
    dtype, c = getattr(torch, args.dtype), args.channels
    found: dict[str, tuple[Any, Any]] = {}
    try:
        from e3nn import o3
    except ImportError:
        return found
    first, second = (o3.Irreps(legs(l_max, n)) for n in (c, 1 if mode == "uvu" else c))
    degrees = range(l_max + 1)
    paths = [
        (i, j, k, mode, True)
        for i in degrees
        for j in degrees
        for k in degrees
        if abs(i - j) <= k <= i + j
    ]
    # e3nn keeps its constants in the default precision.
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        theirs = o3.TensorProduct(
            first, second, first, paths, shared_weights=False, internal_weights=False
        )
    finally:
        torch.set_default_dtype(before)
    found["e3nn (weights per path)"] = theirs, (x, y, draw(args.batch, theirs.weight_numel))
    if mode != "uvu":
        return found
    try:
        import cuequivariance as cue
        import cuequivariance_torch as cuet
    except ImportError:
        return found
    # cuEquivariance knows the parities of O(3); all even, every coupling is allowed.
    irreps = [cue.Irreps("O3", legs(l_max, n)) for n in (c, 1, 1)]
    other = cuet.ChannelWiseTensorProduct(
        irreps[0],
        irreps[1],
        filter_irreps_out=[ir for _, ir in irreps[2]],
        shared_weights=False,
        internal_weights=False,
        layout=cue.ir_mul,
        math_dtype=dtype,
        dtype=dtype,
        method="naive",
    )
    weights = draw(args.batch, other.weight_numel)
    found["cuEquivariance naive (per path, paths not summed)"] = other, (x, y, weights)
    return found


def step(function: Any, operands: Any, backward: bool) -> Run:
    """One forward pass, or forward and backward to all operands."""
    if not backward:

        def forward() -> None:
            with torch.no_grad():
                function(*operands)

        return forward
    leaves = [a.detach().clone().requires_grad_() for a in operands]

    def both() -> None:
        torch.autograd.grad(function(*leaves).square().sum(), leaves)

    return both


def measure(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Median time in microseconds of each, in turns."""
    once = {}
    for name, run in runs.items():
        run()
        run()
        start = time.perf_counter()
        run()
        once[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in runs}
    turns = int(max(5, min(50, seconds / sum(once.values()) / BURST)))
    for _ in range(turns):
        for name, run in runs.items():
            run()  # brings its own operands back into the cache
            for _ in range(BURST):
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(t)) * 1e6 for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", nargs="+", default=["uvu", "uuu"])
    parser.add_argument("--l-max", nargs="+", type=int, default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seconds", type=float, default=6.0, help="for one table row")
    parser.add_argument("--name", type=result_name, default="products")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="(e3nn|torch|cuequivariance)")
    torch.set_num_threads(1)
    rows = []
    for mode in args.modes:
        for l_max in args.l_max:
            runs = {}
            for name, (function, operands) in contestants(mode, l_max, args).items():
                runs[name] = step(function, operands, args.backward)
                if args.compile:
                    compiled = torch.compile(function, dynamic=False)
                    runs[f"{name}, compiled"] = step(compiled, operands, args.backward)
            times = measure(runs, args.seconds)
            rows.append({"mode": mode, "l_max": l_max, "microseconds": times})
            base = times.get("e3nn (weights per path)")
            dense = times["einsum, dense"]
            print(f"{mode} L={l_max}")
            for name, t in sorted(times.items(), key=lambda item: item[1]):
                beside = f"{base / t:9.1f} x e3nn" if base else ""
                print(f"  {name:55}{t:12.1f} us{beside}{dense / t:9.1f} x einsum", flush=True)
    settings = vars(args)
    print(write(args.name, {"settings": settings, "threads": 1, "rows": rows}))


if __name__ == "__main__":
    main()
