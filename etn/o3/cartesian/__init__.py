"""Irreducible Cartesian tensors: exact, packed, of any rank, even and odd.

A symmetric traceless tensor of rank l has 2l + 1 independent components.  They are kept packed:

- in the *orthonormal* packing, the default, they are the components of spherical harmonics, in the
  order and with the signs of :mod:`etn.o3` (and of e3nn): no permutation, no change of sign;
- in the *monomial* packing they are the components with at most one index z: (x, y, z) for l = 1.

:func:`harmonics` gives the tensors of directions, :func:`pack` and :func:`unpack` go to and from
all 3^l components, :func:`coefficients` are those of products, :func:`rotate` turns packed tensors.
:func:`decompose` takes any Cartesian tensor with any index symmetry to irreps and back, and
:func:`physical` knows some by name.  :mod:`etn.o3.cartesian.rank2` has the case of 3 x 3 matrices,
and :mod:`etn.o3.cartesian.exact` everything in rational numbers.

Sources: Zaverkin et al., arXiv:2405.14253 (tensors and products); Simeon and De Fabritiis,
arXiv:2306.06482 (matrices).  The constants between Cartesian and spherical products are derived
here, see :mod:`etn.o3.cartesian.constants`.
"""

from __future__ import annotations

from etn.o3.cartesian import rank2
from etn.o3.cartesian.basis import Packing, change_of_packing
from etn.o3.cartesian.coefficients import Normalization, coefficients, sparse_coefficients
from etn.o3.cartesian.constants import bridge_squared, norm_constant, odd_ratio, unity_constant
from etn.o3.cartesian.decomposition import CartesianDecomposition, CouplingPath, decompose
from etn.o3.cartesian.harmonics import harmonics, harmonics_with_gradients
from etn.o3.cartesian.histories import multiplicities
from etn.o3.cartesian.matrices import packing_matrix
from etn.o3.cartesian.named import (
    TENSORS,
    from_voigt,
    isotropic_elastic,
    physical,
    to_voigt,
    voigt_moduli,
)
from etn.o3.cartesian.packing import pack, repack, unpack
from etn.o3.cartesian.rotation import packed_d, rotate

__all__ = [
    "CartesianDecomposition",
    "Normalization",
    "TENSORS",
    "Packing",
    "CouplingPath",
    "from_voigt",
    "isotropic_elastic",
    "multiplicities",
    "rank2",
    "to_voigt",
    "voigt_moduli",
    "bridge_squared",
    "change_of_packing",
    "coefficients",
    "decompose",
    "harmonics",
    "harmonics_with_gradients",
    "norm_constant",
    "odd_ratio",
    "pack",
    "packed_d",
    "packing_matrix",
    "physical",
    "repack",
    "rotate",
    "sparse_coefficients",
    "unity_constant",
    "unpack",
]
