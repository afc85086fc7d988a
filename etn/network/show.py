"""Text drawings of networks."""

from __future__ import annotations

from collections.abc import Sequence

from etn.o3 import Irreps


def chain_diagram(sites: Sequence[Irreps], bonds: Sequence[Irreps], center: int | None) -> str:
    """Draw a chain: ``>`` left-orthogonal, ``<`` right-orthogonal, ``●`` center, ``○`` unknown.

    Parameters
    ----------
    sites : irreps of the site legs, one a core
    bonds : irreps of the bonds, first and last included (one more than sites)
    center : site of the orthogonality center, or None

    Examples
    --------
    >>> print(chain_diagram([Irreps("2x0e")] * 2, [Irreps(b) for b in ("0e", "3x0e", "0e")], 0))
     1x0e   3x0e   1x0e
    ──────●──────<──────
          │      │
        2x0e   2x0e
    """
    width = max(len(str(leg)) for leg in (*sites, *bonds)) + 2
    marks = [
        "○" if center is None else ">" if site < center else "<" if site > center else "●"
        for site in range(len(sites))
    ]
    line = "".join("─" * width + mark for mark in marks) + "─" * width
    stems = " " * width + (" " * width).join("│" * len(sites))
    step = width + 1
    top = _place(list(map(str, bonds)), [site * step + width / 2 for site in range(len(bonds))])
    names = _place(list(map(str, sites)), [site * step + width + 0.5 for site in range(len(sites))])
    return "\n".join(text.rstrip() for text in (top, line, stems, names))


def _place(labels: Sequence[str], centers: Sequence[float]) -> str:
    """Labels on one line, each centered at a column."""
    text = ""
    for label, center in zip(labels, centers, strict=True):
        text = text.ljust(max(0, int(center - len(label) / 2))) + label
    return text
