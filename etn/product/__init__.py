"""Products of equivariant features: one interface, several schemes.

- :class:`TensorProduct`: a bilinear equivariant map by the fastest scheme at a stated error;
  :class:`SphericalProduct`, :class:`DecomposedProduct` and :class:`CartesianProduct` keep to one
  family of schemes.
- :class:`SymmetricProduct`: all equivariant polynomials of one feature, none twice.
- :func:`fused_cg`: every Clebsch-Gordan coupling up to a degree as one tensor.
- :func:`decompose`: its CP decomposition, :class:`CPTensor`, with a :class:`Certificate`;
  :func:`analytic_decomposition` and :func:`load_table` give those known in closed form or shipped.
- :class:`SharedLinear`: the equivariant linear maps that go with them.
- ``TensorProduct.module()``: the same as a torch module.

Path coefficients are in units of 3j tensors of norm 1, and dense tensors have their output first.
"""

from etn.product.analytic import analytic_decomposition
from etn.product.cartesian_product import CartesianProduct
from etn.product.certificate import Certificate, certify
from etn.product.cp import CPTensor
from etn.product.decomposed_product import DecomposedProduct
from etn.product.fused_tensor import FusedTensor, Path, Sparse
from etn.product.fusion import fused_cg
from etn.product.layout import change_layout
from etn.product.linear import SharedLinear
from etn.product.solve import decompose, rescale
from etn.product.spherical_product import SphericalProduct
from etn.product.symmetric_product import SymmetricProduct
from etn.product.tables import available_tables, load_table
from etn.product.tensor_product import TensorProduct

__all__ = [
    "CPTensor",
    "CartesianProduct",
    "Certificate",
    "DecomposedProduct",
    "FusedTensor",
    "Path",
    "SharedLinear",
    "Sparse",
    "SphericalProduct",
    "SymmetricProduct",
    "TensorProduct",
    "analytic_decomposition",
    "available_tables",
    "certify",
    "change_layout",
    "decompose",
    "fused_cg",
    "load_table",
    "rescale",
]
