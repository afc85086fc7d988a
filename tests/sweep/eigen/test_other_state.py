"""Overlaps with another state against the inner product of the dense states."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError
from etn.network import Chain
from etn.sweep.eigen.other_state import OtherState
from etn.tensor import matricize, merge


@pytest.mark.parametrize("last", [1, 2])
def test_the_overlap_with_another_state(last):
    """The other chain may carry other irreps on its bonds, more of them or less."""
    sites = ["1x1e"] * 4
    wide = Chain.random(sites, out="1e", max_bond="2x0e+2x1e+1x2e", seed=0)
    narrow = Chain.random(sites, out="1e", max_bond="1x1e", seed=1)
    for other, state in ((wide, narrow), (narrow, wide)):
        chain = state.canonicalize(1)
        seen = OtherState(other, chain).seen_from(chain, 1, last)
        mine = matricize(chain[1], 2) if last == 1 else merge(chain[1], chain[2]).matrices
        found = sum(ir.dim * float((seen[ir] * m).sum()) for ir, m in mine.items() if ir in seen)
        expected = np.vdot(other.to_dense(), chain.to_dense()) / np.linalg.norm(other.to_dense())
        assert found == pytest.approx(expected, abs=1e-13)
        assert all(seen[ir].shape == mine[ir].shape for ir in seen if ir in mine)


def test_what_is_seen_follows_the_chain():
    """What is carried along is that of the cores it was asked for, in any order of asking."""
    other = Chain.random(["1x1e"] * 5, max_bond=2, seed=0)
    one = Chain.random(["1x1e"] * 5, max_bond=2, seed=1)
    two = Chain.random(["1x1e"] * 5, max_bond=2, seed=2)
    seen = OtherState(other, one)
    for chain in (one, two, one):
        for center in (0, 3, 1, 4):
            at = chain.canonicalize(center)
            mine = matricize(at[center], 2)
            found = seen.seen_from(at, center, center)
            overlap = sum(ir.dim * float((found[ir] * m).sum()) for ir, m in mine.items())
            assert overlap == pytest.approx(float(other.inner(at)) / other.norm(), abs=1e-12)


def test_states_that_do_not_fit():
    state = Chain.random(["1x1e"] * 3)
    with pytest.raises(IrrepsError):
        OtherState(Chain.random(["1x1e"] * 4), state)
    with pytest.raises(IrrepsError, match="out"):
        OtherState(Chain.random(["1x1e"] * 3, out="1e"), state)
    with pytest.raises(CoreError):
        OtherState(state.to(dtype="float32"), state)
