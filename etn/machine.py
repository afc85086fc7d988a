"""Memory of this process, and of the machine or the control group that it runs in."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

__all__ = ["available_memory", "peak_memory", "resident_memory"]


def resident_memory() -> float:
    """Bytes of memory that this process has now; zero where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 1e9 * (peak_memory() or 0.0)
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def available_memory() -> float | None:
    """Bytes that this process can still take, limits of its control group included.

    None where the system does not say.
    """
    found = []
    try:
        match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        if match:
            found.append(1024.0 * int(match[1]))
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            # What others take is not known: half of the machine.
            found.append(0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit, used in _CONTROL_GROUPS:
        try:
            found.append(float(Path(limit).read_text()) - float(Path(used).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return max(min(found), 0.0) if found else None


# Of version 2 and 1; inside a container its own group stands at the root.
_CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def peak_memory() -> float | None:
    """Largest resident memory of this process so far, GB; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
