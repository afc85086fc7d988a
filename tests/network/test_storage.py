"""Chains as named arrays and a header."""

from __future__ import annotations

import json

import numpy as np
import pytest

from etn.network import Chain
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.tensor import Truncation


@pytest.fixture
def chain() -> Chain:
    wide = Chain.random(["1x0e+1x1o"] * 3, start="2x0e", out="1x1o", max_bond=2, seed=0)
    return wide.canonicalize(1).truncate(Truncation(max_bond=1))


def same(one: Chain, two: Chain) -> bool:
    return (
        (one.center, one.discarded_weight) == (two.center, two.discarded_weight)
        and [core.legs for core in one] == [core.legs for core in two]
        and all(np.array_equal(a.to_vector(), b.to_vector()) for a, b in zip(one, two, strict=True))
    )


def test_names_say_site_and_path(chain):
    _, arrays = chain_to_arrays(chain)
    assert "core.0.0e.1o.1o" in arrays
    assert len(arrays) == sum(len(core.blocks) for core in chain)
    for name, array in arrays.items():
        kind, site, *path = name.split(".")
        assert kind == "core"
        (block,) = (b for p, b in chain[int(site)] if list(map(str, p)) == path)
        np.testing.assert_array_equal(array, block)


def test_the_header_is_json_and_comes_back(chain):
    header, arrays = chain_to_arrays(chain, name="energy")
    assert chain.discarded_weight > 0
    assert same(chain_from_arrays(json.loads(json.dumps(header)), arrays, name="energy"), chain)


def test_several_chains_share_one_file(chain):
    other = 2.0 * chain
    one, two = chain_to_arrays(chain, name="a"), chain_to_arrays(other, name="b")
    arrays = one[1] | two[1] | {"unrelated": np.ones(3)}
    assert same(chain_from_arrays(one[0], arrays, name="a"), chain)
    assert same(chain_from_arrays(two[0], arrays, name="b"), other)


def test_files_of_version_0_1_0_say_nothing_of_what_was_discarded(chain):
    header, arrays = chain_to_arrays(chain)
    del header["discarded_weight"]
    assert chain_from_arrays(header, arrays).discarded_weight == 0.0


def test_arrays_are_numpy_whatever_the_chain_is_of(chain):
    pytest.importorskip("torch")
    single = chain.to("torch", dtype="float32")
    header, arrays = chain_to_arrays(single)
    assert {type(array) for array in arrays.values()} == {np.ndarray}
    again = chain_from_arrays(header, arrays)
    assert str(again.kind) == "numpy float32 on cpu"
    assert same(again, single.to("numpy"))
