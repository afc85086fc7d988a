"""The fused tensor of irreducible Cartesian tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from etn.backend import FloatArray
from etn.o3.cartesian.basis import Packing
from etn.o3.cartesian.coefficients import Normalization, coefficients
from etn.product.fused_tensor import FusedTensor, Path

__all__ = ["PackedTensor", "path_coefficients"]


@dataclass(frozen=True, eq=False, repr=False)
class PackedTensor(FusedTensor):
    """All products of packed Cartesian tensors, from their exact coefficients.

    In the orthonormal packing it equals the fused tensor of 3j symbols, path by path.

    Parameters
    ----------
    packing : {"orthonormal", "monomial"}
        Of all legs.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> plain = fused_cg(ins=["0e+1o+2e", "1o"], out="0e+1o+2e+1e")
    >>> packed = PackedTensor.of(plain, "orthonormal")
    >>> bool(abs(packed.dense() - plain.dense()).max() < 1e-15)
    True
    """

    packing: Packing = "orthonormal"

    @staticmethod
    def of(fused: FusedTensor, packing: Packing) -> PackedTensor:
        """The same paths and coefficients in Cartesian components."""
        return PackedTensor(fused.out, fused.ins, fused.paths, fused.coefficients, packing)

    def path_tensor(self, path: Path) -> FloatArray:
        """Product of a path, of norm 1 in the orthonormal packing."""
        l3, l1, l2 = self.degrees(path)
        tensor: FloatArray = coefficients(l1, l2, l3, "cg", self.packing)
        return tensor / math.sqrt(2 * l3 + 1)


def path_coefficients(fused: FusedTensor, normalization: Normalization) -> FloatArray:
    """The size of every path of a product of two inputs under a Cartesian normalization.

    Positive, and the same in both packings: the norm of the coefficients in the orthonormal one.
    """
    found = []
    for path in fused.paths:
        l3, l1, l2 = fused.degrees(path)
        product = coefficients(l1, l2, l3, normalization)
        found.append(float(np.linalg.norm(product)))
    return np.array(found)
