"""Neural potentials beside other codes: a training step, and energies with forces.

    python benchmarks/networks.py tensornet            # beside torchmd-net
    python benchmarks/networks.py ictp                 # beside MACE, which wants its own python
    python benchmarks/networks.py tdn                  # beside e3nn, weights per path
    python benchmarks/networks.py tdn --compiled       # compiled as well, where a code offers it

Both sides have the same size, the same frames, neighbours found beforehand, the same loss and Adam.
Contestants take turns, one call each, so that a disturbance of the machine meets all of them; the
first two calls of each are not counted. A time is the median of a contestant's calls, a ratio that
of the medians of the fastest on either side.

MACE pins an old e3nn and needs an environment of its own, where etn runs as well: install
mace-torch there and what etn depends on, and name its interpreter by --python or ETN_MACE_PYTHON.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import result_name, shared_data, write
from peers import PEERS, Steps, System, own_steps, peer_steps

import etn
from etn import Dataset
from etn.nn import AtomicModel, Recipe, untrained
from etn.nn.samples import Sample, Samples
from etn.run.networks import ICTPSettings, TDNSettings, TensorNetSettings

SIZES = {
    "tensornet": TensorNetSettings.SIZES, "ictp": ICTPSettings.SIZES, "tdn": TDNSettings.SIZES,
}  # fmt: skip
# What is not a matter of size. Cosine, because torchmd-net has no other cutoff.
SETTINGS: dict[str, dict[str, Any]] = {
    "tensornet": {"cutoff_name": "cosine"},
    "ictp": {"n_max": 8, "order": 3, "layers": 2},
    "tdn": {"n_max": 8, "heads": 4, "products": "exact"},
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
R_MAX = {"tensornet": 4.5, "ictp": 5.0, "tdn": 5.0}


class Case(NamedTuple):
    """Frames of a batch, and what they are called."""

    name: str
    data: Dataset
    frames: Dataset


def cases(folder: Path) -> list[Case]:
    """A batch of molecules, and one of periodic cells of a metal."""
    metal = Dataset.read("etn:Mo/train")
    large = [k for k, frame in enumerate(metal) if frame.n_atoms == 54]
    found = [Case("Mo", metal, metal[[large[0], large[len(large) // 2]]])]
    path = folder / "train_300K.xyz"
    if not path.exists():
        print(f"{path}: not there; --data names the folder of acac, molecules are left out")
        return found
    molecules = Dataset.read(path)
    return [Case("acac", molecules, molecules[:: len(molecules) // 5][:5]), *found]


def contestants(
    name: str, case: Case, settings: Mapping[str, Any], *, compiled: bool
) -> tuple[dict[str, Steps], dict[str, Any]]:
    """Steps by name, and the size of the work."""
    recipe = Recipe(optimizer="adam", learning_rate=1e-4)
    # The network with its scales alone: what stands around it where the data end, no peer has.
    made = untrained(name, case.data, r_max=R_MAX[name], settings=settings)
    potential = made.with_model(
        AtomicModel(made.network, scale=made.model.scale.double().numpy(), dtype=torch.float32)
    )
    samples = Samples.of(case.frames, potential, recipe.weights)
    sample = Sample.join(samples.items)
    system = System.of(case.frames, potential, sample)
    found = {"etn": own_steps(potential.model, sample, recipe, compiled=False)}
    if compiled:
        found["etn, compiled"] = own_steps(potential.model, sample, recipe, compiled=True)
    n_peer = 0
    for label, make in PEERS[name].items():
        if "compiled" in label and not compiled:
            continue
        try:
            model = make(system, settings, recipe)
        except Exception as error:
            print(f"{label}: left out, {said(error)}")
            continue
        found[label] = model if isinstance(model, Steps) else peer_steps(model, system, recipe)
        n_peer = n_peer or found[label].n_parameters
    facts = {
        "atoms": sample.batch.n_atoms, "frames": sample.batch.n_frames,
        "pairs": len(sample.batch.first), "parameters": potential.n_parameters,
        "parameters of the peer": n_peer,
    }  # fmt: skip
    return found, facts


def measure(
    runs: Mapping[str, Callable[[], Any]], turns: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of the calls of each, in turns; what fails at first is left out, and said."""
    times: dict[str, list[float]] = {}
    for name, run in runs.items():
        try:
            start = time.perf_counter()
            run()
            run()
        except Exception as error:
            print(f"    {name}: does not run, {said(error)}", flush=True)
            continue
        times[name] = []
        if time.perf_counter() - start > 20:
            print(f"    {name}: {time.perf_counter() - start:.0f} s before the first turn")
    for _ in range(turns):
        for name, each in times.items():
            start = clock()
            runs[name]()
            each.append(clock() - start)
    return times


def said(error: Exception) -> str:
    """What went wrong in another code, in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"


def compare(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians in milliseconds, and how many times faster etn is than the fastest peer."""
    medians = {name: float(np.median(each)) for name, each in times.items()}
    own = [name for name in times if name.startswith("etn")]
    peers = [name for name in times if not name.startswith("etn")]
    found: dict[str, Any] = {"milliseconds": {n: 1e3 * t for n, t in medians.items()}}
    if not (own and peers):
        return found
    best, peer = min(own, key=medians.__getitem__), min(peers, key=medians.__getitem__)
    for what, mine in (("ratio", best), ("ratio, eager", own[0])):
        turns = np.array(times[peer]) / np.array(times[mine])
        found[what] = medians[peer] / medians[mine]
        found[f"quartiles of the {what}"] = np.quantile(turns, [0.25, 0.75]).tolist()
    return found | {"fastest of etn": best, "fastest peer": peer}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=sorted(PEERS))
    parser.add_argument("--data", type=Path, default=shared_data() / "acac", help="folder of acac")
    parser.add_argument("--size", choices=["small", "medium", "large"], default="medium")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("NAME", "NUMBER"),
                        help="another number of the network, such as channels 128")  # fmt: skip
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="takes minutes more for each")
    parser.add_argument("--cases", nargs="+", help="acac, Mo; all by default")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall",
                        help="cpu: of this process alone, where others disturb it")  # fmt: skip
    parser.add_argument("--python", help="interpreter that has the peer")
    parser.add_argument("--name", type=result_name, help="of the result")
    args = parser.parse_args()
    python = args.python or (os.environ.get("ETN_MACE_PYTHON") if args.network == "ictp" else None)
    if python and Path(python).absolute() != Path(sys.executable).absolute():
        again = os.environ | {"PYTHONPATH": str(Path(etn.__file__).parents[1])}
        os.execve(python, [python, *sys.argv], again)
    warnings.filterwarnings("ignore", module="(ast|e3nn|torch|mace|torchmdnet)")
    torch.set_num_threads(args.threads)
    settings = {**SETTINGS[args.network], **SIZES[args.network][args.size]}
    settings |= {name: int(number) for name, number in args.set}
    rows = []
    for case in cases(args.data):
        if args.cases and case.name not in args.cases:
            continue
        runs, facts = contestants(args.network, case, settings, compiled=args.compiled)
        row: dict[str, Any] = {"case": case.name, **facts}
        print(f"{args.network}, {case.name}: {facts}", flush=True)
        for work in ("train", "predict"):
            times = measure(
                {name: getattr(each, work) for name, each in runs.items()},
                args.turns,
                CLOCKS[args.clock],
            )
            row[work] = compare(times)
            print(f"  {work}")
            for name, ms in sorted(row[work]["milliseconds"].items(), key=lambda item: item[1]):
                print(f"    {name:40}{ms:10.2f} ms")
            if "ratio" in row[work]:
                low, high = row[work]["quartiles of the ratio"]
                print(f"    ratio {row[work]['ratio']:.2f} ({low:.2f} to {high:.2f}), eager "
                      f"{row[work]['ratio, eager']:.2f}", flush=True)  # fmt: skip
        rows.append(row)
    result = {
        "network": args.network, "size": args.size, "settings": settings,
        "r_max": R_MAX[args.network],
        "turns": args.turns, "clock": args.clock, "threads": args.threads, "dtype": "float32",
        "rows": rows,
    }  # fmt: skip
    print(write(args.name or f"networks-{args.network}", result))


if __name__ == "__main__":
    main()
