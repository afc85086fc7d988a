"""Every table and paragraph of measured numbers in README.md and docs/*.md, made from the results.

    python benchmarks/pages.py                     # write the tables anew; refuses stale results
    python benchmarks/pages.py --check             # which results are stale, which tables differ
    python benchmarks/pages.py --remake            # measure all that is not fresh, then write
    python benchmarks/pages.py --remake fit-Mo     # some of it

Each stands between `<!-- table: NAME -->` and `<!-- /table -->`, with a blank line inside each.
A result is fresh while code and default settings are those of its stamp (stamp.py), else stale;
without a stamp it is of unknown age. The exit code is 1 if a result is stale or a table differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import evaluated
import matrix_free
import message_passing
import prose
import refinement
import sizes
import trained
from common import RESULTS, shared_data
from published import PUBLISHED
from stamp import ROOT, age

Result = dict[str, Any]
MARKED = re.compile(r"<!-- table: (\S+) -->\n\n(.*?)\n\n<!-- /table -->", re.DOTALL)

# How each result is measured, in this order. short_range.py, nve.py and evaluator.py are of
# potentials that are fitted before; those of short_range.py come first, as their results are then
# fresh when asked for.
COMMANDS = {
    "short_range": "fit.py Mo Si Cu NbMoTaW --keep runs && short_range.py runs/Mo/model.etn "
    "runs/Si/model.etn runs/Cu/model.etn runs/NbMoTaW/model.etn",
    "fit-Mo": "fit.py Mo",
    "fit-Si": "fit.py Si",
    "fit-Si-large": "fit.py Si --name Si-large -- --size large",
    "nve": "fit.py Cu --keep runs && nve.py runs/Cu/model.etn",
    "nve-lammps": "nve.py runs/Cu/model.etn --cells 10 --steps 10000 --lammps",
    "evaluator": "fit.py NbMoTaW 3BPA aspirin ethanol Si Cu --keep runs && "
    "OMP_NUM_THREADS=1 evaluator.py --sizes runs/sizes --more NbMoTaW=runs/NbMoTaW/model.etn "
    "3BPA=runs/3BPA/model.etn aspirin=runs/aspirin/model.etn ethanol=runs/ethanol/model.etn "
    "Si=runs/Si/model.etn Cu=runs/Cu/model.etn",
    "fit-Cu": "fit.py Cu",
    "fit-NbMoTaW": "fit.py NbMoTaW",
    "fit-NbMoTaW-full": "fit.py NbMoTaW-full",
    "fit-3BPA": "fit.py 3BPA",
    "fit-ethanol": "fit.py ethanol",
    "fit-aspirin": "fit.py aspirin",
    "sizes": "sizes.py",
    "refinement": "refinement.py",
    "learning-Mo": "learning.py --data Mo --frames 24 48 97 -1",
    "elements": "OMP_NUM_THREADS=1 elements.py",
    "core_update": "core_update.py",
    "matrix_free": "matrix_free.py",
    "uncertainty": "OMP_NUM_THREADS=1 uncertainty.py",
    "message_passing": "message_passing.py --data {data}/rMD17_ethanol",
    "message_passing-energy-300": "message_passing.py --data {data}/rMD17_ethanol "
    "--energy-weight 100 --out benchmarks/results/message_passing-energy-300.json",
    "spin_chain": "spin_chain.py",
    "scaling": "OMP_NUM_THREADS=1 scaling.py",
    "products": "products.py",
    "networks-tensornet": "networks.py tensornet --compiled --data {data}/acac",
    "networks-ictp": "networks.py ictp --compiled --data {data}/acac",
    "networks-tdn": "networks.py tdn --compiled --data {data}/acac",
    "train-acac-tensornet": "OMP_NUM_THREADS=1 train.py acac-tensornet",
    "train-acac-ictp": "OMP_NUM_THREADS=1 train.py acac-ictp",
    "train-acac-tdn": "OMP_NUM_THREADS=1 train.py acac-tdn",
    "train-acac-delta": "OMP_NUM_THREADS=1 train.py acac-delta",
    "train-ethanol-tensornet": "OMP_NUM_THREADS=1 train.py ethanol-tensornet",
    "train-Mo-polish": "OMP_NUM_THREADS=1 train.py Mo-polish",
    "train-ethanol-polish": "OMP_NUM_THREADS=1 train.py ethanol-polish",
    "curves-3BPA": "OMP_NUM_THREADS=1 curves.py 3BPA --frames 50 --seeds 3",
    "curves-QM9": "OMP_NUM_THREADS=1 curves.py QM9 --frames 1000 5000 20000 "
    "--contestants tensornet",
    "cp": "OMP_NUM_THREADS=1 cp.py",
    "cp-ranks": "OMP_NUM_THREADS=1 cp.py --figure docs/figures/cp-ranks.svg",
    "cartesian": "OMP_NUM_THREADS=1 cartesian.py --rank 8",
}


def published(*fits: Result) -> str:
    """Test errors beside published values, and what the fits cost."""
    measured = dict(zip(FITS, fits, strict=True))
    head = ["set", "`--r-max`", "energy, meV/atom", "forces, eV/Å"]
    lines = [row([*head, "published (energy, forces)", "wall time", "peak memory"])]
    lines.append("|---" * 7 + "|")
    for label, name, part in ROWS:
        fit = measured[name]
        energy, forces = (fit["errors"][part][kind]["mae"] for kind in ("energy", "forces"))
        cells = [label, f"{fit['settings']['r_max']}", f"{1e3 * energy:.2f}", f"{forces:#.2g}"]
        others = PUBLISHED.get(name.removeprefix("fit-"), {}) if part == "test" else {}
        cells.append("; ".join(f"{who} {e:.2f}, {f:g}" for who, (e, f) in others.items()))
        if part == "test":
            cells.append(f"{fit['wall_s']:.0f} s{' (b)' if fit.get('shared_cores') else ''}")
            cells.append(f"{fit['peak_memory_gb']:.1f} GB")
        lines.append(row([*cells, *[""] * (7 - len(cells))]))
    return "\n".join(lines)


# Lines of the table of published values: label, result, part of its errors.
ROWS = (
    ("Mo (`etn:Mo`)", "fit-Mo", "test"),
    ("Si", "fit-Si", "test"),
    ("Si, `--size large`", "fit-Si-large", "test"),
    ("Cu", "fit-Cu", "test"),
    ("NbMoTaW, 5282 frames: elements (a)", "fit-NbMoTaW-full", "test"),
    ("the same potential: binaries", "fit-NbMoTaW-full", "binaries"),
    ("3BPA, 300 K", "fit-3BPA", "test"),
    ("rMD17 ethanol, 1000 frames", "fit-ethanol", "test"),
    ("rMD17 aspirin, 1000 frames", "fit-aspirin", "test"),
)
FITS = tuple(dict.fromkeys(name for _, name, _ in ROWS))


def products(mode: str, operand: str, names: Mapping[str, str]) -> Callable[[Result], str]:
    """Times of tensor products of one kind; names from heads to contestants."""

    def render(result: Result) -> str:
        lines = [row(["L", *names]), "|---" * (len(names) + 1) + "|"]
        for each in result["rows"]:
            if each["mode"] == mode:
                found = [each["microseconds"].get(name) for name in names.values()]
                cells = ["" if time is None else f"{time / 1000:.3g}" for time in found]
                lines.append(row([str(each["l_max"]), *cells]))
        s = result["settings"]
        what = f"**{s['channels']} channels times {operand}.** Milliseconds a call, one thread, "
        what += f"{s['dtype']}, batch {s['batch']}, {result['machine']['processor']}:"
        return what + "\n\n" + "\n".join(lines)

    return render


def short_range(result: Result) -> str:
    """What potentials do where their data end."""
    head = ["potential", "pairs that attract", "squeezed packings", "misplaced atoms", "simulation"]
    lines = [row(head), "|---" * len(head) + "|"]
    for name, each in result["models"].items():
        cells = [name, f"{each['pairs with a well']} of {len(each['dimers'])}"]
        for kind, tried in (("packings", result["packings"]), ("interstitials", None)):
            found = each[kind]
            cells.append(
                f"{found['fused']} of {tried or found['tried']} fuse, {found['closeness']:.2f}"
            )
        heat = each["heat"]
        end = "survives" if heat["survived"] else "ends"
        kelvin = f"{round(heat['kelvin'], -2):.0f}"
        cells.append(f"{heat['steps']} steps at {kelvin} K: {end}, {heat['closeness']:.2f}")
        lines.append(row(cells))
    return "\n".join(lines)


def networks(*results: Result) -> str:
    """Times of neural potentials and of their fastest peers."""
    head = ["size", "batch", "", "etn", "compiled", "fastest peer", "ratio, eager", "ratio"]
    lines = [row(head), "|---" * len(head) + "|"]
    for result in results:
        for each in result["rows"]:
            batch = f"{each['case']}, {each['atoms']} atoms, {each['pairs']} pairs"
            for work, label in (("train", "training step"), ("predict", "energies and forces")):
                found = each[work]
                times = {
                    name: f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"
                    for name, ms in found["milliseconds"].items()
                }
                compiled, peer = times.get("etn, compiled"), found["fastest peer"]
                cells = [
                    f"{result['network']}, {result['size']}", batch, label, times["etn"],
                    compiled or "", f"{peer}: {times[peer]}",
                    f"{found['ratio, eager']:.2f}", f"{found['ratio']:.2f}",
                ]  # fmt: skip
                lines.append(row(cells))
    first = results[0]
    kind = "Milliseconds" if first["clock"] == "wall" else "Milliseconds of CPU"
    what = f"{kind}, float32, {first['threads']} thread, {first['machine']['processor']}:"
    return what + "\n\n" + "\n".join(lines)


def row(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


@dataclass(frozen=True)
class Table:
    """A table: the results that it is made from, in the order in which ``render`` takes them."""

    results: tuple[str, ...]
    render: Callable[..., str]


_PLAIN = {"`dense`": "dense", "`torch.einsum`": "einsum, dense"}
_PATHS = {
    "weights per path": "paths (weights per path)",
    "e3nn, weights per path": "e3nn (weights per path)",
}
_ONE = {"`y_first`": "y_first", "`cp`, exact table": "cp exact", **_PLAIN, **_PATHS}
_MANY = {"`cp`, exact table": "cp exact", "`cp`, rank 7 L²": "cp tdn", **_PLAIN, **_PATHS}
TABLES = {
    "published": Table(FITS, published),
    "notes": Table(FITS, lambda *fits: prose.notes(dict(zip(FITS, fits, strict=True)))),
    "dynamics": Table(("nve", "nve-lammps", "core_update"), prose.dynamics),
    "evaluator": Table(("evaluator",), evaluated.table),
    "spin_chain": Table(("spin_chain",), prose.spin_chain),
    "products": Table(("products",), prose.factors),
    "message_passing-gain": Table(("message_passing", "message_passing-energy-300"), prose.gain),
    "networks": Table(("networks-tensornet", "networks-ictp", "networks-tdn"), networks),
    "trained": Table(
        ("train-acac-ictp", "train-acac-tdn", "train-acac-tensornet", "train-acac-delta"),
        trained.molecules,
    ),
    "polished": Table(
        ("train-Mo-polish", "train-ethanol-polish", "train-ethanol-tensornet"), trained.polished
    ),
    "curves-3BPA": Table(("curves-3BPA",), trained.curves),
    "curves-QM9": Table(("curves-QM9",), trained.curves),
    "sizes": Table(("sizes",), lambda result: sizes.table(result["fits"])),
    "refinement": Table(("refinement",), refinement.table),
    "matrix_free": Table(("matrix_free",), matrix_free.table),
    "message_passing": Table(("message_passing",), message_passing.table),
    "short_range": Table(("short_range",), short_range),
    "products-uvu": Table(("products",), products("uvu", "one channel", _ONE)),
    "products-uuu": Table(("products",), products("uuu", "as many", _MANY)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    known = ", ".join(COMMANDS)
    parser.add_argument("--remake", nargs="*", metavar="NAME", help=f"{known}; by default all")
    given = parser.parse_args()
    if given.remake is not None:
        if given.check:
            parser.error("--check measures nothing: leave out --remake")
        if unknown := set(given.remake) - set(COMMANDS):
            parser.error(f"expected any of {known}, got {', '.join(unknown)}")
        remake(given.remake or list(COMMANDS))
    ages = {name: age_of(name) for name in measured()}
    if given.check:
        for name, each in ages.items():
            print(f"{name:<26}  {each}")
    faults = [fault for page in pages() for fault in update(page, ages, write=not given.check)]
    for fault in faults:
        print(fault)
    if faults or (given.check and any(map(is_stale, ages.values()))):
        raise SystemExit(1)


def measured() -> list[str]:
    """Results that are there or should be, in the order in which they are measured."""
    return list(dict.fromkeys([*COMMANDS, *sorted(path.stem for path in RESULTS.glob("*.json"))]))


def read(name: str) -> Result:
    return cast("Result", json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def age_of(name: str) -> str:
    """Whether a result is fresh, stale, of unknown age or missing."""
    return age(name, read(name)) if (RESULTS / f"{name}.json").exists() else "missing"


def is_stale(each: str) -> bool:
    # Results from before there were stamps are shown until they are measured again.
    return each not in ("fresh", "of unknown age")


def pages() -> list[Path]:
    """Files whose tables are made here."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def update(page: Path, ages: Mapping[str, str], *, write: bool) -> list[str]:
    """Put the tables of fresh results into a page, or only compare; return what is wrong."""
    text = page.read_text(encoding="utf-8")
    faults = []

    def replaced(found: re.Match[str]) -> str:
        name, old = found.groups()
        if name not in TABLES:
            raise SystemExit(f"{page.name}: expected a table of {', '.join(TABLES)}, got {name}")
        stale = [each for each in TABLES[name].results if is_stale(ages[each])]
        if stale and write:
            why = "; ".join(f"{each} is {ages[each]}" for each in stale)
            again = f"python benchmarks/pages.py --remake {' '.join(stale)}"
            faults.append(f"{page.name}: table {name} is left as it is: {why}; measure: {again}")
        if stale and (write or any(ages[each] == "missing" for each in stale)):
            return found[0]
        new = TABLES[name].render(*map(read, TABLES[name].results))
        if new != old and not write:
            faults.append(f"{page.name}: table {name} differs from its results")
        return f"<!-- table: {name} -->\n\n{new}\n\n<!-- /table -->"

    new = MARKED.sub(replaced, text)
    if len(re.findall("<!-- /?table", text)) != 2 * len(MARKED.findall(text)):
        raise SystemExit(f"{page.name}: a mark of a table has no partner, or no blank line")
    if write and new != text:
        page.write_text(new, encoding="utf-8")
        print(f"{page.name}: written")
    return faults


def remake(names: Collection[str]) -> None:
    """Measure those of the results that are not fresh, and draw the figure of several fits."""
    names = [name for name in COMMANDS if name in names]
    for name in names:
        # Asked when its turn comes: what measures one result may write another on the way.
        before = age_of(name)
        print(f"{name}: {before}", flush=True)
        if before != "fresh":
            for command in COMMANDS[name].split(" && "):
                run(command)
    if set(names) & set(FITS):
        run("published.py")


def run(command: str) -> None:
    """Run a benchmark in a process of its own, with the variables that stand before it."""
    words = shlex.split(command.format(data=shlex.quote(str(shared_data()))))
    at = next(k for k, word in enumerate(words) if word.endswith(".py"))
    variables = dict(word.split("=", 1) for word in words[:at])
    real = [sys.executable, str(ROOT / "benchmarks" / words[at]), *words[at + 1 :]]
    code = subprocess.run(real, cwd=ROOT, env=os.environ | variables, check=False).returncode
    if code:
        raise SystemExit(f"{command}: ended with exit code {code}; what was measured is kept")


if __name__ == "__main__":
    main()
