from __future__ import annotations

import copy
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.errors import IrrepsError
from etn.o3 import Irrep, Irreps, Term

irrep = st.builds(Irrep, st.integers(0, 4), st.sampled_from([1, -1]))
natural = st.builds(lambda l: Irrep(l, (-1) ** l), st.integers(0, 4))
irreps = st.lists(st.tuples(st.integers(0, 5), irrep), max_size=6).map(Irreps)


# Construction


def test_constructors_agree() -> None:
    expected = Irreps("8x0e+4x1o+1x2e")
    assert Irreps(" 8 x 0e + 4x1o+2e ") == expected
    assert Irreps([(8, "0e"), (4, Irrep("1o")), Irrep("2e")]) == expected
    assert Irreps(["8x0e", "4x1o", "2e"]) == expected
    assert Irreps(iter([(np.int64(8), "0e"), (4, "1o"), "2e"])) == expected
    assert Irreps(expected) is expected
    assert Irreps(Irrep("1o")) == Irreps("1x1o")
    assert Irreps([(8, (0, 1)), [4, (1, -1)], (1, (2, 1))]) == expected  # as e3nn
    assert Irreps({"8x0e": None, "4x1o": None, "2e": None}.keys()) == expected
    assert str(expected) == repr(expected) == "8x0e+4x1o+1x2e"


def test_empty() -> None:
    for empty in (Irreps(), Irreps(""), Irreps("  "), Irreps([])):
        assert empty.dim == empty.num_irreps == len(empty) == 0
        assert str(empty) == ""
        assert empty.slices() == empty.unique == ()
    with pytest.raises(IrrepsError, match="no irrep"):
        Irreps("0x3e").l_max  # noqa: B018


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("8x0e+4x1z", '"8x0e+4x1z": term 2 "4x1z" (position 5): expected MULxLP with P e or o'),
        ("8x0e + 4x1z", '"8x0e + 4x1z": term 2 "4x1z" (position 7): expected MULxLP'),
        ("8x0e+", 'term 2 "" (position 5): expected MULxLP'),
        ("+1o", 'term 1 "" (position 0): expected MULxLP'),
        ("1o,2e", 'term 1 "1o,2e" (position 0): expected MULxLP'),
        ("0e+-2x1o", 'term 2 "-2x1o" (position 3): multiplicities and degrees are >= 0'),
        ("2x-1o", "multiplicities and degrees are >= 0"),
        ("2x1.5e", "expected MULxLP"),
        ([(-1, "0e")], "term 1 of the irreps, multiplicity: expected at least 0, got -1"),
        ([(1, "0e"), (1.5, "1o")], "term 2 of the irreps, multiplicity: expected an integer"),
        ([(1, 2, 3)], "term 1 of the irreps: expected (mul, irrep)"),
        ([7], "term 1 of the irreps: expected (mul, irrep)"),
        ([(1, "0e"), "1x"], 'term 2 of the irreps, "1x": expected MULxLP'),
        (7, "expected a string"),
        (None, "expected a string"),
        (np.array(2), "expected a string"),
        ("1y", "expected MULxLP with P e or o, such as 4x1o; for y, the parity (-1)^l, write 1o"),
        ("0e+3x2y", 'term 2 "3x2y" (position 3): expected MULxLP'),
        ("9" * 5000 + "x1o", "multiplicities have at most 18 digits"),
        ({"1o": 2}, "a mapping goes over its keys alone; give (mul, irrep) pairs"),
        ({"0e", "1o"}, "a set has no order; give a list"),
        (frozenset(["0e"]), "a set has no order"),
        (b"1o", "bytes are no text"),
        ([{2, "1o"}], "term 1 of the irreps: expected (mul, irrep)"),
        ([(True, "1o")], "multiplicity: expected an integer, got True"),
        ([(2.0, "1o")], "multiplicity: expected an integer, got 2.0 (float); write 2"),
        ([("1o", 2)], "term 1 of the irreps: expected (mul, irrep)"),
    ],
)
def test_malformed(bad: object, message: str) -> None:
    with pytest.raises(IrrepsError) as caught:
        Irreps(bad)
    assert message in str(caught.value)


def test_spherical_harmonics(e3nn_o3: ModuleType) -> None:
    assert str(Irreps.spherical_harmonics(3)) == "1x0e+1x1o+1x2e+1x3o"
    assert str(Irreps.spherical_harmonics(2, p=1)) == "1x0e+1x1e+1x2e"
    for p in (1, -1):
        theirs = e3nn_o3.Irreps.spherical_harmonics(6, p)
        assert str(Irreps.spherical_harmonics(6, p)) == str(theirs)
    assert str(Irreps.spherical_harmonics(np.int32(1), np.int64(-1))) == "1x0e+1x1o"
    with pytest.raises(IrrepsError, match="l_max: expected at least 0, got -1"):
        Irreps.spherical_harmonics(-1)
    with pytest.raises(IrrepsError, match="l_max: expected at most 1000000 terms, got"):
        Irreps.spherical_harmonics(10**30)
    with pytest.raises(IrrepsError, match=r"parity p: expected 1 \(even\) or -1 \(odd\), got 2"):
        Irreps.spherical_harmonics(0, p=2)


# A value


def test_immutable_hashable_and_copyable() -> None:
    leg = Irreps("2x0e+1o")
    with pytest.raises(AttributeError):
        leg.l_max = 3
    assert {leg: 1}[Irreps("2x0e+1x1o")] == 1
    duplicate = copy.deepcopy(leg)
    assert duplicate == leg
    assert type(duplicate) is Irreps


def test_terms_unpack_and_slice() -> None:
    leg = Irreps("2x0e+1o+3x2e")
    assert [(mul, str(ir)) for mul, ir in leg] == [(2, "0e"), (1, "1o"), (3, "2e")]
    assert leg[2] == Term(3, Irrep("2e"))
    assert leg[2].dim == 15
    assert str(leg[2]) == repr(leg[2]) == "3x2e"
    assert type(leg[1:]) is Irreps
    assert leg[1:] == Irreps("1o+3x2e")


def test_contains_and_count() -> None:
    leg = Irreps("2x0e+1o+3x0e+0x2e")
    assert leg.count("0e") == 5
    assert leg.count(Irrep("2e")) == 0
    assert "1o" in leg
    assert Irrep("2e") not in leg
    assert (2, Irrep("0e")) in leg
    assert 7 not in leg
    assert (2, "0e") in leg
    assert (5, "0e") not in leg
    assert (1, -1) in leg
    with pytest.raises(IrrepsError, match=r'"5x0e" in irreps: expected one .* "0e".* here 5'):
        assert "5x0e" in leg
    assert leg.unique == (Irrep("0e"), Irrep("1o"))
    assert leg.l_max == 1


def test_comparison_with_a_string_is_refused() -> None:
    leg = Irreps("2x0e")
    for compare in (lambda: leg == "2x0e", lambda: leg != "1o"):
        with pytest.raises(IrrepsError, match=r'expected irreps on both sides.*Irreps\("'):
            compare()
    assert leg != Irreps("0e+0e")
    assert leg != 2
    assert leg == (Term(2, Irrep("0e")),)


def test_scalars_of_numpy_multiply() -> None:
    leg = Irreps("2x0e+1o")
    assert np.int64(2) * leg == leg * np.int8(2) == leg + leg
    with pytest.raises(IrrepsError, match="number of copies: expected an integer, got"):
        leg * True
    with pytest.raises(IrrepsError, match="expected at most 1000000 terms, got"):
        leg * 10**30


def test_sum_and_multiple() -> None:
    leg = Irreps("2x0e+1o")
    assert leg + "1e" == leg + Irrep("1e") == Irreps("2x0e+1o+1e")
    assert "1e" + leg == Irrep("1e") + leg == Irreps("1e+2x0e+1o")
    assert 2 * leg == leg * 2 == leg + leg
    assert 0 * leg == Irreps()
    assert sum([leg, leg], start=Irreps()) == leg + leg
    with pytest.raises(IrrepsError, match="copies"):
        leg * -1
    for wrong in (lambda: leg * "2", lambda: leg + 1, lambda: 1 + leg, lambda: leg * leg):
        with pytest.raises((TypeError, IrrepsError)):
            wrong()


def test_filter(e3nn_o3: ModuleType) -> None:
    leg = Irreps("8x0e+4x1o+2x2e+1x1e")
    assert leg.filter() == leg
    assert leg.filter("0e+2e") == Irreps("8x0e+2x2e")
    assert leg.filter(drop=["1o", "1e"]) == Irreps("8x0e+2x2e")
    assert leg.filter(l_max=1) == leg.filter(l_max=np.int8(1)) == Irreps("8x0e+4x1o+1x1e")
    with pytest.raises(IrrepsError, match=r"l_max: expected an integer, got 1.5"):
        leg.filter(l_max=1.5)
    assert leg.filter(lambda term: term.ir.p == -1) == Irreps("4x1o")
    assert leg.filter("1o+2e", drop="1o", l_max=2) == Irreps("2x2e")
    theirs = e3nn_o3.Irreps(str(leg))
    assert str(leg.filter("0e+1e")) == str(theirs.filter(["0e", "1e"]))
    assert str(leg.filter(drop="0e+1e")) == str(theirs.filter(drop=["0e", "1e"]))


def test_indices() -> None:
    positions = Irreps("1o+2x0e+0x1o+2x1o").indices("1o")
    assert positions.dtype == np.int64
    assert positions.tolist() == [[0, 1, 2], [5, 6, 7], [8, 9, 10]]
    assert Irreps("1o").indices("2e").shape == (0, 5)
    assert Irreps("1o").indices("2e").dtype == np.int64


# Laws


@given(irreps)
def test_string_round_trip(a: Irreps) -> None:
    assert Irreps(str(a)) == a
    assert Irreps(tuple(a)) == a


@given(irreps, irreps)
def test_dimension_is_a_homomorphism(a: Irreps, b: Irreps) -> None:
    assert (a + b).dim == a.dim + b.dim
    assert (a + b).num_irreps == a.num_irreps + b.num_irreps
    assert a.product(b).dim == a.dim * b.dim
    assert (3 * a).dim == 3 * a.dim


@given(irreps, irreps, irreps)
def test_product_is_commutative_associative_and_distributive(
    a: Irreps, b: Irreps, c: Irreps
) -> None:
    assert a.product(b) == b.product(a)
    assert a.product(b).product(c) == a.product(b.product(c))
    assert (a + b).product(c) == (a.product(c) + b.product(c)).regroup()
    assert a.product("0e") == a.regroup()


@given(irreps)
def test_indices_cut_the_dense_vector_into_irreps(a: Irreps) -> None:
    blocks = [a.indices(ir) for ir in a.unique]
    assert [len(block) for block in blocks] == [a.count(ir) for ir in a.unique]
    everything = np.concatenate([np.empty(0, int), *(block.ravel() for block in blocks)])
    assert sorted(everything.tolist()) == list(range(a.dim))
    assert [s.stop - s.start for s in a.slices()] == [term.dim for term in a]


@given(irreps)
def test_simplify_keeps_the_layout(a: Irreps) -> None:
    short = a.simplify()
    assert short.simplify() == short
    assert all(mul > 0 for mul, _ in short)
    assert short.dim == a.dim
    assert short.unique == a.unique
    for ir in a.unique:
        assert np.array_equal(short.indices(ir), a.indices(ir))


@given(irreps)
def test_sort_and_regroup(a: Irreps) -> None:
    ordered, p, inv = a.sort()
    assert [ir for _, ir in ordered] == sorted(ir for _, ir in a)
    assert [ordered[p[i]] for i in range(len(a))] == list(a)
    assert [a[inv[j]] for j in range(len(a))] == list(ordered)
    grouped = a.regroup()
    assert grouped.regroup() == grouped
    assert len(set(grouped.unique)) == len(grouped)
    assert all(grouped.count(ir) == a.count(ir) for ir in a.unique)


@given(irreps, irreps)
def test_agrees_with_e3nn(e3nn_o3: ModuleType, a: Irreps, b: Irreps) -> None:
    x, y = e3nn_o3.Irreps(str(a)), e3nn_o3.Irreps(str(b))
    assert str(a) == str(x)
    assert (a.dim, a.num_irreps, list(a.slices())) == (x.dim, x.num_irreps, x.slices())
    assert str(a + b) == str(x + y)
    assert str(a.simplify()) == str(x.simplify())
    assert all(a.count(str(ir)) == x.count(ir) for _, ir in y)
    if a.num_irreps:
        assert a.l_max == x.lmax


@given(st.lists(st.tuples(st.integers(0, 5), natural), max_size=6).map(Irreps))
def test_sort_agrees_with_e3nn_for_natural_parity(e3nn_o3: ModuleType, a: Irreps) -> None:
    ours, theirs = a.sort(), e3nn_o3.Irreps(str(a)).sort()
    assert (str(ours.irreps), ours.p, ours.inv) == (str(theirs.irreps), theirs.p, theirs.inv)
    assert str(a.regroup()) == str(e3nn_o3.Irreps(str(a)).regroup())


@pytest.mark.parametrize("text", ["9" * 5000 + "x0e", "0e+" + "9" * 5000 + "e", "1x1234567890e"])
def test_numbers_of_too_many_digits_are_refused(text):
    with pytest.raises(IrrepsError, match="at most 18 digits, degrees at most 9"):
        Irreps(text)


def test_the_largest_numbers_that_are_read():
    assert Irreps(f"{'9' * 18}x{'9' * 9}e").dim == (10**18 - 1) * (2 * 10**9 - 1)


def test_long_sums_are_read_in_time_proportional_to_their_length():
    import time

    def seconds(terms):
        start = time.process_time()
        assert len(Irreps("+".join(["0e"] * terms))) == terms
        return time.process_time() - start

    # A message that was made for every term cost the square: 12 s for these.
    assert min(seconds(100_000) for _ in range(2)) < 4
