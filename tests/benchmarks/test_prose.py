"""Paragraphs of measured numbers: the numbers are those of the results."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import prose  # noqa: E402

sys.path.remove(str(BENCHMARKS))


def test_items_of_a_sentence():
    assert prose.listed(iter(["1", "2", "3"])) == "1, 2 and 3"


def test_lines_are_as_wide_as_the_pages():
    text = prose.paragraph("a  long\n line " * 40)
    assert max(map(len, text.splitlines())) <= 112
    assert text.split() == ("a long line " * 40).split()


def test_what_messages_gain_is_told_by_sign():
    def result(energy, forces, weight):
        fits = [
            {"errors": {"test": {"energy_mev": {"mae": e}, "forces_mev_per_angstrom": {"mae": f}}}}
            for e, f in zip(energy, forces, strict=True)
        ]
        return {"fits": fits, "weights": {"energy": weight}}

    usual = result((10.0, 9.0, 5.0, 1.0), (50.0, 40.0, 30.0, 20.0), 33.0)
    text = prose.gain(usual, result((1.0,) * 4, (100.0, 110.0, 75.0, 50.0), 100.0))
    words = " ".join(text.split())
    assert "takes 20 % off the error of the forces, with attention 40 %, and 50 % off" in words
    assert "with 100 for energies" in words
    assert "100.0, 110.0, 75.0 and 50.0 meV/Å" in words
    assert "gain nothing (10 % more), with attention 25 %" in words


def test_times_that_others_shared_are_marked():
    errors = {"energy": {"mae": 2e-4, "rmse": 4e-4}, "forces": {"mae": 0.01, "rmse": 0.036}}
    names = ("fit-3BPA", "fit-ethanol", "fit-aspirin")
    measured = {name: {"errors": {"test": errors}} for name in names}
    alone = " ".join(prose.notes(measured).split())
    assert "(b)" not in alone
    assert "where ours are 1.8 and 4.2 meV" in alone
    assert "3BPA are 10.8 meV per molecule and 0.036 eV/Å" in alone
    measured["fit-aspirin"]["shared_cores"] = True
    assert "(b) Other jobs shared the two cores" in " ".join(prose.notes(measured).split())
