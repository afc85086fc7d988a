"""The stamp of a result: which code and which default settings its numbers come from.

A result is stale when what it depends on has changed since. That are folders of the package and
scripts, whose digests leave out comments, docstrings and layout; and default settings by value.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import etn
from etn.run.settings import FitSettings
from etn.run.sizes import SIZES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_CORES = ("etn/backend.py", "etn/o3", "etn/tensor", "etn/network", "etn/sweep")
_POTENTIALS = (*_CORES, "etn/machine.py", "etn/data", "etn/native", "etn/potential")
_FITS = (*_POTENTIALS, "etn/run", "FitSettings", "SIZES", "benchmarks/fit.py")
_PRODUCTS = ("etn/backend.py", "etn/o3", "etn/product")
# What the numbers of each script depend on, beside the script.
DEPENDS: dict[str, tuple[str, ...]] = {
    "cartesian": (*_PRODUCTS, "benchmarks/products.py"),
    "core_update": (*_POTENTIALS, "C++"),
    "cp": _PRODUCTS,
    "curves": (*_FITS, "etn/product", "etn/nn"),
    "elements": (*_POTENTIALS, "SIZES"),
    "evaluator": (
        *_FITS,
        "C++",
        "etn/interfaces",
        "benchmarks/evaluated.py",
        "benchmarks/published.py",
        "benchmarks/workers/dynamics.py",
        "benchmarks/workers/foreign.py",
        "benchmarks/workers/lammps_runs.py",
        "benchmarks/workers/own.py",
        "benchmarks/workers/process.py",
        "benchmarks/workers/turns.py",
    ),
    "fit": _FITS,
    "learning": (*_FITS, "benchmarks/sizes.py"),
    "matrix_free": (*_POTENTIALS, "C++"),
    "message_passing": _POTENTIALS,
    "networks": (
        *_POTENTIALS,
        "etn/product",
        "etn/nn",
        "etn/run/networks.py",
        "benchmarks/peers.py",
        "benchmarks/per_path.py",
    ),
    "nve": (*_FITS, "etn/interfaces/ase.py"),
    "products": _PRODUCTS,
    "refinement": _FITS,
    "scaling": ("etn/backend.py", "etn/o3", "etn/tensor", "etn/network"),
    "short_range": (*_FITS, "etn/interfaces/ase.py"),
    "sizes": _FITS,
    "spin_chain": _CORES,
    "train": (*_FITS, "etn/product", "etn/nn"),
    "uncertainty": _POTENTIALS,
}
DEFAULTS: dict[str, Any] = {
    "FitSettings": {
        name: field.default
        for name, field in FitSettings.model_fields.items()
        if not field.is_required()
    },
    "SIZES": {name: size.values() for name, size in SIZES.items()},
    "C++": {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted((Path(etn.__file__).parent / "native").rglob("*.[hc]*pp"))
    },
}


def read_sources() -> dict[str, str]:
    """Text of every module of the etn that is imported, and of every benchmark."""
    folders = {"etn": Path(etn.__file__).parent, "benchmarks": ROOT / "benchmarks"}
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": path.read_text(encoding="utf-8")
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*.py"))
    }


# As they are when a benchmark begins: a change while it runs makes its result stale, not fresh.
SOURCES = read_sources()


def script(result: str) -> str:
    """The benchmark that writes a result, whose name begins with that of the script."""
    name = result.partition("-")[0]
    if name not in DEPENDS:
        raise SystemExit(
            f"result {result!r}: expected a name that begins with one of {', '.join(DEPENDS)}, "
            "and perhaps - and more"
        )
    return name


def stamp(result: str) -> dict[str, Any]:
    """Version, commit and the digests of what a result depends on."""
    return {"etn": etn.__version__, **commit(), "depends": depends(result)}


def depends(result: str, sources: Mapping[str, str] = SOURCES) -> dict[str, str]:
    """Digest of each thing that a result depends on."""
    name = script(result)
    return {part: digest(part, sources) for part in (*DEPENDS[name], f"benchmarks/{name}.py")}


def digest(part: str, sources: Mapping[str, str] = SOURCES) -> str:
    """Digest of default settings, of a module or of all modules of a folder."""
    if part in DEFAULTS:
        return _hash(DEFAULTS[part])
    modules = {
        path: _outline(text)
        for path, text in sorted(sources.items())
        if path == part or path.startswith(f"{part}/")
    }
    if not modules:
        raise SystemExit(f"{part}: expected a module or a folder, found no such source")
    return _hash(modules)


@cache
def _outline(text: str) -> str:
    """Digest of the syntax tree without docstrings, alike in all versions of Python."""

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return tuple(map(walk, node))
        if not isinstance(node, ast.AST):
            return node
        fields = dict(ast.iter_fields(node))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            fields["body"] = fields["body"][1:]
        # Fields that a later version of Python adds are empty in code that does not use them.
        used = ((name, walk(value)) for name, value in fields.items() if value not in (None, []))
        return type(node).__name__, *used

    return _hash(walk(ast.parse(text)))


def commit() -> dict[str, Any]:
    """Commit of the checkout, and whether its code was as committed; None without git."""
    head = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", "etn", "benchmarks/*.py")
    return {"commit": head, "clean": None if changes is None else not changes}


def age(result: str, content: Mapping[str, Any], sources: Mapping[str, str] = SOURCES) -> str:
    """What is to be said about the age of a result: "fresh", "of unknown age", "stale: ..."."""
    stamps = list(_stamps(content))
    now = depends(result, sources)
    changed = {
        part: (each["commit"] or "")[:9] or "a tree without git"
        for each in stamps
        if each is not None
        for part in sorted(now.keys() | each["depends"].keys())
        if now.get(part) != each["depends"].get(part)
    }
    if changed:
        since = sorted(set(changed.values()))
        return f"stale: {', '.join(changed)} changed since {', '.join(since)}"
    return "of unknown age" if None in stamps else "fresh"


def _stamps(content: Mapping[str, Any]) -> Iterator[dict[str, Any] | None]:
    """The stamp of a result, or those of its fits where each was measured by itself."""
    if "stamp" in content or not content.get("fits"):
        yield content.get("stamp")
    else:
        yield from (fit.get("stamp") for fit in content["fits"])


def _hash(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(etn.__file__).parents[1]), *arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
