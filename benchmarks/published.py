"""Errors on published test sets beside published values, drawn from what `fit.py` has measured.

    python benchmarks/published.py

Reads results/fit-SET.json and writes docs/figures/measured.svg.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from common import FIGURES, PALETTE, RESULTS, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Mean absolute errors (energy in meV/atom, forces in eV/Å) for the same training frames, with as
# many digits as were published.  GAP and MTP: Zuo et al. 2020; MACE: Batatia et al. 2022, whose
# energies are of molecules (0.4 meV of 9 atoms, 2.2 meV of 21).
PUBLISHED = {
    "Mo": {"GAP": (2.24, 0.09), "MTP": (2.83, 0.09)},
    "Si": {"GAP": (2.91, 0.07), "MTP": (2.21, 0.06)},
    "Cu": {"GAP": (0.46, 0.01), "MTP": (0.41, 0.01)},
    "ethanol": {"MACE": (0.4 / 9, 0.0021)},
    "aspirin": {"MACE": (2.2 / 21, 0.0066)},
}
TITLES = ("energy MAE, meV/atom", "force MAE, eV/Å")
MARKS = {"GAP": "s", "MTP": "D", "MACE": "^"}


def main() -> None:
    path = FIGURES / "measured.svg"
    save(figure({name: measured(name) for name in PUBLISHED}), path)
    print(path)


def measured(name: str) -> tuple[float, float]:
    """Test errors of a set, meV/atom and eV/Å."""
    text = (RESULTS / f"fit-{name}.json").read_text(encoding="utf-8")
    errors = json.loads(text)["errors"]["test"]
    return 1e3 * errors["energy"]["mae"], errors["forces"]["mae"]


def figure(ours: dict[str, tuple[float, float]]) -> Figure:
    """One line a set, one panel each for energies and forces."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9}):
        drawn = Figure(figsize=(7.2, 2.5), layout="constrained")
        panels = drawn.subplots(1, 2, sharey=True)
        for k, (panel, title) in enumerate(zip(panels, TITLES, strict=True)):
            draw(panel, {name: both[k] for name, both in ours.items()}, k)
            panel.set_xlabel(title)
        panels[0].set_yticks(range(len(ours)), labels=list(ours))
        panels[0].invert_yaxis()
        marks, labels = panels[0].get_legend_handles_labels()
        drawn.legend(marks[::-1], labels[::-1], loc="outside right", frameon=False)
    return drawn


def draw(panel: Any, ours: dict[str, float], k: int) -> None:
    """Markers of all potentials; the line joins the values of one set."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    panel.set_xscale("log")
    for row, (name, value) in enumerate(ours.items()):
        others = {label: both[k] for label, both in PUBLISHED[name].items()}
        values = [value, *others.values()]
        panel.plot([min(values), max(values)], [row, row], "-", color="0.8", zorder=1)
        for label, other in others.items():
            panel.plot(other, row, MARKS[label], mfc="none", mec="0.35", ms=6, label=label)
        panel.plot(value, row, "o", color=PALETTE[0], ms=8, label="etn", zorder=3)
    keep_one_label_each(panel)
    panel.set_ylim(-0.6, len(ours) - 0.4)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9", lw=0.6)
    panel.set_axisbelow(True)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())


def keep_one_label_each(panel: Any) -> None:
    """Each kind of marker once in the legend, etn first."""
    seen: set[str] = set()
    for line in reversed(panel.lines):
        label = line.get_label()
        if label in seen:
            line.set_label(f"_{label}")
        seen.add(label)


if __name__ == "__main__":
    main()
