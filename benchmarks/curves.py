"""Test errors of networks, and of `etn fit` beside them, against the number of training frames.

    python benchmarks/curves.py 3BPA --frames 50 --seeds 3
    python benchmarks/curves.py QM9 --frames 1000 5000 20000 --contestants tensornet
    python benchmarks/curves.py acac --frames 50 150 450 --contestants tensornet fit
    python benchmarks/curves.py QM9 --figures            # draw what has been measured

Every training is `etn train` or `etn fit` as a user runs it, on frames drawn by the seed; larger
sets hold the smaller ones.  One that is measured again replaces its former entry.  QM9 needs the
package qm9pack (1.0.3): energies U0 alone, tested on 10,000 other molecules.

Writes results/curves-SET.json and docs/figures/curves-SET.svg.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import FIGURES, PALETTE, RESULTS, save, shared_data, stored, write
from fit import brief, call
from stamp import stamp

from etn.potential import Dataset, Frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is trained, by name.  The three of ICTP and the two of TDN are one function each.
CONTESTANTS = {
    "tensornet": "train tensornet",
    "ictp": "train ictp --sharing shared",
    "ictp, spherical": "train ictp --sharing shared --products spherical",
    "ictp, cp": "train ictp --sharing shared --products cp",
    "tdn": "train tdn",
    "tdn, cp": "train tdn --products cp",
    "fit": "fit",
}
# Steps of a training, whatever the number of frames: enough for errors to settle.
STEPS = {"3BPA": 9_000, "acac": 40_000, "QM9": 30_000}
TRAINING = {
    "3BPA": "--r-max 4.5 --batch-size 5 --valid 0.1",
    "acac": "--r-max 4.5 --batch-size 5 --valid 0.1",
    # Elements that meet in no training molecule would repel each other up to r_max.
    "QM9": "--r-max 4.5 --batch-size 32 --valid 0.05 --forces-weight 0 --no-zbl --compiled",
}
FIT = {
    "3BPA": "--r-max 4.2",
    "acac": "--r-max 4.2",
    "QM9": "--r-max 4.2 --forces-weight 0 --no-zbl",
}
# Atoms of B3LYP/6-31G(2df,p), of the authors of QM9; Hartree to eV.
ATOMS = {"H": -0.500273, "C": -37.846772, "N": -54.583861, "O": -75.064579, "F": -99.718730}
HARTREE = 27.211386245988
KEY = ("contestant", "frames", "seed")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", choices=STEPS)
    parser.add_argument("--frames", nargs="+", type=int, default=[50])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--figures", action="store_true", help="only draw the results so far")
    given = parser.parse_args()
    out = RESULTS / f"curves-{given.data}.json"
    if not given.figures:
        with tempfile.TemporaryDirectory() as scratch:
            pool, fixed = prepare(given.data, Path(scratch))
            for seed in range(given.seeds):
                order = np.random.default_rng(seed).permutation(len(pool))
                for n in given.frames:
                    pool[order[:n].tolist()].write(Path(scratch) / "train.xyz")
                    for name in given.contestants:
                        entry = measure(given.data, name, n, fixed, Path(scratch))
                        add(out, given.data, entry | {"seed": seed})
                        print(line(entry | {"seed": seed}), flush=True)
    save(figure(stored(out)), FIGURES / f"curves-{given.data}.svg")


def prepare(data: str, scratch: Path) -> tuple[Dataset, list[str]]:
    """All frames to draw from, and options of every training: test set and energies of atoms."""
    if data == "QM9":
        molecules = list(qm9())
        chosen = np.random.default_rng(0).permutation(len(molecules))
        Dataset([molecules[k] for k in chosen[:10_000]]).write(scratch / "test.xyz")
        e0 = ",".join(f"{symbol}={HARTREE * energy:.6f}" for symbol, energy in ATOMS.items())
        pool = Dataset([molecules[k] for k in chosen[10_000:60_000]])
        return pool, ["--test", str(scratch / "test.xyz"), "--e0", e0]
    folder = shared_data() / data
    test = {"3BPA": "test_300K.xyz", "acac": "test_MD_300K.xyz"}[data]
    options = ["--test", str(folder / test), "--e0", str(folder / "isolated_atoms.xyz")]
    return Dataset.read(folder / "train_300K.xyz"), options


def qm9() -> Iterator[Frame]:
    """The molecules of QM9 with their energies U0."""
    found = find_spec("qm9pack")
    if found is None or found.origin is None:
        raise SystemExit("QM9: pip install --no-deps qm9pack==1.0.3")
    csv.field_size_limit(1 << 30)
    numbers = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
    for part in (1, 2, 3):
        path = Path(found.origin).parent / "data" / f"qm9_part{part}.csv"
        with path.open(encoding="utf-8") as file:
            for molecule in csv.DictReader(file):
                symbols = re.findall(r"[A-Z]", molecule["Elements"])
                # No JSON: numbers may end in a point.
                places = molecule["XYZ_Ang"].replace("[", "").replace("]", "").split(",")
                yield Frame(
                    [numbers[symbol] for symbol in symbols],
                    np.array(places, dtype=float).reshape(-1, 3),
                    np.zeros((3, 3)),
                    [False] * 3,
                    energy=HARTREE * float(molecule["InternalEnergy_0K_au"]),
                    name=molecule["XYZ_file"],
                )


def measure(data: str, name: str, n: int, fixed: list[str], scratch: Path) -> dict[str, Any]:
    """Train one potential."""
    command = CONTESTANTS[name].split()
    options = FIT[data].split()
    if command[0] == "train":
        options = TRAINING[data].split()
        valid = float(options[options.index("--valid") + 1])
        batch = int(options[options.index("--batch-size") + 1])
        per_epoch = max(1, round((1 - valid) * n / batch))
        options += ["--max-epochs", str(max(1, STEPS[data] // per_epoch)), "--no-uncertainty"]
    pattern = [*command, str(scratch / "train.xyz"), *fixed, *options, "--quiet"]
    report, cost = call(pattern, scratch / "run")
    return {
        "contestant": name,
        "frames": n,
        "command": " ".join(["etn", *command, *options]),
        "model": report["model"],
        "errors": {part: brief(metrics) for part, metrics in report["metrics"].items()},
        **cost,
        "stamp": stamp("curves"),
    }


def add(path: Path, data: str, entry: dict[str, Any]) -> None:
    """Write a training beside the others."""
    others = [fit for fit in stored(path) if any(fit[key] != entry[key] for key in KEY)]
    place: Callable[[dict[str, Any]], tuple[int, int, int]] = lambda fit: (  # noqa: E731
        list(CONTESTANTS).index(fit["contestant"]), fit["frames"], fit["seed"],
    )  # fmt: skip
    fits = sorted([*others, entry], key=place)
    write(path.stem, {"benchmark": "curves", "set": data, "fits": fits})


def line(entry: dict[str, Any]) -> str:
    test = entry["errors"]["test"]
    shown = [f"{label} {1e3 * each['rmse']:.2f}" for label, each in test.items()]
    head = f"{entry['contestant']:<16} {entry['frames']:>6} frames, seed {entry['seed']}: "
    return head + ", ".join(shown) + f" (RMSE, meV), {entry['wall_s']:.0f} s"


def means(
    fits: list[dict[str, Any]], name: str, label: str, kind: str
) -> tuple[list[int], list[float]]:
    """Frames, and errors of a contestant as means over the seeds."""
    own = [fit for fit in fits if fit["contestant"] == name and label in fit["errors"]["test"]]
    frames = sorted({fit["frames"] for fit in own})
    return frames, [
        statistics.mean(fit["errors"]["test"][label][kind] for fit in own if fit["frames"] == n)
        for n in frames
    ]


def slope(frames: list[int], errors: list[float]) -> float:
    """The exponent of a learning curve, by least squares of logarithms."""
    return float(np.polyfit(np.log(frames), np.log(errors), 1)[0])


def figure(fits: list[dict[str, Any]]) -> Figure:
    """Learning curves of all contestants."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    labels = [("energy", "energy RMSE, meV/atom"), ("forces", "force RMSE, meV/Å")]
    known = [each for each in labels if any(each[0] in fit["errors"]["test"] for fit in fits)]
    with mpl.rc_context({"font.size": 9}):
        drawn = Figure(figsize=(3.6 * len(known), 2.8), layout="constrained")
        panels = drawn.subplots(1, len(known), squeeze=False)[0]
        for panel, (label, title) in zip(panels, known, strict=True):
            for name, color in zip(CONTESTANTS, PALETTE, strict=True):
                frames, errors = means(fits, name, label, "rmse")
                if frames:
                    panel.loglog(frames, 1e3 * np.array(errors), "o-", color=color, label=name)
            panel.set(xlabel="training frames", title=title)
        panels[0].legend(frameon=False)
    return drawn


if __name__ == "__main__":
    main()
