"""What a step costs: all parts are there, and numbers that fit each other."""

from __future__ import annotations

import os

import pytest
from ase.build import molecule

from etn.errors import DataError, SettingsError
from etn.native import is_built
from etn.potential import Basis, PolynomialPotential
from etn.run.bench import bench, crystal


@pytest.fixture
def model():
    potential = PolynomialPotential(Basis(("Mo", "O"), l_max=2, n_max=3, r_max=4.0), max_bond=2)
    return potential.with_chain(potential.initial_chain(seed=0))


def test_all_parts_are_measured(model, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = bench(model, crystal("Mo")[:100], seconds=0.01)
    assert found.n_atoms == 100
    assert found.n_threads == 1
    assert all(value > 0 for value in found.microseconds.values())
    assert "a step with ASE" in str(found)
    assert "ETN_NATIVE" not in os.environ
    if is_built():
        fast, slow = (found.microseconds[part] for part in
                      ("compiled, float64", "NumPy, lists included"))  # fmt: skip
        assert fast < slow
        assert 0.1 < found.gflops("compiled, float64") < 1000


def test_without_a_compiled_evaluator_it_says_why(model, monkeypatch):
    monkeypatch.setenv("ETN_NATIVE", "0")
    found = bench(model, crystal("Mo")[:20], seconds=0.01)
    assert found.target.startswith("NumPy: ")
    assert list(found.microseconds) == [
        "lists of neighbours, each search", "NumPy, lists included", "a step with ASE",
    ]  # fmt: skip


def test_structures_that_are_none(model):
    with pytest.raises(SettingsError, match="no cubic crystal of H is known"):
        crystal("H")
    with pytest.raises(DataError, match="element C, H is unknown"):
        bench(model, molecule("CH4"))
