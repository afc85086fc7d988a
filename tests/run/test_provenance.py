"""Where numbers come from: versions, the machine, and what JSON cannot hold."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

import etn
from etn.run import provenance


def test_versions_are_those_of_the_packages(monkeypatch):
    found = provenance.versions()
    assert found["etn"] == etn.__version__
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__

    def missing(name):
        if name == "vesin":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(provenance, "version", missing)
    assert provenance.versions().keys() == found.keys() - {"vesin"}


def test_the_machine_says_its_cores_and_limits_on_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OTHER", "4")
    found = provenance.machine()
    assert found["threads"]["OMP_NUM_THREADS"] == "3"
    assert "OTHER" not in found["threads"]
    assert 1 <= found["cores"] <= os.cpu_count()
    json.dumps(found)


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    assert provenance.machine()["cores"] == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert provenance.machine()["cores"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_is_null(value):
    given = {"a": [1.5, value, (value, "x")], "b": {"c": value}, "d": 3, "e": True}
    found = provenance.jsonable(given)
    assert found == {"a": [1.5, None, [None, "x"]], "b": {"c": None}, "d": 3, "e": True}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
