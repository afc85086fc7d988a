"""Products of irreducible Cartesian tensors, packed."""

from __future__ import annotations

from typing import Any, get_args

from etn.errors import SettingsError
from etn.o3 import IrrepsLike
from etn.o3.cartesian.basis import Packing, check_packing
from etn.o3.cartesian.coefficients import Normalization
from etn.product.tensor_product import TensorProduct

__all__ = ["CartesianProduct"]


class CartesianProduct(TensorProduct):
    r"""Contractions, Levi-Civita symbols and traceless parts: products of Cartesian tensors.

    A tensor of degree l is stored by 2l + 1 numbers.  Even paths (l1 + l2 + l3 even) contract
    indices and take the symmetric traceless part, odd paths in addition join one index of each
    operand by the Levi-Civita symbol; parities are those of the irreps.  In the orthonormal packing
    components are those of spherical harmonics, and every path is a positive multiple of the
    spherical one,

    .. math:: (A \otimes B)_{l_3} = c_{l_1 l_2 l_3}\; W(A, B),

    so a :class:`SphericalProduct` with the same coefficients is the same function.

    Parameters
    ----------
    irreps_in1, irreps_in2, irreps_out : irreps
    normalization : {"unity", "component", "norm", "cg"}, optional
        The size of every path, see :func:`etn.o3.cartesian.coefficients.coefficients`: with
        ``"unity"`` the product of the tensors of one direction is the tensor of that direction.
        By default outputs have unit variance (``coefficients="component"`` of
        :class:`TensorProduct`).
    packing : {"orthonormal", "monomial"}
        Components of operands and output.
    mode, weights, scheme, paths, layout
        See :class:`TensorProduct`.

    Raises
    ------
    SettingsError
        If a name is unknown, or both a normalization and coefficients are given.

    Examples
    --------
    >>> import numpy as np
    >>> from etn.o3 import cartesian
    >>> r = np.array([[0.6, 0.0, 0.8]])
    >>> t1, t2 = (cartesian.harmonics(l, r) for l in (1, 2))
    >>> tp = CartesianProduct("1o", "1o", "2e", mode="uuu", weights="none", normalization="unity")
    >>> bool(np.allclose(tp(t1, t1), t2))
    True
    """

    _allowed = ("dense", "y_first", "paths")

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike | None = None,
        *,
        normalization: Normalization | None = None,
        packing: Packing = "orthonormal",
        **options: Any,
    ) -> None:
        self.packing = self._packing = check_packing(packing)
        self.normalization = self._normalization = normalization
        if normalization is not None:
            if normalization not in get_args(Normalization):
                raise SettingsError(
                    f"normalization: expected one of {', '.join(get_args(Normalization))}, got "
                    f"{normalization!r}"
                )
            if "coefficients" in options:
                raise SettingsError("expected a normalization or coefficients, got both")
        super().__init__(irreps_in1, irreps_in2, irreps_out, **options)
