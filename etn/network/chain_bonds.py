"""What the bonds of a train can carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from etn.errors import CoreError, SettingsError
from etn.o3 import Irreps
from etn.tensor import allowed_paths
from etn.tensor.scale import is_whole


def widest_bond(max_bond: int | Irreps | str, legs: Iterable[Irreps]) -> Irreps:
    """A cap on bonds as irreps: a number holds for all irreps of the legs.

    Raises
    ------
    SettingsError
        If the number is below one.

    Examples
    --------
    >>> widest_bond(2, [Irreps("1x0e"), Irreps("3x1o")])
    2x0e+2x1o
    """
    if not is_whole(max_bond):
        return Irreps(max_bond).regroup()  # type: ignore[arg-type]
    number = int(max_bond)  # type: ignore[arg-type]
    if number < 1:
        raise SettingsError(f"max_bond: expected at least 1, got {max_bond}")
    return Irreps([(number, ir) for ir in sorted({ir for leg in legs for ir in leg.unique})])


def reachable_bonds(
    legs: Sequence[Irreps], start: Irreps, out: Irreps, widest: Irreps
) -> list[Irreps]:
    """Bond irreps within ``widest`` that both ends can reach, no wider than they can fill."""

    def grow(bond: Irreps, leg: Irreps) -> Irreps:
        room = dict.fromkeys(widest.unique, 0)
        for ir1, ir2, ir3 in allowed_paths([bond, leg, widest]):
            room[ir3] += bond.count(ir1) * leg.count(ir2)
        return Irreps([(min(n, widest.count(ir)), ir) for ir, n in sorted(room.items()) if n])

    from_left, from_right = [start], [out]
    for leg in legs[:-1]:
        from_left.append(grow(from_left[-1], leg))
    for leg in reversed(legs[1:]):
        from_right.append(grow(from_right[-1], leg))
    inner = [
        Irreps([(min(a.count(ir), b.count(ir)), ir) for ir in a.unique if ir in b.unique])
        for a, b in zip(from_left[1:], reversed(from_right[1:]), strict=True)
    ]
    for bond, irreps in enumerate(inner):
        if not irreps.dim:
            raise CoreError(
                f"bond {bond}: no irrep of {widest} can be reached from both {start} and {out} "
                "through the site legs"
            )
    return [start, *inner, out]
