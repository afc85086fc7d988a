"""Tables are made anew, and what is better or whole is kept."""

from __future__ import annotations

import numpy as np
import pytest

from etn.product.tables import available_tables, load_table
from etn.product.tables import derive as derive_module
from etn.product.tables.derive import RECIPES, derive, main, write_tables


@pytest.mark.parametrize(("kind", "l_max"), [("exact", 3), ("even", 1), ("even", 2), ("even", 3)])
def test_analytic_tables_are_derived_anew(kind, l_max):
    cp, shipped = derive(l_max, kind), load_table(l_max, kind)
    assert cp.cp_rank == shipped.cp_rank
    assert cp.target.coefficients == pytest.approx(shipped.target.coefficients, abs=1e-12)
    assert cp.dense() == pytest.approx(shipped.dense(), abs=1e-12)


def test_numeric_table_is_derived_anew():
    cp = derive(1, "exact")
    shipped = load_table(1, "exact")
    assert cp.cp_rank == shipped.cp_rank == 7
    assert cp.relative_error <= 1e-12
    assert cp.target.coefficients == pytest.approx(shipped.target.coefficients, abs=1e-9)
    assert np.abs(cp.target.coefficients).min() >= 0.5


def test_write_keeps_what_is_better_and_replaces_what_is_damaged(copy, monkeypatch):
    before = {path.name: path.read_bytes() for path in copy.glob("*.safetensors")}
    worse = load_table(1, "tdn")
    monkeypatch.setattr(derive_module, "derive", lambda l_max, kind: worse)
    write_tables(copy, [("exact", 1)])
    assert (copy / "exact-1.safetensors").read_bytes() == before["exact-1.safetensors"]
    monkeypatch.undo()
    load_table(1, "even", folder=copy)  # what was loaded before does not hide the damage
    (copy / "even-1.safetensors").write_bytes(b"")
    tables = write_tables(copy, [("even", 1)])
    assert [(t.kind, t.l_max) for t in tables] == [("even", 1), ("exact", 1)]
    assert (copy / "even-1.safetensors").stat().st_size > 1000
    assert load_table(1, "even", folder=copy).relative_error < 1e-12


def test_given_decompositions_are_taken(tmp_path):
    cp = load_table(2, "exact")
    (line,) = write_tables(tmp_path, [("exact", 2)], given={("exact", 2): cp})
    assert line.cp_rank == cp.cp_rank
    # The very numbers, which no sum over terms has rounded.
    loaded = load_table(2, folder=tmp_path)
    for one, two in zip(loaded.factors, cp.factors, strict=True):
        assert np.array_equal(one, two)
    assert np.array_equal(loaded.target.coefficients, cp.target.coefficients)
    assert loaded.dense() == pytest.approx(cp.dense(), abs=1e-14)


def test_command_writes_into_a_folder(tmp_path, monkeypatch, capsys):
    small = {key: RECIPES[key] for key in (("even", 1), ("even", 2))}
    monkeypatch.setattr(derive_module, "RECIPES", small)
    main([str(tmp_path)])
    assert [t.cp_rank for t in available_tables(tmp_path)] == [6, 18]
    assert capsys.readouterr().out.splitlines()[1].startswith("even   l_max 2  cp_rank  18  error")
