"""Drawings of networks as text and as HTML."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, TypeVar

from etn.o3 import Irreps

if TYPE_CHECKING:
    from etn.network.views.wiring import Wired

T = TypeVar("T")

CENTER, UNKNOWN = "●", "○"
# What a drawing may take where there is no terminal to ask.
_WIDTH = 100
# A notebook table with more cores than this shows its two ends.
_MAX_ROWS = 20


def chain_diagram(
    sites: Sequence[Irreps],
    bonds: Sequence[Irreps],
    center: int | None,
    *,
    max_width: int | None = None,
) -> str:
    """Draw a chain: ``>`` left-orthogonal, ``<`` right-orthogonal, ``●`` center, ``○`` unknown.

    A drawing that would be too wide writes the terms of the irreps below each other, and leaves
    out the middle of the chain if that is still too wide.

    Parameters
    ----------
    sites : irreps of the site legs, one a core
    bonds : irreps of the bonds, first and last included (one more than sites)
    center : site of the orthogonality center, or None
    max_width : most columns; those of the terminal if left out, 100 where there is none

    Examples
    --------
    >>> print(chain_diagram([Irreps("2x0e")] * 2, [Irreps(b) for b in ("0e", "3x0e", "0e")], 0))
     1x0e   3x0e   1x0e
    ──────●──────<──────
          │      │
        2x0e   2x0e
    >>> bond = Irreps("4x0e+2x1o")
    >>> print(chain_diagram([Irreps("0e+1o")] * 50, [bond] * 51, 49, max_width=50))
     4x0e   4x0e                     4x0e   4x0e
     2x1o   2x1o                     2x1o   2x1o
    ──────>────── … sites 1 to 48 … ──────●──────
          │                               │
        1x0e                            1x0e
        1x1o                            1x1o
    """
    if max_width is None:
        max_width = shutil.get_terminal_size((_WIDTH, 24)).columns
    n = len(sites)
    for lines in (_one_line, _terms):
        width = max(len(line) for leg in (*sites, *bonds) for line in lines(leg)) + 2
        if n * (width + 1) + width <= max_width or n <= 2:
            return _draw(sites, bonds, center, range(0), width, lines)
    room = max_width - 2 * width - len(_note(range(n), 0))
    shown = max(2, min(room // (width + 1), n - 1))
    hidden = range(shown - shown // 2, n - shown // 2)
    return _draw(sites, bonds, center, hidden, width, _terms)


def gauge_marks(n_sites: int, center: int | None) -> tuple[str, ...]:
    """Mark of every core of a chain, as :func:`chain_diagram` explains them.

    Examples
    --------
    >>> gauge_marks(4, 2), gauge_marks(2, None)
    (('>', '>', '●', '<'), ('○', '○'))
    """
    if center is None:
        return (UNKNOWN,) * n_sites
    return (">",) * center + (CENTER,) + ("<",) * (n_sites - center - 1)


def html(network: Wired) -> str:
    """Table of a network for a notebook: the legs of each core, its size, and the totals.

    A chain shows its canonical form with the marks of :func:`chain_diagram`.  The text is
    escaped and refers to nothing outside itself.

    Parameters
    ----------
    network : Chain, Wiring or a network with a method ``wiring``

    Examples
    --------
    >>> from etn.network import Chain
    >>> table = html(Chain.random(["2x0e+1x1o"] * 3, seed=0).canonicalize(1))
    >>> table.count("<tr>"), "<td>●</td>" in table
    (5, True)
    """
    from etn.network.views.wiring import as_network

    known = as_network(network)
    wiring, marks = known.wiring(), known.gauge_marks()
    order = max(core.order for core in wiring.cores)
    entries = [math.prod(leg.dim for leg in core.legs) for core in wiring.cores]

    def row(number: int) -> list[str]:
        core, labels = wiring.cores[number], wiring.labels[number]
        legs = [f"{label}: {leg}" for label, leg in zip(labels, core.legs, strict=True)]
        legs += [""] * (order - len(legs))
        return [
            str(number),
            *marks[number : number + 1],
            *legs,
            f"{core.n_parameters:,}",
            f"{entries[number]:,}",
        ]

    columns = ["core", *(["gauge"] if marks else []), *["leg"] * order, "parameters", "entries"]
    head, hidden, tail = elide(range(len(entries)), _MAX_ROWS)
    rows = [row(number) for number in head]
    rows += [["…", f"{hidden} more", *[""] * (len(columns) - 2)]] if hidden else []
    rows += [row(number) for number in tail]
    total = f"{sum(core.n_parameters for core in wiring.cores):,}"
    totals = ["total", *[""] * (len(columns) - 3), total, f"{sum(entries):,}"]
    caption = f"{type(network).__name__}, cores: {len(entries)}"
    if CENTER in marks:
        caption += f", orthogonality center: {marks.index(CENTER)}"
    elif marks:
        caption += ", not canonical"
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead>{_cells('th', columns)}</thead>"
        f"<tbody>{''.join(_cells('td', cells) for cells in rows)}</tbody>"
        f"<tfoot>{_cells('th', totals)}</tfoot></table>"
    )


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"


def elide(items: Sequence[T], most: int) -> tuple[Sequence[T], int, Sequence[T]]:
    """First items, number of hidden ones, last items; short sequences are not touched.

    Examples
    --------
    >>> elide(range(10), 5)
    (range(0, 3), 5, range(8, 10))
    """
    if len(items) <= most:
        return items, 0, items[:0]
    return items[: most - most // 2], len(items) - most, items[len(items) - most // 2 :]


def _one_line(leg: Irreps) -> list[str]:
    return [str(leg)]


def _terms(leg: Irreps) -> list[str]:
    return [str(term) for term in leg] or [""]


def _note(hidden: range, center: int | None) -> str:
    """What stands for hidden sites."""
    middle = "" if center is None or center not in hidden else f", ● {center}"
    return f" … sites {hidden.start} to {hidden.stop - 1}{middle} … "


def _draw(
    sites: Sequence[Irreps],
    bonds: Sequence[Irreps],
    center: int | None,
    hidden: range,
    width: int,
    lines: Callable[[Irreps], list[str]],
) -> str:
    wire, line = "─" * width, ""
    marks = gauge_marks(len(sites), center)
    above: list[tuple[list[str], float]] = []
    below: list[tuple[list[str], float]] = []
    for site, leg in enumerate(sites):
        if site in hidden and site > hidden.start:
            continue
        above.append((lines(bonds[site]), len(line) + width / 2))
        line += wire
        if site in hidden:
            line += _note(hidden, center)
            continue
        below.append((lines(leg), len(line) + 0.5))
        line += marks[site]
    above.append((lines(bonds[-1]), len(line) + width / 2))
    line += wire
    height = max(len(label) for label, _ in above)
    # Labels stand on the wire above, and hang on the stems below.
    above = [([""] * (height - len(label)) + label, column) for label, column in above]
    stems = _place([("│", column) for _, column in below])
    rows = [*_rows(above), line, stems, *_rows(below)]
    return "\n".join(text.rstrip() for text in rows)


def _rows(labels: Sequence[tuple[list[str], float]]) -> list[str]:
    """Columns of text as lines."""
    height = max(len(label) for label, _ in labels)
    return [
        _place([(label[row], column) for label, column in labels if row < len(label)])
        for row in range(height)
    ]


def _place(labels: Sequence[tuple[str, float]]) -> str:
    """Labels on one line, each centered at a column."""
    text = ""
    for label, center in labels:
        text = text.ljust(max(0, int(center - len(label) / 2))) + label
    return text
