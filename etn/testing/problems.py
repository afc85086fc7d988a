"""Laws of the local problems that sweeps solve."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from etn.network import Chain
from etn.sweep import Schedule, sweep
from etn.tensor import Core
from etn.testing.suite import Laws


class ProblemLaws(Laws):
    """What holds for every local problem: each solve is the best for one core.

    Subclass it in a test module, with a name that starts with Test, and provide
    :meth:`make_problem`, :meth:`make_chain` and, from the definition and not by the solver,
    :meth:`objective`.

    Attributes
    ----------
    tolerance : float
        Of losses, relative to the largest magnitude that the objective takes for the chains at
        hand.
    steps : tuple of float
        Lengths of the changes against which a solution is held, relative to its own norm.

    Examples
    --------
    >>> from etn.sweep import Regression
    >>> class TestMyProblem(ProblemLaws):
    ...     def make_problem(self, rng):
    ...         vectors = rng.normal(size=(3, 40, 4))
    ...         return Regression(vectors, rng.normal(size=40), sites=["1x0e+1x1o"] * 3)
    ...
    ...     def make_chain(self, rng):
    ...         return Chain.random(["1x0e+1x1o"] * 3, max_bond=2, seed=rng)
    ...
    ...     def objective(self, problem, chain):
    ...         return problem.loss(chain)
    >>> TestMyProblem().check()
    """

    tolerance: float = 1e-9
    steps: tuple[float, ...] = (1e-3, 1e-1, 1.0)

    def make_problem(self, rng: np.random.Generator) -> Any:
        """A problem for chains with the legs of :meth:`make_chain`."""
        raise NotImplementedError

    def make_chain(self, rng: np.random.Generator) -> Chain:
        """A chain to start from, canonical or not."""
        raise NotImplementedError

    def objective(self, problem: Any, chain: Chain) -> float:
        """What the problem minimizes, for a canonical chain."""
        raise NotImplementedError

    def _cases(self) -> Iterator[tuple[Any, Chain, float, np.random.Generator]]:
        """Problem, chain with its center at each site in turn, scale of the objective."""
        for rng in self.generators():
            problem, chain = self.make_problem(rng), self.make_chain(rng)
            for center in range(len(chain)):
                there = chain.canonicalize(center)
                yield problem, there, abs(self.objective(problem, there)), rng

    def test_a_solution_has_the_legs_of_the_center(self) -> None:
        """So that it can take its place."""
        for problem, chain, _, _ in self._cases():
            assert chain.center is not None
            assert _solve(problem, chain).legs == chain[chain.center].legs

    def test_the_loss_is_the_objective(self) -> None:
        """Of the chain with the solution in place."""
        for problem, chain, scale, _ in self._cases():
            assert chain.center is not None
            solution = problem.solve(chain)
            assert isinstance(solution.core, Core)
            placed = chain.replace(chain.center, solution.core)
            self.close(solution.loss, self.objective(problem, placed), scale=scale)

    def test_no_other_core_is_better(self) -> None:
        """Small and large changes of the solution raise the objective, or leave it."""
        for problem, chain, scale, rng in self._cases():
            assert chain.center is not None
            core = _solve(problem, chain)
            best = self.objective(problem, chain.replace(chain.center, core))
            size = math.sqrt(core.n_parameters)
            for step in self.steps:
                change = rng.normal(size=core.n_parameters) * step * core.norm() / size
                moved = core.from_vector(np.asarray(core.to_vector()) + change)
                changed = self.objective(problem, chain.replace(chain.center, moved))
                assert changed >= best - self.tolerance * scale, f"{changed} below {best}"

    def test_sweeps_never_raise_the_loss(self) -> None:
        """From step to step, over two sweeps."""
        for rng in self.generators():
            problem, chain = self.make_problem(rng), self.make_chain(rng)
            scale = abs(self.objective(problem, chain.canonicalize(0)))
            steps = sweep(chain, problem, Schedule(max_sweeps=2, rel_tol=0.0))
            losses = [step.loss for step in steps]
            for before, after in itertools.pairwise(losses):
                assert after <= before + self.tolerance * scale

    def test_pairs_are_no_worse_than_single_cores(self) -> None:
        """A pair that has not been cut, where the problem can solve for pairs."""
        for problem, chain, scale, _ in self._cases():
            site = min(chain.center or 0, len(chain) - 2)
            if not hasattr(problem, "solve_pair") or site < 0:
                continue
            pair = problem.solve_pair(chain, site)
            assert pair.loss <= problem.solve(chain).loss + self.tolerance * scale


def _solve(problem: Any, chain: Chain) -> Core:
    core = problem.solve(chain).core
    assert isinstance(core, Core)
    return core
