from __future__ import annotations

import copy
import itertools
from types import ModuleType

import numpy as np
import pytest

from etn.errors import IrrepsError
from etn.o3 import Irrep
from etn.o3.irrep import as_int

ALL = [Irrep(l, p) for l in range(5) for p in (1, -1)]


@pytest.mark.parametrize(("text", "l", "p"), [("0e", 0, 1), ("1o", 1, -1), (" 12e ", 12, 1)])
def test_from_string(text: str, l: int, p: int) -> None:
    ir = Irrep(text)
    assert (ir.l, ir.p, ir.dim) == (l, p, 2 * l + 1)
    assert ir == Irrep(l, p) == Irrep(ir)
    assert str(ir) == repr(ir) == text.strip()


def test_numpy_integers_become_python_integers() -> None:
    ir = Irrep(np.int64(2), np.int32(-1))
    assert ir == Irrep("2o")
    assert type(ir.l) is int
    assert type(ir.p) is int


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1z",), '"1z": expected LP'),
        (("",), "expected LP"),
        (("-1e",), "expected LP"),
        (("2x1e",), "expected LP"),
        ((-1, 1), "degree l: expected at least 0, got -1"),
        ((1, 0), "parity p: expected 1"),
        ((1.0, 1), "degree l: expected an integer, got 1.0"),
        ((True, 1), "degree l: expected an integer"),
        ((1,), "both l and p"),
        (("1y",), r'"1y": expected LP .*; for y, the parity \(-1\)\^l, write 1o'),
        (("9" * 5000 + "e",), "expected LP"),
        (((1, 1, 1),), r"expected a tuple \(l, p\), got 3 items"),
        (((1.0, 1),), "degree l: expected an integer, got 1.0 .*; write 1"),
        (({"l": 1},), "both l and p"),
        (("1o", -1), "only together with an integer"),
    ],
)
def test_malformed(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(IrrepsError, match=message):
        Irrep(*arguments)


def test_immutable_hashable_and_copyable() -> None:
    ir = Irrep("1o")
    with pytest.raises(AttributeError):
        ir.l = 2
    with pytest.raises(AttributeError):
        del ir.p
    assert {ir: 1}[Irrep(1, -1)] == 1
    assert copy.deepcopy(ir) == ir


def test_comparison_with_a_string_is_refused() -> None:
    for compare in (
        lambda: Irrep("1o") == "1o",
        lambda: Irrep("1o") != "1e",
    ):
        with pytest.raises(IrrepsError, match=r'expected irreps on both sides.*Irrep\("1'):
            compare()
    assert Irrep("1o") != 1
    assert Irrep("1o") != (1, -1)


def test_unpacks_and_comes_from_a_tuple() -> None:
    l, p = Irrep("5o")
    assert (l, p) == (5, -1)
    assert Irrep((4, -1)) == Irrep(tuple(Irrep("4o"))) == Irrep("4o")


def test_sums_and_multiples_are_those_of_e3nn(e3nn_o3: ModuleType) -> None:
    ours, theirs = Irrep("4o"), e3nn_o3.Irrep("4o")
    assert str(ours + Irrep("7e")) == str(theirs + e3nn_o3.Irrep("7e")) == "1x4o+1x7e"
    assert str(3 * ours) == str(3 * theirs) == str(np.int64(3) * ours) == "3x4o"
    for wrong in (-1, 1.0, True):
        with pytest.raises(IrrepsError, match="number of copies: expected"):
            wrong * ours
    with pytest.raises(TypeError):
        ours + 1


@pytest.mark.parametrize("value", [2, np.int8(2), np.uint64(2), np.array(2)])
def test_integers_of_any_kind_count(value: object) -> None:
    assert as_int(value, "n") == 2
    assert type(as_int(value, "n")) is int


@pytest.mark.parametrize("value", [2.0, np.float32(2), True, np.True_, "2", None, np.array([2, 3])])
def test_what_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(IrrepsError, match="n: expected an integer, got"):
        as_int(value, "n")


def test_order_is_that_of_the_e3nn_iterator(e3nn_o3: ModuleType) -> None:
    ours = [str(ir) for ir in sorted(ALL)]
    assert ours[:6] == ["0e", "0o", "1o", "1e", "2e", "2o"]
    assert ours == [str(ir) for ir in e3nn_o3.Irrep.iterator(4)]
    assert Irrep("1o") <= Irrep("1o") < Irrep("1e")
    assert Irrep("2e") > Irrep("1e") >= Irrep("1o")


def test_product_is_that_of_e3nn(e3nn_o3: ModuleType) -> None:
    for a, b in itertools.product(ALL, repeat=2):
        theirs = list(e3nn_o3.Irrep(str(a)) * e3nn_o3.Irrep(str(b)))
        assert [str(ir) for ir in a * b] == [str(ir) for ir in theirs]
        assert sum(ir.dim for ir in a * b) == a.dim * b.dim


def test_only_irreps_multiply_and_compare() -> None:
    with pytest.raises(TypeError):
        Irrep("1o") * 2
    with pytest.raises(TypeError):
        Irrep("1o") < "2e"  # noqa: B015


def test_scalar() -> None:
    assert Irrep("0e").is_scalar
    assert not Irrep("0o").is_scalar
    assert not Irrep("1e").is_scalar


def test_a_degree_of_thousands_of_digits_is_refused():
    with pytest.raises(IrrepsError, match="expected LP"):
        Irrep("9" * 5000 + "e")
