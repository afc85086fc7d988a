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
    top = "".join(str(b).center(width + 1) for b in bonds)
    line = "".join("─" * width + mark for mark in marks) + "─" * width
    indent = " " * (width // 2 + 1)
    stems = " " * width + (" " * width).join("│" * len(sites))
    names = indent + "".join(str(leg).center(width + 1) for leg in sites)
    return "\n".join(text.rstrip() for text in (top, line, stems, names))
