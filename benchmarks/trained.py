"""Tables of what train.py and curves.py have measured."""

from __future__ import annotations

import re
import statistics
from typing import Any

from curves import CONTESTANTS

Result = dict[str, Any]


def molecules(*trainings: Result) -> str:
    """Errors of a molecule of 15 atoms by networks and by the fit below one, and what they cost."""
    lines = [
        "| | energy, meV a molecule | forces, meV/Å | weights | time | threads |",
        "|---|---|---|---|---|---|",
    ]
    for each in trainings:
        name, seconds = f"`etn train {each['network']}`", each["wall_s"]
        if fit := each.get("fit"):
            lines.append(_line("`etn fit`", fit, fit["wall_s"], each))
            name, seconds = f"{name} `--below` the fit", seconds + fit["wall_s"]
        lines.append(_line(name, each, seconds, each))
    return "\n".join(lines)


def _line(name: str, each: Result, seconds: float, run: Result) -> str:
    test = each["errors"]["test"]
    cells = [
        name,
        f"{15e3 * test['energy']['rmse']:.1f}",
        f"{1e3 * test['forces']['rmse']:.1f}",
        f"{_weights(each):,}",
        _minutes(seconds, run),
        str(run["threads"]),
    ]
    return f"| {' | '.join(cells)} |"


def polished(*trainings: Result) -> str:
    """Mean absolute errors of fits, before and after a polish, and of networks beside them."""
    lines = [
        "| set | | energy, meV/atom | forces, meV/Å | weights | time |",
        "|---|---|---|---|---|---|",
    ]
    for each in trainings:
        name = f"`etn train {each['network']}`"
        stages = [(name, each, each["wall_s"])]
        if fit := each.get("fit"):
            name += " `--from` the fit"
            stages = [("`etn fit`", fit, fit["wall_s"]), (name, each, each["wall_s"])]
        for label, stage, seconds in stages:
            test = stage["errors"]["test"]
            cells = [
                each["set"],
                label,
                f"{1e3 * test['energy']['mae']:.3g}",
                f"{1e3 * test['forces']['mae']:.3g}",
                f"{_weights(stage):,}",
                _minutes(seconds, each),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _weights(each: Result) -> int:
    found = re.search(r"(\d+) parameters", each["model"])
    return int(found[1]) if found else 0


def _minutes(seconds: float, run: Result) -> str:
    return f"{seconds / 60:.0f} min{' (b)' if run.get('shared_cores') else ''}"


def curves(result: Result) -> str:
    """Test errors of all contestants, in Markdown; means of the seeds, and how far these spread."""
    fits = result["fits"]
    labels = [label for label in ("energy", "forces") if label in fits[0]["errors"]["test"]]
    heads = {"energy": "energy, meV/atom", "forces": "forces, meV/Å"}
    shown = [(label, kind) for label in labels for kind in ("mae", "rmse")]
    head = ["", "frames", *(f"{heads[label]}, {kind.upper()}" for label, kind in shown), "time"]
    lines = [f"| {' | '.join([*head, 'seeds'])} |", "|---" * (len(head) + 1) + "|"]
    for name, command in CONTESTANTS.items():
        for n in sorted({fit["frames"] for fit in fits if fit["contestant"] == name}):
            own = [fit for fit in fits if fit["contestant"] == name and fit["frames"] == n]
            cells = [f"`etn {command}`", f"{n}"]
            for label, kind in shown:
                errors = [1e3 * fit["errors"]["test"][label][kind] for fit in own]
                spread = f" ± {statistics.stdev(errors):.1g}" if len(own) > 1 else ""
                cells.append(f"{statistics.mean(errors):.3g}{spread}")
            minutes = statistics.mean(fit["wall_s"] for fit in own) / 60
            lines.append(f"| {' | '.join([*cells, f'{minutes:.1f} min', str(len(own))])} |")
    return "\n".join(lines)
