"""Test error against the number of training frames, and against the time of a prediction.

    python benchmarks/learning.py                                  # Mo, small and medium
    python benchmarks/learning.py --data Si --sizes small medium large --frames 25 50 100 -1
    python benchmarks/learning.py --data train.xyz --test test.xyz --seeds 3
    python benchmarks/learning.py --data Mo --figures              # draw what has been measured

Every fit is `run_fit` with one of the sizes on the first frames of a random order, so that the
larger training sets hold the smaller ones; -1 stands for all frames. The test set is that of the
data set, or a fifth of the frames. Times are medians of `predict` on the test set, for one atom:
run it on an idle machine, or with --no-times. A fit that is measured again replaces its former
entry. Settings of the fits can be changed: --set r_max=4 max_sweeps=1.

Writes results/learning-NAME.json, docs/figures/learning-NAME.svg (learning curves) and
docs/figures/front-NAME.svg (error against time at the largest training set of each size).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import FIGURES, PALETTE, RESULTS, save, shared_data, stored, write
from fit import SETS
from sizes import evaluation
from stamp import stamp

from etn.data.metrics import Metrics
from etn.potential import Dataset
from etn.run.folder import run_fit
from etn.run.settings import FitSettings
from etn.run.sizes import SIZES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = (10, 20, 40, 80, 160, -1)
COLORS = dict(zip(SIZES, PALETTE, strict=False))
LABELS = (("energy", 1e3, "energy MAE, meV/atom"), ("forces", 1.0, "force MAE, eV/Å"))
KEY = ("size", "frames", "seed", "settings")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="Mo", help=f"a file, or one of {', '.join(SETS)}")
    parser.add_argument("--test", help="a file to test on")
    parser.add_argument("--name", help="of the results; by default that of the data")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["small", "medium"])
    parser.add_argument("--frames", nargs="+", type=int, default=FRAMES)
    parser.add_argument("--seeds", type=int, default=1, help="random orders of the frames")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of the fit")
    parser.add_argument("--no-times", action="store_true", help="leave out all times")
    parser.add_argument("--figures", action="store_true", help="only draw the results so far")
    parser.add_argument("--out", type=Path, help="folder for all files, for trials")
    given = parser.parse_args()
    name = given.name or Path(given.data.removeprefix("etn:")).stem
    out = (given.out or RESULTS) / f"learning-{name}.json"
    if not given.figures:
        train, test, options = read(given.data, given.test)
        changes = dict(each.split("=", 1) for each in given.set)
        for seed in range(given.seeds):
            shuffled = order(train, seed)
            counts = [n if 0 < n < len(train) else len(train) for n in given.frames]
            for frames in dict.fromkeys(counts):
                for size in given.sizes:
                    part = train[shuffled[:frames]]
                    entry = measure(part, test, size, options | changes, times=not given.no_times)
                    entry |= {"seed": seed, "settings": changes, "stamp": stamp("learning")}
                    add(entry, out, name, test)
                    print(line(entry), flush=True)
    fits = stored(out)
    for kind, draw in (("learning", learning), ("front", front)):
        path = (given.out or FIGURES) / f"{kind}-{name}.svg"
        save(draw(fits), path)
        print(path)
    print(table(fits))


def read(data: str, test: str | None) -> tuple[Dataset, Dataset, dict[str, str]]:
    """Training set, test set, and settings that the data need."""
    options: dict[str, str] = {}
    if data in SETS:
        first, *others = [each.format(data=shared_data()) for each in SETS[data]]
        options = {
            key.removeprefix("--").replace("-", "_"): value
            for key, value in zip(others[::2], others[1::2], strict=True)
        }
        test = test or options.pop("test", None)
        data = first
    settings = FitSettings(train=data, **({} if test is None else {"test": test}))
    train = settings.read(settings.train)
    if settings.test is not None:
        return train, settings.read(settings.test), options
    train, held_out = train.split(0.2, seed=0)
    return train, held_out, options


def order(train: Dataset, seed: int) -> list[int]:
    """A random order of the frames in which all elements come first once."""
    shuffled = np.random.default_rng(seed).permutation(len(train)).tolist()
    missing, first = set(train.elements), []
    for index in shuffled:
        if missing & set(train[index].symbols):
            first.append(index)
            missing -= set(train[index].symbols)
    return first + [index for index in shuffled if index not in first]


def measure(
    train: Dataset, test: Dataset, size: str, options: dict[str, str], *, times: bool
) -> dict[str, Any]:
    """Fit one size to some frames."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = {"train": Path(scratch) / "train.xyz", "test": Path(scratch) / "test.xyz"}
        train.write(paths["train"])
        test.write(paths["test"])
        files = {name: str(path) for name, path in paths.items()}
        settings = FitSettings(**files, **{"size": size, **options})
        start, cpu = time.perf_counter(), time.process_time()
        result = run_fit(settings, Path(scratch) / "run")
        entry: dict[str, Any] = {
            "size": size,
            "frames": len(train),
            "atoms": train.n_atoms,
            "parameters": result.model.n_parameters,
            "errors": {part: brief(metrics) for part, metrics in result.metrics.items()},
        }
        if times:
            entry["wall_s"] = round(time.perf_counter() - start, 2)
            entry["cpu_s"] = round(time.process_time() - cpu, 2)
            entry["evaluation_us_per_atom"] = evaluation(result.model, test)
    return entry


def brief(metrics: Metrics) -> dict[str, dict[str, float]]:
    found = {"energy": metrics.energy, "forces": metrics.forces, "stress": metrics.stress}
    return {
        label: {"mae": each.mae, "rmse": each.rmse}
        for label, each in found.items()
        if each is not None
    }


def add(entry: dict[str, Any], out: Path, name: str, test: Dataset) -> None:
    """Write a fit beside the others, in the order of the sizes and training sets."""
    others = [fit for fit in stored(out) if any(fit[key] != entry[key] for key in KEY)]
    fits = sorted([*others, entry], key=lambda fit: (list(SIZES).index(fit["size"]), fit["frames"]))
    content = {"test_frames": len(test), "slopes": slopes(fits), "fits": fits}
    write(f"learning-{name}", {"benchmark": "learning", "data": name, **content}, out=out)


def curve(fits: list[dict[str, Any]], size: str, label: str) -> tuple[list[int], list[float]]:
    """Training frames and mean absolute test errors of a size, means over the seeds."""
    errors: dict[int, list[float]] = defaultdict(list)
    for fit in fits:
        if fit["size"] == size and label in fit["errors"]["test"]:
            errors[fit["frames"]].append(fit["errors"]["test"][label]["mae"])
    return sorted(errors), [statistics.mean(errors[n]) for n in sorted(errors)]


def slopes(fits: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Exponents of the learning curves: error ~ frames^slope, by least squares of logarithms."""
    found: dict[str, dict[str, float]] = {}
    for size in SIZES:
        for label, _, _ in LABELS:
            frames, errors = curve(fits, size, label)
            if len(frames) > 1:
                slope = float(np.polyfit(np.log(frames), np.log(errors), 1)[0])
                found.setdefault(size, {})[label] = round(slope, 3)
    return found


def learning(fits: list[dict[str, Any]]) -> Figure:
    """Learning curves of energies and forces."""
    figure, panels = axes()
    for panel, (label, scale, title) in zip(panels, LABELS, strict=True):
        for size, color in COLORS.items():
            frames, errors = curve(fits, size, label)
            if frames:
                panel.loglog(frames, scale * np.array(errors), "o-", color=color, label=size, ms=4)
        plain(panel, "training frames", title)
    panels[0].legend(frameon=False)
    return figure


def front(fits: list[dict[str, Any]]) -> Figure:
    """Errors of the largest training set of each size against the time of a prediction."""
    figure, panels = axes()
    for panel, (label, scale, title) in zip(panels, LABELS, strict=True):
        for size, color in COLORS.items():
            frames, errors = curve(fits, size, label)
            times = [
                fit["evaluation_us_per_atom"]
                for fit in fits
                if fit["size"] == size
                and fit["frames"] == max(frames, default=0)
                and "evaluation_us_per_atom" in fit
            ]
            if times:
                x, y = statistics.mean(times), scale * errors[-1]
                panel.loglog([x], [y], "o", color=color)
                panel.annotate(size, (x, y), xytext=(5, 5), textcoords="offset points")
        panel.margins(0.25)
        plain(panel, "prediction, µs/atom", title)
    return figure


def axes() -> tuple[Figure, Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        return figure, figure.subplots(1, 2)


def plain(panel: Any, x: str, y: str) -> None:
    """Label both axes, with numbers in place of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.spines[["top", "right"]].set_visible(False)
    for axis in (panel.xaxis, panel.yaxis):
        low, high = axis.get_view_interval()
        narrow = high < 5 * low
        locator = MaxNLocator(4) if narrow else LogLocator(subs=(1, 2, 3, 5, 7))
        axis.set_major_locator(locator)
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    if x.startswith("training"):
        frames = sorted({int(n) for line in panel.lines for n in line.get_xdata()})
        panel.set_xticks(frames, labels=[str(n) for n in frames])


def table(fits: list[dict[str, Any]]) -> str:
    """Markdown table of all fits."""
    head = ["size", "frames", "seed", "E, meV/atom", "F, eV/Å", "fit, s", "µs/atom"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(line(fit) for fit in fits)])


def line(fit: dict[str, Any]) -> str:
    """One fit as a line of the table."""
    errors = fit["errors"]["test"]
    cells = [fit["size"], str(fit["frames"]), str(fit["seed"])]
    for (label, scale, _), form in zip(LABELS, (".2f", ".4f"), strict=True):
        cells.append(format(scale * errors[label]["mae"], form) if label in errors else "")
    for key, form in (("wall_s", ".0f"), ("evaluation_us_per_atom", ".0f")):
        cells.append(format(fit[key], form) if key in fit else "")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
