"""Truncation as a value, its limits against brute force, and spectra against dense matrices."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, IrrepsError, MissingError, SettingsError
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, Spectrum, Truncation, merge, svd

IRREPS = [Irrep(l, (-1) ** l) for l in range(3)]

# Values from a coarse grid, so that equal ones occur and shares of different irreps meet.
values = st.lists(st.integers(0, 6).map(lambda n: n / 2), max_size=4)
spectra = st.dictionaries(st.sampled_from(IRREPS), values, min_size=1, max_size=3).map(
    lambda drawn: Spectrum({ir: sorted(s, reverse=True) for ir, s in drawn.items()})
)
named = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(IRREPS)), min_size=1, max_size=3)
caps = st.none() | st.integers(1, 4) | named.map(Irreps)
numbers = st.none() | st.integers(1, 6)
tolerances = st.sampled_from([0.0, 0.1, 0.3, 0.7])
rules = st.builds(
    Truncation,
    max_bond=caps,
    max_multiplets=numbers,
    max_dim=st.none() | st.integers(1, 14),
    rel_tol=tolerances,
    abs_tol=st.sampled_from([0.0, 0.4, 1.1, 3.0]),
    cost_aware=st.booleans(),
)


def kept(rule, spectrum):
    """How many multiplets of each irrep stay; nothing if the rule leaves nothing."""
    try:
        found = rule.cut(spectrum).kept
    except CoreError as error:
        if "leaves nothing" not in str(error):
            raise
        found = {}
    return {ir: found.get(ir, 0) for ir in spectrum}


def obeys(rule, count):
    """Whether these numbers of multiplets are within all caps."""
    most = math.inf if rule.max_bond is None else rule.max_bond
    dim = sum(n * ir.dim for ir, n in count.items())
    return (
        all(n <= (most.count(ir) if isinstance(most, Irreps) else most) for ir, n in count.items())
        and (rule.max_multiplets is None or sum(count.values()) <= rule.max_multiplets)
        and (rule.max_dim is None or dim <= rule.max_dim)
    )


def error(spectrum, count):
    """Norm of what is left out."""
    return math.sqrt(sum(ir.dim * np.sum(s[count[ir] :] ** 2) for ir, s in spectrum.items()))


@given(rules, rules, rules)
def test_combining_is_commutative_associative_and_idempotent(a, b, c):
    assert a & b == b & a
    assert (a & b) & c == a & (b & c)
    assert a & a == a
    assert a & Truncation() == a
    assert hash(a & b) == hash(b & a)


@given(rules, rules, spectra)
@settings(max_examples=200)
def test_the_caps_of_both_rules_hold(a, b, spectrum):
    count = kept(a & b, spectrum)
    assert obeys(a, count)
    assert obeys(b, count)


@given(rules, rules, spectra)
@settings(max_examples=200)
def test_combining_keeps_the_intersection(a, b, spectrum):
    # One ranking, and caps on the irreps alone or on their number alone.
    either = a.cost_aware or b.cost_aware
    for limit in ("max_bond", "max_multiplets"):
        off = {"max_bond": None, "max_multiplets": None, "max_dim": None, "cost_aware": either}
        one, two = (replace(r, **{**off, limit: getattr(r, limit)}) for r in (a, b))
        first, second = kept(one, spectrum), kept(two, spectrum)
        both = {ir: min(first[ir], second[ir]) for ir in spectrum}
        assert kept(one & two, spectrum) == both
        # With both kinds of cap at least the intersection stays.
        one, two = (replace(r, max_dim=None, cost_aware=either) for r in (a, b))
        first, second, found = (kept(r, spectrum) for r in (one, two, one & two))
        assert all(found[ir] >= min(first[ir], second[ir]) for ir in spectrum)


def test_a_full_irrep_makes_room_for_others():
    # The intersection of the two would be one multiplet.
    spectrum = Spectrum({Irrep("0e"): [4.0, 3.0], Irrep("1o"): [1.0]})
    bond, total = Truncation(max_bond=1), Truncation(max_multiplets=2)
    assert total.cut(spectrum).kept == {Irrep("0e"): 2}
    assert bond.cut(spectrum).kept == {Irrep("0e"): 1, Irrep("1o"): 1}
    assert (bond & total).cut(spectrum).kept == {Irrep("0e"): 1, Irrep("1o"): 1}


@given(rules, spectra)
@settings(max_examples=200)
def test_caps_leave_the_smallest_error_that_they_allow(rule, spectrum):
    # Against every choice there is.
    rule = replace(rule, max_dim=None, rel_tol=0.0, abs_tol=0.0, cost_aware=False)
    choices = (
        dict(zip(spectrum, counts, strict=True))
        for counts in product(*(range(len(s) + 1) for s in spectrum.values()))
    )
    best = min(error(spectrum, count) for count in choices if obeys(rule, count))
    assert error(spectrum, kept(rule, spectrum)) == pytest.approx(best, rel=1e-12, abs=1e-12)


@given(rules, spectra)
@settings(max_examples=200)
def test_nothing_that_fits_is_passed_over(rule, spectrum):
    rule = replace(rule, rel_tol=0.0, abs_tol=0.0)
    count = kept(rule, spectrum)
    for ir, s in spectrum.items():
        if count[ir] < len(s):
            assert not obeys(rule, {**count, ir: count[ir] + 1})


@given(rules, spectra)
@settings(max_examples=200)
def test_the_norm_of_what_tolerances_drop_is_below_them(rule, spectrum):
    # And one more multiplet of the ranking would be too much.
    rule = replace(rule, max_bond=None, max_multiplets=None, max_dim=None)
    budget = max(rule.rel_tol * spectrum.norm, rule.abs_tol)
    count = kept(rule, spectrum)
    assert error(spectrum, count) <= budget * (1 + 1e-12)
    if any(count.values()) and spectrum.norm and budget:
        score = {ir: 1.0 if rule.cost_aware else math.sqrt(ir.dim) for ir in spectrum}
        least = min(score[ir] * spectrum[ir][n - 1] for ir, n in count.items() if n)
        dropped = [score[ir] * v for ir, s in spectrum.items() for v in s[count[ir] :]]
        assert max(dropped, default=0.0) <= least * (1 + 1e-12)
        last = [
            {**count, ir: n - 1}
            for ir, n in count.items()
            if n and score[ir] * spectrum[ir][n - 1] <= least * (1 + 1e-12)
        ]
        # Of equal ones the last in the order of the irreps goes first.
        assert error(spectrum, last[-1]) > budget * (1 - 1e-12)


@given(rules, spectra)
def test_the_discarded_norm_is_that_of_what_goes(rule, spectrum):
    try:
        cut = rule.cut(spectrum)
    except CoreError:
        return
    assert cut.discarded == pytest.approx(error(spectrum, kept(rule, spectrum)), rel=1e-12)
    assert all(n > 0 for n in cut.kept.values())


def test_cost_aware_ranking_counts_states():
    # 2e holds more of the norm, 0e more of it for each state.
    spectrum = Spectrum({Irrep("0e"): [1.0], Irrep("2e"): [0.5]})
    assert Truncation(max_multiplets=1).cut(spectrum).kept == {Irrep("2e"): 1}
    aware = Truncation(max_multiplets=1, cost_aware=True)
    assert aware.cut(spectrum) == ({Irrep("0e"): 1}, math.sqrt(5 * 0.25))
    # A tolerance drops the end of the same ranking.
    assert Truncation(abs_tol=1.0).cut(spectrum).kept == {Irrep("2e"): 1}
    assert Truncation(abs_tol=1.2, cost_aware=True).cut(spectrum).kept == {Irrep("0e"): 1}


def test_a_multiplet_too_large_for_the_dimension_is_passed_over():
    spectrum = Spectrum({Irrep("0e"): [3.0, 0.1], Irrep("2e"): [2.0, 1.0]})
    assert Truncation(max_dim=7).cut(spectrum).kept == {Irrep("0e"): 2, Irrep("2e"): 1}
    assert Truncation(max_dim=4).cut(spectrum).kept == {Irrep("0e"): 2}


def test_parameters_are_a_budget_of_the_pair_of_cores():
    spectrum = Spectrum({Irrep("0e"): [3.0, 1.0], Irrep("1o"): [1.5, 0.5]})
    prices = {Irrep("0e"): 5, Irrep("1o"): 8}
    # Ranked 3, 1.5 sqrt(3), 1, 0.5 sqrt(3): the second scalar has no room after the vector.
    kept = Truncation(max_parameters=17).cut(spectrum, prices).kept
    assert kept == {Irrep("0e"): 1, Irrep("1o"): 1}
    kept = Truncation(max_parameters=18).cut(spectrum, prices).kept
    assert kept == {Irrep("0e"): 2, Irrep("1o"): 1}
    both = Truncation(max_parameters=18) & Truncation(max_parameters=9)
    assert both == Truncation(max_parameters=9)
    pair = merge(
        Core.random(["1x0e", "3x0e+2x1o", "3x0e+2x1o"], seed=0),
        Core.random(["3x0e+2x1o", "3x0e+2x1o", "2x0e"], seed=1),
    )
    split = pair.split(Truncation(max_parameters=20))
    assert split.left.n_parameters + split.right.n_parameters in range(10, 21)
    with pytest.raises(SettingsError, match="max_parameters holds for the split of a pair"):
        Truncation(max_parameters=9).cut(spectrum)


def test_equal_values_go_from_the_costlier_irrep():
    spectrum = Spectrum({Irrep("0e"): [1.0, 1.0], Irrep("1o"): [1.0 / math.sqrt(3)]})
    for n, expected in ((1, {Irrep("0e"): 1}), (2, {Irrep("0e"): 2})):
        assert Truncation(max_multiplets=n).cut(spectrum).kept == expected


def test_a_bond_of_a_tensor_that_is_zero_keeps_one_multiplet():
    spectrum = Spectrum({Irrep("0e"): [0.0, 0.0], Irrep("1o"): [0.0]})
    assert Truncation(rel_tol=1e-3).cut(spectrum) == ({Irrep("0e"): 1}, 0.0)
    assert Truncation().cut(spectrum).kept == {Irrep("0e"): 2, Irrep("1o"): 1}


def test_caps_are_written_in_one_way():
    assert Truncation(max_bond="1x1o+2x0e+1x1o") == Truncation(max_bond=Irreps("2x0e+2x1o"))
    assert Truncation(max_bond=np.int64(3)) == Truncation(max_bond=3)
    both = Truncation(max_bond="3x0e+2x1o") & Truncation(max_bond="2x1o+1x2e+1x0e")
    assert both == Truncation(max_bond="1x0e+2x1o")
    assert repr(both & Truncation(rel_tol=1e-6, cost_aware=True)) == (
        "Truncation(max_bond=1x0e+2x1o, rel_tol=1e-06, cost_aware=True)"
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_bond": 0}, "max_bond must be at least 1, got 0"),
        ({"max_bond": 2.5}, "max_bond must be a whole number"),
        ({"max_multiplets": -1}, "max_multiplets must be at least 1, got -1"),
        ({"max_multiplets": np.int64(0)}, "max_multiplets must be at least 1, got 0"),
        ({"max_dim": "4"}, "max_dim must be a whole number, got '4'"),
        ({"rel_tol": -1e-3}, "rel_tol must be zero or positive, got -0.001"),
        ({"rel_tol": math.nan}, "rel_tol must be zero or positive, got nan"),
        ({"abs_tol": math.inf}, "abs_tol must be zero or positive, got inf"),
        ({"abs_tol": None}, "abs_tol must be zero or positive, got None"),
    ],
)
def test_limits_that_are_refused(limits, message):
    with pytest.raises(SettingsError, match=message):
        Truncation(**limits)


def test_irreps_that_are_refused():
    with pytest.raises(IrrepsError, match='term 1 "2x0z"'):
        Truncation(max_bond="2x0z")


@pytest.mark.parametrize(
    ("rule", "spectrum", "message"),
    [
        (Truncation(max_bond="2x1o"), {"0e": [1.0]}, "leaves nothing of a bond 1x0e of norm 1"),
        (Truncation(rel_tol=1.0), {"0e": [1.0], "1o": [0.5]}, r"rel_tol=1.0\) leaves nothing"),
        (Truncation(max_dim=2), {"1o": [0.5]}, "leaves nothing of a bond 1x1o"),
        (Truncation(), {}, "leaves nothing of a bond"),
        (
            Truncation(max_bond="1x0e") & Truncation(max_bond="1x1o"),
            {"0e": [1.0], "1o": [1.0]},
            "leaves nothing",
        ),
        (Truncation(), {"0e": [1.0, math.nan]}, "irrep 0e: expected finite singular values"),
        (Truncation(), {"1o": [math.inf, 1.0]}, "irrep 1o: expected finite singular values"),
    ],
)
def test_bonds_that_cannot_be_cut(rule, spectrum, message):
    with pytest.raises(CoreError, match=message):
        rule.cut(Spectrum({Irrep(ir): s for ir, s in spectrum.items()}))


def test_entropy_and_norm_are_those_of_the_dense_density_matrix():
    core = Core.random(["1x0e+2x1o", "2x0e+1x1o+1x2e", "2x0e+2x1o+1x2e"], seed=3)
    dense = core.to_dense().reshape(-1, core.legs[2].dim)
    density = dense.T @ dense
    p = np.linalg.eigvalsh(density / np.trace(density))
    spectrum = svd(core).spectrum
    assert spectrum.norm**2 == pytest.approx(np.trace(density), rel=1e-13)
    assert spectrum.entropy() == pytest.approx(-np.sum(p * np.log(p)), rel=1e-13)
    assert spectrum.irreps == core.legs[2]


def test_entropy_of_special_spectra():
    assert Spectrum({Irrep("0e"): [2.0]}).entropy() == 0.0
    assert Spectrum({Irrep("0e"): [0.0]}).entropy() == Spectrum({}).entropy() == 0.0
    # Four values shared by two irreps: ln 4, whatever the scale; what is too small to square is 0.
    even = Spectrum({Irrep("0e"): [3e5, 1e-190], Irrep("1o"): [3e5]})
    assert even.entropy() == pytest.approx(math.log(4), rel=1e-14)


def test_change_is_the_distance_of_the_scaled_dense_values():
    one = Spectrum({Irrep("0e"): [3.0, 1.0], Irrep("1o"): [1.0]})
    two = Spectrum({Irrep("0e"): [2.0], Irrep("2e"): [0.5]})
    dense_one = np.array([3, 1, 1, 1, 1, 0, 0, 0, 0, 0]) / math.sqrt(13)
    dense_two = np.array([2, 0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.5]) / math.sqrt(5.25)
    assert one.change(two) == pytest.approx(np.linalg.norm(dense_one - dense_two), rel=1e-14)
    assert one.change(two) == two.change(one)
    assert one.change(Spectrum({ir: 7 * s for ir, s in one.items()})) < 1e-15
    assert one.change(Spectrum({Irrep("0e"): [0.0]})) == pytest.approx(1.0)


def test_a_spectrum_is_a_mapping_in_the_order_of_the_irreps():
    spectrum = Spectrum({Irrep("1o"): [1, 0.5], Irrep("0e"): np.float32([0.25]), Irrep("2e"): []})
    assert list(spectrum) == [Irrep("0e"), Irrep("1o"), Irrep("2e")]
    assert len(spectrum) == 3
    assert spectrum[Irrep("0e")].dtype == float
    assert spectrum.irreps == Irreps("1x0e+2x1o")
    assert repr(spectrum) == "Spectrum(0e: [0.25], 1o: [1. , 0.5], 2e: [])"


def test_spectra_have_names_and_say_what_there_is():
    spectrum = Spectrum({Irrep("0e"): [2.0, 1.0], Irrep("1o"): [1.0]})
    np.testing.assert_array_equal(spectrum["0e"], [2.0, 1.0])
    for missing in ("1e", Irrep("1e")):
        with pytest.raises(MissingError, match="irrep 1e: the bond carries 0e, 1o"):
            spectrum[missing]
    assert spectrum.get(Irrep("1e")) is None
    assert Irrep("1e") not in spectrum
