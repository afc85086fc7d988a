"""Time, memory and test errors of `etn fit` as a user runs it: a process of its own.

    python benchmarks/fit.py Mo                      # one set, default settings
    python benchmarks/fit.py                         # all sets
    python benchmarks/fit.py Mo --name Mo-l4 -- --l-max 4

Options after `--` go to `etn fit`. Mo and a slice of NbMoTaW ship with etn; the others are read
from the folder in ETN_SHARED_DATA. NbMoTaW-full is tested on the elements, and on the binaries.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import shared_data, write

from etn.potential import Dataset, load

# Options of each set; {data} stands for the folder of the reference sets.
SETS = {
    "Mo": ["etn:Mo"],
    "Si": [
        "{data}/mlearn_Si/train.xyz",
        "--test",
        "{data}/mlearn_Si/test.xyz",
        *("--r-max", "6.0"),
    ],
    "Cu": ["{data}/mlearn_Cu/train.xyz", "--test", "{data}/mlearn_Cu/test.xyz"],
    "NbMoTaW": ["etn:NbMoTaW"],
    "NbMoTaW-full": [
        "{data}/NbMoTaW/train.xyz",
        "--test",
        "{data}/NbMoTaW/test_elements.xyz",
    ],
    "3BPA": [
        "{data}/3BPA/train_300K.xyz",
        "--test",
        "{data}/3BPA/test_300K.xyz",
        "--e0",
        "{data}/3BPA/isolated_atoms.xyz",
        *("--r-max", "4.2"),
    ],
    "acac": [
        "{data}/acac/train_300K.xyz",
        "--test",
        "{data}/acac/test_MD_300K.xyz",
        "--e0",
        "{data}/acac/isolated_atoms.xyz",
        *("--r-max", "4.2"),
    ],
    **{
        molecule: [
            f"{{data}}/rMD17_{molecule}/train_01.xyz",
            "--test",
            f"{{data}}/rMD17_{molecule}/test_01.xyz",
            *("--r-max", "4.2"),
        ]
        for molecule in ("ethanol", "aspirin")
    },
}
# What else the potential of a set is tested on.
ALSO = {"NbMoTaW-full": {"binaries": "{data}/NbMoTaW/test_binary.xyz"}}
# The entry point of the command, run by the Python that runs this benchmark.
COMMAND = [sys.executable, "-c", "from etn.cli import main; main()"]


def main() -> None:
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"any of {', '.join(SETS)}")
    parser.add_argument("--name", help="of the result (one set only); by default that of the set")
    parser.add_argument(
        "--shared-cores", action="store_true", help="note that other jobs run: times are bounds"
    )
    parser.add_argument("--keep", metavar="DIR", help="keep the run folders here")
    given = parser.parse_args(arguments[:at])
    sets = given.sets or list(SETS)
    unknown = [name for name in sets if name not in SETS]
    if unknown:
        parser.error(f"expected any of {', '.join(SETS)}, got {', '.join(unknown)}")
    if given.name and len(sets) != 1:
        parser.error("--name: expected one set")
    if arguments[at + 1 :] and not given.name:
        parser.error("options of etn fit make another result: give it a name with --name")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(given.keep or scratch)
        for name in sets:
            label = given.name or name
            result = run(name, arguments[at + 1 :], folder / label)
            result["shared_cores"] = given.shared_cores
            path = write(f"fit-{label}", result)
            print(f"{summary(label, result)}  -> {path.name}", flush=True)


def run(name: str, options: list[str], out: Path) -> dict[str, Any]:
    """Fit one set and return what it cost and how good it is."""
    pattern = [*SETS[name], *options]
    data = str(shared_data())
    report, cost = call(["fit", *pattern], out)
    for part, path in ALSO.get(name, {}).items():
        metrics = load(out / "model.etn").evaluate(Dataset.read(path.replace("{data}", data)))
        report["metrics"][part] = metrics.to_dict()
    keys = ("n_sites", "sweep", "loss", "losses", "condition", "solver", "seconds", "measures")
    hidden = ("train", "test", "valid", "e0")  # may hold paths; the command has them
    return {
        "benchmark": "fit",
        "set": name,
        "command": " ".join(["etn", "fit", *pattern]).replace("{data}", "$ETN_SHARED_DATA"),
        **cost,
        "parts_s": report["seconds"],
        "model": report["model"],
        "errors": {part: brief(metrics) for part, metrics in report["metrics"].items()},
        "sweeps": [{key: record[key] for key in keys} for record in report["fit"]["records"]],
        "settings": {k: v for k, v in report["settings"].items() if k not in hidden},
    }


def call(pattern: list[str], out: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Run a command of etn with a run folder; its report, and what it cost."""
    real = [part.replace("{data}", str(shared_data())) for part in pattern]
    start = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *real, "--out", str(out), "--force"])
    # wait4 tells the peak memory of this child alone; RUSAGE_CHILDREN is the largest of all so far.
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"etn {' '.join(pattern)}: ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report, {
        "wall_s": round(wall, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_gb": round(usage.ru_maxrss * unit / 1e9, 3),
    }


def brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """Mean absolute and root mean square errors: eV/atom, eV/Å, eV/Å³."""
    return {
        label: {kind: metrics[label][kind] for kind in ("mae", "rmse")}
        for label in ("energy", "forces", "stress")
        if metrics[label] is not None
    }


def summary(label: str, result: dict[str, Any]) -> str:
    errors = result["errors"].get("test") or result["errors"]["train"]
    parts = [f"{label:<10}"]
    if "energy" in errors:
        parts.append(f"E {1e3 * errors['energy']['mae']:.2f} meV/atom")
    if "forces" in errors:
        parts.append(f"F {errors['forces']['mae']:.4f} eV/Å")
    parts += [f"{result['wall_s']:.1f} s", f"{result['peak_memory_gb']:.2f} GB"]
    return "  ".join(parts)


if __name__ == "__main__":
    main()
