r"""Joint refinement: all cores of a chain at once, by the method of Levenberg and Marquardt.

Sweeps change one or two cores at a time.  Where all sites read the same vector only the
symmetric part of the tensor is seen, the cores depend on each other strongly, and sweeps crawl or
stop early.  The Jacobian of the predictions with respect to all cores is the designs of the
single cores side by side; one linear solve moves them all.

Changes of a bond's basis change cores, but no prediction.  They are left out: with the chain
canonical around its center, every other core is an isometry A and moves to A + Q X, with Q the
orthonormal complement of its columns.  So each X is free, is measured in units of the core itself,
and to first order only the center changes the norm of the tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from etn.backend import Array, to_numpy
from etn.errors import SettingsError
from etn.network import Blocks, Chain
from etn.o3 import Irrep
from etn.sweep.linear import from_vector, to_vector
from etn.sweep.regression import Regression
from etn.tensor import Core, matricize, tensorize

# Damping at which a step is as short as rounding.
MAX_DAMPING = 1e12


@dataclass(frozen=True)
class Refinement:
    """What a joint refinement did.

    Attributes
    ----------
    chain : Chain
    losses : tuple of float
        Objective before the first step and after each one; falling.
    damping : tuple of float
        Damping with which each step was accepted.
    converged : bool
        Whether it ended because the loss settled.
    reason : str
        Why it ended.
    """

    chain: Chain
    losses: tuple[float, ...]
    damping: tuple[float, ...]
    converged: bool
    reason: str

    def __str__(self) -> str:
        first, last = self.losses[0], self.losses[-1]
        return f"loss {first:.6g} -> {last:.6g} in {len(self.damping)} joint steps: {self.reason}"


def refine(
    chain: Chain,
    problem: Regression,
    *,
    center: int | None = None,
    max_steps: int = 60,
    rel_tol: float = 1e-6,
    damping: float = 1e-2,
) -> Refinement:
    r"""Lower the loss of a chain by moving all its cores together.

    Each step minimizes the linearized loss with a damping term,

    .. math:: \min_\delta |J \delta - r|^2 + \lambda |C + \delta_C|^2
        + \mu \Bigl( \sum_{k \ne c} |\delta_k|^2 + |\delta_C|^2 / |C|^2 \Bigr),

    with r the residuals, C the center core and :math:`\lambda` the ridge.  A step that lowers the
    loss is taken, and :math:`\mu` follows the ratio of the gain to the predicted one (H. B.
    Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05); else it is tried again with
    more damping.  The bonds keep their irreps.  With N rows and P unknowns in all a step takes
    about 2 N P^2 + 4 P^3 flops.

    Parameters
    ----------
    chain : Chain
    problem : Regression
    center : int, optional
        Core that carries the norm of the tensor; by default the middle one.
    max_steps : int
    rel_tol : float
        Ends once two steps in a row, each accepted at once, lower the loss by less than this
        fraction.
    damping : float
        To start with, relative to the mean squared column of J.

    Returns
    -------
    Refinement

    Raises
    ------
    SettingsError
        If a number is out of range.
    IrrepsError, CoreError
        If the chain does not fit the samples.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 4))
    >>> problem = Regression(x, (x**2) @ [1, -2, -2, -2], sites="1x0e+1x1o")
    >>> found = refine(Chain.random(["1x0e+1x1o"] * 2, max_bond=1), problem)
    >>> found.converged, found.losses[-1] < 1e-20
    (True, True)
    """
    if max_steps < 0 or not 0 <= rel_tol < math.inf or not 0 < damping < math.inf:
        raise SettingsError(
            "refine: expected max_steps >= 0, rel_tol >= 0 and damping > 0, got "
            f"{max_steps}, {rel_tol} and {damping}"
        )
    chain = chain.canonicalize(len(chain) // 2 if center is None else center)
    # What rounding leaves of a perfect fit.
    floor = (1e3 * chain.kind.eps) ** 2 * problem.size
    losses = [problem.loss(chain)]
    used: list[float] = []
    growth, idle = 2.0, 0
    while not (reason := _settled(losses[-1], floor, idle, rel_tol)) and len(used) < max_steps:
        model = _Linearized(chain, problem)
        at_once = True
        while damping < MAX_DAMPING:
            step = model.step(damping)
            moved = model.move(step.x)
            loss = problem.loss(moved)
            ratio = (losses[-1] - loss) / step.gain if step.gain > 0 else -1.0
            # Written such that a loss that is not a number fails.
            if ratio > 1e-4:
                break
            at_once = False
            damping *= growth
            growth *= 2
        else:
            reason = "no joint step lowers the loss"
            break
        chain = moved.canonicalize(model.center)
        idle = idle + 1 if at_once and losses[-1] - loss <= rel_tol * losses[-1] else 0
        losses.append(loss)
        used.append(damping)
        damping = max(damping * max(1 / 3, 1 - (2 * ratio - 1) ** 3), chain.kind.eps)
        growth = 2.0
    why = f"settled: {reason}" if reason else f"reached max_steps = {max_steps}"
    return Refinement(chain, tuple(losses), tuple(used), bool(reason), why)


def _settled(loss: float, floor: float, idle: int, rel_tol: float) -> str:
    if loss <= floor:
        return "the samples are met to rounding"
    return f"two joint steps lowered the loss by less than {rel_tol:g}" if idle >= 2 else ""


class _Step(NamedTuple):
    """A change of all cores and how much it should lower the loss."""

    x: Array
    gain: float


class _Part(NamedTuple):
    """How a core may move: by complement · X on one of its legs.

    Attributes
    ----------
    leg : int
        Towards the center; the last one for the center itself.
    matrices : {ir: (couplings of the other legs, multiplicity)}
    complement : {ir: (couplings, free)} or None
        None for the center, which is free in all directions.
    columns : slice
        Of the Jacobian.
    shapes : {ir: shape of X}, rows on the left side
    """

    leg: int
    matrices: Blocks
    complement: Blocks | None
    columns: slice
    shapes: dict[Irrep, tuple[int, int]]


class _Linearized:
    """Predictions of a canonical chain to first order in all its cores.

    Attributes
    ----------
    jacobian : (n, columns)
        Triangular factor, one column for each unknown in units of its core, and the ridge.
    rhs : (n,)
        The residuals in the same basis.
    """

    def __init__(self, chain: Chain, problem: Regression) -> None:
        assert chain.center is not None
        self.chain, self.kind, self.center = chain, chain.kind, chain.center
        xp = self.kind.xp
        self.parts: list[_Part] = []
        sides, at = [], 0
        for site in range(len(chain)):
            leg, matrices, complement, (u, w) = self._free(problem, site)
            shapes = {ir: (len(u[ir]), len(w[ir])) for ir in sorted(u) if ir in w}
            n = sum(a * b for a, b in shapes.values())
            self.parts.append(_Part(leg, matrices, complement, slice(at, at + n), shapes))
            sides.append((u, w))
            at += n
        triangle = problem.triangle(sides, problem.residuals(chain))
        rows, rhs = [triangle[:, :-1]], [triangle[:, -1]]
        center = self.parts[self.center]
        if problem.ridge:
            root = math.sqrt(problem.ridge)
            rows.append(root * self.kind.eye(at)[center.columns])
            rhs.append(-root * to_vector(center.matrices))
        self.units = self.kind.ones((at,))
        self.units[center.columns] *= chain.norm() or 1.0
        self.jacobian = xp.concat(rows) * self.units
        self.rhs = xp.concat(rhs)
        self.scale = float(to_numpy((self.jacobian**2).sum())) / at

    def _free(
        self, problem: Regression, site: int
    ) -> tuple[int, Blocks, Blocks | None, tuple[Blocks, Blocks]]:
        """Leg, matrices, complement and the two sides of the design of a core."""
        chain, xp = self.chain, self.kind.xp
        leg = 2 if site <= self.center else 0
        matrices = matricize(chain[site], leg)
        if leg == 2:
            u, w = problem.enlarged_left(chain, site, matrices), problem.right(chain, site)
        else:
            u, w = problem.left(chain, site), problem.enlarged_right(chain, site, matrices)
        if site == self.center:
            return leg, matrices, None, (u, w)
        complement = {
            ir: xp.linalg.qr(matrix, mode="complete")[0][:, matrix.shape[1] :]
            for ir, matrix in matrices.items()
        }
        wide = u if leg == 2 else w
        free = {ir: xp.tensordot(q.T, wide[ir], axes=1) for ir, q in complement.items()}
        return leg, matrices, complement, (free, w) if leg == 2 else (u, free)

    def step(self, damping: float) -> _Step:
        """Least squares with damping: its rows make the triangular factor invertible."""
        xp, j, b = self.kind.xp, self.jacobian, self.rhs
        n = j.shape[1]
        weight = math.sqrt(damping * self.scale) or 1.0
        q, r = xp.linalg.qr(xp.concat([j, weight * self.kind.eye(n)]))
        x = xp.linalg.solve(r, q[: len(b)].T @ b)
        rest = b - j @ x
        gain = float(to_numpy((b * b).sum() - (rest * rest).sum()))
        return _Step(x * self.units, gain)

    def move(self, x: Array) -> Chain:
        """The chain with all cores changed."""
        cores = []
        for core, part in zip(self.chain, self.parts, strict=True):
            new = dict(part.matrices)
            for ir, change in from_vector(x[part.columns], part.shapes).items():
                free = change if part.leg == 2 else change.T
                new[ir] = new[ir] + (
                    free if part.complement is None else part.complement[ir] @ free
                )
            blocks = tensorize(new, core.legs, part.leg, self.kind).blocks
            cores.append(Core.trusted(core.legs, blocks, self.kind))
        return Chain(cores)
