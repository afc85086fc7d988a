"""Arithmetic of trains of cores against their dense tensors."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network import Chain
from etn.network.chain_algebra import (
    couple_first_legs,
    dense_train,
    direct_sum,
    join,
    overlap,
    split_first_legs,
    train_flops,
    train_of_dense,
)
from etn.network.views.info import info
from etn.o3 import Irreps
from etn.tensor import Core, Truncation

SITES = ["1x0e+1x1o", "2x1o+1x0e", "1x1e+1x0e"]


def train(seed: int, max_bond: int = 2) -> list[Core]:
    return list(
        Chain.random(SITES, start="2x0e", out="1x1o+1x0e", max_bond=max_bond, seed=seed).cores
    )


def dense_of(cores: list[Core]) -> np.ndarray:
    return np.einsum("axb,byc,czd->axyzd", *(core.to_dense() for core in cores))


def test_a_dense_train_is_one_einsum():
    np.testing.assert_allclose(dense_train(train(0)), dense_of(train(0)), rtol=0, atol=1e-14)


def test_a_direct_sum_is_the_sum():
    one, two = train(0), train(1, max_bond=1)
    both = direct_sum(one, two)
    np.testing.assert_allclose(dense_of(both), dense_of(one) + dense_of(two), rtol=0, atol=1e-14)
    assert both[0].legs[2].dim == one[0].legs[2].dim + two[0].legs[2].dim


@pytest.mark.parametrize("joined", [(), (0,), (1, 2), (0, 1, 2)])
def test_joined_cores_are_block_diagonal_on_the_joined_legs(joined):
    """Fed with a unit on a copy of either, the joined core gives that one's own slice."""
    one, two = Core.random(["2x0e"] * 3, seed=0), Core.random(["2x0e"] * 3, seed=1)
    (block,) = join(one, two, joined).blocks.values()
    a, b = (next(iter(core.blocks.values())) for core in (one, two))
    expected = np.zeros([4 if leg in joined else 2 for leg in range(3)])
    for index in np.ndindex(2, 2, 2):
        expected[index] += a[index]
        expected[tuple(i + 2 if leg in joined else i for leg, i in enumerate(index))] += b[index]
    np.testing.assert_allclose(block, expected, rtol=0, atol=1e-15)


def test_the_overlap_is_the_dense_one():
    one, two = train(0), train(1)
    expected = float((dense_of(one) * dense_of(two)).sum())
    assert float(overlap(one, two)) == pytest.approx(expected, rel=1e-12)


def test_a_dense_tensor_becomes_a_train_of_left_isometries():
    legs = [Irreps(leg) for leg in ("2x0e", *SITES, "1x1o+1x0e")]
    dense = dense_of(train(2))
    cores, discarded = train_of_dense(dense, legs, None, None)
    np.testing.assert_allclose(dense_of(cores), dense, rtol=0, atol=1e-13)
    assert discarded < 1e-13
    for core in cores[:-1]:
        m = core.to_dense().reshape(-1, core.legs[2].dim)
        np.testing.assert_allclose(m.T @ m, np.eye(m.shape[1]), rtol=0, atol=1e-13)
    small, discarded = train_of_dense(dense, legs, Truncation(max_multiplets=1), None)
    assert discarded == pytest.approx(np.linalg.norm(dense_of(small) - dense), rel=1e-10)
    with pytest.raises(CoreError, match="not equivariant"):
        train_of_dense(dense + np.random.default_rng(0).normal(size=dense.shape), legs, None, None)


def test_first_legs_are_split_off_by_the_dense_singular_values():
    first, second = Irreps("2x0e"), Irreps(SITES[0])
    dense = dense_of(train(3))
    core, rest, discarded = split_first_legs(dense, first, second, Truncation(max_multiplets=2))
    left = np.tensordot(core.to_dense(), rest, 1)
    assert np.linalg.norm(left - dense) == pytest.approx(discarded, abs=1e-13)
    values = np.linalg.svd(dense.reshape(dense.shape[0] * dense.shape[1], -1), compute_uv=False)
    kept = np.linalg.svd(rest.reshape(len(rest), -1), compute_uv=False)
    assert discarded == pytest.approx(math.sqrt((values**2).sum() - (kept**2).sum()), abs=1e-7)


def test_coupling_the_first_legs_keeps_the_norm():
    dense = dense_of(train(4))
    core = train(4)[0]
    coupled = couple_first_legs(dense, core.legs[0], core.legs[1], core.kind)
    squares = sum(float((part**2).sum()) for part in coupled.values())
    assert squares == pytest.approx(float((dense**2).sum()), rel=1e-13)


@pytest.mark.parametrize("max_bond", [1, 3, 20])
def test_reduced_flops_are_those_of_products_of_arrays(max_bond):
    """Each product of either order is written out and counted by NumPy."""
    sites = ["2x0e+2x1o+1x2e", "1x0e+1x1o", "6x0e+5x1o+1x2e"]
    chain = Chain.random(sites, start="2x0e", out="1x0e+1x1o", max_bond=max_bond, seed=0)
    flops = numpy_flops("k,k->", k=chain.out.dim)
    last_is_cheaper = set()
    for core in chain:
        for path, block in core:
            size = dict(zip("rntabc", (*block.shape, *(ir.dim for ir in path)), strict=True))
            first = numpy_flops("ra,nb->rnab", **size)
            first += numpy_flops("rnab,abc->rnc", **size) + numpy_flops("rnc,rnt->tc", **size)
            last = numpy_flops("rnt,nb->rtb", **size) + numpy_flops("rtb,ra->tab", **size)
            last += numpy_flops("tab,abc->tc", **size)
            flops += min(first, last)
            last_is_cheaper.add(last < first)
    assert info(chain).flops == train_flops(chain.cores) == flops
    assert len(last_is_cheaper) == 2


def numpy_flops(expression: str, **size: int) -> int:
    """NumPy's count for one pair of arrays: two for a product with its addition, else one."""
    inputs, _, output = expression.partition("->")
    arrays = [np.empty([size[index] for index in term]) for term in inputs.split(",")]
    _, report = np.einsum_path(expression, *arrays, optimize=["einsum_path", (0, 1)])
    counted = float(re.search(r"Naive FLOP count: *([\d.e+]+)", report)[1])
    indices = set(inputs) - {","}
    exact = math.prod(size[index] for index in indices) * (2 if indices - set(output) else 1)
    # The report rounds to four digits.
    assert counted == pytest.approx(exact, rel=1e-3)
    return exact
