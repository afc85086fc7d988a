"""The command ``etn bench``."""

from __future__ import annotations

from etn.potential import Basis, PolynomialPotential


def test_it_prints_the_parts_of_a_step(invoke, tmp_path):
    model = PolynomialPotential(Basis(("Mo",), l_max=1, n_max=2, r_max=3.5), max_bond=1)
    model.with_chain(model.initial_chain(seed=0)).save(tmp_path / "model.etn")
    done = invoke("bench", str(tmp_path / "model.etn"), "etn:Mo/test", "--seconds", "0.01")
    assert done.exit_code == 0
    assert "lists of neighbours, each search" in done.output
    missing = invoke("bench", str(tmp_path / "none.etn"))
    assert missing.exit_code == 2
    assert "there is no such file" in missing.output
