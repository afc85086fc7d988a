"""Names of a package that load on first use (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["attach"]


def attach(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose names load on first use.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        The module in which each name is defined; ``"module:"`` stands for the module itself.

    Examples
    --------
    >>> __getattr__, __dir__ = attach("etn.lazy", {"Irreps": "etn.o3", "maths": "etn.o3:"})
    >>> __getattr__("Irreps")("2x0e").dim, __getattr__("maths").__name__
    (2, 'etn.o3')
    """
    own = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, separator, _ = homes[name].partition(":")
        loaded = import_module(module)
        # Found here from now on, without another call of this function.
        own[name] = value = loaded if separator else getattr(loaded, name)
        return value

    return get, lambda: sorted({*own, *homes})
