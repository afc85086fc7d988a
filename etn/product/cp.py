r"""Tensors as sums of rank-one terms: CP form.

.. math:: \hat M_{k i_1 \dots i_n} = \sum_{r=1}^R A_{kr}\, B^1_{i_1 r} \cdots B^n_{i_n r}, \qquad
    \hat m(x_1, \dots, x_n) = A\,\bigl[(B^{1T} x_1) \circ \dots \circ (B^{nT} x_n)\bigr]

so that a product of n inputs costs R (d_out + d_1 + ... + d_n) multiplications a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from etn.backend import Array, FloatArray, as_block, kind_of, like
from etn.errors import CoreError, IrrepsError
from etn.product.certificate import Certificate, certify
from etn.product.fused_tensor import FusedTensor

__all__ = ["CPTensor"]

Factors = tuple[FloatArray, ...]


@dataclass(frozen=True, eq=False)
class CPTensor:
    """A CP decomposition of a fused tensor.

    It is a network of the sweep engine: factors are its sites, and in canonical form all columns
    have norm 1 but those of the center.

    Parameters
    ----------
    target : FusedTensor
        What is decomposed.  Its coefficients are those of the decomposition: where a solver was
        free to choose them, they are its choice.
    factors : tuple of (dim, cp_rank) ndarray
        Of the output, of the first input, of the second ...
    center : int, optional
        The factor that carries the norm of every term, if the others are normalized.
    method : str
        How the factors were found.

    Raises
    ------
    CoreError
        If the factors do not fit the legs, differ in rank, have none, or are not finite.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> t = fused_cg(l_max=0)
    >>> cp = CPTensor(t, (np.ones((1, 1)),) * 3)
    >>> cp.cp_rank, cp.relative_error
    (1, 0.0)
    """

    target: FusedTensor
    factors: Factors
    center: int | None = None
    method: str = ""

    def __post_init__(self) -> None:
        shape = self.target.shape
        factors = tuple(np.asarray(factor, float) for factor in self.factors)
        if len(factors) != len(shape):
            raise CoreError(
                f"factors: expected {len(shape)}, the output's and one an input, got {len(factors)}"
            )
        cp_rank = factors[0].shape[1] if factors[0].ndim == 2 else 0
        for number, (factor, dim) in enumerate(zip(factors, shape, strict=True)):
            if factor.shape != (dim, cp_rank) or cp_rank == 0:
                raise CoreError(
                    f"factor {number}: expected shape ({dim}, cp_rank) with one cp_rank >= 1 for "
                    f"all, got {factor.shape}; the first has {cp_rank} columns"
                )
            if not np.isfinite(factor).all():
                raise CoreError(f"factor {number}: expected finite numbers")
        object.__setattr__(self, "factors", factors)

    @property
    def cp_rank(self) -> int:
        """Number of rank-one terms."""
        return int(self.factors[0].shape[1])

    def __len__(self) -> int:
        """Return the number of factors."""
        return len(self.factors)

    def dense(self) -> FloatArray:
        """The tensor, shape (output, first input, second input, ...)."""
        dense = khatri_rao(self.factors[1:])
        return np.asarray(self.factors[0] @ dense.T).reshape(self.target.shape)

    @property
    def relative_error(self) -> float:
        """Frobenius norm of the difference from the target over that of the target."""
        return float(np.linalg.norm(self.dense() - self.target.dense())) / self.target.norm

    def canonicalize(self, center: int) -> CPTensor:
        """Columns of all factors but one with norm 1; the norms go into that one."""
        scale = np.ones(self.cp_rank)
        factors = list(self.factors)
        for site, factor in enumerate(factors):
            if site != center:
                norms = np.linalg.norm(factor, axis=0)
                # A term that is zero stays zero, wherever its norm stands.
                factors[site] = factor / np.where(norms > 0.0, norms, 1.0)
                scale = scale * norms
        factors[center] = factors[center] * scale
        return replace(self, factors=tuple(factors), center=center)

    def balance(self) -> CPTensor:
        """The norm of every term spread evenly over the factors, largest terms first."""
        whole = self.canonicalize(0)
        norms = np.linalg.norm(whole.factors[0], axis=0)
        order = np.argsort(-norms, kind="stable")
        share = norms ** (1.0 / len(self))
        first = whole.factors[0] / np.where(norms > 0.0, norms, 1.0)
        factors = (first, *whole.factors[1:])
        return replace(self, factors=tuple((f * share)[:, order] for f in factors), center=None)

    def replace(self, site: int, factor: FloatArray) -> CPTensor:
        """The same with another factor at a site."""
        factors = (*self.factors[:site], factor, *self.factors[site + 1 :])
        return replace(self, factors=factors)

    def __call__(self, *inputs: Array) -> Array:
        """Apply the multilinear map to inputs of shape (..., dim), or (dim,); NumPy or torch.

        Raises
        ------
        IrrepsError
            If their number or a dimension differs.
        CoreError
            If they are of different kinds.
        """
        if len(inputs) != len(self) - 1:
            raise IrrepsError(f"expected {len(self) - 1} inputs, got {len(inputs)}")
        arrays = [as_block(x, f"input {number}") for number, x in enumerate(inputs, start=1)]
        kind_of(*arrays)
        terms: Array = None
        for number, (values, factor) in enumerate(
            zip(arrays, self.factors[1:], strict=True), start=1
        ):
            if values.shape[-1:] != factor.shape[:1]:
                raise IrrepsError(
                    f"input {number}: expected a last axis of {factor.shape[0]}, got shape "
                    f"{tuple(values.shape)}"
                )
            part = values @ like(factor, values)
            terms = part if terms is None else terms * part
        return terms @ like(self.factors[0], terms).T

    def certificate(self) -> Certificate:
        """Measure error, broken symmetry and size of factors; ``print`` it for a table.

        Raises
        ------
        SettingsError
            If the target is zero.
        """
        return certify(self)

    def __repr__(self) -> str:
        """Return rank, target and error."""
        return f"CPTensor(cp_rank {self.cp_rank}, error {self.relative_error:.2g}, {self.target})"


def khatri_rao(factors: Sequence[FloatArray]) -> FloatArray:
    """Products of rows, column by column: shape (d_1 d_2 ..., R), the last factor fastest."""
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, None, :] * factor).reshape(-1, factor.shape[1])
    return product
