"""Memory of the process and of its control group, as the system says."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import etn.machine
from etn import machine
from etn.errors import CoreError, SettingsError
from etn.machine import available_memory, check_memory, peak_memory, resident_memory

LINUX = sys.platform.startswith("linux")


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_the_memory_of_this_process_is_known():
    before = resident_memory()
    block = np.ones(25_000_000)
    assert resident_memory() - before == pytest.approx(block.nbytes, rel=0.1)
    assert 1e8 < available_memory() < 1e14


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_limits_of_the_control_group_count(monkeypatch, tmp_path):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(etn.machine, "_CONTROL_GROUPS", ((str(limit), str(used)),))
    limit.write_text("300000000\n")
    used.write_text("100000000\n")
    assert available_memory() == 2e8
    limit.write_text("max\n")
    assert available_memory() > 2e8


def test_the_peak_is_no_less_than_what_is_held():
    assert peak_memory() is None or 1e9 * peak_memory() > 0.5 * resident_memory()


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch):
    check_memory(1e7, "a small array")
    with pytest.raises(CoreError, match=r"the cube would take 1e.03 GB, at most .* GB are there"):
        check_memory(1e12, "the cube")
    monkeypatch.setattr(machine, "available_memory", lambda: 5e8)
    check_memory(4e8, "the cube")
    with pytest.raises(CoreError, match=r"1 GB, at most 0.5 GB are there for one array: cut it"):
        check_memory(1e9, "the cube", "cut it")
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    check_memory(7e9, "the cube")


def test_what_is_left_under_a_limit(monkeypatch):
    monkeypatch.setattr(machine, "resident_memory", lambda: 4e9)
    monkeypatch.setattr(machine, "available_memory", lambda: 10e9)
    assert machine.memory_left(5.0) == 1e9
    assert machine.memory_left(None) == pytest.approx(8e9)
    monkeypatch.setattr(machine, "available_memory", lambda: 0.0)
    assert machine.memory_left(None) == pytest.approx(1e9)
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    assert machine.memory_left(None) == np.inf
    with pytest.raises(SettingsError, match=r"memory: expected more than 4.000 GB, .* got 3 GB"):
        machine.memory_left(3.0)
    with pytest.raises(SettingsError, match="memory: expected a positive number of GB, got -1"):
        machine.memory_left(-1)
