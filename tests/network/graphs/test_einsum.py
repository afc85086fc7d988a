"""Contraction of labelled arrays against NumPy, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network.graphs.einsum import Cost, Operand, _expression, contract, letters, path_info
from etn.network.graphs.network import Network
from etn.tensor import Core

LEG = "1x0e+2x1o"


def core(*legs, seed=0):
    return Core.random(legs, seed=seed)


@pytest.mark.parametrize(
    ("labels", "output", "script"),
    [
        ([("row", "in"), ("in", "column")], ("column", "row"), "ab,bc->ca"),
        # The samples stand on both operands and stay; a trace; a closed contraction.
        ([("s", "x"), ("s", "x", "y")], ("s", "y"), "ab,abc->ac"),
        ([("x", "x"), ("y",)], ("y",), "aa,b->b"),
        ([("x", "y"), ("y", "x")], (), "ab,ba->"),
    ],
)
def test_contraction_is_that_of_numpy(labels, output, script, rng):
    sizes = {"row": 2, "in": 3, "column": 4, "s": 5, "x": 3, "y": 2}
    arrays = [rng.normal(size=[sizes[label] for label in one]) for one in labels]
    found = contract([Operand(*pair) for pair in zip(labels, arrays, strict=True)], output)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, np.einsum(script, *arrays), rtol=0, atol=1e-13)


def test_operands_of_different_kinds_are_refused():
    one, two = Operand(("x",), np.ones(2)), Operand(("x",), np.ones(2, dtype=np.float32))
    with pytest.raises(CoreError, match="float64 on cpu and numpy float32"):
        contract([one, two], ())


def test_every_label_has_a_letter_of_its_own():
    labels = [tuple(f"x{n}" for n in range(80)), ("a", "b", "x0")]
    found = letters(labels)
    assert len(set(found.values())) == len(found) == 82
    assert (found["a"], found["b"]) == ("a", "b")
    assert {len(letter) for letter in found.values()} == {1}


def test_costs_are_those_of_the_steps():
    # (2, 3) by (3, 4): 24 products with their additions; then a vector on the result.
    sizes = {"i": 2, "j": 3, "k": 4}
    path = path_info([("i", "j"), ("j", "k"), ("k",)], ("i",), sizes)
    cost = Cost({"i": "rows"}, n_parameters=5, n_dense=22, path=path)
    assert cost.flops == 2 * 3 * 4 + 2 * 2 * 3
    assert cost.naive_flops == 3 * 2 * 3 * 4
    assert cost.largest_intermediate == 3
    assert "5 parameters, 22 dense entries (4.4 x)" in str(cost)
    assert "i = rows" in str(cost)


def test_the_order_of_the_contraction_is_found_once():
    network = Network(
        "one[x found b] two[b once y]", one=core(LEG, LEG, LEG), two=core(LEG, LEG, LEG)
    )
    for seed in range(3):
        before = _expression.cache_info()
        network.replace("one", core(LEG, LEG, LEG, seed=seed)).contract(found=np.ones((5, 7)))
        after = _expression.cache_info()
        assert (after.misses - before.misses, after.hits - before.hits) == ((1, 0), (0, 1))[
            seed > 0
        ]
