r"""Products of a feature with itself: all equivariant polynomials of a degree, none twice.

The product of n copies of one feature x lives in the symmetric power :math:`S^n V`, of which
:mod:`etn.product.symmetric_powers` gives a basis.
"""

from __future__ import annotations

from etn.backend import Array, kind_of, library
from etn.errors import IrrepsError
from etn.o3 import Irrep, Irreps, IrrepsLike
from etn.o3.irrep import as_int
from etn.product.calls import broadcast_lead
from etn.product.channel_coupling import bare, filled
from etn.product.symmetric_powers import (
    Degree,
    copies,
    evaluate,
    polynomial_basis,
    symmetric_multiplicities,
)

__all__ = ["SymmetricProduct"]


class SymmetricProduct:
    r"""A basis of the equivariant polynomials of one degree of a feature, channel by channel.

    .. math:: B^{(n)}_{\eta} = \bigl(B^{(n-1)}_{\eta'} \otimes x_{l}\bigr)_{l'},
        \qquad z_{l' u} = \sum_\eta w_{\eta u}\, B^{(n)}_{\eta u}

    with isometric couplings, over a selection of paths with no linear relation between them.

    Parameters
    ----------
    irreps_in : irreps
        All with the same multiplicity, the channels; terms of multiplicity zero do nothing.
    order : int
        Degree n of the polynomials.
    irreps_out : irreps, optional
        Degrees wanted, by default those of the input that occur.  How often does not matter, but
        terms of multiplicity zero are not wanted.
    reduced : bool
        ``False`` keeps every path of coupling one factor after the other, as the full variant of
        ICTP does; a redundant set.

    Attributes
    ----------
    irreps_basis : Irreps
        The outputs, their multiplicities the numbers of basis polynomials.

    Raises
    ------
    IrrepsError
        If nothing of ``irreps_out`` occurs.
    SettingsError
        If there would be too many paths to choose from; the message says how many.

    Examples
    --------
    >>> import numpy as np
    >>> product = SymmetricProduct("8x0e+8x1o", order=4, irreps_out="0e+1o")
    >>> product.irreps_basis
    3x0e+2x1o
    >>> SymmetricProduct("8x0e+8x1o", order=4, irreps_out="0e+1o", reduced=False).irreps_basis
    10x0e+16x1o
    >>> product(np.ones((5, 32))).shape
    (5, 32)
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        order: int,
        irreps_out: IrrepsLike | None = None,
        *,
        reduced: bool = True,
    ) -> None:
        self.irreps_in = Irreps(irreps_in)
        self.order = as_int(order, "order", minimum=1)
        self.reduced = reduced
        leg = filled(self.irreps_in)
        counts = {term.mul for term in leg}
        if len(counts) > 1:
            raise IrrepsError(
                f"{self.irreps_in}: expected one number of channels for all irreps, got "
                f"{sorted(counts)}"
            )
        self.channels = counts.pop() if counts else 0
        self.single = bare(leg)
        wanted = self.single if irreps_out is None else filled(Irreps(irreps_out))
        known = symmetric_multiplicities(self.single, self.order) if leg else {}
        self.out = tuple(dict.fromkeys(ir for _, ir in wanted if ir in known))
        if not self.out and leg and wanted:
            raise IrrepsError(
                f"no polynomial of degree {self.order} of {self.single} transforms as {wanted}; "
                f"there are {', '.join(map(str, known))}"
            )
        # Without irreps, or without a degree that is wanted, there is no polynomial.
        empty: tuple[Degree, ...] = ({},)
        basis = polynomial_basis(self.single, self.order, self.out, reduced) if self.out else empty
        self._degrees = basis
        last = copies(basis[-1])
        self.irreps_basis = Irreps([(last[ir], ir) for ir in self.out])
        self.irreps_out = Irreps([(self.channels, ir) for ir in self.out])

    @property
    def weight_numel(self) -> int:
        """Weights: one for each basis polynomial and channel, the polynomials slowest."""
        return self.irreps_basis.num_irreps * self.channels

    def basis(self, x: Array) -> dict[Irrep, Array]:
        """All basis polynomials of features.

        Parameters
        ----------
        x : (..., irreps_in.dim) array
            NumPy or torch, layout ``"ir_mul"``.

        Returns
        -------
        dict of Irrep to (..., n, 2l+1, channels) array

        Raises
        ------
        IrrepsError
            If the last axis has another dimension.
        CoreError
            If the numbers are neither float32 nor float64.
        """
        kind_of(x)
        if tuple(x.shape[-1:]) != (self.irreps_in.dim,):
            raise IrrepsError(
                f"expected a last axis of {self.irreps_in.dim} ({self.irreps_in}), got shape "
                f"{tuple(x.shape)}"
            )
        lead = tuple(x.shape[:-1])
        parts = {
            t: x[..., part].reshape((*lead, 1, term.ir.dim, self.channels))
            for t, (term, part) in enumerate(
                zip(filled(self.irreps_in), filled(self.irreps_in).slices(), strict=True)
            )
        }
        values = evaluate(self._degrees, self.single, parts)
        return {ir: values[ir] for ir in self.out}

    def __call__(self, x: Array, w: Array | None = None) -> Array:
        """Sum of the basis polynomials with weights, (..., irreps_out.dim).

        Parameters
        ----------
        x : (..., irreps_in.dim) array
        w : (..., weight_numel) array, optional
            1 if not given.

        Raises
        ------
        IrrepsError
            If a last axis, or the leading axes, do not fit.
        CoreError
            If the arrays are of different kinds, or neither float32 nor float64.
        """
        if w is not None:
            kind_of(x, w)
            if tuple(w.shape[-1:]) != (self.weight_numel,):
                raise IrrepsError(
                    f"weights: expected a last axis of {self.weight_numel}, got shape "
                    f"{tuple(w.shape)}"
                )
            broadcast_lead([tuple(x.shape[:-1]), tuple(w.shape[:-1])], "features and weights")
        xp = library(x)
        values, pieces, start = self.basis(x), [], 0
        for ir in self.out:
            value = values[ir]
            n = value.shape[-3]
            if w is None:
                total = value.sum(-3)
            else:
                block = w[..., start * self.channels : (start + n) * self.channels]
                block = block.reshape((*w.shape[:-1], n, 1, self.channels))
                total = (value * block).sum(-3)
            start += n
            pieces.append(total.reshape((*total.shape[:-2], ir.dim * self.channels)))
        return xp.concat(pieces, -1) if pieces else x[..., :0]

    def __repr__(self) -> str:
        """Return input, degree and basis."""
        paths = "reduced" if self.reduced else "full"
        return (
            f"SymmetricProduct({self.irreps_in}, order {self.order} -> {self.irreps_basis}, "
            f"{paths})"
        )
