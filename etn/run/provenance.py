"""Where numbers come from: versions, machine and memory, for reports."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["jsonable", "machine", "versions"]


def versions() -> dict[str, str]:
    """Versions of etn, Python and the packages that the numbers come from."""
    from etn import __version__

    found = {"etn": __version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "ase", "vesin", "sphericart"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Describe the machine: platform, cores that may be used, limits on threads."""
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": _cores(),
        "threads": {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
    }


def jsonable(value: Any) -> Any:
    """Replace infinities and NaN, such as the condition of a singular system, by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
