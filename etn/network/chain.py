"""Chains: equivariant tensor trains in mixed-canonical form.

    T[s0, x1, ..., xd, out] = sum over bonds  A1[s0, x1, b1] A2[b1, x2, b2] ... Ad[bd-1, xd, out]

Each core couples (left bond ⊗ site leg) to its right bond.  The chain tracks its
orthogonality center: cores left of it are isometries from (left bond ⊗ site) to the right
bond, cores right of it are isometries from (site ⊗ right bond) to the left bond, and the norm
of the whole tensor is the norm of the center core.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from etn.errors import CoreError
from etn.network.show import chain_diagram
from etn.o3 import Irrep, Irreps
from etn.tensor import (
    Core,
    absorb,
    allowed_paths,
    isometry_error,
    qr,
)
from etn.tensor.core import Block


class Chain:
    """An equivariant tensor train.  Immutable: methods return a new chain.

    Parameters
    ----------
    cores : sequence of Core
        Three-leg cores (left bond, site, right bond); neighbouring bonds must carry the same
        irreps.
    center : int, optional
        Site of the orthogonality center, if the cores are known to be canonical around it.
        Nothing is checked; see :meth:`orthogonality_error`.

    Raises
    ------
    CoreError
        If there is no core, a core has not three legs, or two bonds do not match.

    Examples
    --------
    >>> chain = Chain.random(["1x0e+3x0e+2x1o"] * 3, max_bond=2, seed=0).canonicalize(center=1)
    >>> chain
    Chain(3 sites, bonds 2x0e+2x1o | 2x0e+2x1o, 72 parameters, center 1)
    >>> bool(abs(chain.norm() - np.linalg.norm(chain.to_dense())) < 1e-12)
    True
    """

    __slots__ = ("center", "cores")

    cores: tuple[Core, ...]
    center: int | None

    def __init__(self, cores: Sequence[Core], *, center: int | None = None) -> None:
        self.cores = tuple(cores)
        if not self.cores:
            raise CoreError("a chain needs at least one core, got none")
        for site, core in enumerate(self.cores):
            if core.order != 3:
                raise CoreError(
                    f"site {site}: a chain is made of cores with three legs "
                    f"(left bond, site, right bond), got {core!r}"
                )
        for bond, (left, right) in enumerate(zip(self.cores[:-1], self.cores[1:], strict=True)):
            if left.legs[2] != right.legs[0]:
                raise CoreError(
                    f"bond {bond}: left core ends in {left.legs[2]}, "
                    f"right core starts with {right.legs[0]}"
                )
        self.center = center if center is None else self._check_site(center)

    @classmethod
    def random(
        cls,
        sites: Sequence[Irreps | str],
        *,
        out: Irreps | str = "0e",
        start: Irreps | str = "0e",
        max_bond: int | Irreps | str = 4,
        seed: int | np.random.Generator = 0,
    ) -> Chain:
        """Chain of Gaussian cores.

        Parameters
        ----------
        sites : sequence of Irreps
            What each site leg carries.
        out, start : Irreps
            Irreps of the last and the first bond.
        max_bond : int or Irreps
            Multiplicity of every irrep on the inner bonds: one number for all irreps that
            occur on the legs, or the irreps of a bond with their multiplicities.  Irreps that
            a bond cannot carry are left out, multiplicities that it cannot fill are lowered.
        seed : int or numpy Generator
        """
        rng = np.random.default_rng(seed)
        legs = [Irreps(leg) for leg in sites]
        ends = Irreps(start), Irreps(out)
        if isinstance(max_bond, int):
            kinds = sorted({ir for leg in (*ends, *legs) for ir in leg.unique})
            widest = Irreps([(max_bond, ir) for ir in kinds])
        else:
            widest = Irreps(max_bond).regroup()
        bonds = _reachable_bonds(legs, *ends, widest)
        return cls(
            [
                Core.random([bonds[site], leg, bonds[site + 1]], seed=rng)
                for site, leg in enumerate(legs)
            ]
        )

    def __len__(self) -> int:
        return len(self.cores)

    def __iter__(self) -> Iterator[Core]:
        return iter(self.cores)

    def __getitem__(self, site: int) -> Core:
        return self.cores[site]

    @property
    def sites(self) -> tuple[Irreps, ...]:
        """What each site leg carries."""
        return tuple(core.legs[1] for core in self.cores)

    @property
    def bonds(self) -> tuple[Irreps, ...]:
        """What each inner bond carries."""
        return tuple(core.legs[2] for core in self.cores[:-1])

    @property
    def start(self) -> Irreps:
        """Irreps of the first bond."""
        return self.cores[0].legs[0]

    @property
    def out(self) -> Irreps:
        """Irreps of the last bond."""
        return self.cores[-1].legs[2]

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of all cores."""
        return sum(core.n_parameters for core in self.cores)

    def replace(self, site: int, core: Core) -> Chain:
        """Chain with another core at a site; the other cores are those of this chain.

        The center is kept if it lies at this site, else it is no longer known.
        """
        site = self._check_site(site)
        cores = list(self.cores)
        cores[site] = core
        return Chain(cores, center=site if self.center == site else None)

    def canonicalize(self, center: int) -> Chain:
        """The same tensor in mixed-canonical form around a site.

        Only the cores between the old and the new center are factorised.
        """
        center = self._check_site(center)
        cores = list(self.cores)
        for site in range(0 if self.center is None else self.center, center):
            cores[site], bond = qr(cores[site], 2)
            cores[site + 1] = absorb(cores[site + 1], bond, 0)
        last = len(cores) - 1 if self.center is None else self.center
        for site in range(last, center, -1):
            cores[site], bond = qr(cores[site], 0)
            cores[site - 1] = absorb(cores[site - 1], bond, 2)
        return Chain(cores, center=center)

    def orthogonality_error(self) -> float:
        """Largest entry of (isometry condition - identity) over all cores off the center."""
        if self.center is None:
            raise CoreError("the chain has no center: canonicalize(center) it first")
        return max(
            (
                isometry_error(core, leg=2 if site < self.center else 0)
                for site, core in enumerate(self.cores)
                if site != self.center
            ),
            default=0.0,
        )

    def norm(self) -> float:
        """Frobenius norm of the dense tensor, start and out legs included."""
        if self.center is not None:
            return self.cores[self.center].norm()
        return self.canonicalize(0).norm()

    def insert(self, site: int, *, channel: int = 0) -> Chain:
        """Insert an identity core at a site; the leg of the new site is that of its neighbour.

        The new core passes its left bond on through one scalar channel of its leg.  Where
        that channel is the constant 1, the longer chain is the same function: this is how a
        fit grows in body order.

        Parameters
        ----------
        site : int
            Position of the new core, 0 <= site <= len(chain).
        channel : int
            Which ``0e`` of the leg is the constant.

        Raises
        ------
        CoreError
            If the position or the channel does not exist.
        """
        if not 0 <= site <= len(self):
            raise CoreError(f"insert: expected a position 0..{len(self)}, got {site}")
        neighbour = self.cores[min(site, len(self) - 1)]
        leg = neighbour.legs[1]
        bond = self.cores[site].legs[0] if site < len(self) else self.out
        scalar = Irrep(0, 1)
        if not 0 <= channel < leg.count(scalar):
            raise CoreError(
                f"insert: leg {leg} has {leg.count(scalar)} scalar channels, got channel {channel}"
            )
        core = Core([bond, leg, bond])
        for ir in bond.unique:
            core.blocks[ir, scalar, ir][:, channel, :] = np.eye(bond.count(ir))
        return Chain([*self.cores[:site], core, *self.cores[site:]])

    def to_dense(self) -> Block:
        """Dense tensor of shape (start.dim, sites[0].dim, ..., sites[-1].dim, out.dim)."""
        dense = self.cores[0].to_dense()
        for core in self.cores[1:]:
            dense = np.tensordot(dense, core.to_dense(), 1)
        return dense

    def show(self) -> str:
        """Draw the chain with its canonical arrows, legs and bond irreps.

        Returns the drawing as text, which an interactive session or ``print`` shows.
        """
        return chain_diagram(self.sites, (self.start, *self.bonds, self.out), self.center)

    def _check_site(self, site: int) -> int:
        if not -len(self.cores) <= site < len(self.cores):
            raise CoreError(f"expected a site 0..{len(self.cores) - 1}, got {site}")
        return site % len(self.cores)

    def __repr__(self) -> str:
        bonds = " | ".join(map(str, self.bonds)) or "none"
        center = "not canonical" if self.center is None else f"center {self.center}"
        return f"Chain({len(self)} sites, bonds {bonds}, {self.n_parameters} parameters, {center})"


def _reachable_bonds(
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


def dense_parameters(chain: Chain) -> int:
    """Number of entries that the cores have once expanded over m."""
    return sum(math.prod(leg.dim for leg in core.legs) for core in chain)
