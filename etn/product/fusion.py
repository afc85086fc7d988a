"""All couplings of given legs, found by the triangle rule and parity, as one tensor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irrep, Irreps, IrrepsLike
from etn.o3.irrep import as_int
from etn.product.fused_tensor import Coefficients, FusedTensor, Path

__all__ = ["fused_cg"]


def fused_cg(
    l_max: int | None = None,
    *,
    ins: Sequence[IrrepsLike] | None = None,
    out: IrrepsLike | None = None,
    inputs: int = 2,
    parity: Literal["none", "even"] = "none",
    coefficients: Coefficients = "3j",
) -> FusedTensor:
    """Fuse all couplings that the triangle rule and parity allow.

    Parameters
    ----------
    l_max : int, optional
        All legs hold l = 0..l_max, each once.
    ins, out : irreps, optional
        The legs themselves, instead of ``l_max``; each irrep once.
    inputs : int
        How many inputs there are, with ``l_max``.
    parity : {"none", "even"}
        With ``l_max``: ``"none"`` labels all irreps even, so that every coupling of SO(3) is
        allowed; ``"even"`` takes the parity of harmonics, (-1)^l, so that l1 + l2 + l3 is even.
    coefficients : {"3j", "cg"}, array or mapping
        ``"3j"``: 1, each path of norm 1, as ``e3nn.o3.wigner_3j``; ``"cg"``: sqrt(2 l_out + 1),
        each path isometric; or one number a path, in order, or by label (others are 1).

    Returns
    -------
    FusedTensor

    Raises
    ------
    IrrepsError
        If there is no path.
    SettingsError
        If the arguments are contradictory, or a label is unknown.

    Examples
    --------
    >>> [len(fused_cg(l).paths) for l in range(1, 7)]
    [5, 15, 34, 65, 111, 175]
    >>> [len(fused_cg(l, parity="even").paths) for l in range(1, 7)]
    [4, 11, 23, 42, 69, 106]
    >>> fused_cg(ins=["0e+1o", "1o"], out="1o").labels()
    ('0e x 1o -> 1o',)
    """
    if (l_max is None) == (ins is None):
        raise SettingsError("fused_cg: expected either l_max, or the irreps ins= and out=")
    if ins is None:
        top = as_int(l_max, "l_max", minimum=0)
        n = as_int(inputs, "inputs", minimum=1)
        if parity not in ("none", "even"):
            raise SettingsError(f"parity: expected none or even, got {parity!r}")
        leg = Irreps.spherical_harmonics(top, p=1 if parity == "none" else -1)
        legs, target = (leg,) * n, leg if out is None else Irreps(out)
    else:
        legs = tuple(Irreps(leg) for leg in ins)
        target = Irreps(legs[0] if out is None else out)
    # Irreps in between are no larger than the largest leg, so that a product of many inputs is a
    # repeated product of two.
    most = max((leg.l_max for leg in (*legs, target) if leg), default=0)
    paths = tuple(sorted(_paths(legs, target, most)))
    if not paths:
        shown = " x ".join(map(str, legs))
        raise IrrepsError(f"no coupling of {shown} ends in {target}: there is no path")
    plain = FusedTensor(target, legs, paths, np.ones(len(paths)))
    return plain.with_coefficients(coefficients)


def _paths(legs: Sequence[Irreps], out: Irreps, l_max: int) -> Iterator[Path]:
    for ins in itertools.product(*(range(len(leg)) for leg in legs)):
        irs = [leg[term].ir for leg, term in zip(legs, ins, strict=True)]
        ways: list[tuple[Irrep, ...]] = [(irs[0],)]
        for ir in irs[1:]:
            ways = [(*way, to) for way in ways for to in way[-1] * ir]
            ways = [way for way in ways if way[-1].l <= l_max]
        for way in ways:
            for k, term in enumerate(out):
                if term.ir == way[-1]:
                    yield Path(k, ins, way[1:-1])
