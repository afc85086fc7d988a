r"""Linear equivariant maps: channels mixed within irreps, by one matrix for all or one for each.

By Schur's lemma a linear equivariant map of real irreps acts on multiplicities only,

.. math:: z_{k m w} = \frac{1}{\sqrt{n_k}} \sum_{i:\, i \simeq k} \sum_u W^{ik}_{uw}\, x_{i m u}
    + \delta_{k,0e}\, b_w

with n_k the number of channels that are summed, so that outputs have unit variance for inputs and
weights of unit variance.  Where there is nothing to sum, the output is 0, or the bias.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from etn.backend import Array, is_torch, kind_of, library
from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps, IrrepsLike
from etn.product.calls import broadcast_lead
from etn.product.channel_coupling import filled
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
        Outputs whose irrep the input does not have are 0.  If weights are shared, each leg holds
        an irrep once, and all of them with the same multiplicity.  Terms of multiplicity zero do
        nothing and take no weights.
    weights : {"shared", "per_irrep"}
    bias : bool
        Add a number to every channel of the outputs 0e; no other irrep has an invariant vector.
    layout : {"ir_mul", "mul_ir"}
        Of input and output, see :func:`etn.product.layout.change_layout`.

    Raises
    ------
    IrrepsError
        If legs do not fit shared weights.
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
            channels = _shared_channels(self.irreps_in, self.irreps_out)
            # Where no output is reached, the matrix would do nothing.
            shapes = {"channels": channels} if any(self._sources.values()) else {}
        else:
            shapes = {
                f"{i} to {k}": (term.mul, self.irreps_out[k].mul)
                for i, term in enumerate(self.irreps_in)
                for k, sources in self._sources.items()
                if i in sources
            }
        self.weight_plan = WeightPlan(shapes)
        self._is_whole = layout == "ir_mul" and self._keeps_terms()
        scalars = {
            f"{k}": (self.irreps_out[k].mul,)
            for k in self._sources
            if str(self.irreps_out[k].ir) == "0e"
        }
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
        lead = broadcast_lead(leads, "features, weights and biases")
        matrices = self.weight_plan.split(w)
        if self._is_whole and w.ndim == 1 and (b is None or b.ndim == 1):
            # Nothing to take apart: the derivatives of slices would cost more than the product.
            shared = self.weights == "shared"
            z = self._rows(x, matrices["channels"]) if shared else self._by_component(x, w)
            z = z if b is None else z + _as(self._bias_rows(b), z)
            return z.reshape((*lead, z.shape[-2] * z.shape[-1]))
        at_once = self.weights == "shared" and self.layout == "ir_mul" and bool(matrices)
        terms = self._at_once(x, matrices["channels"]) if at_once else self._each(x, matrices)
        # In the precision of the features, also where autocast has lowered it.
        like = next(iter(terms.values()), x)
        for k in self._sources:
            if k not in terms:
                terms[k] = _as(self._zeros(x, k), like)
        for name, bias in ({} if b is None else self.bias_plan.split(b)).items():
            added = bias[..., None, :] if self.layout == "ir_mul" else bias[..., None]
            terms[int(name)] = terms[int(name)] + _as(added, like)
        return _join([terms[k] for k in self._sources] or [x[..., :0, None]], lead)

    def _zeros(self, x: Array, k: int) -> Array:
        """A term that no input reaches; of the graph of the features, as the other terms."""
        mul, dim = self.irreps_out[k].mul, self.irreps_out[k].ir.dim
        shape = (dim, mul) if self.layout == "ir_mul" else (mul, dim)
        zero = x[..., :0].sum(-1)[..., None, None]
        return library(x).broadcast_to(zero, (*x.shape[:-1], *shape))

    def _keeps_terms(self) -> bool:
        """Whether each term goes to the one of its place alone, all of equal channels."""
        one, two = filled(self.irreps_in), filled(self.irreps_out)
        numbers = [i for i, term in enumerate(self.irreps_in) if term.mul]
        uniform = all(len({term.mul for term in leg}) == 1 for leg in (one, two))
        return uniform and list(self._sources.values()) == [[i] for i in numbers]

    def _by_component(self, x: Array, w: Array) -> Array:
        """A matrix for each term, for all components in one product; (..., components, C')."""
        dims = [term.ir.dim for term in filled(self.irreps_in)]
        c1, c2 = filled(self.irreps_in)[0].mul, filled(self.irreps_out)[0].mul
        xp, lead = library(x), tuple(x.shape[:-1])
        matrices = (w * (1.0 / math.sqrt(c1))).reshape((len(dims), 1, c1, c2))
        each = [xp.broadcast_to(matrices[i], (dim, c1, c2)) for i, dim in enumerate(dims)]
        rows = x.reshape((math.prod(lead), sum(dims), c1)).swapaxes(0, 1)
        z: Array = (rows @ xp.concat(each, axis=0)).swapaxes(0, 1)
        return z.reshape((*lead, sum(dims), c2))

    def _at_once(self, x: Array, matrix: Array) -> dict[int, Array]:
        """Terms (..., dim, C') by number."""
        z = self._rows(x, matrix)
        rows, start = {}, 0
        for i, term in enumerate(self.irreps_in):
            if term.mul:
                rows[i] = slice(start, start := start + term.ir.dim)
        return {k: z[..., rows[of[0]], :] for k, of in self._sources.items() if of}

    def _rows(self, x: Array, matrix: Array) -> Array:
        """All components (..., d, C') as rows of one matrix product."""
        c1 = matrix.shape[-2]
        x = x.reshape((*x.shape[:-1], x.shape[-1] // c1, c1))
        return x @ (matrix * (1.0 / math.sqrt(c1)))

    def _bias_rows(self, b: Array) -> Array:
        """Biases (d, C') of all components, those of no scalar zero."""
        xp, blocks = library(b), self.bias_plan.split(b)
        zero = b[:0].sum()
        rows = [
            blocks[f"{k}"][None]
            if f"{k}" in blocks
            else xp.broadcast_to(zero, (term.ir.dim, term.mul))
            for k, term in enumerate(self.irreps_out)
            if term.mul
        ]
        return xp.concat(rows, axis=0)

    def _each(self, x: Array, matrices: dict[str, Array]) -> dict[int, Array]:
        """Term by term; (..., dim, C'), or (..., C', dim) in the layout ``mul_ir``."""
        swap = self.layout == "mul_ir"
        parts = self.irreps_in.slices()
        terms = {}
        for k, sources in self._sources.items():
            total = None
            for i in sources:
                scale = 1.0 / math.sqrt(sum(self.irreps_in[i].mul for i in sources))
                mul, dim = self.irreps_in[i].mul, self.irreps_in[i].ir.dim
                block = x[..., parts[i]].reshape(
                    (*x.shape[:-1], *((mul, dim)[:: 1 if swap else -1]))
                )
                matrix = matrices["channels" if self.weights == "shared" else f"{i} to {k}"] * scale
                part = matrix.swapaxes(-1, -2) @ block if swap else block @ matrix
                total = part if total is None else total + part
            if total is not None:
                terms[k] = total
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


def _sources(irreps_in: Irreps, irreps_out: Irreps) -> dict[int, list[int]]:
    """For each output term with channels: the input terms of its irrep, those with channels."""
    return {
        k: [i for i, term in enumerate(irreps_in) if term.ir == out.ir and term.mul]
        for k, out in enumerate(irreps_out)
        if out.mul
    }


def _shared_channels(irreps_in: Irreps, irreps_out: Irreps) -> tuple[int, int]:
    counts = []
    for name, given in (("input", irreps_in), ("output", irreps_out)):
        leg = filled(given)
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
        counts.append(leg[0].mul if leg else 0)
    return counts[0], counts[1]


def _as(array: Array, other: Array) -> Array:
    return array.to(other.dtype) if is_torch(array) else array


def _join(terms: list[Array], lead: tuple[int, ...]) -> Array:
    """Flat features (..., dim) of terms with two axes each."""
    xp = library(terms[0])
    flat = []
    for term in terms:
        rows, columns = term.shape[-2:]
        # Where only biases have a batch, the other terms have none.
        wide = xp.broadcast_to(term, (*lead, rows, columns))
        flat.append(wide.reshape((*lead, rows * columns)))
    # A copy even of one: what is broadcast cannot be written to.
    return xp.concat(flat, axis=-1)
