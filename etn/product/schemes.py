"""The schemes that can compute a product, built on request."""

from __future__ import annotations

import math
from dataclasses import dataclass

from etn.errors import SettingsError
from etn.o3.cartesian.basis import Packing
from etn.o3.cartesian.coefficients import Normalization
from etn.product.calls import Contraction
from etn.product.channel_coupling import (
    Legs,
    PathCoefficients,
    Selection,
    channels_of,
    couple,
    unit_variance,
)
from etn.product.cp import CPTensor
from etn.product.elementwise_contraction import ElementwisePathContraction
from etn.product.fused_tensor import FusedTensor
from etn.product.kernels import CPKernel, DenseKernel, FirstKernel, Kernel
from etn.product.lookup import restrict, scaled_to, table_of, tables_of
from etn.product.modes import MODES, Mode, weight_shape
from etn.product.packed import PackedTensor, path_coefficients
from etn.product.path_contraction import PathContraction
from etn.product.shared_contraction import SharedContraction
from etn.product.weight_sharing import SHARING, Sharing

__all__ = ["SCHEMES", "Request", "contractions"]

SCHEMES = ("dense", "y_first", "cp", "paths")

# Relative error of a coupling that counts as none.
EXACT = 1e-12


@dataclass(frozen=True)
class Request:
    """What a product shall do, see :class:`etn.product.TensorProduct`; legs without empty terms."""

    legs: Legs
    mode: Mode
    sharing: Sharing
    coefficients: PathCoefficients
    paths: Selection | None
    tol: float
    cp: CPTensor | None
    packing: Packing | None
    normalization: Normalization | None

    @property
    def by_path(self) -> bool:
        """Whether every path has weights of its own, or terms have channels of their own."""
        uniform = all(len({term.mul for term in leg}) == 1 for leg in self.legs)
        if not all(self.legs):
            return True  # there is no path, and no number of channels
        return self.sharing == "per_path" or (self.sharing == "none" and not uniform)


def contractions(
    request: Request, scheme: str, allowed: tuple[str, ...]
) -> tuple[FusedTensor, dict[str, Contraction]]:
    """The coupling of a product, and the contractions that compute it, by name of the scheme.

    Raises
    ------
    SettingsError
        If a name is unknown, or the scheme cannot do this.
    """
    _check("scheme", scheme, ("auto", *allowed))
    _check("mode", request.mode, MODES)
    _check("weights", request.sharing, SHARING)
    channels = None if request.by_path else channels_of(request.legs)
    fused = coupling(request)
    if request.packing is not None:
        fused = PackedTensor.of(fused, request.packing)
    names = allowed if scheme == "auto" else (scheme,)
    found: dict[str, Contraction] = {}
    if channels is None:
        if "paths" in names or not all(request.legs):
            path_by_path = PathContraction(
                fused, request.legs, request.mode, request.sharing == "per_path"
            )
            if ElementwisePathContraction.fits(path_by_path):
                path_by_path = ElementwisePathContraction(
                    fused, request.legs, request.mode, request.sharing == "per_path"
                )
            _ = path_by_path.plan  # refuses channels that do not fit the mode
            found["paths"] = path_by_path
    else:
        weight_shape(request.mode, channels)  # refuses channels that do not fit the mode
        for name in names:
            kernel = _kernel(name, request, fused, channels)
            if kernel is not None:
                found[name] = SharedContraction(
                    fused, channels, request.mode, request.sharing, kernel
                )
    if not found:
        raise SettingsError(_unfit(names, request))
    return fused, found


def coupling(request: Request) -> FusedTensor:
    """Paths and fixed coefficients of a product."""
    legs, own = request.legs, request.coefficients
    if request.normalization is not None:
        fused = couple(legs, request.mode, "3j", request.paths)
        return fused.with_coefficients(path_coefficients(fused, request.normalization))
    if not (isinstance(own, str) and own == "free"):
        return couple(legs, request.mode, own, request.paths)
    table = (request.cp or table_of(legs)) if all(legs) else None
    if table is None:
        return couple(legs, request.mode, "component", request.paths)
    fused = restrict(table, legs).target
    if request.paths is not None:
        fused = fused.select(request.paths)
    return unit_variance(fused, legs, request.mode)


def _kernel(
    name: str, request: Request, fused: FusedTensor, channels: tuple[int, int, int]
) -> Kernel | None:
    """What a scheme offers for this product, if it applies."""
    if name == "dense":
        return DenseKernel.of(fused.dense())
    if name == "y_first":
        return FirstKernel.of(fused.dense()) if channels[1] == 1 else None
    if name != "cp":
        return None
    paths = request.paths
    if paths is not None and len(set(paths)) < len(couple(request.legs, request.mode, "3j").paths):
        return None  # a form of all paths has no way to leave some out
    tables = [request.cp] if request.cp else tables_of(request.legs, request.tol)
    # Who brings a decomposition knows its error; one that is looked up keeps to the tolerance.
    limit = math.inf if request.cp else max(request.tol, EXACT)
    fitting = [
        scaled
        for table in tables
        if (scaled := scaled_to(restrict(table, request.legs), fused)) is not None
        and scaled.relative_error <= limit
    ]
    return CPKernel.of(min(fitting, key=lambda cp: cp.cp_rank).factors) if fitting else None


def _check(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise SettingsError(f"{what}: expected one of {', '.join(known)}, got {given!r}")


def _unfit(names: tuple[str, ...], request: Request) -> str:
    if request.by_path:
        return (
            f"scheme {' or '.join(names)}: all paths share their weights in it; take scheme "
            f"paths for weights {request.sharing!r}"
        )
    if names == ("y_first",):
        return "scheme y_first: expected a second operand of one channel"
    if names == ("paths",):
        return f'scheme paths: expected weights "per_path", got {request.sharing!r}'
    return (
        "scheme cp: no shipped table gives these coefficients within the tolerance "
        f"{request.tol:g}; take coefficients='free', a larger tol, or bring a decomposition (cp=)"
    )
