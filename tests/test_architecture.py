"""The plan of the house, read from the imports: rooms, floors, circles, laziness."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each crowded folder may hold: rooms (files, a folder counts once), floors, and imports
# from one room into another.
LIMITS = {
    "etn.potential": {"lines": 6800, "rooms": 14, "floors": 6, "imports": 35},
    "etn.sweep": {"rooms": 14, "imports": 40},
}


def modules() -> dict[str, Path]:
    """All modules of the package by name."""
    found = {}
    for path in sorted((ROOT / "etn").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path) -> set[str]:
    """Modules of etn that a file imports when it runs, inside functions as well."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from (item for other in child.orelse for item in (other, *walk(other)))
                continue
            yield child
            yield from walk(child)

    names: set[str] = set()
    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
    return {name for name in names if name in MODULES}


IMPORTS = {name: imported(path) - {name} for name, path in MODULES.items()}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of nodes that reach each other (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(set(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def rooms(folder: str) -> dict[str, set[str]]:
    """Which rooms of a folder import which; its face, ``__init__``, is no room."""

    def room(name: str) -> str | None:
        rest = name.removeprefix(f"{folder}.")
        return None if rest == name else rest.split(".")[0]

    graph: dict[str, set[str]] = {}
    for name, others in IMPORTS.items():
        own = room(name)
        if own is not None:
            graph.setdefault(own, set()).update(
                found for found in map(room, others) if found not in (None, own)
            )
    return graph


def floors(graph: dict[str, set[str]]) -> int:
    """Length of the longest path; the graph has no circle."""
    known: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in known:
            known[node] = 1 + max((floor(other) for other in graph[node]), default=0)
        return known[node]

    return max(map(floor, graph))


def measure(folder: str) -> dict[str, int]:
    """Lines, rooms, floors and imports among the rooms of a folder."""
    graph = rooms(folder)
    files = [path for name, path in MODULES.items() if f"{name}.".startswith(f"{folder}.")]
    return {
        "lines": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files),
        "rooms": len(graph),
        "floors": 0 if circles(graph) else floors(graph),
        "imports": sum(map(len, graph.values())),
    }


@pytest.mark.parametrize("folder", LIMITS)
def test_folders_are_not_crowded(folder):
    found = measure(folder)
    over = {key: (found[key], most) for key, most in LIMITS[folder].items() if found[key] > most}
    assert not over, f"{folder}: (found, most) {over}"


@pytest.mark.parametrize("folder", LIMITS)
def test_rooms_of_a_folder_form_no_circle(folder):
    assert circles(rooms(folder)) == []


def test_files_import_each_other_in_no_circle():
    assert circles(IMPORTS) == []


def test_predicting_knows_no_fitting():
    predicting = (
        "base",
        "polynomial",
        "response",
        "uncertainty",
        "coverage",
        "features",
        "baseline",
    )
    for name, others in IMPORTS.items():
        if name.removeprefix("etn.potential.").split(".")[0] in predicting:
            assert not [o for o in others if o.startswith(("etn.sweep", "etn.potential.fitting"))]


def loaded(code: str, *prefixes: str) -> list[str]:
    """Modules with these prefixes that a fresh interpreter has loaded after the code."""
    check = f"import sys; print(*[name for name in sys.modules if name.startswith({prefixes!r})])"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("model", ["alloy", "message-passing"])
def test_a_loaded_potential_predicts_without_fits_and_sweeps(model):
    path = ROOT / "tests" / "potential" / "files" / f"{model}.etn"
    code = f"""
import etn
from etn.data import Dataset
model = etn.load({str(path)!r})
model.predict(Dataset.read("etn:NbMoTaW/test", index=":2"))
"""
    assert loaded(code, "etn.sweep", "etn.potential.fitting", "etn.run") == []


def test_the_reader_of_imports_sees_circles():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert floors({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == 3
