"""The laws of local problems: kept by those of etn, and each broken by a wrong one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from etn import Chain
from etn.network import Operator, heisenberg
from etn.sweep import EigenProblem, LeastSquares, Regression
from etn.tensor import Core
from etn.testing import ProblemLaws, random_batch

LEG = "1x0e+2x0e+2x1o"
RIDGE = 1e-2


class TestLeastSquares(ProblemLaws):
    def make_chain(self, rng: np.random.Generator) -> Chain:
        return Chain.random([LEG] * 3, max_bond=2, seed=rng)

    def make_problem(self, rng: np.random.Generator) -> LeastSquares:
        batch = random_batch(self.make_chain(rng), seed=int(rng.integers(1000)))
        return LeastSquares(lambda: [batch], ridge=RIDGE)

    def objective(self, problem: Any, chain: Chain) -> float:
        return float(problem.loss(chain))


class TestRegression(ProblemLaws):
    def make_chain(self, rng: np.random.Generator) -> Chain:
        return Chain.random([LEG] * 3, max_bond=2, seed=rng)

    def make_problem(self, rng: np.random.Generator) -> Regression:
        self.vectors, self.values = rng.normal(size=(3, 60, 9)), rng.normal(size=60)
        return Regression(self.vectors, self.values, sites=[LEG] * 3)

    def objective(self, problem: Any, chain: Chain) -> float:
        dense = chain.to_dense()[0, ..., 0]
        predicted = np.einsum("abc,na,nb,nc->n", dense, *self.vectors)
        return float(np.sum((predicted - self.values) ** 2))


class TestEigenProblem(ProblemLaws):
    operator: Operator = heisenberg(4, spin=1)

    def make_chain(self, rng: np.random.Generator) -> Chain:
        chain = Chain.random(self.operator.sites, out="0e", max_bond=2, seed=rng)
        return chain / chain.norm()

    def make_problem(self, rng: np.random.Generator) -> EigenProblem:
        return EigenProblem(self.operator, self.make_chain(rng))

    def objective(self, problem: Any, chain: Chain) -> float:
        state = chain.to_dense().ravel()
        return float(state @ self.operator.to_dense() @ state / (state @ state))


RISING = itertools.count(1)
# For each law: the method, and what is returned instead of its solution.
BREAKS = {
    "test_a_solution_has_the_legs_of_the_center": (
        "solve",
        lambda found: replace(found, core=Core.random(["1x0e"] * 3)),
    ),
    "test_the_loss_is_the_objective": (
        "solve",
        lambda found: replace(found, loss=1.001 * found.loss),
    ),
    "test_no_other_core_is_better": (
        "solve",
        lambda found: replace(found, core=found.core.scale(1.2)),
    ),
    "test_sweeps_never_raise_the_loss": (
        "solve",
        lambda found: replace(found, loss=found.loss * (1 + next(RISING))),
    ),
    "test_pairs_are_no_worse_than_single_cores": (
        "solve_pair",
        lambda found: replace(found, loss=2 * found.loss),
    ),
}


def test_every_law_has_a_break(laws):
    assert laws(ProblemLaws) == BREAKS.keys()


@pytest.mark.parametrize("law", BREAKS)
def test_a_right_problem_keeps_the_law_and_a_wrong_one_does_not(law, breaks):
    method, change = BREAKS[law]
    breaks(TestLeastSquares, law, f"etn.sweep:LeastSquares.{method}", change)
