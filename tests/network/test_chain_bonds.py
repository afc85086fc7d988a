"""What the bonds of a train can carry, against the ranks of dense tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network import Chain
from etn.network.chain_bonds import reachable_bonds
from etn.o3 import Irreps
from etn.tensor import Core


def test_bonds_are_the_ranks_of_a_generic_equivariant_tensor():
    """A dense tensor drawn at random among the equivariant ones, cut at every bond."""
    legs = [Irreps(leg) for leg in ("1x0e+1x1o", "1x1o", "2x0e+1x1o")]
    start, out, wide = Irreps("1x1o"), Irreps("1x0e+1x1o"), Irreps("50x0e+50x1o+50x1e+50x2e+50x2o")
    wide += Irreps("50x0o+50x3o+50x3e")
    cores = [
        Core.random([a, leg, b], seed=n)
        for n, (a, leg, b) in enumerate(
            zip([start, wide, wide], legs, [wide, wide, out], strict=True)
        )
    ]
    dense = Chain(cores).to_dense()
    found = reachable_bonds(legs, start, out, wide.regroup())
    assert (found[0], found[-1]) == (start, out)
    for bond, irreps in enumerate(found[1:-1], start=2):
        rows = math.prod(dense.shape[:bond])
        assert np.linalg.matrix_rank(dense.reshape(rows, -1), tol=1e-10) == irreps.dim


def test_bonds_hold_what_both_ends_can_reach():
    chain = Chain.random(["1x0e+1x2e"] * 3, max_bond=9)
    assert [str(bond) for bond in chain.bonds] == ["1x0e+1x2e", "1x0e+1x2e"]
    with pytest.raises(CoreError, match="bond 0: no irrep of"):
        Chain.random(["1x1o"] * 3, max_bond=2)


def test_bonds_are_no_wider_than_asked():
    chain = Chain.random(["9x0e+9x1o+9x2e"] * 4, max_bond="3x0e+2x1o")
    assert {str(bond) for bond in chain.bonds} == {"3x0e+2x1o"}
    assert str(chain.start) == str(chain.out) == "1x0e"
