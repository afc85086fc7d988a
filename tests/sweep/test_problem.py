"""What the engine asks for: who satisfies it, and what a solution of a pair becomes."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain, heisenberg
from etn.product import fused_cg
from etn.product.solve import FactorProblem, random_start
from etn.sweep import (
    EigenProblem,
    EnrichedProblem,
    LeastSquares,
    LocalProblem,
    LocalSolution,
    PairProblem,
    Regression,
)
from etn.tensor import Truncation, merge


def problems():
    operator = heisenberg(4)
    state = Chain.random(operator.sites, seed=0)
    x = np.ones((3, 2))
    return {
        "least squares": LeastSquares(list),
        "regression": Regression(x, np.ones(3), sites="2x0e"),
        "eigen": EigenProblem(operator, state),
        "factor": FactorProblem(),
    }


@pytest.mark.parametrize(
    ("name", "pairs", "enriched"),
    [
        ("least squares", True, False),
        ("regression", True, False),
        ("eigen", True, True),
        ("factor", False, False),
    ],
)
def test_problems_say_what_they_can_do(name, pairs, enriched):
    problem = problems()[name]
    assert isinstance(problem, LocalProblem)
    assert isinstance(problem, PairProblem) == pairs
    assert isinstance(problem, EnrichedProblem) == enriched


@pytest.mark.parametrize("center", ["left", "right"])
def test_a_pair_is_split_by_its_singular_values(center):
    chain = Chain.random(["2x0e+2x1o"] * 4, max_bond=2, seed=0).canonicalize(1)
    pair = merge(chain[1], chain[2])
    solution = LocalSolution(pair, 3.5, 7.0, "mine", 0.1)
    split, same = solution.split(Truncation(max_bond=1), center=center)
    assert same is solution
    cores = [chain[0], split.left, split.right, chain[3]]
    cut = Chain(cores, center=1 if center == "left" else 2)
    assert cut.orthogonality_error() < 1e-12
    # Both sides of a canonical pair are isometries: what is dropped is lost of the whole.
    dropped = np.linalg.norm(cut.to_dense() - chain.to_dense())
    assert split.discarded == pytest.approx(dropped, rel=1e-10)


def test_whatever_has_a_center_can_be_swept():
    start = random_start(fused_cg(l_max=1), cp_rank=4, seed=0)
    for network in (start, Chain.random(["1x0e"] * 3, seed=0)):
        moved = network.canonicalize(1)
        assert type(moved) is type(network)
        assert (moved.center, len(moved)) == (1, 3)
