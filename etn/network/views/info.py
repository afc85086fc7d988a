"""Sizes of a network: parameters, memory and flops, reduced and expanded over m."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etn.network.views.show import elide
from etn.network.views.wiring import Wired, Wiring, as_network
from etn.o3 import Irreps

# A table of legs longer than this shows its two ends.
_MAX_ROWS = 24


@dataclass(frozen=True)
class Leg:
    """A named leg of a network.

    Attributes
    ----------
    label : str
    irreps : Irreps
    """

    label: str
    irreps: Irreps

    @property
    def multiplets(self) -> int:
        """Number of irreps with their multiplicities: what a reduced array counts."""
        return self.irreps.num_irreps

    @property
    def dim(self) -> int:
        """Dimension once expanded over m."""
        return self.irreps.dim


@dataclass(frozen=True)
class NetworkInfo:
    """Sizes of a network.  Prints as a table.

    Attributes
    ----------
    n_cores : int
    kind : str
        Library, precision and device of the blocks; "mixed" if the cores differ.
    open, bonds : tuple of Leg
        The open and the contracted legs.
    n_parameters, dense_parameters : int
        Reduced entries, and entries of the cores once expanded over m.
    n_bytes, dense_bytes : int
        Memory of the same.
    flops : int or None
        Of contracting a chain with one vector on each open leg from the left, block by block:
        either couples the two vectors first or contracts the site first, whichever takes less.
        A multiplication with its addition counts as two.  None for networks that are no chain.
    dense_flops : int
        Of the same with dense cores, along the path that ``opt_einsum`` finds, in its count.
    """

    n_cores: int
    kind: str
    open: tuple[Leg, ...]
    bonds: tuple[Leg, ...]
    n_parameters: int
    dense_parameters: int
    n_bytes: int
    dense_bytes: int
    flops: int | None
    dense_flops: int

    @property
    def ratio(self) -> float:
        """Dense entries for each reduced entry; infinite if there is no reduced entry."""
        return self.dense_parameters / self.n_parameters if self.n_parameters else math.inf

    @property
    def open_irreps(self) -> Irreps:
        """Irreps of all open legs together."""
        return _sum(self.open)

    @property
    def bond_irreps(self) -> Irreps:
        """Irreps of all bonds together."""
        return _sum(self.bonds)

    def __str__(self) -> str:
        sizes = [["", "reduced", "dense", "ratio"]]
        for name, reduced, dense, unit in (
            ("parameters", self.n_parameters, self.dense_parameters, ""),
            ("memory", self.n_bytes, self.dense_bytes, " B"),
            ("flops", self.flops, self.dense_flops, ""),
        ):
            ratio = f"{dense / reduced:.3g}" if reduced else "–"
            shown = "–" if reduced is None else f"{reduced:,}{unit}"
            sizes.append([name, shown, f"{dense:,}{unit}", ratio])
        tables = [_table(sizes, numbers=(1, 2, 3))]
        for name, legs, irreps in (
            ("bond", self.bonds, self.bond_irreps),
            ("open", self.open, self.open_irreps),
        ):
            if legs:
                head, hidden, tail = elide(legs, _MAX_ROWS)
                rows = [[name, "multiplets", "dimension", "irreps"]]
                rows += [_row(leg) for leg in head]
                rows += [["…", "…", "…", f"{hidden} more"]] if hidden else []
                rows += [_row(leg) for leg in tail]
                rows += [_row(Leg("sum", irreps))]
                tables.append(_table(rows, numbers=(1, 2)))
        title = f"{self.n_cores} core{'s' if self.n_cores > 1 else ''}, {self.kind}"
        return "\n\n".join([title, *tables])


def info(network: Wired) -> NetworkInfo:
    """Sizes of a network.

    Parameters
    ----------
    network : Chain, Wiring or a network with a method ``wiring``

    Returns
    -------
    NetworkInfo

    Examples
    --------
    >>> from etn.network import Chain
    >>> print(info(Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=0)))
    3 cores, numpy float64 on cpu
    <BLANKLINE>
                reduced    dense  ratio
    parameters       24      175   7.29
    memory        192 B  1,400 B   7.29
    flops           215      414   1.93
    <BLANKLINE>
    bond  multiplets  dimension  irreps
    b1             3          5  2x0e+1x1o
    b2             3          5  2x0e+1x1o
    sum            6         10  4x0e+2x1o
    <BLANKLINE>
    open   multiplets  dimension  irreps
    start           1          1  1x0e
    x0              3          5  2x0e+1x1o
    x1              3          5  2x0e+1x1o
    x2              3          5  2x0e+1x1o
    out             1          1  1x0e
    sum            11         17  8x0e+3x1o
    """
    known = as_network(network)
    wiring = known.wiring()
    kinds = {core.kind for core in wiring.cores}
    reduced = [core.n_parameters for core in wiring.cores]
    dense = [math.prod(leg.dim for leg in core.legs) for core in wiring.cores]
    itemsize = [np.dtype(core.kind.dtype).itemsize for core in wiring.cores]
    return NetworkInfo(
        n_cores=len(wiring.cores),
        kind=str(next(iter(kinds))) if len(kinds) == 1 else "mixed",
        open=tuple(Leg(label, wiring.legs[label]) for label in wiring.open),
        bonds=tuple(Leg(label, wiring.legs[label]) for label in wiring.bonds),
        n_parameters=sum(reduced),
        dense_parameters=sum(dense),
        n_bytes=sum(n * size for n, size in zip(reduced, itemsize, strict=True)),
        dense_bytes=sum(n * size for n, size in zip(dense, itemsize, strict=True)),
        flops=known.flops(),
        dense_flops=_dense_flops(wiring),
    )


def _dense_flops(wiring: Wiring) -> int:
    from opt_einsum import contract_path, get_symbol

    symbols = {label: get_symbol(number) for number, label in enumerate(wiring.legs)}
    inputs, _, _ = wiring.einsum().partition("->")
    vectors = [symbols[label] for label in wiring.open]
    shapes = [tuple(leg.dim for leg in core.legs) for core in wiring.cores]
    shapes += [(wiring.legs[label].dim,) for label in wiring.open]
    _, path = contract_path(",".join([inputs, *vectors]) + "->", *shapes, shapes=True)
    return int(path.opt_cost)


def _sum(legs: Sequence[Leg]) -> Irreps:
    return Irreps([term for leg in legs for term in leg.irreps]).regroup()


def _row(leg: Leg) -> list[str]:
    return [leg.label, f"{leg.multiplets:,}", f"{leg.dim:,}", str(leg.irreps)]


def _table(rows: Sequence[Sequence[str]], *, numbers: Sequence[int]) -> str:
    """Aligned columns, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
