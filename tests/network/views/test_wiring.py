"""Wirings: contraction against explicit einsum, names, errors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network import Chain
from etn.network.views.wiring import Wiring, as_wiring
from etn.tensor import Core


def loop() -> Wiring:
    """Three cores around a ring, each with an open leg of its own."""
    bonds, legs = ["1x0e+1x1o", "2x0e+1x1o", "1x0e+1x1o+1x1e"], ["1x0e+1x2e", "1x1o", "0e+1o"]
    cores = [Core.random([bonds[i], legs[i], bonds[(i + 1) % 3]], seed=i) for i in range(3)]
    return Wiring(cores, [("a", "x", "b"), ("b", "y", "c"), ("c", "z", "a")])


def test_a_ring_contracts_as_written():
    ring = loop()
    assert ring.open == ("x", "y", "z")
    assert ring.bonds == ("a", "b", "c")
    a, b, c = (core.to_dense() for core in ring.cores)
    expected = np.einsum("axb,byc,cza->xyz", a, b, c)
    assert np.linalg.norm(expected) > 1e-3
    np.testing.assert_allclose(ring.dense(), expected, atol=1e-14)
    np.testing.assert_allclose(ring.dense(["z", "x", "y"]), expected.transpose(2, 0, 1), atol=1e-14)


def test_a_closed_network_is_a_number():
    matrix = Core.random(["2x0e+1x1o", "1x0e+2x1o"], seed=0)
    other = Core.random(["1x0e+2x1o", "2x0e+1x1o"], seed=1)
    trace = Wiring([matrix, other], [("i", "j"), ("j", "i")])
    assert trace.open == ()
    expected = np.trace(matrix.to_dense() @ other.to_dense())
    assert float(trace.dense()) == pytest.approx(expected, abs=1e-14)


def test_separate_parts_make_an_outer_product():
    one, two = Core.random(["2x0e+1x1o"], seed=0), Core.random(["3x0e"], seed=1)
    outer = np.multiply.outer(one.to_dense(), two.to_dense())
    np.testing.assert_allclose(Wiring([one, two], [["i"], ["j"]]).dense(), outer, atol=1e-15)


def test_a_chain_names_its_legs_and_contracts_to_its_dense_tensor():
    sites = ["1x0e+1x1o", "2x0e", "1x1o+1x0e"]
    chain = Chain.random(sites, start="2x0e", out="1x1o", max_bond=2, seed=3)
    wiring = chain.wiring()
    assert wiring.labels == (("start", "x0", "b1"), ("b1", "x1", "b2"), ("b2", "x2", "out"))
    assert wiring.open == ("start", "x0", "x1", "x2", "out")
    assert [wiring.legs[label] for label in wiring.bonds] == list(chain.bonds)
    np.testing.assert_allclose(wiring.dense(), chain.to_dense(), atol=1e-14)


def test_more_legs_than_letters():
    chain = Chain.random(["1x0e"] * 40, max_bond=2, seed=0)
    assert float(chain.wiring().dense().squeeze()) == pytest.approx(
        float(np.prod([core.to_dense().item() for core in chain]))
    )


def test_networks_are_recognized():
    ring = loop()

    class Ring:
        def wiring(self):
            return ring

    assert as_wiring(ring) is ring
    assert as_wiring(Ring()) is ring
    chain = Chain.random(["1x0e"] * 2, seed=0)
    assert as_wiring(chain).cores == chain.cores
    with pytest.raises(CoreError, match="expected a Wiring or a network"):
        as_wiring(3)


def test_torch_cores_contract_in_torch():
    torch = pytest.importorskip("torch")
    ring = loop()
    moved = Wiring([core.to("torch") for core in ring.cores], ring.labels)
    dense = moved.dense()
    assert isinstance(dense, torch.Tensor)
    np.testing.assert_allclose(dense.numpy(), ring.dense(), atol=1e-14)
    mixed = Wiring([moved.cores[0], *ring.cores[1:]], ring.labels)
    with pytest.raises(CoreError, match="arrays of one kind"):
        mixed.dense()


VECTOR, MATRIX = Core(["1x0e"]), Core(["1x0e", "1x0e"])


@pytest.mark.parametrize(
    ("cores", "labels", "message"),
    [
        ([], [], "at least one core"),
        ([VECTOR], [], "names of the legs of 1 cores, got those of 0"),
        ([MATRIX], [("i",)], "core 0: expected 2 names of legs"),
        ([MATRIX], [("i", "i")], "core 0: the legs .* must have different names"),
        ([VECTOR] * 3, [("i",)] * 3, "leg 'i': expected on one or two cores.* 0, 1, 2"),
        ([VECTOR, Core(["2x0e"])], [("i",)] * 2, "core 0 carries 1x0e, core 1 carries 2x0e"),
    ],
)
def test_errors_of_wirings(cores, labels, message):
    with pytest.raises(CoreError, match=message):
        Wiring(cores, labels)


def test_the_output_must_be_the_open_legs():
    with pytest.raises(CoreError, match="open legs"):
        loop().dense(["x", "y"])


def test_looking_at_networks_loads_no_heavy_package():
    code = (
        "import sys, etn.network.views.wiring, etn.network.views.info\n"
        "import etn.network.views.show, etn.network.views.symbolic\n"
        "import etn.interfaces.quimb, etn.network.views.drawing\n"
        "print([m for m in ('torch', 'sympy', 'quimb', 'matplotlib', 'ase') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert result.stdout.strip() == "[]", result.stderr
