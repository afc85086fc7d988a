"""Vectors of sites: their blocks, values of a chain on them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, DataError, IrrepsError
from etn.network import Chain
from etn.o3 import Irreps
from etn.sweep.regression.vectors import (
    check_inputs,
    check_values,
    evaluate_samples,
    from_blocks,
    to_blocks,
)
from etn.testing import dense_value

MIXED = "1x1o+2x0e+1x2e"


def normal(rng, n, leg):
    return rng.normal(size=(n, Irreps(leg).dim))


def test_blocks_and_vectors(rng):
    x = normal(rng, 5, MIXED)
    blocks = to_blocks(x, Irreps(MIXED))
    assert {str(ir): b.shape for ir, b in blocks.items()} == {
        "1o": (1, 3, 5),
        "0e": (2, 1, 5),
        "2e": (1, 5, 5),
    }
    np.testing.assert_array_equal(from_blocks(blocks, Irreps(MIXED)), x)


def test_copies_of_an_irrep_apart_are_one_block(rng):
    leg = Irreps("1x0e+1x1o+1x0e")
    x = normal(rng, 4, leg)
    blocks = to_blocks(x, leg)
    np.testing.assert_array_equal(blocks[leg[0].ir][:, 0], x[:, [0, 4]].T)
    np.testing.assert_array_equal(from_blocks(blocks, leg), x)
    torch = pytest.importorskip("torch")
    other = from_blocks(to_blocks(torch.tensor(x), leg), leg)
    np.testing.assert_array_equal(other.numpy(), x)


def test_values_are_those_of_the_dense_tensor(rng):
    legs = [MIXED, "1x0e+1x1o"]
    chain = Chain.random(legs, start="1x0e+1x1o", out="1x1o+1x0e", max_bond=2, seed=3)
    first, *inputs = (normal(rng, 7, leg) for leg in (chain.start, *legs))
    expected = dense_value(chain, [first.T, *(x.T for x in inputs)]).T
    found = evaluate_samples(chain, first, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_what_is_refused(rng):
    legs = [Irreps("1x0e"), Irreps("1x1o")]
    x, y = normal(rng, 3, "1x0e"), normal(rng, 3, "1x1o")
    assert [a.shape for a in check_inputs([x, y], legs)] == [(3, 1), (3, 3)]
    with pytest.raises(IrrepsError, match="each of 2 legs, got 1"):
        check_inputs([x], legs)
    with pytest.raises(DataError, match=r"site 1: expected shape \(3, 3\) from the leg 1x1o"):
        check_inputs([x, x], legs)
    with pytest.raises(CoreError):
        check_inputs([x, y.astype("float32")], legs)
    y[1, 2] = np.inf
    with pytest.raises(DataError, match=r"y: .* 1 of 3 samples, the first one is sample 1"):
        check_values("y", y, (3, 3), "")
    with pytest.raises(DataError, match="empty: expected shape"):
        check_values("empty", np.ones((0, 3)), (0, 3), "")
