"""Cost and errors of the sizes small, medium and large of `etn fit`.

    python benchmarks/sizes.py                                # Mo, all sizes
    python benchmarks/sizes.py --sets Mo Si --sizes small     # some of them
    python benchmarks/sizes.py --no-times                     # errors only, on a busy machine
    python benchmarks/sizes.py --table                        # print what has been measured

Each fit is a process of its own, as in fit.py; the evaluation is the median time of `predict` on
the test set, for one atom. A fit that is measured again replaces its former entry.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import RESULTS, stored, write
from fit import SETS, run
from stamp import stamp

from etn.data.weights import count_rows
from etn.potential import Dataset, load
from etn.run.settings import FitSettings
from etn.run.sizes import SIZES, count_unknowns

RESULT = RESULTS / "sizes.json"
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["Mo"])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--no-times", action="store_true", help="leave out all times")
    parser.add_argument("--table", action="store_true", help="only print the results so far")
    given = parser.parse_args()
    if not given.table:
        for name in given.sets:
            for size in given.sizes:
                add(measure(name, size, times=not given.no_times))
    print(table(stored(RESULT)))


def measure(name: str, size: str, *, times: bool) -> dict[str, Any]:
    """Fit one set with one size."""
    with tempfile.TemporaryDirectory() as scratch:
        result = run(name, ["--size", size, "--quiet"], Path(scratch) / "run")
        settings = FitSettings.load(Path(scratch) / "run" / "settings.yaml")
        model = load(Path(scratch) / "run" / "model.etn")
        train = settings.read(settings.train)
        entry: dict[str, Any] = {
            "set": name,
            "size": size,
            "command": result["command"],
            "settings": SIZES[size].values(),
            "stamp": stamp("sizes"),
            "rows": count_rows(train, settings.weights()),
            "unknowns": count_unknowns(len(train.elements), dict(settings)),
            "parameters": model.n_parameters,
            "errors": result["errors"],
            "peak_memory_gb": result["peak_memory_gb"],
        }
        if times:
            entry["wall_s"], entry["cpu_s"] = result["wall_s"], result["cpu_s"]
            if settings.test is not None:
                entry["evaluation_us_per_atom"] = evaluation(model, settings.read(settings.test))
    return entry


def evaluation(model: Any, test: Dataset) -> float:
    """Median time for energy, forces and stress of one atom, in microseconds."""
    model.predict(test)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.predict(test)
        seconds.append(time.perf_counter() - start)
    return round(1e6 * statistics.median(seconds) / test.n_atoms, 2)


def add(entry: dict[str, Any]) -> None:
    """Write a fit beside the others, in the order of the sets and sizes."""
    key = ("set", "size")
    others = [fit for fit in stored(RESULT) if any(fit[k] != entry[k] for k in key)]
    fits = sorted(
        [*others, entry], key=lambda fit: (list(SETS).index(fit["set"]), order(fit["size"]))
    )
    write("sizes", {"benchmark": "sizes", "fits": fits})


def order(size: str) -> int:
    return list(SIZES).index(size)


def table(fits: list[dict[str, Any]]) -> str:
    """Markdown table of all fits."""
    lines = [
        "| set | size | unknowns | parameters | fit, s | µs/atom | "
        "train E, meV/atom | train F, eV/Å | test E, meV/atom | test F, eV/Å |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for fit in fits:
        cells = [fit["set"], fit["size"], str(fit["unknowns"]), str(fit["parameters"])]
        cells += [shown(fit.get("wall_s"), ".0f"), shown(fit.get("evaluation_us_per_atom"), ".0f")]
        for part in ("train", "test"):
            errors = fit["errors"].get(part, {})
            for label, scale, form in (("energy", 1e3, ".2f"), ("forces", 1.0, ".4f")):
                mae = errors.get(label, {}).get("mae")
                cells.append(shown(None if mae is None else scale * mae, form))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    main()
