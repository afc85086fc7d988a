"""Representations of O(3): irreps, couplings, rotations and harmonics.

Conventions, shared with e3nn and sphericart:

- Real harmonics with components m = -l..l, so the components of ``1o`` are (y, z, x).
- Irreps are written ``8x0e+4x1o``: multiplicity, degree l, parity e (even) or o (odd).
- :func:`clebsch_gordan` is isometric, the standard inside etn: the sum over m1, m2 of
  C[m1, m2, m3] C[m1, m2, m3'] is the identity.  :func:`wigner_3j` is the same tensor with unit
  norm, as in e3nn.
- :func:`recoupling` coefficients of these tensors are those of SU(2): the real basis adds no sign.
- Rotation matrices act on (x, y, z), and Y_l(R r) = D_l(R) Y_l(r) with :func:`wigner_d`.
- Harmonics are orthonormal on the unit sphere.
"""

from __future__ import annotations

from etn.o3 import cartesian
from etn.o3.coupling import clebsch_gordan, complex_to_real, wigner_3j
from etn.o3.harmonics import spherical_harmonics, spherical_harmonics_with_gradients
from etn.o3.irrep import Irrep, IrrepLike
from etn.o3.irreps import Irreps, IrrepsLike, Term
from etn.o3.recoupling import (
    RecouplingMatrix,
    recoupling,
    recoupling_4,
    recoupling_matrix,
    wigner_6j,
    wigner_9j,
)
from etn.o3.rotation import irreps_d, random_rotation, rotation_matrix, wigner_d

__all__ = [
    "Irrep",
    "IrrepLike",
    "Irreps",
    "IrrepsLike",
    "RecouplingMatrix",
    "Term",
    "cartesian",
    "clebsch_gordan",
    "complex_to_real",
    "irreps_d",
    "random_rotation",
    "recoupling",
    "recoupling_4",
    "recoupling_matrix",
    "rotation_matrix",
    "spherical_harmonics",
    "spherical_harmonics_with_gradients",
    "wigner_3j",
    "wigner_6j",
    "wigner_9j",
    "wigner_d",
]
