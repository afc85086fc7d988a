"""Sizes of networks against counts that do not use etn's own."""

from __future__ import annotations

import math

import pytest

from etn.network import Chain
from etn.network.views.info import info
from etn.network.views.wiring import Wiring
from etn.o3 import Irreps
from etn.tensor import Core


def test_parameters_and_memory_are_counted():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=0)
    found = info(chain)
    assert [str(leg.irreps) for leg in found.bonds] == ["2x0e+1x1o", "2x0e+1x1o"]
    # By hand: 2 2 + 1 1 at either end; 0e0e0e 2 2 2, three paths with two 1o: 2 1 1 each.
    assert found.n_parameters == 5 + (8 + 3 * 2) + 5
    assert found.dense_parameters == sum(core.to_dense().size for core in chain)
    assert found.n_bytes == 8 * found.n_parameters
    assert found.dense_bytes == sum(core.to_dense().nbytes for core in chain)
    assert found.ratio == pytest.approx(175 / 24)
    assert found.n_cores == 3
    single = info(chain.to(dtype="float32"))
    assert single.n_bytes == 4 * found.n_parameters
    assert single.dense_bytes * 2 == found.dense_bytes
    assert single.kind == "numpy float32 on cpu"


def test_legs_are_listed():
    chain = Chain.random(["2x0e+1x1o", "1x0e+1x1o+3x2e"], out="1x2e", max_bond="2x0e+1x1o", seed=0)
    found = info(chain)
    assert [leg.label for leg in found.open] == ["start", "x0", "x1", "out"]
    assert [(leg.multiplets, leg.dim) for leg in found.open] == [(1, 1), (3, 5), (5, 19), (1, 5)]
    assert [(leg.label, str(leg.irreps)) for leg in found.bonds] == [("b1", "2x0e+1x1o")]
    assert str(found.open_irreps) == "4x0e+2x1o+4x2e"
    assert str(found.bond_irreps) == "2x0e+1x1o"


def test_dense_flops_of_products_counted_by_hand():
    # A 5x5 matrix times a vector takes 25 products with their additions, a dot product 5.
    leg = "2x0e+1x1o"
    matrix = Core.random([leg, leg], seed=0)
    assert info(Wiring([matrix], ["ij"])).dense_flops == 2 * 25 + 2 * 5
    assert info(Wiring([matrix] * 2, ["ij", "jk"])).dense_flops == 2 * 2 * 25 + 2 * 5
    assert info(Wiring([matrix] * 2, ["ij", "jk"])).flops is None
    # Cheapest with three legs: the outer product of two vectors has no addition, so it counts 25;
    # a core of 125 entries times that; a dot product.
    assert info(Wiring([Core.random([leg] * 3)], ["ijk"])).dense_flops == 25 + 2 * (125 + 5)


def test_a_network_without_parameters():
    found = info(Wiring([Core(["1x0o"])], [("x",)]))
    assert found.n_parameters == 0
    assert found.ratio == math.inf
    assert "–" in str(found)


def test_mixed_kinds_are_said():
    core = Core.random(["1x0e"], seed=0)
    both = Wiring([core, core.to(dtype="float32")], [("i",), ("j",)])
    assert info(both).kind == "mixed"
    assert info(both).n_bytes == 12


def test_the_table_is_aligned_and_long_ones_are_elided():
    text = str(info(Chain.random(["2x0e+1x1o"] * 50, max_bond=2, seed=0)))
    for table in text.split("\n\n")[1:]:
        lines = table.splitlines()
        assert len(lines) <= 27
        if lines[0].startswith(("bond", "open")):
            column = lines[0].index("irreps")
            assert all(line[column - 2 : column] == "  " for line in lines)
    assert "25 more" in text
    assert text.splitlines()[0] == "50 cores, numpy float64 on cpu"
    assert "102x0e+50x1o" in text


def test_sizes_of_networks_too_large_to_expand():
    found = info(Chain.random(["20x0e+20x1o+20x2e"] * 100, max_bond=40, seed=0))
    assert found.dense_parameters > 10**8
    assert found.dense_flops > found.flops > 0
    assert found.open_irreps.dim == 100 * Irreps("20x0e+20x1o+20x2e").dim + 2
