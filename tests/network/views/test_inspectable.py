"""What every network shows of itself, and what it says of itself to the views."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain, Network, Tree, html, info, to_sympy
from etn.network.views.inspectable import Inspectable
from etn.network.views.wiring import WiredNetwork, Wiring, as_network
from etn.tensor import Core

LEG = "1x0e+1x1o"
CHAIN = Chain.random([LEG] * 4, max_bond=1, seed=0)
NETWORKS = {
    "chain": CHAIN,
    "canonical chain": CHAIN.canonicalize(2),
    "tree": Tree.random(((0, 1), 2), [LEG] * 3, max_bond=1, seed=0).canonicalize((0, 1)),
    "network": Network(
        "one[a x b] two[b y a]", one=Core.random([LEG] * 3), two=Core.random([LEG] * 3)
    ),
}


class Ring:
    """A network of somebody else: it has a wiring, and says no more."""

    def wiring(self) -> Wiring:
        return NETWORKS["network"].wiring()


@pytest.mark.parametrize("name", NETWORKS)
def test_methods_are_the_functions(name):
    network = NETWORKS[name]
    assert isinstance(network, Inspectable)
    assert network.info() == info(network)
    assert network._repr_html_() == html(network)
    small = network.to_sympy(coefficients="symbolic")
    assert small == to_sympy(network, coefficients="symbolic")
    assert as_network(network) is network


@pytest.mark.parametrize("name", NETWORKS)
def test_quimb_gets_every_core(name):
    pytest.importorskip("quimb")
    network = NETWORKS[name]
    tensors = network.to_quimb()
    assert len(tensors.tensors) == len(network.wiring().cores)
    assert len(network.draw().axes) == 1


def test_marks_of_the_gauge():
    assert NETWORKS["chain"].gauge_marks() == ("○",) * 4
    assert NETWORKS["canonical chain"].gauge_marks() == (">", ">", "●", "<")
    assert NETWORKS["network"].gauge_marks() == ()


def test_only_a_chain_counts_its_reduced_flops_and_is_a_line():
    assert {name for name, network in NETWORKS.items() if network.is_line} == {
        "chain",
        "canonical chain",
    }
    for name, network in NETWORKS.items():
        assert (network.flops() is not None) == ("chain" in name)
        assert info(network).flops == network.flops()


def test_a_network_of_somebody_else_is_seen_by_its_wiring():
    ring, wiring = Ring(), NETWORKS["network"].wiring()
    assert isinstance(as_network(ring), Wiring)
    assert info(ring).n_parameters == info(wiring).n_parameters
    assert info(ring).flops is None
    assert "gauge" not in html(ring)
    np.testing.assert_allclose(ring.wiring().dense(), wiring.dense(), rtol=0, atol=0)


def test_a_wiring_is_its_own_wiring():
    wiring = CHAIN.wiring()
    assert wiring.wiring() is wiring
    assert (wiring.is_line, wiring.flops(), wiring.gauge_marks()) == (False, None, ())
    with pytest.raises(NotImplementedError):
        WiredNetwork().wiring()
