"""Save and load of every kind of network."""

from __future__ import annotations

import tracemalloc
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


# One of each kind for every format version, with the dense tensors: of format 1 (0.1.0) without a
# number, of the others with theirs.
KEPT = Path(__file__).parent / "files"


@pytest.mark.parametrize("version", ["", "-2"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_file_is_the_network_that_was_written(kind, version, tmp_path):
    stored = io.load(KEPT / f"{kind}{version}.etn")
    assert stored.kind == kind
    network = load(KEPT / f"{kind}{version}.etn")
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


# A file from elsewhere may be whole, with a checksum that fits, and say anything.
MANY = "+".join(f"1x{l}e" for l in range(200))


def hostile(kind, change, tmp_path):
    """The kept file of a kind with another header and other arrays, saved as etn saves."""
    stored = io.load(KEPT / f"{kind}.etn")
    header, arrays = dict(stored.header), dict(stored.arrays)
    change(header, arrays)
    io.save(tmp_path / "a.etn", kind=kind, header=header, arrays=arrays)
    return tmp_path / "a.etn"


def lose_a_block(header, arrays):
    del arrays[min(arrays)]


def claim(**values):
    return lambda header, arrays: header.update(values)


def wrong_array(name, array):
    return lambda header, arrays: arrays.update({name: array})


def many_irreps(header, arrays):
    arrays.clear()
    header["legs"] = [[MANY] * 3]


def not_finite(header, arrays):
    arrays[min(arrays)] = np.full_like(arrays[min(arrays)], np.nan)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("chain", claim(legs=[["1000000000x0e"] * 3]), "array|missing"),
        ("chain", many_irreps, "at most 1000000 triples of irreps, got 8000000"),
        ("chain", claim(legs="0e"), "legs: expected"),
        ("chain", claim(legs=[["0e", 3, "0e"]]), "legs"),
        ("chain", claim(legs=[]), "array|core"),
        ("chain", claim(center="1"), "center: expected"),
        ("chain", claim(center=True), "center: expected"),
        ("chain", claim(center=99), "expected a site"),
        ("chain", claim(discarded_weight="much"), "discarded_weight: expected float"),
        ("chain", wrong_array("core.-1.0e.0e.0e", np.ones((1, 1, 1))), "array -1"),
        ("chain", wrong_array("core.01.0e.0e.0e", np.ones((1, 1, 1))), "array 01"),
        ("chain", wrong_array("core.0.00e.0e.0e", np.ones((1, 1, 1))), "array 0.0e.0e.0e"),
        ("chain", wrong_array("core.0.x", np.ones(1)), '"x"'),
        ("chain", lose_a_block, "is missing"),
        ("chain", not_finite, "expected finite values"),
        ("core", claim(legs={"0": ["0e"] * 3, "1": ["0e"] * 3}), "array|missing"),
        ("core", claim(legs={"0": ["1x0e"] * 4}), "expected one to three legs, got 4"),
        ("core", lose_a_block, "is missing"),
        ("tree", claim(topology=[[0, 1], "x"]), "topology|leaves|pair|node"),
        ("tree", claim(topology=[[0, 0], 1]), "topology"),
        ("tree", claim(center=[0, 99]), "node|edge|center"),
        ("network", claim(formula=3), "formula: expected str"),
        ("network", claim(formula="a[x]"), "expected a core for each name"),
        ("operator", claim(sites=["1x100000000e"] * 5), "sites: expected degrees up to"),
        ("operator", claim(sites=[None]), "sites: expected str"),
        ("operator", lambda header, arrays: header.pop("sites"), "KeyError: 'sites'"),
    ],
)
def test_a_whole_file_that_says_what_cannot_be_is_refused(kind, change, message, tmp_path):
    path = hostile(kind, change, tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=rf"a\.etn: the file is whole, .*({message})"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_clebsch_gordan_tensors_beyond_memory_are_refused_before_they_are_made(tmp_path):
    legs = ["1x3000e", "1x12e", "1x3000e"]
    header = {"center": None, "discarded_weight": 0.0, "legs": [legs]}
    arrays = {"core.0.3000e.12e.3000e": np.ones((1, 1, 1))}
    io.save(tmp_path / "a.etn", kind="chain", header=header, arrays=arrays)
    with pytest.raises(ModelFileError, match=r"at most 134217728 entries in all, got 900300025"):
        load(tmp_path / "a.etn")


def test_a_topology_too_deep_to_read_is_refused(tmp_path):
    deep = 0
    for leaf in range(1, 400):
        deep = [deep, leaf]
    path = hostile("tree", claim(topology=deep), tmp_path)
    with pytest.raises(ModelFileError, match="the file is whole"):
        load(path)
