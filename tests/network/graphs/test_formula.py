"""Formulas of networks: how they are read, and what is said of those that cannot be."""

from __future__ import annotations

import pytest

from etn.errors import CoreError, IrrepsError
from etn.network.graphs.formula import join, listed, open_trace, parse, words
from etn.o3 import Irreps
from etn.tensor import Core

MATRIX = Core.random(["2x0e+1x1o", "1x1o"], seed=0)


@pytest.mark.parametrize(
    "text",
    [
        "left[a x1 b] right[b x2 out] -> x1 a x2 out",
        "left[a,x1,b],right[b,x2,out]->x1,a,x2,out",
        "\n left [a x1 b]\n right [ b x2 out ]\n -> x1 a x2 out\n",
    ],
)
def test_spaces_and_commas_are_alike(text):
    formula = parse(text)
    assert formula.labels == {"left": ("a", "x1", "b"), "right": ("b", "x2", "out")}
    assert formula.open == ("x1", "a", "x2", "out")


def test_a_missing_arrow_is_not_an_empty_one():
    assert parse("m[a a]").open is None
    assert parse("m[a a] ->").open == ()


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("", "expected at least one core"),
        ("one[a x b", r'position 0: expected name\[label label ...\].*"one\[a x b"'),
        ("one[a x b] [c]", r'position 10: .* got "\[c\]"'),
        ("one[a x-1 b]", "position 0"),
        ("one[a x b] one[b y c]", "the core one stands twice"),
    ],
)
def test_formulas_that_cannot_be_read(formula, message):
    with pytest.raises(CoreError, match=message):
        parse(formula)


def test_words_and_lists_are_inverse():
    assert words("a, b  c") == ("a", "b", "c")
    assert listed(words("a b c")) == "a b c"
    assert listed(()) == "none"


def test_ends_are_joined_by_label():
    ends = join({"one": MATRIX, "two": MATRIX}, {"one": ("a", "b"), "two": ("c", "b")})
    assert {label: [end.core for end in found] for label, found in ends.items()} == {
        "a": ["one"],
        "b": ["one", "two"],
        "c": ["two"],
    }
    assert ends["a"][0].leg == Irreps("2x0e+1x1o")
    with pytest.raises(IrrepsError, match=r"label b: core one carries 1x1o, core two carries 2x0e"):
        join({"one": MATRIX, "two": MATRIX}, {"one": ("a", "b"), "two": ("b", "c")})
    with pytest.raises(CoreError, match="core one: expected a label for each of its 2 legs"):
        join({"one": MATRIX}, {"one": ("a",)})
    three = {"one": MATRIX, "two": MATRIX, "three": MATRIX}
    with pytest.raises(CoreError, match="label b: expected at most 2 legs, got 3"):
        join(three, {name: (name, "b") for name in three})


def test_traces_are_opened():
    assert open_trace(("a", "b", "c")) == (("a", "b", "c"), [])
    assert open_trace(("a", "a")) == (("a", "a'"), [("a", "a'")])


def test_long_formulas_are_read_in_time_proportional_to_their_length():
    import time

    names = range(20_000)
    start = time.process_time()
    found = parse(" ".join(f"core{n}[a{n} b{n}]" for n in names))
    assert len(found.labels) == len(names)
    # The rest of the formula was copied for every core: 20 s for 100,000 of them.
    assert time.process_time() - start < 3


def test_white_space_at_the_end_is_none_of_the_formula():
    assert parse("a[x]\r\n , ").labels == {"a": ("x",)}
