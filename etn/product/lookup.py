r"""CP forms for the legs at hand, made from decompositions of the full coupling up to l_max.

Rows of the factors are taken as the legs need them.  Where legs hold both parities of a degree,
the selection rule p1 p2 = p3 comes in by the two characters of the group {1, -1},

.. math:: \delta_{p_1 p_2, p_3} = \tfrac12 \sum_{\chi \in \{1, \text{sign}\}}
    \chi(p_1)\, \chi(p_2)\, \chi(p_3),

which doubles the rank and keeps the form exact.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.product.channel_coupling import Legs, bare
from etn.product.cp import CPTensor
from etn.product.fused_tensor import FusedTensor
from etn.product.fusion import fused_cg
from etn.product.solve.path_coefficients import rescale

__all__ = ["restrict", "scaled_to", "table_of", "tables_of"]


def natural(leg: Irreps) -> bool:
    """Whether all irreps have the parity of harmonics."""
    return all(term.ir.p == (-1) ** term.ir.l for term in leg)


def tables_of(legs: Legs, tol: float) -> list[CPTensor]:
    """Shipped decompositions that could serve: exact ones, and others if an error is allowed."""
    from etn.product.tables import available_tables, load_table

    l_max = max(leg.l_max for leg in legs)
    kinds = ["even"] if all(map(natural, legs)) else []
    kinds += ["exact"] + (["tdn"] if tol > 0 else [])
    known = {(table.l_max, table.kind) for table in available_tables()}
    # No table is made for l = 0, where the product is a number times a number.
    return [load_table(l_max, kind) for kind in kinds if (l_max, kind) in known]


def table_of(legs: Legs) -> CPTensor | None:
    """The exact decomposition of least rank whose coefficients a product may take over."""
    tables = tables_of(legs, 0.0)
    return min(tables, key=lambda cp: restrict(cp, legs).cp_rank, default=None)


def restrict(cp: CPTensor, legs: Legs) -> CPTensor:
    """A decomposition for legs whose degrees are among those of another one.

    Parameters
    ----------
    cp : CPTensor
        Of two inputs, with one irrep a degree on every leg.
    legs : (first, second, output)

    Returns
    -------
    CPTensor
        Its target has the coefficients that ``cp`` has for the same degrees.

    Raises
    ------
    SettingsError
        If a degree is missing, or ``cp`` lacks a path that the legs allow.

    Examples
    --------
    >>> from etn.product.tables import load_table
    >>> legs = Irreps("0e+0o+1e+1o"), Irreps("0e+1o"), Irreps("0e+1o")
    >>> small = restrict(load_table(2, "exact"), legs)
    >>> small.target, small.relative_error < 1e-12
    (FusedTensor(1x0e+1x0o+1x1e+1x1o x 1x0e+1x1o -> 1x0e+1x1o, 5 paths), True)
    """
    first, second, out = map(bare, legs)
    fused = fused_cg(ins=(first, second), out=out)
    own = {
        cp.target.degrees(path): alpha
        for path, alpha in zip(cp.target.paths, cp.target.coefficients, strict=True)
    }
    degrees = [fused.degrees(path) for path in fused.paths]
    missing = sorted(set(degrees) - set(own))
    if missing:
        raise SettingsError(
            f"{cp.target}: it has no path of degrees {missing[0]} (output, first, second), which "
            "the legs allow"
        )
    factors = []
    for factor, leg, table_leg in zip(cp.factors, fused.legs, cp.target.legs, strict=True):
        places = {term.ir.l: part for term, part in zip(table_leg, table_leg.slices(), strict=True)}
        factors.append(np.concatenate([factor[places[term.ir.l]] for term in leg]))
    if not _parity_is_implied(fused, cp):
        signs = [np.repeat([t.ir.p for t in leg], [t.ir.dim for t in leg]) for leg in fused.legs]
        factors = [
            np.concatenate([f, f * s[:, None]], axis=1) * (0.5 if n == 0 else 1.0)
            for n, (f, s) in enumerate(zip(factors, signs, strict=True))
        ]
    # Terms that only served degrees that are gone.
    used = np.all([np.abs(f).max(axis=0) > 0.0 for f in factors], axis=0)
    return CPTensor(
        fused.with_coefficients([own[d] for d in degrees]),
        tuple(f[:, used] for f in factors),
        method=cp.method,
    )


def _parity_is_implied(fused: FusedTensor, cp: CPTensor) -> bool:
    """Whether no path of the decomposition leads to a parity that the legs forbid."""
    legs = fused.legs
    allowed = {(p.out, *p.ins) for p in fused.paths}
    table = {cp.target.degrees(path) for path in cp.target.paths}
    found = {
        (k, i, j)
        for k, out in enumerate(legs[0])
        for i, one in enumerate(legs[1])
        for j, two in enumerate(legs[2])
        if (out.ir.l, one.ir.l, two.ir.l) in table
    }
    return found <= allowed


def scaled_to(cp: CPTensor, fused: FusedTensor) -> CPTensor | None:
    """The decomposition with the coefficients of another target, as far as scales per l reach.

    None if the paths differ; what scales cannot reach shows in the relative error.
    """
    if sorted(cp.target.paths) != sorted(fused.paths):
        return None
    own = cp.target.select([(*path.ins, path.out) for path in fused.paths])
    if not (fused.coefficients * own.coefficients).all():
        return None
    # What rescaling evens out is then how far one set of coefficients is from the other.
    ratio = fused.with_coefficients(own.coefficients / fused.coefficients)
    return replace(rescale(replace(cp, target=ratio)), target=fused)
