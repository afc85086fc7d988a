"""Memory of this process, and of the machine or the control group that it runs in."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from etn.errors import CoreError

__all__ = ["available_memory", "check_memory", "peak_memory", "resident_memory"]

LARGEST_ARRAY = 8e9
"""Bytes of one array that are asked for without a word; less where less is free."""


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


def check_memory(n_bytes: float, what: str, instead: str = "") -> None:
    """Refuse what does not fit before it is begun.

    Parameters
    ----------
    n_bytes : float
        Of the largest array that will be made.
    what : str
        Its name, for the message.
    instead : str
        What to do; by default, to contract the network with values on its legs.

    Raises
    ------
    CoreError
        If that is more than :data:`LARGEST_ARRAY`, or than this process can still take.

    Examples
    --------
    >>> check_memory(8.0 * 4**30, "the dense tensor of 30 sites")
    Traceback (most recent call last):
    etn.errors.CoreError: the dense tensor of 30 sites would take 9.2e+09 GB, at most 8 GB are ...
    """
    if n_bytes < 1e8:  # not worth a look at the machine
        return
    free = available_memory()
    limit = min(LARGEST_ARRAY, LARGEST_ARRAY if free is None else free)
    if n_bytes > limit:
        advice = instead or "work with the cores, or on fewer sites"
        raise CoreError(
            f"{what} would take {n_bytes / 1e9:.2g} GB, at most {limit / 1e9:.2g} GB are "
            f"there for one array: {advice}"
        )


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
