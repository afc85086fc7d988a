"""Memory that was freed stays with the process; other systems are left as they are."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from etn.cli import allocator

SCRIPT = """
import os, re, sys
from pathlib import Path
if "keep" in sys.argv:
    from etn.cli.allocator import keep_freed_memory
    keep_freed_memory()
import numpy as np

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

before = resident()
block = np.ones(8_000_000)  # 64 MB
del block
print(resident() - before)
"""


class Library:
    def __init__(self, name):
        self.calls = []

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))
        return 1


@pytest.fixture
def library(monkeypatch):
    made = Library(None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    return made


def test_the_parameters_are_those_of_malloc_h(library, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    allocator.keep_freed_memory()
    # From malloc.h: M_TRIM_THRESHOLD -1, M_TOP_PAD -2, M_MMAP_THRESHOLD -3, M_ARENA_MAX -8.
    found = dict(library.calls)
    assert found.keys() == {-1, -2, -3, -8}
    assert found[-8] == 1
    assert all(0 < value < 2**31 for value in found.values())
    # One that is mapped is never kept, one that is trimmed not for long.
    assert found[-3] >= 2**30
    assert found[-1] >= 2**30


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_as_they_are(library, monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    allocator.keep_freed_memory()
    assert library.calls == []


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_another_c_library_is_no_error(monkeypatch, error):
    def refuse(name):
        raise error

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    allocator.keep_freed_memory()


@pytest.mark.skipif(
    not (sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")),
    reason="needs glibc",
)
def test_freed_memory_is_kept():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, *options], capture_output=True,
                           text=True, check=True, timeout=60).stdout)
        for options in (["keep"], [])
    )  # fmt: skip
    assert kept > 60e6
    assert given_back < 10e6
