r"""Linear equivariant maps: channels mixed within irreps, by one matrix for all or one for each.

By Schur's lemma a linear equivariant map of real irreps acts on multiplicities only,

.. math:: z_{k m w} = \frac{1}{\sqrt{n_k}} \sum_{i:\, i \simeq k} \sum_u W^{ik}_{uw}\, x_{i m u}
    + \delta_{k,0e}\, b_w

with n_k the number of channels that are summed, so that outputs have unit variance for inputs and
weights of unit variance.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from etn.backend import Array, is_torch, kind_of
from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps, IrrepsLike
from etn.product.layout import Layout, check_layout
from etn.product.weight_sharing import WeightPlan

__all__ = ["LINEAR_SHARING", "LinearSharing", "SharedLinear"]

LinearSharing = Literal["shared", "per_irrep"]
LINEAR_SHARING: tuple[LinearSharing, ...] = ("shared", "per_irrep")


class SharedLinear:
    r"""A linear equivariant map with one matrix for all irreps, or one for each pair of terms.

    With ``weights="shared"`` it is the linear layer of tensor decomposition networks: C C'
    numbers whatever the degree, and one matrix product for all components.  With
    ``weights="per_irrep"`` it is the general equivariant map, that of ``e3nn.o3.Linear`` with its
    defaults: the same normalization, and the same weights in the same order.

    Parameters
    ----------
    irreps_in, irreps_out : irreps
        Every irrep of the output must be one of the input.  If weights are shared, each leg holds
        an irrep once, and all of them with the same multiplicity.
    weights : {"shared", "per_irrep"}
    bias : bool
        Add a number to every channel of the outputs 0e; no other irrep has an invariant vector.
    layout : {"ir_mul", "mul_ir"}
        Of input and output, see :func:`etn.product.layout.change_layout`.

    Raises
    ------
    IrrepsError
        If an output cannot be reached, or legs do not fit shared weights.
    SettingsError
        If a name is unknown.

    Notes
    -----
    Source: Lin et al., arXiv:2507.01131, path-weight sharing.

    Examples
    --------
    >>> import numpy as np
    >>> layer = SharedLinear("8x0e+8x1o", "4x0e+4x1o")
    >>> layer
    SharedLinear(8x0e+8x1o -> 4x0e+4x1o, shared: 32 weights, 4 biases)
    >>> rng = np.random.default_rng(0)
    >>> x, w, b = rng.normal(size=(5, 32)), rng.normal(size=32), rng.normal(size=4)
    >>> layer(x, w, b).shape
    (5, 16)
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike,
        *,
        weights: LinearSharing = "shared",
        bias: bool = True,
        layout: Layout = "ir_mul",
    ) -> None:
        check_layout(layout)
        if weights not in LINEAR_SHARING:
            raise SettingsError(
                f"weights: expected one of {', '.join(LINEAR_SHARING)}, got {weights!r}"
            )
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        self.weights, self.layout = weights, layout
        self._sources = _sources(self.irreps_in, self.irreps_out)
        shapes: dict[str, tuple[int, ...]]
        if weights == "shared":
            c1, c2 = _shared_channels(self.irreps_in, self.irreps_out)
            shapes = {"channels": (c1, c2)}
        else:
            shapes = {
                f"{i} to {k}": (term.mul, out.mul)
                for i, term in enumerate(self.irreps_in)
                for k, out in enumerate(self.irreps_out)
                if term.ir == out.ir
            }
        self.weight_plan = WeightPlan(shapes)
        scalars = {f"{k}": (t.mul,) for k, t in enumerate(self.irreps_out) if str(t.ir) == "0e"}
        self.bias_plan = WeightPlan(scalars if bias else {})

    @property
    def weight_numel(self) -> int:
        """Numbers of one set of weights."""
        return self.weight_plan.size

    @property
    def bias_numel(self) -> int:
        """Numbers of one set of biases."""
        return self.bias_plan.size

    def __call__(self, x: Array, w: Array, b: Array | None = None) -> Array:
        """Map features.

        Parameters
        ----------
        x : (..., irreps_in.dim) array
            NumPy or torch, float32 or float64.
        w : (..., weight_numel) array
            For all entries of the batch with one axis; else its leading axes are broadcast with
            those of x.
        b : (..., bias_numel) array, optional
            0 if not given.

        Returns
        -------
        (..., irreps_out.dim) array

        Raises
        ------
        IrrepsError
            If a last axis, or the leading axes, do not fit.
        CoreError
            If the arrays are of different kinds.
        """
        kind_of(*(a for a in (x, w, b) if a is not None))
        return self.apply(x, w, b)

    def apply(self, x: Array, w: Array, b: Array | None = None) -> Array:
        """The same for arrays of any precision, as autocast mixes them."""
        if tuple(x.shape[-1:]) != (self.irreps_in.dim,):
            raise IrrepsError(
                f"features: expected a last axis of {self.irreps_in.dim} ({self.irreps_in}), got "
                f"shape {tuple(x.shape)}"
            )
        leads = [tuple(a.shape[:-1]) for a in (x, w, b) if a is not None]
        try:
            lead = np.broadcast_shapes(*leads)
        except ValueError as error:
            raise IrrepsError(
                f"leading axes of features, weights and biases do not fit together: {leads}"
            ) from error
        matrices = self.weight_plan.split(w)
        at_once = self.weights == "shared" and self.layout == "ir_mul"
        terms = self._at_once(x, matrices["channels"]) if at_once else self._each(x, matrices)
        for name, bias in ({} if b is None else self.bias_plan.split(b)).items():
            added = bias[..., None, :] if self.layout == "ir_mul" else bias[..., None]
            # In the precision of the features, also where autocast has lowered it.
            terms[int(name)] = terms[int(name)] + _as(added, terms[int(name)])
        return _join(terms, lead)

    def _at_once(self, x: Array, matrix: Array) -> list[Array]:
        """All components as rows of one matrix product; terms (..., dim, C')."""
        c1 = self.irreps_in[0].mul
        x = x.reshape((*x.shape[:-1], x.shape[-1] // c1, c1))
        z = x @ (matrix * (1.0 / math.sqrt(c1)))
        rows, start = {}, 0
        for i, term in enumerate(self.irreps_in):
            rows[i] = slice(start, start := start + term.ir.dim)
        return [z[..., rows[sources[0]], :] for sources in self._sources]

    def _each(self, x: Array, matrices: dict[str, Array]) -> list[Array]:
        """Term by term; (..., dim, C'), or (..., C', dim) in the layout ``mul_ir``."""
        swap = self.layout == "mul_ir"
        parts = self.irreps_in.slices()
        terms = []
        for k, sources in enumerate(self._sources):
            total = None
            scale = 1.0 / math.sqrt(sum(self.irreps_in[i].mul for i in sources))
            for i in sources:
                mul, dim = self.irreps_in[i].mul, self.irreps_in[i].ir.dim
                block = x[..., parts[i]].reshape(
                    (*x.shape[:-1], *((mul, dim)[:: 1 if swap else -1]))
                )
                matrix = matrices["channels" if self.weights == "shared" else f"{i} to {k}"] * scale
                part = matrix.swapaxes(-1, -2) @ block if swap else block @ matrix
                total = part if total is None else total + part
            terms.append(total)
        return terms

    def module(self, **options: Any) -> Any:
        """The map as a ``torch.nn.Module``, see :class:`etn.product.module.LinearModule`."""
        from etn.product.module import LinearModule

        return LinearModule(self, **options)

    def __repr__(self) -> str:
        """Return legs and numbers of weights."""
        return (
            f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, {self.weights}: "
            f"{self.weight_numel} weights, {self.bias_numel} biases)"
        )


def _sources(irreps_in: Irreps, irreps_out: Irreps) -> list[list[int]]:
    """For each output term: the input terms of its irrep."""
    for name, leg in (("input", irreps_in), ("output", irreps_out)):
        if leg.dim == 0 or any(term.mul == 0 for term in leg):
            raise IrrepsError(f"{name}: expected irreps with channels, got {leg or 'none'}")
    found = [[i for i, term in enumerate(irreps_in) if term.ir == out.ir] for out in irreps_out]
    for out, sources in zip(irreps_out, found, strict=True):
        if not sources:
            raise IrrepsError(
                f"output {out.ir}: a linear map reaches only the irreps of its input "
                f"({irreps_in}); leave it out"
            )
    return found


def _shared_channels(irreps_in: Irreps, irreps_out: Irreps) -> tuple[int, int]:
    for name, leg in (("input", irreps_in), ("output", irreps_out)):
        if len({term.ir for term in leg}) < len(leg):
            raise IrrepsError(
                f"{name} {leg}: shared weights expect every irrep once; merge terms, or use "
                'weights="per_irrep"'
            )
        if len({term.mul for term in leg}) > 1:
            raise IrrepsError(
                f"{name} {leg}: shared weights expect one number of channels for all irreps; pad "
                'the smaller, or use weights="per_irrep"'
            )
    return irreps_in[0].mul, irreps_out[0].mul


def _as(array: Array, other: Array) -> Array:
    return array.to(other.dtype) if is_torch(array) else array


def _join(terms: list[Array], lead: tuple[int, ...]) -> Array:
    """Flat features (..., dim) of terms with two axes each."""
    xp: Any = np
    if is_torch(terms[0]):
        import torch

        xp = torch
    flat = []
    for term in terms:
        rows, columns = term.shape[-2:]
        # Where only biases have a batch, the other terms have none.
        flat.append(xp.broadcast_to(term, (*lead, rows, columns)).reshape((*lead, rows * columns)))
    return flat[0] if len(flat) == 1 else xp.concat(flat, axis=-1)
