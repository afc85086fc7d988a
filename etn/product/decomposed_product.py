"""Products in CP form."""

from __future__ import annotations

from typing import Any

from etn.errors import SettingsError
from etn.o3 import Irreps, IrrepsLike
from etn.product.certificate import Certificate
from etn.product.channel_coupling import filled
from etn.product.cp import CPTensor
from etn.product.tables import load_table
from etn.product.tensor_product import TensorProduct

__all__ = ["DecomposedProduct"]


class DecomposedProduct(TensorProduct):
    r"""The Clebsch-Gordan product as a sum of R rank-one terms.

    .. math:: z = A\,[(B^T x) \circ (C^T y)]

    For operands that both have many channels, such as mode ``uuu``: R (d1 + d2 + d3)
    multiplications a channel in three matrix products, against d1 d2 d3 of the dense tensor.
    Where the second operand has one channel, ``y_first`` of :class:`SphericalProduct` is exact and
    needs fewer.

    Parameters
    ----------
    irreps_in1, irreps_in2, irreps_out : irreps
    cp : CPTensor or str
        A decomposition of :func:`etn.product.decompose`, or the kind of a shipped table:
        ``"exact"``, ``"tdn"`` or ``"even"``.  Its degrees must hold those of the legs.
    mode, weights, coefficients, layout
        See :class:`TensorProduct`.  By default coefficients are those of the decomposition, scaled
        to outputs of unit variance.

    Raises
    ------
    SettingsError
        If weights are asked for every path, or scales per l do not reach the coefficients.

    Examples
    --------
    >>> tp = DecomposedProduct("8x0e+8x1o", "8x0e+8x1o", cp="even", mode="uuu")
    >>> tp.cp_rank, tp.certificate().is_exact
    (6, True)
    """

    _allowed = ("cp",)

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike | None = None,
        *,
        cp: CPTensor | str = "exact",
        **options: Any,
    ) -> None:
        if isinstance(cp, str):
            legs = [Irreps(leg) for leg in (irreps_in1, irreps_in2, irreps_out) if leg is not None]
            # No table is made for l = 0; those of l = 1 hold it.
            l_max = max([1, *(leg.l_max for leg in map(filled, legs) if leg)])
            self._cp = load_table(l_max, cp)
        elif len(cp) == 3:
            self._cp = cp
        else:
            raise SettingsError(
                f"cp: expected a decomposition of two inputs, got {len(cp) - 1}; apply it directly"
            )
        options.setdefault("coefficients", "free")
        super().__init__(irreps_in1, irreps_in2, irreps_out, **options)

    @property
    def decomposition(self) -> CPTensor:
        """The factors that the product multiplies with.

        Raises
        ------
        SettingsError
            If a leg is empty, so that there is no term.
        """
        if not self.fused.paths:
            raise SettingsError(f"{self!r}: nothing is coupled, there is nothing to decompose")
        kernel: Any = self.contraction().kernel  # type: ignore[attr-defined]
        return CPTensor(self.fused, (kernel.out, kernel.first, kernel.second))

    @property
    def cp_rank(self) -> int:
        """Number of rank-one terms."""
        return self.decomposition.cp_rank

    def certificate(self) -> Certificate:
        """How far the product is from an equivariant one."""
        return self.decomposition.certificate()
