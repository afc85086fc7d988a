"""A pair of cores as one wide core: the same tensor, and the same entries."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain
from etn.network.design import CoreDesign
from etn.sweep.regression.bond_matrices import to_vector
from etn.sweep.regression.normal_equations import NormalEquations
from etn.sweep.regression.pair_as_core import widen
from etn.tensor import merge

WIDE = "2x0e+2x1o+1x2e"


def test_either_core_may_be_the_wide_one():
    chain = Chain.random([WIDE] * 4, start="2x0e", max_bond=2, seed=1)
    legs = [widen(chain.canonicalize(site), site).leg for site in (0, 2)]
    assert legs == [0, 2]
    for site in range(3):
        wide = widen(chain.canonicalize(site), site).chain
        np.testing.assert_allclose(wide.to_dense(), chain.to_dense(), atol=1e-12)
        assert wide.orthogonality_error() < 1e-12


@pytest.mark.parametrize("site", [0, 1, 2])
def test_the_wide_core_has_the_entries_of_the_pair(rng, site):
    chain = Chain.random([WIDE] * 4, start="2x0e", max_bond=2, seed=1).canonicalize(site)
    wide, pair = widen(chain, site), merge(chain[site], chain[site + 1])
    assert wide.core.n_parameters == sum(m.size for m in pair.matrices.values())
    back = wide.to_pair(wide.core)
    assert back.legs == pair.legs
    for ir, matrix in pair.matrices.items():
        np.testing.assert_allclose(back.matrices[ir], matrix, rtol=1e-13, atol=1e-14)
    # Any other values of the wide core are those of a pair in the chain as well.
    core = wide.core.from_vector(rng.normal(size=wide.core.n_parameters))
    split = wide.to_pair(core).split()
    cores = [*chain.cores[:site], split.left, split.right, *chain.cores[site + 2 :]]
    replaced = wide.chain.replace(wide.chain.center, core)
    np.testing.assert_allclose(Chain(cores).to_dense(), replaced.to_dense(), atol=1e-11)


@pytest.mark.parametrize("site", [0, 2])
def test_the_objective_of_the_pair_is_that_of_the_wide_core(rng, site):
    chain = Chain.random([WIDE] * 4, start="2x0e", max_bond=1, seed=1).canonicalize(site)
    wide = widen(chain, site)
    design = CoreDesign(wide.core)
    # Any rows of the design will do.
    rows, targets = rng.normal(size=(50, design.columns)), rng.normal(size=50)
    normal = NormalEquations(design.columns)
    normal.add(rows, targets)
    squares = wide.squares(design, normal, 0.3, 2.0)
    core = wide.core.from_vector(rng.normal(size=wide.core.n_parameters))
    x = to_vector(wide.to_pair(core).matrices)
    expected = np.sum((rows @ design.from_core(core) - targets) ** 2) + 0.3 * core.norm() ** 2 + 2.0
    assert squares.value(x) == pytest.approx(expected, rel=1e-12)
