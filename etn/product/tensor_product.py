"""The one interface of all tensor products: a bilinear equivariant map of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etn.backend import Array, FloatArray, Kind, kind_of, library
from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps, IrrepsLike
from etn.o3.cartesian.basis import Packing
from etn.o3.cartesian.coefficients import Normalization
from etn.product.calls import Contraction, Signature, batch_shape, multiply, refuse_infinite
from etn.product.channel_coupling import (
    PathCoefficients,
    Selection,
    default_output,
    filled,
    filled_paths,
)
from etn.product.choose import Choice, fastest
from etn.product.cp import CPTensor
from etn.product.layout import Layout, check_layout
from etn.product.modes import Mode
from etn.product.schemes import SCHEMES, Request, contractions
from etn.product.weight_sharing import Sharing, WeightPlan

__all__ = ["TensorProduct"]


class TensorProduct:
    r"""A bilinear equivariant map, computed by the scheme that is fastest at a stated error.

    .. math:: z_{k} = \sum_p \alpha_p \sum_{ij} W^p_{kij}\, x_i\, y_j

    summed over channels as the `mode` says, with the weights that it and `weights` ask for; see
    :mod:`etn.product.modes` and :mod:`etn.product.weight_sharing`.  Every scheme computes the same
    map, up to rounding, or up to `tol` if that is above zero.

    Parameters
    ----------
    irreps_in1, irreps_in2 : irreps
        The operands.  All irreps of one have the same multiplicity, its channels; with
        ``weights="per_path"`` they may differ.  Terms of multiplicity zero do nothing and take
        no weights, as if they were left out.
    irreps_out : irreps, optional
        The output; by default the irreps of the first operand that can be reached.  Terms that
        nothing couples to are 0, and all are where an operand has no irreps.
    mode : {"uvu", "uvw", "uvv", "uuw", "uuu"}
    weights : {"shared", "per_l", "per_path", "none"}
    scheme : {"auto", "dense", "y_first", "cp", "paths"}
        ``"auto"`` measures the candidates on the first arrays of a kind and size, and keeps to the
        fastest from then on.
    coefficients : {"component", "3j", "cg", "free"}, array or mapping
        The fixed alpha, see :func:`fused_cg`.  ``"component"``: outputs of unit variance, as in
        e3nn.  ``"free"``: the same up to a factor from 0.5 to 2 a path, chosen so that the shipped
        exact CP tables apply.
    paths : sequence of (int, int, int), optional
        Terms (first, second, output) that are coupled, by their numbers; by default all that can
        be.
    layout : {"ir_mul", "mul_ir"}
        Of all three arrays, see :func:`change_layout`.
    tol : float
        Largest relative error of the coupling tensor that a scheme may have; 0 means exact.

    Raises
    ------
    IrrepsError
        If nothing couples though no leg is empty, or channels do not fit the mode.
    SettingsError
        If a name is unknown, or no scheme can do what is asked for.

    Examples
    --------
    >>> tp = TensorProduct("8x0e+8x1o", "1x0e+1x1o", mode="uvu")
    >>> tp
    TensorProduct(8x0e+8x1o x 1x0e+1x1o -> 8x0e+8x1o, uvu, shared: 8 weights, 4 paths, scheme auto)
    >>> rng = np.random.default_rng(0)
    >>> x, y, w = rng.normal(size=(5, 32)), rng.normal(size=(5, 4)), rng.normal(size=(5, 8))
    >>> tp(x, y, w).shape
    (5, 32)
    """

    _allowed: tuple[str, ...] = SCHEMES
    _cp: CPTensor | None = None
    _packing: Packing | None = None
    _normalization: Normalization | None = None

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike | None = None,
        *,
        mode: Mode = "uvu",
        weights: Sharing = "shared",
        scheme: str = "auto",
        coefficients: PathCoefficients = "component",
        paths: Selection | None = None,
        layout: Layout = "ir_mul",
        tol: float = 0.0,
    ) -> None:
        check_layout(layout)
        self.irreps_in1, self.irreps_in2 = Irreps(irreps_in1), Irreps(irreps_in2)
        if irreps_out is None:
            irreps_out = default_output(self.irreps_in1, self.irreps_in2, mode)
            if not irreps_out and self.irreps_in1.dim and self.irreps_in2.dim:
                raise IrrepsError(
                    f"no coupling of {self.irreps_in1} x {self.irreps_in2} ends in an irrep of the "
                    "first operand: name the output, irreps_out"
                )
        self.irreps_out = Irreps(irreps_out)
        self.mode, self.weights, self.layout, self.scheme = mode, weights, layout, scheme
        self.tol = _checked_tolerance(tol)
        legs = (self.irreps_in1, self.irreps_in2, self.irreps_out)
        if paths is not None:
            paths, coefficients = filled_paths(legs, paths, coefficients)
        request = Request(
            cp=self._cp,
            packing=self._packing,
            normalization=self._normalization,
            legs=(filled(legs[0]), filled(legs[1]), filled(legs[2])),
            mode=mode,
            sharing=weights,
            coefficients=coefficients,
            paths=paths,
            tol=self.tol,
        )
        self.fused, self._schemes = contractions(request, scheme, self._allowed)
        # All schemes take the same weights.
        plan = next(iter(self._schemes.values())).plan
        self.signature = Signature(legs, layout, plan)
        self._chosen: dict[tuple[Kind, int], Choice] = {}
        self._constants: dict[tuple[str, Kind], Mapping[str, Array]] = {}

    @property
    def schemes(self) -> tuple[str, ...]:
        """Names of the schemes that can compute this product."""
        return tuple(self._schemes)

    @property
    def paths(self) -> tuple[str, ...]:
        """The couplings in words."""
        return self.fused.labels()

    @property
    def coefficients(self) -> FloatArray:
        """The fixed coefficient of every path, in units of 3j tensors of norm 1."""
        return self.fused.coefficients

    @property
    def weight_plan(self) -> WeightPlan:
        """Names and shapes of the blocks of the flat weights."""
        return self.signature.plan

    @property
    def weight_numel(self) -> int:
        """Numbers of one set of weights."""
        return self.weight_plan.size

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Last axes of the operands and the weights."""
        return self.signature.sizes

    def contraction(self, kind: Kind | None = None, batch: int = 256) -> Contraction:
        """What computes the product for arrays of a kind and a batch size.

        Measured the first time that it is asked for, if there is a choice.
        """
        if len(self._schemes) == 1:
            return next(iter(self._schemes.values()))
        return self._schemes[self.choice(kind, batch).scheme]

    def constants(self, contraction: Contraction, kind: Kind) -> Mapping[str, Array]:
        """Constants of a scheme in a kind; kept as long as the product, as they can be large."""
        key = (contraction.name, kind)
        if key not in self._constants:
            self._constants[key] = {
                name: kind.lasting(value) for name, value in contraction.constants.items()
            }
        return self._constants[key]

    def choice(self, kind: Kind | None = None, batch: int = 256) -> Choice:
        """The measured times of the schemes for arrays of a kind and a batch size."""
        kind = kind or Kind()
        # Sizes within a factor of four share one measurement.
        size = 4 ** max(0, round(np.log(max(batch, 1)) / np.log(4)))
        if (kind, size) not in self._chosen:
            self._chosen[kind, size] = fastest(self._schemes, kind, size, self.sizes[:2])
        return self._chosen[kind, size]

    def __call__(self, x: Array, y: Array, w: Array | None = None) -> Array:
        """Multiply features.

        Parameters
        ----------
        x : (..., irreps_in1.dim) array
            NumPy or torch, float32 or float64.
        y : (..., irreps_in2.dim) array
            Leading axes are broadcast.
        w : (..., weight_numel) array, optional
            Weights, for each entry of the batch or, with one axis, for all; 1 if not given.

        Returns
        -------
        (..., irreps_out.dim) array

        Raises
        ------
        IrrepsError
            If a last axis, or the leading axes, do not fit.
        CoreError
            If the arrays are of different kinds; for NumPy also if numbers are not finite (torch
            passes them on, as a check would stall a GPU and break a compiled graph).
        """
        given = [a for a in (x, y, w) if a is not None]
        kind = kind_of(*given)
        lead = batch_shape(self.signature, x, y, w)
        batch = int(np.prod(lead, dtype=int))
        contraction = self.contraction(kind, batch)
        constants = self.constants(contraction, kind)
        z = multiply(self.signature, contraction, library(x), constants, x, y, w)
        if kind.backend == "numpy" and not np.isfinite(z.sum()):
            # One pass over the result; the operands are looked at only to name the culprit.
            refuse_infinite(x, y, w)
        return z

    def cost(self, batch: int = 256, kind: Kind | None = None) -> str:
        """Multiplications and measured time of every scheme, as a table.

        Examples
        --------
        >>> print(TensorProduct("4x0e+4x1o", "0e+1o").cost(batch=64))  # doctest: +SKIP
        scheme     multiplications     us a call   of the fastest
        y_first               112           21.0             1.00
        """
        times = self.choice(kind, batch).microseconds
        best = min(times.values())
        lines = [f"{'scheme':10}{'multiplications':>16}{'us a call':>14}{'of the fastest':>17}"]
        for name, contraction in self._schemes.items():
            count = contraction.flops()
            lines.append(f"{name:10}{count:>16}{times[name]:>14.1f}{times[name] / best:>17.2f}")
        return "\n".join(lines)

    def module(self, **options: Any) -> Any:
        """The product as a ``torch.nn.Module``, see :class:`etn.product.module.ProductModule`."""
        from etn.product.module import ProductModule

        return ProductModule(self, **options)

    def __repr__(self) -> str:
        """Return legs, mode, weights and scheme."""
        shown = f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}"
        return (
            f"{type(self).__name__}({shown}, {self.mode}, {self.weights}: {self.weight_numel} "
            f"weights, {len(self.fused.paths)} paths, scheme {self.scheme})"
        )


def _checked_tolerance(tol: float) -> float:
    value = float(tol)
    if not 0.0 <= value < 1.0:
        raise SettingsError(f"tol: expected a relative error from 0 to below 1, got {tol}")
    return value
