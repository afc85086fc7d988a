"""Networks in quimb: contraction there, tags, and what is said where it is missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from etn.network import Chain, Tree
from etn.network.views.quimb import to_quimb
from etn.network.views.wiring import Wiring
from etn.tensor import Core

pytest.importorskip("quimb.tensor")

OPEN = ["start", "x0", "x1", "x2", "out"]


@pytest.fixture
def chain() -> Chain:
    sites = ["2x0e+1x1o", "1x1o+1x0e+1x0o", "1x2e+2x1o"]
    return Chain.random(sites, start="2x0e", out="1x0e+1x1o", max_bond=2, seed=4)


@pytest.fixture
def ring() -> Wiring:
    bond = "1x0e+1x1o+1x1e"
    cores = [Core.random([bond, "1x0e+1x1o", bond], seed=i) for i in range(3)]
    return Wiring(cores, [("a", "x", "b"), ("b", "y", "c"), ("c", "z", "a")])


def test_quimb_contracts_to_the_dense_tensor(chain, ring):
    tn = to_quimb(chain)
    assert set(tn.outer_inds()) == set(OPEN)
    assert set(tn.inner_inds()) == {"b1", "b2"}
    found = tn.contract(output_inds=OPEN).data
    np.testing.assert_allclose(found, chain.to_dense(), atol=1e-13)
    assert tn.norm() == pytest.approx(chain.norm())
    found = to_quimb(ring).contract(output_inds=["x", "y", "z"]).data
    np.testing.assert_allclose(found, ring.dense(), atol=1e-13)


def test_tags_say_sites_and_irreps(chain):
    tags = set(to_quimb(chain)["I1"].tags)
    bonds = chain.bonds
    assert tags == {"I1", f"leg0:b1={bonds[0]}", "leg1:x1=1x1o+1x0e+1x0o", f"leg2:b2={bonds[1]}"}


def test_without_quimb_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['quimb'] = None\n"
        "from etn import Chain; from etn.errors import CoreError\n"
        "from etn.interfaces.quimb import to_quimb\n"
        "try: to_quimb(Chain.random(['0e'], seed=0))\n"
        "except CoreError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert 'pip install "etn[quimb]"' in result.stdout, result.stderr


def test_trees_are_taken_by_the_names_of_their_edges():
    tree = Tree.random(((0, 2), 1), ["1x0e+1x1o"] * 3, out="1x1o", max_bond=2, seed=0)
    found = to_quimb(tree).contract(output_inds=["x0", "x1", "x2", "out"]).data
    np.testing.assert_allclose(found, tree.to_dense(), atol=1e-13)
