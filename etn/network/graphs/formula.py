"""Formulas of networks: cores by name, each with the labels of its legs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from etn.errors import CoreError, IrrepsError
from etn.network.graphs.einsum import Labels
from etn.o3 import Irreps
from etn.tensor import Core

_NODE = re.compile(r"[\s,]*(\w+)\s*\[([\w\s,]*)\]")


class Formula(NamedTuple):
    """A formula, read.

    Attributes
    ----------
    labels : dict of str to tuple of str
        Labels of the legs of each core.
    open : tuple of str or None
        What stands after the arrow.
    """

    labels: dict[str, Labels]
    open: Labels | None


class End(NamedTuple):
    """One end of a leg: the core that it belongs to, and what it carries."""

    core: str
    leg: Irreps


def parse(formula: str) -> Formula:
    """Read ``"left[a x1 b] right[b x2 out] -> a x1 x2 out"``; the arrow may be missing.

    Raises
    ------
    CoreError
        If the formula cannot be read, or a name stands twice.

    Examples
    --------
    >>> parse("left[a, x] right[x, b]")
    Formula(labels={'left': ('a', 'x'), 'right': ('x', 'b')}, open=None)
    """
    nodes, arrow, output = formula.partition("->")
    labels: dict[str, Labels] = {}
    at, end = 0, len(nodes.rstrip(" \t\r\n,"))
    while at < end:
        match = _NODE.match(nodes, at)
        if match is None:
            raise CoreError(
                f'"{formula}", position {at}: expected name[label label ...] with words for '
                f'the name and the labels, got "{nodes[at:].strip()[:20]}"'
            )
        name = match[1]
        if name in labels:
            raise CoreError(
                f'"{formula}": the core {name} stands twice; give every node a name of its own '
                "(two names may stand for one core)"
            )
        labels[name] = words(match[2])
        at = match.end()
    if not labels:
        raise CoreError(f'"{formula}": expected at least one core, as in "core[x y z]"')
    return Formula(labels, words(output) if arrow else None)


def words(text: str) -> Labels:
    """Labels set apart by spaces or commas."""
    return tuple(text.replace(",", " ").split())


def listed(labels: Iterable[str]) -> str:
    """Labels as they stand in a message."""
    return " ".join(labels) or "none"


def join(cores: Mapping[str, Core], labels: Mapping[str, Labels]) -> dict[str, list[End]]:
    """The one end of each open leg and the two ends of each bond, in order of appearance.

    Raises
    ------
    CoreError
        If a core has not as many legs as labels, or a label occurs more than twice.
    IrrepsError
        If the two ends of a label carry different irreps.
    """
    ends: dict[str, list[End]] = {}
    for name, core in cores.items():
        if len(labels[name]) != core.order:
            raise CoreError(
                f"core {name}: expected a label for each of its {core.order} legs "
                f"({', '.join(map(str, core.legs))}), got {listed(labels[name])}"
            )
        for label, leg in zip(labels[name], core.legs, strict=True):
            ends.setdefault(label, []).append(End(name, leg))
    for label, found in ends.items():
        if len(found) > 2:
            raise CoreError(
                f"label {label}: expected at most 2 legs, got {len(found)}, on the cores "
                f"{listed(end.core for end in found)}; a copied index is not equivariant: couple "
                "the legs through one more core, or feed the copies as samples"
            )
        one, two = found[0], found[-1]
        if one.leg != two.leg:
            raise IrrepsError(
                f"label {label}: core {one.core} carries {one.leg}, core {two.core} carries "
                f"{two.leg}; both ends must carry the same irreps in the same order"
            )
    return ends


def open_trace(labels: Labels) -> tuple[Labels, list[Labels]]:
    """Labels with the second end of each trace renamed, and the pairs of names to join again.

    Examples
    --------
    >>> open_trace(("b", "x", "b"))
    (('b', 'x', "b'"), [('b', "b'")])
    """
    renamed = tuple(
        f"{label}'" if label in labels[:leg] else label for leg, label in enumerate(labels)
    )
    return renamed, [pair for pair in zip(labels, renamed, strict=True) if pair[0] != pair[1]]
