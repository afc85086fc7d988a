"""Names of a package that load on first use (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["attach"]


def attach(
    package: str, homes: Mapping[str, str], modules: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose names load on first use.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        For each module the names, with spaces between, that are taken from it.
    modules : mapping of str to str, optional
        Names that stand for modules, and these modules.

    Examples
    --------
    >>> get, _ = attach("etn.lazy", {"etn.o3": "Irreps", "etn.tensor": "Core"}, {"o3": "etn.o3"})
    >>> get("Irreps")("2x0e").dim, get("o3").__name__
    (2, 'etn.o3')
    """
    own = vars(sys.modules[package])
    found = {name: module for module, names in homes.items() for name in names.split()}
    modules = modules or {}

    def get(name: str) -> Any:
        if name in found:
            value = getattr(import_module(found[name]), name)
        elif name in modules:
            value = import_module(modules[name])
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # Found here from now on, without another call of this function.
        own[name] = value
        return value

    return get, lambda: sorted({*own, *found, *modules})
