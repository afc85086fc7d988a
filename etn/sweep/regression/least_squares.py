"""Linear least squares on one core: the local problem of regression sweeps.

With all cores but one fixed the rows are linear in that core, so its optimum

    min_a  sum_rows w^2 (Phi a - y)^2 + ridge ||T||^2

is one linear solve.  In mixed-canonical gauge ||T||^2 = sum (2 l3 + 1) a^2 is the norm of the
whole tensor, so one ridge means the same at every site and the objective never rises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial

import numpy as np

from etn.backend import FloatArray as Array
from etn.errors import CoreError, SettingsError
from etn.network import Chain
from etn.network.design import CoreDesign
from etn.o3 import Irrep
from etn.sweep.problem import JointModel, LocalSolution
from etn.sweep.regression.batches import Batch, Batches, WeightedRows
from etn.sweep.regression.core_rows import CoreRows, weighted_rows
from etn.sweep.regression.evidence import Evidence, EvidenceCurve
from etn.sweep.regression.joint import GramModel, StreamedModel, channel_weights
from etn.sweep.regression.matrix_free import is_cheaper, solve_core
from etn.sweep.regression.normal_equations import (
    CHOLESKY,
    IN_PLACE,
    MAX_GRAMS,
    QR,
    NormalEquations,
    accumulate,
    solve_direct,
)
from etn.sweep.regression.pair_as_core import widen
from etn.sweep.regression.pair_solution import PairSolution
from etn.tensor import Core

# Parameters of a chain up to which joint steps go through a matrix; beyond, its flops, which grow
# with their square, outweigh the passes over the batches that conjugate gradients take.
MAX_EXACT = 8000


class LeastSquares:
    """Least squares on rows that are linear in values and derivatives of a chain, streamed.

    For potentials: a row is a sum of values over samples, as an energy, or a derivative of it, as
    a force; see :class:`~etn.network.Samples`.  The rows come in batches that need not fit in
    memory together, all sites read the same leg and the chain ends in one scalar.  A solve adds
    up normal equations, in NumPy.  For plain samples, value(x) = y with vectors that are given,
    see :class:`Regression`.

    Parameters
    ----------
    batches : callable
        Returns a fresh iterable at every call: of :class:`Batch`, or of functions that build
        one.  The functions are called in several threads, one batch a thread is in memory at a
        time; batches that are handed over ready are all held together.
    ridge : float
        Weight of ||T||^2 in the objective.
    proximal : float
        Weight of ||B - B_current||^2 when a pair of cores B is solved for; not part of the
        objective.  See :meth:`solve_pair`.
    max_condition : float
        Above this estimate of the condition number of the scaled normal equations the
        solution is recomputed by a streamed QR of the rows, which does not square it; with more
        than 1000 unknowns, by damped normal equations.
    max_grams : float
        Memory for Gram matrices, bytes.  A core whose equations do not fit is solved by conjugate
        gradients, see :mod:`etn.sweep.regression.matrix_free`.
    products : bool, optional
        Whether conjugate gradients solve for a core also if its equations fit; by default where
        they take fewer operations.
    iterative_tol : float
        They end when five iterations together lower the objective by less than this fraction.
    threads : int, optional
        Most threads to use, each with a batch in memory; by default as many as the BLAS may use.
    offset : callable, optional
        Returns what is added to the objective: where the weights belong to a robust loss, its
        value less the weighted squares.
    """

    def __init__(
        self,
        batches: Callable[[], Iterable[Batch | Callable[[], Batch]]],
        *,
        ridge: float = 0.0,
        proximal: float = 0.0,
        max_condition: float = 1e15,
        max_grams: float = MAX_GRAMS,
        products: bool | None = None,
        iterative_tol: float = 1e-6,
        threads: int | None = None,
        offset: Callable[[], float] = float,
    ) -> None:
        self.batches = batches
        self.ridge = ridge
        self.proximal = proximal
        self.max_condition = max_condition
        self.max_grams = max_grams
        self.products = products
        self.iterative_tol = iterative_tol
        self.threads = threads
        self.offset = offset

    def solve(self, chain: Chain) -> LocalSolution[Core]:
        """Optimal center core, all others fixed.

        Parameters
        ----------
        chain : Chain
            Canonical around its center.

        Raises
        ------
        CoreError
            If the chain has no center.
        """
        if chain.center is None:
            raise CoreError("least squares needs a canonical chain: canonicalize(center) it first")
        design = CoreDesign(chain[chain.center])
        penalty = self.ridge * chain[chain.center].metric()[design.order]
        square = 8.0 * design.columns**2
        rows = CoreRows(chain, design, self.stream())
        products = self.products
        if IN_PLACE * square > self.max_grams:
            products = True
        elif products is None:
            products = is_cheaper(rows)
        if products:
            return self._solve_matrix_free(rows, penalty)
        normal = self.normal_equations(chain, design)
        in_place = CHOLESKY * square > self.max_grams
        solution, condition, solver = solve_direct(
            normal,
            penalty,
            None if QR * square > self.max_grams else partial(self._rows, chain, design),
            max_condition=self.max_condition,
            in_place=in_place,
        )
        if solution is None:
            del normal
            return self._solve_matrix_free(rows, penalty)
        loss = max(normal.value(solution), 0.0) + float(penalty @ solution**2) + self.offset()
        return LocalSolution(design.to_core(solution), loss, condition, solver)

    def _solve_matrix_free(self, rows: CoreRows, penalty: Array) -> LocalSolution[Core]:
        found = solve_core(
            rows, penalty, rows.design.from_core(rows.chain[rows.site]),
            max_grams=self.max_grams, tol=self.iterative_tol,
        )  # fmt: skip
        core = rows.design.to_core(found.values)
        return LocalSolution(core, found.loss + self.offset(), solver="cg", gradient=found.gradient)

    def solve_pair(self, chain: Chain, site: int) -> PairSolution:
        """Optimal pair of cores at ``site`` and ``site + 1``, all others fixed.

        All sites of the samples read the same leg.  So data see only the part of the pair that is
        symmetric under exchange of its two legs, as far as the bonds next to it are; the rest is
        a null space of the design, over which the least norm spreads the solution and fills the
        bond.  The proximal term keeps that part as it is in the current cores: it does not change
        what the pair predicts where the data are firm, and slows the change where they are not.

        Parameters
        ----------
        chain : Chain
            With its center at one of the two sites.
        site : int

        Returns
        -------
        PairSolution
            A :class:`~etn.tensor.Pair`; its ``split`` truncates by what the data see.

        Raises
        ------
        CoreError
            If the center is elsewhere.
        SettingsError
            If the pair has more unknowns than Gram matrices have memory for.
        """
        if chain.center not in (site, site + 1):
            raise CoreError(f"sites {site}, {site + 1}: expected the center, it is {chain.center}")
        wide = widen(chain, site)
        assert wide.chain.center is not None
        core = wide.chain[wide.chain.center]
        _check_size(core.n_parameters, site, self.max_grams)
        design = CoreDesign(core)
        metric = core.metric()[design.order]
        normal = self.normal_equations(wide.chain, design)
        # ridge |a|^2 + proximal |a - a_0|^2 is a ridge around the point between 0 and a_0.
        total = self.ridge + self.proximal
        shift = (self.proximal / total if total else 0.0) * design.from_core(core)

        def moved() -> Iterator[WeightedRows]:
            _check_size(core.n_parameters, site, self.max_grams, squares=QR)
            for phi, targets in self._rows(wide.chain, design):
                yield phi, targets - phi @ shift

        solution, condition, solver = solve_direct(
            normal.shifted(shift), total * metric, moved, max_condition=self.max_condition
        )
        assert solution is not None
        solution += shift
        offset = self.offset()
        loss = max(normal.value(solution), 0.0) + self.ridge * float(metric @ solution**2)
        return PairSolution(
            wide.to_pair(design.to_core(solution)),
            loss + offset,
            condition,
            solver,
            before=(chain[site], chain[site + 1]),
            build=partial(wide.squares, design, normal, self.ridge, offset),
        )

    def normal_equations(self, chain: Chain, design: CoreDesign) -> NormalEquations:
        """Gram matrix and right-hand side of the center core over all batches, without ridge."""
        return self.accumulate(design.columns, partial(weighted_rows, chain, design))

    def accumulate(self, columns: int, rows: Callable[[Batch], WeightedRows]) -> NormalEquations:
        """Normal equations of the weighted rows and targets that a function makes of a batch."""
        most = max(1, int(self.max_grams / (8.0 * columns**2)))
        return accumulate(columns, self.stream().map(rows), most=most)

    def stream(self) -> Batches[Batch]:
        """All batches, to map over and to add up."""
        return Batches(self.batches(), threads=self.threads)

    def evidence(self, chain: Chain, n_rows: int) -> Evidence | None:
        """The ridge that the data make most likely, with all cores but the center fixed.

        Takes a look at the data and about 10 P^3 flops for the P entries of the center core.  The
        ridge of the problem stays as it is.

        Parameters
        ----------
        chain : Chain
            Canonical around its center.
        n_rows : int
            Rows with a weight.

        Returns
        -------
        Evidence, or None where there is no memory for the matrices.

        Raises
        ------
        CoreError
            If the chain has no center.
        SettingsError
            If all targets are zero.
        """
        if chain.center is None:
            raise CoreError("evidence needs a canonical chain: canonicalize(center) it first")
        design = CoreDesign(chain[chain.center])
        if CHOLESKY * 8.0 * design.columns**2 > self.max_grams:
            return None
        normal = self.normal_equations(chain, design)
        metric = chain[chain.center].metric()[design.order]
        return EvidenceCurve(normal.gram, normal.rhs, normal.target, metric, n_rows).maximum()

    def loss(self, chain: Chain) -> float:
        """Objective of a canonical chain."""
        if chain.center is None:
            raise CoreError("the loss needs a canonical chain: canonicalize(center) it first")

        data = self.stream().map(partial(_squared_errors, chain)).sum(0.0)
        return data + self.ridge * chain.norm() ** 2 + self.offset()

    @property
    def size(self) -> float:
        """Objective of a chain that is zero: the weighted squared targets."""
        return self.stream().map(_squared_targets).sum(0.0) + self.offset()

    @cached_property
    def channels(self) -> dict[Irrep, Array]:
        """How much each channel of the site leg does to the rows, for joint steps."""
        return channel_weights(self.stream())

    def linearize(self, chain: Chain, *, exact: bool | None = None) -> JointModel:
        """Model of the objective in all cores at once, for :func:`etn.sweep.refine`.

        Parameters
        ----------
        chain : Chain
            Canonical around its center.
        exact : bool, optional
            Whether steps are solved through the matrix J^T J; by default if the chain has at most
            :data:`MAX_EXACT` parameters and there is memory for it.
        """
        fits = CHOLESKY * 8.0 * chain.n_parameters**2 <= self.max_grams
        if exact or (exact is None and chain.n_parameters <= MAX_EXACT and fits):
            return GramModel(chain, self)
        return StreamedModel(chain, self)

    def _rows(self, chain: Chain, design: CoreDesign) -> Batches[WeightedRows]:
        """Weighted rows and targets of the center core."""
        return self.stream().map(partial(weighted_rows, chain, design))


def _check_size(unknowns: int, site: int, max_grams: float, *, squares: int = CHOLESKY) -> None:
    """Refuse what does not fit in memory, so many square matrices."""
    needed = squares * 8.0 * unknowns**2
    if needed > max_grams:
        raise SettingsError(
            f"sites {site}, {site + 1}: the pair has {unknowns} unknowns, and solving for them "
            f"takes {needed:.1e} bytes, more than {max_grams:.1e}: use narrower bonds, fewer "
            "features (n_max, l_max) or one-site updates (sites=1)"
        )


def _squared_errors(chain: Chain, batch: Batch) -> float:
    errors = batch.weights * (batch.values(chain) - batch.targets)
    return float(errors @ errors)


def _squared_targets(batch: Batch) -> float:
    return float(np.sum((batch.weights * batch.targets) ** 2))
