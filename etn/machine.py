"""Memory of this process, and of the machine or the control group that it runs in."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

from etn.errors import CoreError, SettingsError

__all__ = [
    "available_memory",
    "check_memory",
    "memory_left",
    "memory_limit",
    "peak_memory",
    "resident_memory",
    "threads",
]

GB = 1e9
# Of the memory that is available, the part that is taken if no limit is set; what is taken even if
# the machine has less, bytes.
FRACTION, LEAST = 0.8, 1e9

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


def memory_limit(memory: float | None) -> float | None:
    """Bytes that this process may have in all; None where nothing is known.

    Parameters
    ----------
    memory : float or None
        GB; without it, what the process has and four fifths of what the machine has left.

    Raises
    ------
    SettingsError
        If it is not a positive number.

    Examples
    --------
    >>> memory_limit(1.5)
    1500000000.0
    """
    if memory is not None:
        if not 0 < memory < math.inf:
            raise SettingsError(f"memory: expected a positive number of GB, got {memory}")
        return GB * memory
    free = available_memory()
    # A full machine is no reason to refuse: it may swap, or others may end.
    return None if free is None else resident_memory() + max(FRACTION * free, LEAST)


def memory_left(memory: float | None) -> float:
    """Bytes that this process may still take; infinite where nothing is known.

    Parameters
    ----------
    memory : float or None
        As in :func:`memory_limit`.

    Raises
    ------
    SettingsError
        If it is no positive number, or no more than what this process has already.

    Examples
    --------
    >>> 1e10 < memory_left(100.0) <= 1e11
    True
    """
    limit, held = memory_limit(memory), resident_memory()
    if limit is None:
        return math.inf
    if limit <= held:
        raise SettingsError(
            f"memory: expected more than {math.ceil(held / GB * 1e3) / 1e3:.3f} GB, which the "
            f"program and the data hold already, got {limit / GB:g} GB: allow more"
        )
    return limit - held


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


def threads() -> int:
    """Threads that a computation may have: ``OMP_NUM_THREADS``, or the cores of this process."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
