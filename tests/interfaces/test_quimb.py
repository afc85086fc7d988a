"""Networks from quimb: round trips, foreign networks, errors."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError
from etn.interfaces.quimb import from_quimb
from etn.network import Chain
from etn.network.views.quimb import to_quimb
from etn.network.views.wiring import Wiring
from etn.o3 import Irreps
from etn.tensor import Core

qtn = pytest.importorskip("quimb.tensor")


@pytest.fixture
def chain() -> Chain:
    sites = ["2x0e+1x1o", "1x1o+1x0e+1x0o", "1x2e+2x1o"]
    return Chain.random(sites, start="2x0e", out="1x0e+1x1o", max_bond=2, seed=4)


@pytest.fixture
def ring() -> Wiring:
    bond = "1x0e+1x1o+1x1e"
    cores = [Core.random([bond, "1x0e+1x1o", bond], seed=i) for i in range(3)]
    return Wiring(cores, [("a", "x", "b"), ("b", "y", "c"), ("c", "z", "a")])


def same_cores(found: Wiring | Chain, expected: Wiring | Chain, atol: float = 1e-13) -> None:
    for one, other in zip(found.cores, expected.cores, strict=True):
        assert one.legs == other.legs
        for path, block in one:
            np.testing.assert_allclose(block, other.blocks[path], rtol=0, atol=atol)


def test_round_trip_of_a_chain(chain):
    found = from_quimb(to_quimb(chain.canonicalize(1)))
    assert isinstance(found, Chain)
    assert found.center is None
    same_cores(found, chain.canonicalize(1))


def test_round_trip_of_a_ring_and_of_one_core(ring):
    found = from_quimb(to_quimb(ring))
    assert isinstance(found, Wiring)
    assert found.labels == ring.labels
    same_cores(found, ring)
    one = Chain.random(["1x0e+1x1o"], out="1x1o", seed=0)
    assert isinstance(from_quimb(to_quimb(one)), Chain)
    vector = from_quimb(to_quimb(Wiring([Core.random(["2x0e"], seed=0)], [("odd: =name",)])))
    assert vector.labels == (("odd: =name",),)


def test_tensors_may_be_transposed_and_shuffled(chain):
    tn = to_quimb(chain)
    tensors = [tn["I2"], tn["I0"], tn["I1"].transpose("x1", "b2", "b1")]
    same_cores(from_quimb(qtn.TensorNetwork(tensors)), chain)


def test_an_equivariant_gauge_made_in_quimb_gives_another_chain(chain):
    bond = chain.bonds[0]
    gauge = Core.random([bond, bond], seed=1).to_dense()
    tn = to_quimb(chain)
    tn["I0"].gate_(gauge.T, "b1")
    tn["I1"].gate_(np.linalg.inv(gauge), "b1")
    found = from_quimb(tn)
    np.testing.assert_allclose(found.to_dense(), chain.to_dense(), atol=1e-12)
    assert abs(found.cores[0].to_vector() - chain.cores[0].to_vector()).max() > 1e-2


def test_kinds_are_kept_on_the_way(chain):
    torch = pytest.importorskip("torch")
    tn = to_quimb(chain.to("torch"))
    assert isinstance(tn["I0"].data, torch.Tensor)
    same_cores(from_quimb(tn), chain)
    single = from_quimb(to_quimb(chain.to(dtype="float32")))
    assert str(single.kind.dtype) == "float32"
    same_cores(single, chain, atol=1e-6)


def test_a_matrix_product_state_becomes_a_chain():
    """Arrays as quimb orders them: bonds first, site last, and no ends."""
    sites = ["1x0e+1x1o", "2x1o", "1x0e+1x1o"]
    chain = Chain.random(sites, max_bond=2, seed=7)
    dense = [core.to_dense() for core in chain]
    arrays = [dense[0][0].T, dense[1].transpose(0, 2, 1), dense[2][:, :, 0]]
    mps = qtn.MatrixProductState(arrays, shape="lrp")
    legs = dict(zip(mps.site_inds, sites, strict=True))
    legs |= {mps.bond(i, i + 1): bond for i, bond in enumerate(chain.bonds)}
    found = from_quimb(mps, legs)
    assert isinstance(found, Chain)
    assert (found.start, found.out) == (Irreps("0e"), Irreps("0e"))
    same_cores(found, chain)


def test_a_foreign_line_may_have_open_ends(chain):
    first, second, third = (core.to_dense() for core in chain)
    tensors = [
        qtn.Tensor(first, ["s", "p", "i"]),
        qtn.Tensor(second.transpose(2, 0, 1), ["j", "i", "q"]),
        qtn.Tensor(third, ["j", "r", "o"]),
    ]
    legs = dict(zip("sijo", (chain.start, *chain.bonds, chain.out), strict=True))
    legs |= dict(zip("pqr", chain.sites, strict=True))
    same_cores(from_quimb(qtn.TensorNetwork(tensors), legs), chain)


def test_a_foreign_tree_keeps_its_graph():
    leg = "1x0e+1x1o"
    cores = [Core.random([leg] * 3, seed=i) for i in range(4)]
    labels = [("a", "b", "u"), ("c", "d", "v"), ("e", "f", "w"), ("u", "v", "w")]
    tensors = [qtn.Tensor(c.to_dense(), i) for c, i in zip(cores, labels, strict=True)]
    found = from_quimb(qtn.TensorNetwork(tensors), dict.fromkeys("abcdefuvw", leg))
    assert isinstance(found, Wiring)
    assert found.labels == tuple(labels)
    same_cores(found, Wiring(cores, labels))


def test_a_tensor_that_is_not_equivariant_is_refused(chain, rng):
    tn = to_quimb(chain)
    noise = rng.standard_normal(tn["I1"].shape)
    tensor = tn["I1"]
    tensor.modify(data=tensor.data + 0.01 * noise)
    # Projection is linear and keeps chain.cores[1]: the loss is that of the noise.
    lost = 0.01 * Core.from_dense(noise, chain.cores[1].legs).residual
    share = lost / np.linalg.norm(tensor.data)
    with pytest.raises(CoreError, match=rf"norms: I1 {share:.1e}; check the irreps"):
        from_quimb(tn)
    projected = from_quimb(tn, tol=1.01 * share)
    assert abs(projected.cores[1].to_dense() - tensor.data).max() > 1e-3
    with pytest.raises(CoreError, match="I1"):
        from_quimb(tn, tol=0.99 * share)


def test_wrong_irreps_of_the_right_size_are_refused(chain):
    with pytest.raises(CoreError, match=r"norms: I0 .*, I1 "):
        from_quimb(to_quimb(chain), {"b1": f"{chain.bonds[0].dim}x0e"})


def test_errors_name_tensor_and_index(chain):
    tn = to_quimb(chain)
    with pytest.raises(CoreError, match="no index nowhere"):
        from_quimb(tn, {"nowhere": "0e"})
    with pytest.raises(
        CoreError, match="tensor I0: index 'x0' has size 5, but 3x0e has dimension 3"
    ):
        from_quimb(tn, {"x0": "3x0e"})
    renamed = tn.reindex({"x1": "other"})
    with pytest.raises(CoreError, match="tensor I1: the irreps of index 'other' are not known"):
        from_quimb(renamed)
    assert isinstance(from_quimb(renamed, {"other": chain.sites[1]}), Wiring | Chain)
    with pytest.raises(CoreError, match="one to three indices, got"):
        from_quimb(tn.contract_tags(["I0", "I1"], which="any"))
    tn["I2"].modify(data=tn["I2"].data * 1j)
    with pytest.raises(CoreError, match="tensor I2: expected real entries"):
        from_quimb(tn)


def test_complex_tensors_with_real_entries_are_taken(chain):
    tn = to_quimb(chain)
    tn["I0"].modify(data=tn["I0"].data.astype(complex))
    same_cores(from_quimb(tn), chain)


def test_a_network_of_zeros():
    chain = Chain([Core(["1x0e", "1x0e+1x1o", "1x0e"])] * 2)
    same_cores(from_quimb(to_quimb(chain)), chain)
