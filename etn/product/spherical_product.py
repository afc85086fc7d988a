"""Exact products in spherical components."""

from __future__ import annotations

import math

from etn.backend import Array, kind_of
from etn.errors import IrrepsError, SettingsError
from etn.product.kernels import FirstKernel
from etn.product.layout import change_layout
from etn.product.shared_contraction import SharedContraction
from etn.product.tensor_product import TensorProduct

__all__ = ["SphericalProduct"]


class SphericalProduct(TensorProduct):
    """The Clebsch-Gordan product itself: no approximation, no choice of coefficients.

    Schemes: ``dense`` (outer product of the operands times the fused tensor), ``y_first`` (the
    one-channel operand meets the fused tensor first, then all channels), ``paths`` (weights of
    their own for every path, any multiplicities).  See :class:`TensorProduct` for the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> tp = SphericalProduct("4x0e+4x1o", "0e+1o", mode="uvu", scheme="y_first")
    >>> rng = np.random.default_rng(0)
    >>> x, y, w = rng.normal(size=(9, 16)), rng.normal(size=(9, 4)), rng.normal(size=(9, 4))
    >>> folded = tp.fold(y)              # depends on the geometry only: keep it across layers
    >>> bool(np.allclose(tp.apply_folded(x, folded, w), tp(x, y, w)))
    True
    """

    _allowed = ("dense", "y_first", "paths")

    def fold(self, y: Array) -> Array:
        """Matrices K = M y of second operands, shape (..., d_out, d_1).

        Raises
        ------
        SettingsError
            If the scheme is not ``y_first``, the mode not ``uvu``, or weights scale the degrees.
        IrrepsError
            If the last axis does not fit.
        CoreError
            If the numbers are neither float32 nor float64.
        """
        contraction, kernel = self._first()
        kind = kind_of(y)
        if tuple(y.shape[-1:]) != (self.irreps_in2.dim,):
            raise IrrepsError(
                f"second operand: expected a last axis of {self.irreps_in2.dim} "
                f"({self.irreps_in2}), got shape {tuple(y.shape)}"
            )
        constants = self.constants(contraction, kind)
        flat = y.reshape((math.prod(y.shape[:-1]), y.shape[-1]))
        return kernel.fold(constants, flat).reshape((*y.shape[:-1], *kernel.dims[:2]))

    def apply_folded(self, x: Array, folded: Array, w: Array | None = None) -> Array:
        """The product with operands that :meth:`fold` has seen; gradients pass through both.

        Raises
        ------
        IrrepsError
            If axes do not fit.
        CoreError
            If the arrays are of different kinds.
        """
        contraction, _ = self._first()
        kind_of(*(a for a in (x, folded, w) if a is not None))
        d3, d1 = self.fused.shape[:2]
        channels = contraction.channels[0]
        if tuple(folded.shape[-2:]) != (d3, d1) or x.shape[-1] != d1 * channels:
            raise IrrepsError(
                f"expected a first operand (..., {d1 * channels}) and folded matrices (..., {d3}, "
                f"{d1}), got {tuple(x.shape)} and {tuple(folded.shape)}"
            )
        x = change_layout(x, self.irreps_in1, self.layout, "ir_mul")
        z = folded @ x.reshape((*x.shape[:-1], d1, channels))
        if w is not None:
            if tuple(w.shape[-1:]) != (self.weight_numel,):
                raise IrrepsError(
                    f"weights: expected a last axis of {self.weight_numel} ({self.weight_plan}), "
                    f"got shape {tuple(w.shape)}"
                )
            z = z * w[..., None, :]
        z = z.reshape((*z.shape[:-2], d3 * channels))
        return change_layout(z, self.irreps_out, "ir_mul", self.layout)

    def _first(self) -> tuple[SharedContraction, FirstKernel]:
        contraction = self._schemes.get("y_first")
        plain = self.mode == "uvu" and self.weights in ("shared", "none")
        if not (plain and isinstance(contraction, SharedContraction)):
            raise SettingsError(
                "folding: expected mode uvu, a second operand of one channel and weights shared or "
                f"none, got {self!r}"
            )
        assert isinstance(contraction.kernel, FirstKernel)
        return contraction, contraction.kernel
