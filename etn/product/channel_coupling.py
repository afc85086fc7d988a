r"""What two operands with channels couple to: legs, paths and their fixed coefficients.

The coupling of legs ``C1xA``, ``C2xB`` and ``C3xD`` is the :class:`FusedTensor` of A, B and D.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps
from etn.product.fused_tensor import Coefficients, FusedTensor
from etn.product.fusion import fused_cg
from etn.product.modes import Mode, fan_in

__all__ = [
    "Legs",
    "PathCoefficients",
    "Selection",
    "bare",
    "channels_of",
    "couple",
    "default_output",
    "filled",
    "filled_paths",
]

Legs = tuple[Irreps, Irreps, Irreps]
"""First operand, second operand and output."""

PathCoefficients = Literal["component", "free"] | Coefficients

Selection = Sequence[tuple[int, int, int]]
"""Paths by the numbers of the terms (first, second, output) that they couple."""

_NAMES = ("first operand", "second operand", "output")


def filled(leg: Irreps) -> Irreps:
    """A leg without its terms of multiplicity zero, which take no place in its features.

    Examples
    --------
    >>> filled(Irreps("0x0e+4x1o"))
    4x1o
    """
    return leg.filter(lambda term: term.mul > 0)


def filled_paths(
    legs: Legs, paths: Selection, coefficients: PathCoefficients
) -> tuple[Selection, PathCoefficients]:
    """Paths between terms with channels, in the numbers of :func:`filled` legs.

    Coefficients that are one number a path lose those of the paths that are left out.

    Examples
    --------
    >>> legs = Irreps("0x0e+4x1o"), Irreps("0e+1o"), Irreps("4x1o+4x0e")
    >>> filled_paths(legs, [(0, 0, 1), (1, 1, 1)], [2.0, 3.0])
    (((0, 1, 1),), array([3.]))
    """
    places = []
    for leg in legs:
        own = [t for t, term in enumerate(leg) if term.mul]
        places.append({t: place for place, t in enumerate(own)})
    kept = []
    for n, path in enumerate(map(tuple, paths)):
        if len(path) != 3 or not all(0 <= t < len(leg) for t, leg in zip(path, legs, strict=True)):
            raise IrrepsError(
                f"paths: {path} (terms of first input, second input, output, from 0) couples "
                f"nothing: the legs are {', '.join(map(str, legs))}"
            )
        if all(t in place for t, place in zip(path, places, strict=True)):
            kept.append(n)
    first, second, out = places
    chosen = [(first[i], second[j], out[k]) for i, j, k in (paths[n] for n in kept)]
    if len(kept) < len(paths) and not isinstance(coefficients, str | Mapping):
        values = np.asarray(coefficients, float)
        coefficients = values[kept] if len(values) == len(paths) else values
    return tuple(chosen), coefficients


def bare(leg: Irreps) -> Irreps:
    """A leg without its channels: every term once."""
    return Irreps([(1, term.ir) for term in leg])


def channels_of(legs: Legs) -> tuple[int, int, int]:
    """Number of channels of each leg.

    Raises
    ------
    IrrepsError
        If a leg is empty, or its multiplicities differ.

    Examples
    --------
    >>> channels_of((Irreps("8x0e+8x1o"), Irreps("0e"), Irreps("8x0e")))
    (8, 1, 8)
    >>> channels_of((Irreps("8x0e+4x1o"), Irreps("0e"), Irreps("8x0e")))
    Traceback (most recent call last):
    ...
    etn.errors.IrrepsError: first operand 8x0e+4x1o: expected one number of channels for all \
irreps, got 4 and 8; pad the smaller, or use weights="per_path"
    """
    found = []
    for leg, name in zip(legs, _NAMES, strict=True):
        counts = sorted({term.mul for term in leg})
        if not counts or counts[0] == 0:
            raise IrrepsError(f"{name}: expected irreps with channels, got {leg or 'none'}")
        if len(counts) > 1:
            raise IrrepsError(
                f"{name} {leg}: expected one number of channels for all irreps, got "
                f'{" and ".join(map(str, counts))}; pad the smaller, or use weights="per_path"'
            )
        found.append(counts[0])
    return found[0], found[1], found[2]


def couple(
    legs: Legs,
    mode: Mode,
    coefficients: PathCoefficients,
    paths: Iterable[Sequence[int]] | None = None,
) -> FusedTensor:
    r"""Fuse the couplings of the first two legs to the third.

    Parameters
    ----------
    legs : (first, second, output)
        With their channels.
    mode : str
    coefficients : {"component", "3j", "cg"}, array or mapping
        See :func:`fused_cg`; ``"component"`` gives outputs of unit variance for inputs and weights
        of unit variance, as the default of e3nn:

        .. math:: \alpha_p^2 = (2 l_{out} + 1) \Big/ \sum_{q \to out} \text{fan-in}(q)

    paths : iterable of (int, int, int), optional
        See :meth:`FusedTensor.select`.
    """
    first, second, out = map(bare, legs)
    # Where a leg holds nothing, there is nothing to couple; elsewhere that is a mistake.
    empty = FusedTensor(out, (first, second), (), np.zeros(0))
    fused = fused_cg(ins=(first, second), out=out) if all(legs) else empty
    if paths is not None:
        fused = fused.select(paths)
    if isinstance(coefficients, str) and coefficients == "component":
        return unit_variance(fused, legs, mode)
    return fused.with_coefficients(coefficients)  # type: ignore[arg-type]


def unit_variance(fused: FusedTensor, legs: Legs, mode: Mode) -> FusedTensor:
    """Scale what ends in each output term, so that its components have variance 1."""
    total = np.zeros(len(fused.out))
    for path, alpha in zip(fused.paths, fused.coefficients, strict=True):
        terms = (*path.ins, path.out)
        first, second, out = (leg[t].mul for leg, t in zip(legs, terms, strict=True))
        total[path.out] += alpha**2 * fan_in(mode, (first, second, out))
    scale = [np.sqrt(fused.out[path.out].ir.dim / total[path.out]) for path in fused.paths]
    return fused.with_coefficients(fused.coefficients * np.array(scale))


def default_output(first: Irreps, second: Irreps, mode: Mode) -> Irreps:
    """The irreps of the first operand that the two can couple to, with the channels of the mode.

    Raises
    ------
    SettingsError
        For the modes in which the number of output channels is free.
    """
    if mode[2:] == "w":
        raise SettingsError(f"mode {mode}: irreps_out is needed, its channels are free")
    first, second = filled(first), filled(second)
    if mode == "uvv":
        counts = {term.mul for term in second}
        if len(counts) > 1:
            raise IrrepsError(f"second operand {second}: expected one number of channels")
        first = Irreps([(count, ir) for count in counts for _, ir in first])
    reached = {to for _, a in first for _, b in second for to in a * b}
    return Irreps([(mul, ir) for mul, ir in first if ir in reached])
