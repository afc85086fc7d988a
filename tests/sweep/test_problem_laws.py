"""Least squares, regression on samples and eigenstates solve their local problems exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from etn import Chain
from etn.network import Operator, heisenberg
from etn.sweep import EigenProblem, LeastSquares, Regression
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
