"""Equivariant cores and their factorisations."""

from etn.tensor.core import Core, Projection, allowed_paths, coupling, embed, is_allowed
from etn.tensor.factor import (
    BondMatrix,
    Factors,
    Singular,
    absorb,
    absorb_back,
    eigh,
    isometry_error,
    matricize,
    polar,
    qr,
    svd,
    tensorize,
)
from etn.tensor.pair import Pair, merge
from etn.tensor.truncation import Cut, Spectrum, Truncation

__all__ = [
    "BondMatrix",
    "Core",
    "Cut",
    "Factors",
    "Pair",
    "Projection",
    "Singular",
    "Spectrum",
    "Truncation",
    "absorb",
    "absorb_back",
    "allowed_paths",
    "coupling",
    "eigh",
    "embed",
    "is_allowed",
    "isometry_error",
    "matricize",
    "merge",
    "polar",
    "qr",
    "svd",
    "tensorize",
]
