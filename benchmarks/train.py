"""Time, memory and test errors of `etn train` as a user runs it: a process of its own.

    python benchmarks/train.py acac-tensornet            # one of the runs below
    python benchmarks/train.py acac-tdn --keep runs      # keep the run folder
    python benchmarks/train.py --figures                 # draw what has been measured

The data are those of fit.py, read from the folder in ETN_SHARED_DATA. Run it with as many threads
as it may have (OMP_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import FIGURES, PALETTE, RESULTS, save, write
from fit import SETS, brief, call, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPILED = "--compiled --batch-size 5 --size medium --r-max 4.5"
# Set of fit.py, network, options; "{fit}" stands for the model of `etn fit` with the same data.
RUNS = {
    "acac-tensornet": ("acac", "tensornet", f"{COMPILED} --max-epochs 800"),
    "acac-ictp": ("acac", "ictp", f"{COMPILED} --max-epochs 700"),
    "acac-tdn": ("acac", "tdn", f"{COMPILED} --max-epochs 500"),
    "acac-delta": ("acac", "tensornet", f"{COMPILED} --max-epochs 400 --below {{fit}}"),
    "ethanol-tensornet": ("ethanol", "tensornet", f"{COMPILED} --max-epochs 700 --valid 0.05"),
    "Mo-polish": ("Mo", "polynomial", "--from {fit} --max-epochs 60"),
    "ethanol-polish": ("ethanol", "polynomial", "--from {fit} --max-epochs 60"),
}

CURVES = (
    ("energy_rmse_eV_per_atom", "energy, validation RMSE, meV/atom"),
    ("forces_rmse_eV_per_A", "forces, validation RMSE, meV/Å"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"any of {', '.join(RUNS)}")
    parser.add_argument("--figures", action="store_true", help="draw docs/figures/train-acac.svg")
    parser.add_argument("--keep", metavar="DIR", help="keep the run folders here")
    parser.add_argument(
        "--shared-cores", action="store_true", help="note that other jobs run: times are bounds"
    )
    given = parser.parse_args()
    if unknown := [name for name in given.runs if name not in RUNS]:
        parser.error(f"expected any of {', '.join(RUNS)}, got {', '.join(unknown)}")
    if given.figures:
        save(figure("acac"), FIGURES / "train-acac.svg")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(given.keep or scratch)
        for name in given.runs:
            result = run(name, folder / name)
            result["shared_cores"] = given.shared_cores
            path = write(f"train-{name}", result)
            print(f"{summary(name, result)}  -> {path.name}", flush=True)


def run(name: str, out: Path) -> dict[str, Any]:
    """Train one potential and return what it cost and how good it is."""
    data, network, options = RUNS[name]
    fitted = out.with_name(f"{out.name}-fit")
    start: dict[str, Any] = {}
    if "{fit}" in options:
        # Without the frames that choose the best epoch of the network.
        report, cost = call(["fit", *SETS[data], "--valid", "0.1"], fitted)
        start = {"fit": {**cost, "model": report["model"], "errors": errors(report)}}
    # Later options win over those of the set; a fit that is polished keeps its radius.
    pattern = [*SETS[data], *options.split()]
    if network == "polynomial" and "--r-max" in pattern:
        at = pattern.index("--r-max")
        del pattern[at : at + 2]
    real = [part.replace("{fit}", str(fitted / "model.etn")) for part in pattern]
    report, cost = call(["train", network, *real], out)
    command = " ".join(["etn", "train", network, *pattern])
    return {
        "benchmark": "train",
        "set": data,
        "network": network,
        "command": command.replace("{data}", "$ETN_SHARED_DATA").replace("{fit}", "fit/model.etn"),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        **cost,
        **start,
        "model": report["model"],
        "errors": errors(report),
        "epochs": course(out / "epochs.csv"),
    }


def errors(report: dict[str, Any]) -> dict[str, Any]:
    """Errors of every part of the data."""
    return {part: brief(metrics) for part, metrics in report["metrics"].items()}


def course(path: Path) -> dict[str, list[float]]:
    """Some two hundred epochs: number, seconds since the start, validation errors."""
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    seconds, total = [], 0.0
    for line in lines:
        total += float(line["seconds"])
        seconds.append(round(total, 1))
    step = max(1, len(lines) // 200)
    chosen = sorted({*range(step - 1, len(lines), step), len(lines) - 1})
    found = {"epoch": [float(k + 1) for k in chosen], "seconds": [seconds[k] for k in chosen]}
    for key in ("energy_rmse_eV_per_atom", "forces_rmse_eV_per_A"):
        found[key] = [float(f"{float(lines[k][key]):.5g}") for k in chosen]
    return found


def figure(data: str) -> Figure:
    """Validation errors against the time of the training, of all results of a set."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9}):
        drawn = Figure(figsize=(7.2, 2.8), layout="constrained")
        panels = drawn.subplots(1, 2)
        for name, color in zip([n for n in RUNS if RUNS[n][0] == data], PALETTE, strict=False):
            path = RESULTS / f"train-{name}.json"
            if not path.exists():
                continue
            epochs = json.loads(path.read_text(encoding="utf-8"))["epochs"]
            minutes = [second / 60 for second in epochs["seconds"]]
            for panel, (key, title) in zip(panels, CURVES, strict=True):
                values = [1e3 * value for value in epochs[key]]
                panel.loglog(minutes, values, color=color, label=name.removeprefix(f"{data}-"))
                panel.set(xlabel="minutes", title=title)
        panels[1].legend(frameon=False)
    return drawn


if __name__ == "__main__":
    main()
