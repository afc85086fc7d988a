"""What ``import etn`` costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import etn

# Packages that take long to load, or that a user may not have.
LAZY = ("torch", "sympy", "quimb", "matplotlib", "ase", "vesin", "sphericart", "scipy", "numpy")


def run_python(code: str) -> str:
    """Run the code in a fresh interpreter and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_loads_no_other_package():
    loaded = run_python(f"import sys, etn; print([name for name in {LAZY} if name in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize("package", ["o3", "tensor", "network", "sweep", "product"])
def test_the_mathematics_needs_no_chemistry(package):
    optional = ("torch", "sympy", "quimb", "matplotlib", "ase", "vesin")
    loaded = run_python(
        f"import sys, etn.{package}; print([name for name in {optional} if name in sys.modules])"
    )
    assert loaded == "[]"


def test_potentials_load_neither_plots_nor_symbolic_algebra():
    optional = ("sympy", "quimb", "matplotlib")
    loaded = run_python(
        f"import sys, etn.potential; print([name for name in {optional} if name in sys.modules])"
    )
    assert loaded == "[]"


def test_import_takes_less_than_half_a_second():
    code = "from time import perf_counter as t; a = t(); import etn; print(t() - a)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.5


@pytest.mark.parametrize("name", etn.__all__)
def test_every_public_name_resolves(name):
    assert getattr(etn, name) is not None
    assert name in dir(etn)


def test_public_names_keep_their_identity():
    from etn.o3 import Irreps

    assert etn.Irreps is Irreps
    assert etn.Irreps is etn.o3.Irreps


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Irrepps'"):
        etn.Irrepps  # noqa: B018


def test_version_matches_the_installed_package():
    assert etn.__version__ == version("etn")
