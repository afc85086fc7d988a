"""Save and load of every kind of network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etn import io
from etn.errors import ModelFileError
from etn.network import Chain, Network, Operator, Tree, heisenberg, load, save
from etn.network.files import KINDS
from etn.network.trees.topology import comb
from etn.tensor import Core, Truncation

CORE = Core.random(["2x0e+1x1o", "1x0e+1x1o+1x1e", "2x0e+1x1o"], seed=0)
NETWORKS = {
    "core": CORE,
    "chain": Chain.random(["1x0e+2x1o"] * 4, out="1x1o", max_bond=2).truncate(
        Truncation(max_bond=1)
    ),
    "tree": Tree.random(((0, (1, 2)), (3, 4)), ["1x0e+1x1o"] * 5, max_bond=2, seed=1),
    # More than ten nodes: their names do not sort as their numbers do.
    "long tree": Tree.random(comb(13), ["1x0e+1x1o"] * 13, max_bond=1, seed=1),
    "canonical tree": Tree.random(
        ((0, 1), (2, 3)), ["1x0e+1x1o"] * 4, max_bond=2, seed=1
    ).canonicalize((2, 3)),
    "network": Network("one[a x b] two[b y c] -> y x a c", one=CORE, two=CORE),
    "operator": heisenberg(5),
}


def cores(network):
    if isinstance(network, Core):
        return [network]
    if isinstance(network, Operator):
        return list(network.chain)
    return list(network.cores.values() if isinstance(network, Network) else network.cores)


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_and_loaded_networks_are_the_same(name, tmp_path):
    network = NETWORKS[name]
    save(network, tmp_path / "a.etn")
    again = load(tmp_path / "a.etn")
    assert type(again) is type(network)
    assert repr(again) == repr(network)
    for one, two in zip(cores(network), cores(again), strict=True):
        assert one.legs == two.legs
        assert list(one.blocks) == list(two.blocks)
        np.testing.assert_array_equal(one.to_vector(), two.to_vector())
    for attribute in ("center", "discarded_weight", "sites", "formula"):
        assert getattr(network, attribute, None) == getattr(again, attribute, None)


def test_single_precision_stays(tmp_path):
    save(NETWORKS["chain"].to(dtype="float32"), tmp_path / "a.etn")
    assert load(tmp_path / "a.etn").kind.dtype == "float32"


def test_other_things_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match=r"expected a Core, Chain, .* got int"):
        save(3, tmp_path / "a.etn")
    assert not (tmp_path / "a.etn").exists()
    io.save(tmp_path / "b.etn", kind="potential", header={}, arrays={})
    with pytest.raises(ModelFileError, match=r"kinds core, chain, .* kind 'potential'"):
        load(tmp_path / "b.etn")


# One of each kind for every format version, with the dense tensors; all of format 1 (0.1.0).
KEPT = Path(__file__).parent / "files"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_file_is_the_network_that_was_written(kind, tmp_path):
    stored = io.load(KEPT / f"{kind}.etn")
    assert stored.kind == kind
    network = load(KEPT / f"{kind}.etn")
    with np.load(KEPT / "dense.npz") as dense:
        found = network.contract() if kind == "network" else network.to_dense()
        np.testing.assert_allclose(found, dense[kind], rtol=0, atol=1e-12)
    save(network, tmp_path / "again.etn")
    again = io.load(tmp_path / "again.etn")
    assert again.header == stored.header
    for name, array in stored.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_there_is_a_file_of_every_kind_and_version():
    kept = {(io.load(path).kind, io.load(path).format_version) for path in KEPT.glob("*.etn")}
    assert kept == {(kind, v) for kind in KINDS for v in range(1, io.FORMAT_VERSION + 1)}
