"""CP forms for given legs, cut out of those of all degrees, against the fused tensor."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.product import fused_cg, load_table
from etn.product.lookup import natural, restrict, scaled_to, table_of, tables_of


def legs(*irreps: str) -> tuple[Irreps, Irreps, Irreps]:
    first, second, out = map(Irreps, irreps)
    return first, second, out


CASES = {
    "one parity": legs("0e+1e+2e", "1e", "0e+1e+2e"),
    "harmonics": legs("0e+1o+2e", "0e+1o", "0e+1o+2e"),
    "both parities": legs("0e+0o+1e+1o", "0e+1o", "0o+1o+1e"),
    "with channels": legs("4x0e+4x1e", "2x1e", "3x0e+3x1e"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_form_for_fewer_degrees_is_exact(case: str) -> None:
    cp = restrict(load_table(2, "exact"), CASES[case])
    dense = np.einsum("kr,ir,jr->kij", *cp.factors)
    first, second, out = ([ir for _, ir in leg] for leg in CASES[case])
    # All paths that the legs allow, with the coefficients that the table has for their degrees.
    table = load_table(2, "exact").target
    known = {table.degrees(p): a for p, a in zip(table.paths, table.coefficients, strict=True)}
    plain = fused_cg(ins=(first, second), out=out)
    plain = plain.with_coefficients([known[plain.degrees(p)] for p in plain.paths])
    assert cp.target.coefficients == pytest.approx(plain.coefficients)
    assert dense == pytest.approx(plain.dense(), abs=1e-12)


def test_forbidden_parities_double_the_rank_only_where_there_are_some() -> None:
    table = load_table(2, "exact")
    assert restrict(table, CASES["one parity"]).cp_rank <= table.cp_rank
    assert table.cp_rank < restrict(table, CASES["both parities"]).cp_rank <= 2 * table.cp_rank


def test_tables_are_offered_by_parity_and_tolerance() -> None:
    def kinds(case: str, tol: float) -> list[int]:
        return [cp.cp_rank for cp in tables_of(CASES[case], tol)]

    assert kinds("harmonics", 0.0) == [18, 30]  # even, exact
    assert kinds("one parity", 0.0) == [30]
    assert kinds("one parity", 0.1) == [30, 28]  # and tdn, with its error
    assert natural(Irreps("0e+1o")) and not natural(Irreps("0e+1e"))  # noqa: PT018
    assert tables_of(legs("0e", "0e", "0e"), 0.0) == []
    assert table_of(legs("0e", "0e", "0e")) is None
    found = table_of(CASES["harmonics"])
    assert found is not None
    assert found.cp_rank == 18


def test_coefficients_that_scales_reach_are_met() -> None:
    cp = restrict(load_table(1, "even"), legs("0e+1o", "0e+1o", "0e+1o"))
    scales = {0: 2.0, 1: 0.5}
    reached = [scales[path.out] * 3.0 ** path.ins[0] for path in cp.target.paths]
    wanted = cp.target.with_coefficients(cp.target.coefficients * reached)
    scaled = scaled_to(cp, wanted)
    assert scaled is not None
    assert np.einsum("kr,ir,jr->kij", *scaled.factors) == pytest.approx(wanted.dense(), abs=1e-12)
    # Other paths, or one of no weight, have no scales at all.
    assert scaled_to(cp, wanted.select([(0, 0, 0)])) is None
    assert scaled_to(cp, wanted.with_coefficients([0.0, *reached[1:]])) is None


def test_degrees_that_are_missing_are_named() -> None:
    with pytest.raises(SettingsError, match=r"no path of degrees \(1, 1, 1\)"):
        restrict(load_table(2, "even"), legs("0e+1e", "0e+1e", "0e+1e"))
    with pytest.raises(SettingsError, match="which the legs allow"):
        restrict(load_table(1, "exact"), legs("2e", "0e", "2e"))
