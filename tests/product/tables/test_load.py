"""Shipped tables: what they promise, their checksums, and that they can be made anew."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from etn.errors import ModelFileError, SettingsError
from etn.product.fusion import fused_cg
from etn.product.tables import available_tables, load_table
from etn.product.tables.derive import RECIPES, derive

FOLDER = Path(str(files("etn.product.tables")))
EXACT = [7, 30, 88, 154, 226, 330]  # cp_rank for l_max = 1 ... 6
EVEN = [6, 18, 32, 58, 82, 122]
TDN_ERRORS = [0.017, 0.011, 0.047, 0.052, 0.055, 0.05]


def test_what_there_is():
    keys = {(table.kind, table.l_max) for table in available_tables()}
    assert keys == {(kind, l) for kind in ("exact", "even", "tdn") for l in range(1, 7)}
    assert keys == set(RECIPES)


@pytest.mark.parametrize("table", available_tables(), ids=lambda t: f"{t.kind}-{t.l_max}")
def test_the_manifest_states_what_the_file_holds(table):
    cp = load_table(table.l_max, table.kind)
    parity = "even" if table.kind == "even" else "none"
    assert cp.target.paths == fused_cg(table.l_max, parity=parity).paths
    assert (cp.cp_rank, cp.method) == (table.cp_rank, table.method)
    # The error and the projections by einsum, not by the code that wrote the manifest.
    dense = np.einsum("kr,ir,jr->kij", *cp.factors, optimize=True)
    error = np.linalg.norm(dense - cp.target.dense()) / np.linalg.norm(cp.target.dense())
    assert error == pytest.approx(table.relative_error, rel=1e-6, abs=1e-13)
    rest = dense - cp.target.with_coefficients(cp.target.project(dense)).dense()
    violation = np.linalg.norm(rest) / cp.target.norm
    assert violation == pytest.approx(table.violation, rel=1e-6, abs=1e-13)
    assert table.mean_error == pytest.approx(np.sqrt(2) * table.violation)
    assert 0.5 <= table.smallest_coefficient <= table.largest_coefficient <= 2.0


@pytest.mark.parametrize("l_max", range(1, 7))
def test_exact_tables(l_max):
    for kind, ranks in (("exact", EXACT), ("even", EVEN)):
        cp = load_table(l_max, kind)
        assert cp.cp_rank == ranks[l_max - 1]
        assert cp.relative_error <= 1e-12
        assert np.abs(cp.target.coefficients).min() >= 0.5


@pytest.mark.parametrize("l_max", range(1, 7))
def test_tdn_tables(l_max):
    cp = load_table(l_max, "tdn")
    assert cp.cp_rank == 7 * l_max**2
    assert (cp.target.coefficients == 1.0).all()
    assert cp.relative_error <= TDN_ERRORS[l_max - 1]


def test_certificate_of_the_manifest_is_that_of_the_table():
    for table in available_tables():
        if table.l_max <= 3:
            found = load_table(table.l_max, table.kind).certificate()
            assert found.sup_error == pytest.approx(table.sup_error, rel=1e-6, abs=1e-13)
            assert found.smallest_coefficient == pytest.approx(table.smallest_coefficient)
            assert found.largest_coefficient == pytest.approx(table.largest_coefficient)


def test_tables_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 2_000_000


def test_cached_and_read_only():
    cp = load_table(2)
    assert load_table(2, "exact") is cp
    with pytest.raises(ValueError, match="read-only"):
        cp.factors[0][0, 0] = 1.0


def test_unknown_tables():
    with pytest.raises(SettingsError, match=r"no table of kind 'exact' for l_max 9: there are"):
        load_table(9)
    with pytest.raises(SettingsError, match=r"even for l_max 1, 2, 3, 4, 5, 6; exact for"):
        load_table(2, "gaunt")
    with pytest.raises(SettingsError, match="no recipe for 'gaunt', l_max 2"):
        derive(2, "gaunt")


def test_changed_file(copy):
    path = copy / "even-1.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"even-1.*expected the SHA-256 .* got .*reinstall"):
        load_table(1, "even", folder=copy)
    assert load_table(1, "exact", folder=copy).cp_rank == 7


def test_missing_file_and_manifest(copy):
    (copy / "even-1.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"even-1.safetensors: there is no such file"):
        load_table(1, "even", folder=copy)
    (copy / "manifest.json").write_text('{"tables": [{"kind": "even"}]}')
    with pytest.raises(ModelFileError, match="damaged"):
        available_tables(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(ModelFileError, match=r"manifest.json: there is no such file"):
        available_tables(copy)


def test_loading_a_table_loads_no_optional_package():
    code = (
        "import sys; from etn.product.tables import load_table; load_table(3); "
        "heavy = ('torch', 'sympy', 'quimb', 'matplotlib', 'ase'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
