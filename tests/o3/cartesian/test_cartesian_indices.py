from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import IrrepsError
from etn.o3.cartesian.indices import IndexSymmetry, SignedPermutation, parse


def closure(generators: list[SignedPermutation], rank: int) -> set[SignedPermutation]:
    """All products, listed one by one."""
    found = {SignedPermutation(tuple(range(rank)), 1)}
    while True:
        products = {a.then(b) for a, b in itertools.product(found, generators)}
        if products <= found:
            return found
        found |= products


@pytest.mark.parametrize(
    ("formula", "order"),
    [
        ("i", 1),
        ("ij", 1),
        (" ij = ji ", 2),
        ("ij=-ji", 2),
        ("ijk=jki", 3),
        ("ijkl=jikl=klij", 8),
        ("ijkl=-jikl=klij", 8),
        ("ijklmn=jiklmn=klijmn=mnklij", 48),
        ("abcdefgh=bacdefgh=bcdefgha", 40320),
        ("aBcDeFgHiJ=-BacDeFgHiJ=-BcDeFgHiJa", 3628800),
    ],
)
def test_order_of_the_group(formula: str, order: int) -> None:
    assert parse(formula).order == order


def test_a_term_permutes_the_indices_of_the_tensor() -> None:
    T = np.arange(81.0).reshape(3, 3, 3, 3)
    (generator,) = parse("ijkl=-lijk").generators
    moved = T.transpose(generator.axes)
    for i, j, k, l in itertools.product(range(3), repeat=4):
        assert moved[i, j, k, l] == T[l, i, j, k]
    assert generator.sign == -1


def test_sign_of_the_first_term_counts() -> None:
    assert parse("-ij=ji") == parse("ij=-ji")
    assert parse("-ij=-ji") == parse("ij=ji")


@pytest.mark.parametrize("formula", ["ijk", "ij=-ji", "ijkl=kijl=-jikl"])
def test_str_is_the_formula(formula: str) -> None:
    assert str(parse(formula)) == f'"{formula}"'


@settings(max_examples=50)
@given(
    st.integers(2, 4).flatmap(
        lambda rank: st.lists(
            st.builds(
                SignedPermutation,
                st.permutations(range(rank)).map(tuple),
                st.sampled_from([1, -1]),
            ),
            min_size=1,
            max_size=3,
        )
    )
)
def test_cosets_are_those_of_the_listed_group(generators: list[SignedPermutation]) -> None:
    rank = len(generators[0].axes)
    symmetry = IndexSymmetry("ijklm"[:rank], tuple(generators))
    group = closure(generators, rank)
    if SignedPermutation(tuple(range(rank)), -1) in group:
        with pytest.raises(IrrepsError, match="contradict"):
            _ = symmetry.cosets
        return
    products = []
    for choice in itertools.product(*symmetry.cosets):
        element, *others = choice
        for other in others:
            element = element.then(other)
        products.append(element)
    assert len(products) == len(group) == symmetry.order
    assert set(products) == group


@pytest.mark.parametrize("formula", ["ijk=jki", "ijkl=-lijk"])
def test_inverse(formula: str) -> None:
    for generator in parse(formula).generators:
        product = generator.then(generator.inverse())
        assert product == (tuple(range(len(generator.axes))), 1)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("", r"term 1 \(position 0\): expected index letters"),
        ("ij=", r"term 2 \(position 3\): expected index letters"),
        ("ij= -", r"term 2 \(position 5\): expected index letters"),
        ("ij=j1", r'term 2 \(position 4\): expected a letter a-z or A-Z for each index, got "1"'),
        ("i j=ji", r'term 1 \(position 1\): expected a letter a-z or A-Z for each index, got " "'),
        ("ij=--ji", r'term 2 \(position 4\): expected a letter .* got "-"'),
        ("iji", r'term 1 \(position 2\): expected each letter once, got "i" twice'),
        ("ij=jj", r'term 2 \(position 4\): expected each letter once, got "j" twice'),
        ("ij=jk", r'term 2 \(position 4\): expected a permutation of "ij", got "k"; "i" is miss'),
        ("ij=jik", r'term 2 \(position 5\): expected a permutation of "ij", got "k"$'),
        ("ijk=ji", r'term 2 \(position 6\): expected a permutation of "ijk", but "k" is missing'),
        ("ij = - ij", r"term 2 \(position 7\): the signs contradict .* T_ij = -T_ij"),
        ("ijk=-jki", r"term 2 \(position 5\): the signs contradict"),
        ("ijk=jik=ikj=-kji", r"term 4 \(position 13\): the signs contradict"),
    ],
)
def test_errors_give_the_position(formula: str, message: str) -> None:
    with pytest.raises(IrrepsError, match=message):
        parse(formula)


def test_only_strings_are_formulas() -> None:
    with pytest.raises(IrrepsError, match=r"formula: expected a string .* got 3 \(int\)"):
        parse(3)  # type: ignore[arg-type]


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def everything(n, sign=""):
    """All permutations of n indices, from an exchange and a cycle."""
    letters = LETTERS[:n]
    return f"{letters}={sign}{letters[1]}{letters[0]}{letters[2:]}={letters[1:]}{letters[0]}"


def test_groups_that_take_minutes_are_refused_at_once():
    with pytest.raises(IrrepsError, match=r"term 1 .* at most 18 indices .* got 19"):
        parse(everything(19))
    with pytest.raises(IrrepsError, match="got 52"):
        parse(everything(52, "-"))
    assert parse(LETTERS).order == 1
    assert parse(everything(12)).order == math.factorial(12)


def test_the_first_term_that_contradicts_is_named_after_many_that_do_not():
    # Found anew for every term before it, the group of these would take minutes.
    swaps = [f"{LETTERS[:12]}"] + [
        LETTERS[:n] + LETTERS[n + 1] + LETTERS[n] + LETTERS[n + 2 : 12] for n in range(11)
    ]
    formula = "=".join([swaps[0], *swaps[1:] * 20, f"-{swaps[1]}"])
    with pytest.raises(IrrepsError, match=r"term 222 .*contradict"):
        parse(formula)
