r"""Least squares on samples: each site of a chain reads a vector, the chain predicts another one.

.. math:: \min_T \sum_s w_s\, |T \cdot (x^1_s \otimes \dots \otimes x^d_s) - y_s|^2
    + \lambda \lVert T \rVert^2

With all cores but one or two neighbouring ones fixed this is linear in the matrices Theta_j of
what is free (see :mod:`etn.tensor.pair`).  The sites left of the split couple to the irreps j of
the bond with components u_j, those right of it with components w_j, and the design is

.. math:: \Phi_{(s o), (j a b)} = \sum_m u_j[a, m, s]\, w_j[b, m, o, s],

o running over the components of the last bond.  In the unknowns sqrt(2 j + 1) Theta_j the norm
of the tensor is that of the vector, as the chain is canonical.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from etn.backend import Array, as_block, kind_of, to_numpy
from etn.errors import CoreError, DataError, IrrepsError, SettingsError
from etn.network import Blocks, Chain
from etn.network.environment import couple, coupling_matrix, propagate
from etn.o3 import Irrep, Irreps
from etn.sweep.bond_cache import Carried
from etn.sweep.problem import LocalSolution
from etn.sweep.regression.bond_matrices import from_vector, to_vector
from etn.sweep.regression.pair_solution import PairSolution
from etn.sweep.regression.pair_squares import squares_of_triangle
from etn.sweep.regression.triangular_model import (
    Sides,
    Solved,
    TriangularModel,
    solve_triangle,
    triangular,
)
from etn.sweep.regression.vectors import (
    check_inputs,
    check_values,
    from_blocks,
    to_blocks,
)
from etn.tensor import Core, Pair, matricize, merge, tensorize
from etn.tensor.factor import stacking

# Rows of the design that are held at a time, if it has not half as many columns.
ROWS = 4096


class Regression:
    """Least squares on plain samples, value(x) = y: a vector for each site in, a vector out.

    Sites may read different vectors, y may have several irreps, and all samples are in memory, in
    NumPy or torch.  A solve is a QR factorisation of the design.  For rows with derivatives, as
    the forces of a potential, in batches that do not fit in memory together, see
    :class:`LeastSquares`.

    One core or two neighbouring cores are free.  With N rows (samples times components
    of the output) and P unknowns a solve takes 2 (2 j + 1) N P flops for the design, 2 N P^2 for
    its triangular factor, which is built from blocks of rows, and about 20 P^3 for the singular
    values of that factor.  Normal equations are never formed: the result has the accuracy of the
    design, not of its square.

    The environments of all samples stay in memory, for each bond as many numbers a sample as the
    bond has components; rows of the design do not.

    Where the data leave directions open, as they must when all sites read the same vector, the
    solution is the one of least norm ||T||, or with a proximal term the one next to the chain.
    A direction counts as open if its singular value in the design with columns of norm one is at
    the level of rounding.

    Parameters
    ----------
    inputs : (samples, leg.dim), or a sequence of these
        One array that every site reads, or one for each site.  NumPy or torch.
    targets : (samples, out.dim), or (samples,) for a single component
        Converted to the kind of the inputs, as are the weights.
    sites : Irreps, or a sequence of Irreps
        Of the one array (for chains of any length), or of each of them.
    out : Irreps
        Of the last bond, which the targets transform as.
    start : Irreps
        Of the first bond.
    start_values : (samples, start.dim), optional
        What the first bond is fed with; the constant 1 by default, for a single scalar.
    weights : (samples,), optional
        Weight of the squared residual of each sample; 1 by default.
    ridge : float
        Weight of ||T||^2, part of the objective; invariant under changes of gauge.
    proximal : float
        Weight of ||T - T_current||^2 in each solve; not part of the objective.  It keeps the
        change small along directions on which the data have little to say.
    metric : {"norm", "data"}
        What a truncation of a pair keeps: the tensor, by singular values, or what it predicts on
        the samples, see :class:`~etn.sweep.regression.pair_solution.PairSolution`.  Where all
        sites read the same vector only the latter finds narrow bonds; it works with the square of
        the design, to half as many digits.

    Raises
    ------
    DataError
        If an array has another shape, number of samples, or a value that is not finite.
    IrrepsError
        If the number of legs is not that of the arrays.
    SettingsError
        If the ridge or the proximal weight is negative or not finite, or there is no such metric.

    Examples
    --------
    >>> import numpy as np
    >>> from etn.sweep import Schedule, grow
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> problem = Regression([x, x[::-1]], np.sum(x * x[::-1], axis=1), sites=["1x1o"] * 2)
    >>> report = grow(Chain.random(["1x1o"] * 2), problem, schedule=Schedule(sites=2, tol=1e-9))
    >>> report.chain.bonds[0], problem.loss(report.chain) < 1e-20
    (1x1o, True)
    """

    def __init__(
        self,
        inputs: Array | Sequence[Array],
        targets: Array,
        *,
        sites: Irreps | str | Sequence[Irreps | str],
        out: Irreps | str = "0e",
        start: Irreps | str = "0e",
        start_values: Array | None = None,
        weights: Array | None = None,
        ridge: float = 0.0,
        proximal: float = 0.0,
        metric: str = "norm",
    ) -> None:
        if metric not in ("norm", "data"):
            raise SettingsError(f'metric: expected "norm" or "data", got {metric!r}')
        self.metric = metric
        for name, weight in (("ridge", ridge), ("proximal", proximal)):
            if not 0 <= weight < math.inf:
                raise SettingsError(f"{name}: expected zero or more, got {weight}")
        self.ridge, self.proximal = ridge, proximal
        self.out, self.start = Irreps(out), Irreps(start)
        self.shared = isinstance(sites, str | Irreps)
        self.legs = _legs(sites)
        arrays = [inputs] if self.shared else list(inputs)
        values = check_inputs(arrays, self.legs)
        self.kind = kind_of(*values)
        self.n_samples = len(values[0])
        self.targets = self._targets(targets)
        self._root = self._weights(weights)
        first = self._first(start_values)
        xp, components = self.kind.xp, self.out.dim
        self._sites = [to_blocks(x, leg) for x, leg in zip(values, self.legs, strict=True)]
        # Right environments carry the components of the output as if they were more samples.
        self._repeated = [
            {ir: xp.concat([v] * components, axis=-1) for ir, v in blocks.items()}
            if components > 1
            else blocks
            for blocks in self._sites
        ]
        each = self.kind.eye(components)[:, :, None] * self.kind.ones((self.n_samples,))
        last = xp.reshape(each, (components, -1)).T
        self._left: Carried[Blocks] = Carried(to_blocks(first, self.start), self._step_left)
        self._right: Carried[Blocks] = Carried(to_blocks(last, self.out), self._step_right)

    def _targets(self, targets: Array) -> Array:
        y = self.kind.array(as_block(targets))
        if y.ndim == 1 and self.out.dim == 1:
            y = y[:, None]
        check_values("targets", y, (self.n_samples, self.out.dim), f" from the output {self.out}")
        return y

    def _weights(self, weights: Array | None) -> Array:
        if weights is None:
            return self.kind.ones((self.n_samples,))
        w = self.kind.array(as_block(weights))
        check_values("weights", w, (self.n_samples,), "")
        if bool((w < 0).any()):
            raise DataError(f"weights: expected zero or more, got {float(w.min())}")
        return self.kind.xp.sqrt(w)

    def _first(self, values: Array | None) -> Array:
        if values is None:
            if str(self.start) != "1x0e":
                raise DataError(f"start_values: expected an array for the start {self.start}")
            return self.kind.ones((self.n_samples, 1))
        first = self.kind.array(as_block(values))
        check_values(
            "start", first, (self.n_samples, self.start.dim), f" from the leg {self.start}"
        )
        return first

    def _site(self, blocks: list[Blocks], site: int) -> Blocks:
        return blocks[0 if self.shared else site]

    def _step_left(self, site: int, core: Core, env: Blocks) -> Blocks:
        return propagate(core, env, self._site(self._sites, site), to=2)

    def _step_right(self, number: int, core: Core, env: Blocks) -> Blocks:
        return propagate(core, env, self._site(self._repeated, -1 - number), to=0)

    def left(self, chain: Chain, site: int) -> Blocks:
        """What the bond left of a site is fed with: {ir: (multiplicity, 2 l + 1, samples)}."""
        return self._left.after(chain.cores[:site])

    def right(self, chain: Chain, site: int) -> Blocks:
        """What the bond right of a site is fed with, once for each component of the output.

        Returns
        -------
        {ir: (multiplicity, 2 l + 1, components * samples)}
        """
        return self._right.after(chain.cores[:site:-1])

    def enlarged_left(self, chain: Chain, site: int, irreps: Iterable[Irrep]) -> Blocks:
        """Couplings of the left bond and a site, ordered as by ``matricize(core, 2)``."""
        env, own = self.left(chain, site), self._site(self._sites, site)
        bond, leg, _ = chain[site].legs
        legs = (bond, leg, Irreps([(1, ir) for ir in sorted(irreps)]))
        return {
            ir: self._couple([(env[r.path[0]], own[r.path[1]], r.path, 1.0) for r in rows], 2)
            for ir, rows in stacking(legs, 2).items()
        }

    def enlarged_right(self, chain: Chain, site: int, irreps: Iterable[Irrep]) -> Blocks:
        """Couplings of a site and the right bond, ordered as by ``matricize(core, 0)``."""
        env, own = self.right(chain, site), self._site(self._repeated, site)
        _, leg, bond = chain[site].legs
        legs = (Irreps([(1, ir) for ir in sorted(irreps)]), leg, bond)
        return {
            ir: self._couple([(own[r.path[1]], env[r.path[2]], r.path, r.weight) for r in rows], 0)
            for ir, rows in stacking(legs, 0).items()
        }

    def _couple(
        self, terms: Sequence[tuple[Array, Array, tuple[Irrep, ...], float]], to: int
    ) -> Array:
        parts = []
        for x, y, path, weight in terms:
            coupled = couple(x, y, coupling_matrix(path, to, self.kind)) / weight
            parts.append(coupled.reshape(-1, *coupled.shape[2:]))
        return self.kind.xp.concat(parts)

    def triangle(self, sides: Sequence[Sides], targets: Array) -> Array:
        """Triangular factor of a weighted design and its targets.

        Parameters
        ----------
        sides : sequence of (u, w)
            One for each core or pair that is free; the columns run over these, within them over
            the irreps that u and w share, then over (a, b).
        targets : (samples, out.dim)

        Returns
        -------
        (n, columns + 1), n at most columns + 1
            R of [Phi, y] = Q R.
        """
        xp, components = self.kind.xp, self.out.dim
        columns = sum(len(u[ir]) * len(w[ir]) for u, w in sides for ir in u if ir in w)
        step = max(1, max(ROWS, 2 * columns) // components)
        triangle = None
        for first in range(0, self.n_samples, step):
            part = slice(first, first + step)
            root = self._root[part]
            y = targets[part].T * root
            rows = [self._columns(u, w, ir, part, root) for u, w in sides for ir in _common(u, w)]
            block = xp.concat([*rows, xp.reshape(y, (1, -1))]).T
            if triangle is not None:
                block = xp.concat([triangle, block])
            triangle = triangular(block)
        return triangle

    def _columns(self, u: Blocks, w: Blocks, ir: Irrep, part: slice, root: Array) -> Array:
        """Columns of an irrep, (a b, components * samples), for some of the samples."""
        xp, components = self.kind.xp, self.out.dim
        shape = (len(w[ir]), ir.dim, components, self.n_samples)
        left = u[ir][..., part] * (root / math.sqrt(ir.dim))
        right = xp.reshape(w[ir], shape)[..., part]
        columns = xp.einsum("ams,bmos->abos", left, right)
        return xp.reshape(columns, (len(left) * len(right), components * left.shape[-1]))

    def solve(self, chain: Chain) -> LocalSolution[Core]:
        """Best center core, all others fixed.

        Raises
        ------
        CoreError
            If the chain has no center, or is of another kind than the samples.
        IrrepsError
            If its legs are not those of the samples.
        """
        self.check(chain)
        if chain.center is None:
            raise CoreError("a local solve needs a canonical chain: canonicalize(center) it first")
        core, site = chain[chain.center], chain.center
        old = matricize(core, 2)
        sides = self.enlarged_left(chain, site, old), self.right(chain, site)
        matrices, solved = self._solve(self.triangle([sides], self.targets), old)
        blocks = tensorize(matrices, core.legs, 2, self.kind).blocks
        new = Core.trusted(core.legs, blocks, self.kind)
        return LocalSolution(new, solved.loss, solved.condition, "qr", solved.gradient)

    def solve_pair(self, chain: Chain, site: int) -> LocalSolution[Pair]:
        """Best pair of cores, all others fixed; raises as :meth:`solve`.

        The loss is that of the pair.  What a truncation in the plain norm adds to it is not linear
        and may be large: :meth:`loss` of the chain that comes out says how much.
        """
        self.check(chain)
        if chain.center not in (site, site + 1):
            raise CoreError(f"sites {site}, {site + 1}: expected the center, it is {chain.center}")
        pair = merge(chain[site], chain[site + 1])
        sides = (
            self.enlarged_left(chain, site, pair.matrices),
            self.enlarged_right(chain, site + 1, pair.matrices),
        )
        triangle = self.triangle([sides], self.targets)
        matrices, solved = self._solve(triangle, pair.matrices)
        new = Pair(pair.legs, matrices)
        found = LocalSolution(new, solved.loss, solved.condition, "qr", solved.gradient)
        if self.metric == "norm":
            return found
        return PairSolution(
            **vars(found),
            before=(chain[site], chain[site + 1]),
            build=partial(squares_of_triangle, new, to_numpy(triangle), self.ridge),
        )

    def _solve(
        self, triangle: Array, old: Mapping[Irrep, Array]
    ) -> tuple[dict[Irrep, Array], Solved]:
        solved = solve_triangle(triangle, to_vector(old), self.ridge, self.proximal)
        shapes = {ir: tuple(old[ir].shape) for ir in sorted(old)}
        return from_vector(solved.x, shapes), solved

    def predict(self, chain: Chain) -> Array:
        """Values of a chain on the samples, (samples, out.dim)."""
        self.check(chain)
        return from_blocks(self._left.after(chain.cores), self.out)

    def residuals(self, chain: Chain) -> Array:
        """Targets less predictions, (samples, out.dim)."""
        return self.targets - self.predict(chain)

    def loss(self, chain: Chain) -> float:
        """Objective of a chain: weighted squared residuals and ridge ||T||^2."""
        weighted = self.residuals(chain) * self._root[:, None]
        penalty = self.ridge * chain.norm() ** 2 if self.ridge else 0.0
        return float(to_numpy((weighted * weighted).sum())) + penalty

    @property
    def size(self) -> float:
        """Objective of a chain that is zero: the weighted squared targets."""
        weighted = self.targets * self._root[:, None]
        return float(to_numpy((weighted * weighted).sum()))

    def linearize(self, chain: Chain, *, exact: bool | None = None) -> TriangularModel:
        """Model of the loss in all cores at once, for :func:`etn.sweep.refine`.

        Raises
        ------
        SettingsError
            If it is to be solved without a matrix.
        """
        if exact is False:
            raise SettingsError("refine: a Regression has exact steps only, got exact=False")
        return TriangularModel(chain, self)

    def check(self, chain: Chain) -> None:
        """Raise an IrrepsError or a CoreError unless the chain fits the samples."""
        if not self.shared and len(chain) != len(self.legs):
            raise IrrepsError(f"expected a chain of {len(self.legs)} sites, got {len(chain)}")
        ends = [("start", self.start, chain.start), ("out", self.out, chain.out)]
        legs = self.legs * len(chain) if self.shared else self.legs
        sites = zip(legs, chain.sites, strict=True)
        for name, mine, other in [
            *ends,
            *((f"site {k}", mine, other) for k, (mine, other) in enumerate(sites)),
        ]:
            if mine != other:
                raise IrrepsError(f"{name}: the samples have the leg {mine}, the chain has {other}")
        if chain.kind != self.kind:
            raise CoreError(
                f"expected a chain of the kind of the samples, {self.kind}, got {chain.kind}; "
                "convert it with .to(backend=, dtype=, device=)"
            )


def _common(u: Blocks, w: Blocks) -> list[Irrep]:
    return [ir for ir in sorted(u) if ir in w]


def _legs(sites: Irreps | str | Sequence[Irreps | str]) -> list[Irreps]:
    if isinstance(sites, str | Irreps):
        return [Irreps(sites)]
    return [Irreps(leg) for leg in sites]
