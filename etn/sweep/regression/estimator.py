"""Regression with chains behind the interface of scikit-learn, without scikit-learn."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from etn.backend import Array, as_block, kind_of, to_numpy
from etn.errors import CoreError, DataError, SettingsError
from etn.network import Chain
from etn.o3 import Irreps
from etn.sweep.callbacks import Callback
from etn.sweep.grow import grow
from etn.sweep.refine import Refinement, refine
from etn.sweep.regression.sample_regression import Regression
from etn.sweep.regression.vectors import check_inputs, evaluate_samples
from etn.sweep.report import Report
from etn.sweep.schedule import Schedule


class ChainRegressor:
    r"""Equivariant polynomial regression: y = T · (x1 ⊗ ... ⊗ xd), T a chain fitted by DMRG.

    The prediction has one factor of each site, so it is homogeneous: for terms of lower degree,
    give a leg one more ``0e`` whose value is the constant 1.  Fitting is two-site sweeps, which
    find the bonds, one-site sweeps, and a joint refinement of all cores.  Features should be of
    order one.

    Parameters
    ----------
    sites : Irreps, or a sequence of Irreps
        Leg of all sites, or of each site.
    n_sites : int, optional
        Number of sites, if one leg is given.
    out : Irreps
        What y transforms as.
    max_bond : int, Irreps or None
        Most multiplets of each irrep on a bond: one number for any irrep, also such as couplings
        alone bring up, or irreps with their multiplicities.
    tol : float
        Norm that each split of a pair may discard, relative to the norm of the tensor.  For noisy
        targets a good value is the relative size of the noise.
    schedule : Schedule, optional
        By default three two-site sweeps with ``max_bond`` and ``tol``, then up to five one-site
        sweeps.  One that is given is followed as it is; ``max_bond`` is then for the random start.
    ridge : float
        Weight of ||T||^2 beside the weighted sum of squared residuals.
    refine : bool
        Whether to refine all cores together after the sweeps; see :func:`etn.sweep.refine`.
    n_starts : int
        Random starts; the best one is kept.  No more follow once the samples are met to rounding.
    seed : int
    callbacks : sequence of Callback
        Of the sweeps.

    Attributes
    ----------
    chain_ : Chain
    report_ : Report
        Sweeps of the start that was kept.  The measure "truncated" is the loss once the bonds are
        cut; the loss of a two-site sweep is that of its last pair before it is cut.
    refinement_ : Refinement or None
    loss_ : float
        Objective of the chain.
    n_features_in_ : int
        Components of a sample: of the one vector that all sites read, or of all of theirs.

    Notes
    -----
    X may be

    - an array (samples, leg.dim): every site reads the same vector;
    - a list of arrays (samples, leg.dim), one for each site;
    - an array (samples, sites, leg.dim), for sites with equal legs;
    - an array (samples, sum of leg.dim), the vectors of all sites side by side.

    NumPy arrays give NumPy predictions, torch tensors give tensors of their precision and device.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(300, 2, 3))
    >>> y = np.cross(x[:, 0], x[:, 1])[:, [1, 2, 0]]  # components run as m = -1, 0, 1: y, z, x
    >>> model = ChainRegressor("1x1o", n_sites=2, out="1e").fit(x[..., [1, 2, 0]], y)
    >>> model.chain_.bonds, model.score(x[..., [1, 2, 0]], y) > 1 - 1e-12
    ((1x1o,), True)
    """

    def __init__(
        self,
        sites: Irreps | str | Sequence[Irreps | str],
        n_sites: int | None = None,
        *,
        out: Irreps | str = "0e",
        max_bond: int | Irreps | str | None = 4,
        tol: float = 1e-8,
        schedule: Schedule | None = None,
        ridge: float = 0.0,
        refine: bool = True,
        n_starts: int = 1,
        seed: int = 0,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.sites = sites
        self.n_sites = n_sites
        self.out = out
        self.max_bond = max_bond
        self.tol = tol
        self.schedule = schedule
        self.ridge = ridge
        self.refine = refine
        self.n_starts = n_starts
        self.seed = seed
        self.callbacks = callbacks

    chain_: Chain
    report_: Report
    refinement_: Refinement | None
    loss_: float
    n_features_in_: int
    _shared: bool

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as given."""
        return {name: getattr(self, name) for name in _names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises
        ------
        SettingsError
            If there is no such parameter.
        """
        for name, value in params.items():
            if name not in _names():
                raise SettingsError(f"set_params: expected one of {_names()}, got {name!r}")
            setattr(self, name, value)
        return self

    def fit(self, X: Array | Sequence[Array], y: Array, sample_weight: Array | None = None) -> Self:
        """Fit; an interrupted fit leaves the estimator as it was.

        Parameters
        ----------
        X : see the class
        y : (samples, out.dim), or (samples,) for a single component
        sample_weight : (samples,), optional
            Weight of the squared residual of each sample.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If an array has another shape, or a value that is not finite.
        SettingsError
            If a parameter is out of range.
        """
        legs = self._legs()
        if self.n_starts < 1:
            raise SettingsError(f"n_starts: expected at least 1, got {self.n_starts}")
        schedule = self.schedule or Schedule(
            sites=(2, 2, 2, 1, 1), max_sweeps=8, max_bond=self.max_bond, tol=self.tol
        )
        inputs = _inputs(X, legs)
        shared = len(inputs) < len(legs)
        problem = Regression(
            inputs[0] if shared else inputs,
            y,
            sites=legs[0] if shared else legs,
            out=self.out,
            weights=sample_weight,
            ridge=self.ridge,
        )
        best: tuple[float, Chain, Report, Refinement | None] | None = None
        # What rounding leaves of a perfect fit.
        floor = (1e3 * problem.kind.eps) ** 2 * problem.size
        for number in range(self.n_starts):
            start = Chain.random(
                legs,
                out=self.out,
                max_bond=4 if self.max_bond is None else self.max_bond,
                seed=np.random.default_rng([self.seed, number]),
            ).to(**vars(problem.kind))
            report = grow(
                start,
                problem,
                schedule=schedule,
                callbacks=self.callbacks,
                measure=lambda chain: {"truncated": problem.loss(chain)},
            )
            refinement = refine(report.chain, problem) if self.refine else None
            chain = report.chain if refinement is None else refinement.chain
            loss = problem.loss(chain)
            if best is None or loss < best[0]:
                best = (loss, chain, report, refinement)
            if loss <= floor:
                break
        assert best is not None
        self.loss_, self.chain_, self.report_, self.refinement_ = best
        self.n_features_in_ = legs[0].dim if shared else sum(leg.dim for leg in legs)
        self._shared = shared
        return self

    def predict(self, X: Array | Sequence[Array]) -> Array:
        """Predictions, (samples,) for a single component, else (samples, out.dim).

        Raises
        ------
        CoreError
            If there was no fit, or X is of another kind than the data of the fit.
        DataError
            If X has another shape, or a value that is not finite.
        """
        if not hasattr(self, "chain_"):
            raise CoreError("predict: there is no chain yet: fit(X, y) first")
        chain = self.chain_
        legs = list(chain.sites)
        inputs = _inputs(X, legs)
        if (len(inputs) < len(legs)) != self._shared:
            expected = ("vectors of their own", "one vector")[self._shared]
            raise DataError(f"X: the chain was fitted to sites that read {expected}")
        values = check_inputs(inputs, legs[: len(inputs)])
        kind = kind_of(*values)
        if kind != chain.kind:
            raise CoreError(f"X: expected arrays of the kind of the fit, {chain.kind}, got {kind}")
        first = kind.ones((len(values[0]), 1))
        y = evaluate_samples(chain, first, values * len(legs) if self._shared else values)
        return y[:, 0] if chain.out.dim == 1 else y

    def score(
        self, X: Array | Sequence[Array], y: Array, sample_weight: Array | None = None
    ) -> float:
        """Coefficient of determination R^2, components of the output pooled.

        1 - sum w |y - prediction|^2 / sum w |y - mean|^2; pooled, it does not depend on the
        orientation of the axes.
        """
        predicted = to_numpy(self.predict(X))
        target = to_numpy(as_block(y))
        if target.size != predicted.size:
            raise DataError(f"y: expected shape {predicted.shape}, got {target.shape}")
        target, predicted = (a.reshape(len(a), -1).astype(float) for a in (target, predicted))
        weight = np.ones(len(target)) if sample_weight is None else to_numpy(sample_weight)
        mean = np.average(target, axis=0, weights=weight)
        left = weight @ np.sum((target - predicted) ** 2, axis=1)
        return float(1 - left / (weight @ np.sum((target - mean) ** 2, axis=1)))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know; only scikit-learn asks."""
        tags = importlib.import_module("sklearn.utils")
        return tags.Tags(
            estimator_type="regressor",
            target_tags=tags.TargetTags(required=True),
            regressor_tags=tags.RegressorTags(),
        )

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = [f"{k}={v!r}" for k, v in self.get_params().items() if v != defaults[k].default]
        return f"ChainRegressor({', '.join(given)})"

    def _legs(self) -> list[Irreps]:
        if isinstance(self.sites, str | Irreps):
            if self.n_sites is None or self.n_sites < 1:
                raise SettingsError(
                    f"n_sites: expected at least 1 with one leg {self.sites} for all sites, "
                    f"got {self.n_sites}"
                )
            return [Irreps(self.sites)] * self.n_sites
        legs = [Irreps(leg) for leg in self.sites]
        if not legs or self.n_sites not in (None, len(legs)):
            raise SettingsError(f"n_sites: expected {len(legs)} as legs given, got {self.n_sites}")
        return legs


def _names() -> list[str]:
    return [
        name for name in inspect.signature(ChainRegressor.__init__).parameters if name != "self"
    ]


def _inputs(X: Array | Sequence[Array], legs: Sequence[Irreps]) -> list[Array]:
    """One array for each site, or a single one that all sites read."""
    if isinstance(X, list | tuple):
        if len(X) != len(legs):
            raise DataError(f"X: expected a list of {len(legs)} arrays, one a site, got {len(X)}")
        return list(X)
    values = as_block(X)
    dims, shape = [leg.dim for leg in legs], tuple(values.shape)
    equal = len(set(legs)) == 1
    if equal and shape[1:] == (len(legs), dims[0]):
        return [values[:, site] for site in range(len(legs))]
    if shape[1:] == (sum(dims),):
        ends = np.cumsum(dims).tolist()
        return [values[:, end - dim : end] for end, dim in zip(ends, dims, strict=True)]
    if equal and shape[1:] == (dims[0],):
        return [values]
    expected = [f"(samples, {dims[0]})", f"(samples, {len(dims)}, {dims[0]})"] if equal else []
    expected += [f"(samples, {sum(dims)})", f"a list of {len(legs)} arrays"]
    raise DataError(
        f"X: expected {' or '.join(expected)} from the legs {', '.join(map(str, legs))}, "
        f"got shape {shape}"
    )
