"""Equivariant cores and their factorisations."""

from etn.tensor.core import Core, Projection, allowed_paths, coupling
from etn.tensor.factor import (
    BondMatrix,
    Factors,
    absorb_left,
    absorb_right,
    isometry_error,
    qr_left,
    qr_right,
)

__all__ = [
    "BondMatrix",
    "Core",
    "Factors",
    "Projection",
    "absorb_left",
    "absorb_right",
    "allowed_paths",
    "coupling",
    "isometry_error",
    "qr_left",
    "qr_right",
]
