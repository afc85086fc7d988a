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

from etn.backend import Array, Kind
from etn.errors import CoreError, IrrepsError
from etn.network.chain_algebra import (
    dense_train,
    direct_sum,
    overlap,
    train_flops,
    train_of_dense,
)
from etn.network.chain_bonds import reachable_bonds, widest_bond
from etn.network.chain_gauge import canonical, canonical_unscaled, spectra, truncated
from etn.network.vector_space import VectorSpace
from etn.network.views.inspectable import Inspectable
from etn.network.views.show import chain_diagram, gauge_marks
from etn.network.views.wiring import Wiring
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, Spectrum, Truncation, absorb, embed, isometry_error, svd
from etn.tensor.scale import as_number


class Chain(Inspectable, VectorSpace):
    """An equivariant tensor train.  Immutable: methods return a new chain.

    Parameters
    ----------
    cores : sequence of Core
        Three-leg cores (left bond, site, right bond); neighbouring bonds must carry the same
        irreps.
    center : int, optional
        Site of the orthogonality center, if the cores are known to be canonical around it.
        Nothing is checked; see :meth:`orthogonality_error`.
    discarded_weight : float
        Norm of what truncations on the way to this chain have dropped.

    Raises
    ------
    CoreError
        If there is no core, a core has not three legs, or the cores are of different kinds.
    IrrepsError
        If two bonds do not match.

    Examples
    --------
    >>> chain = Chain.random(["1x0e+3x0e+2x1o"] * 3, max_bond=2, seed=0).canonicalize(center=1)
    >>> chain
    Chain(3 sites, bonds 2x0e+2x1o | 2x0e+2x1o, 72 parameters, center 1)
    >>> bool(abs(chain.norm() - np.linalg.norm(chain.to_dense())) < 1e-12)
    True
    """

    __slots__ = ("center", "cores", "discarded_weight")

    is_line = True
    cores: tuple[Core, ...]
    center: int | None
    discarded_weight: float

    def __init__(
        self, cores: Sequence[Core], *, center: int | None = None, discarded_weight: float = 0.0
    ) -> None:
        self.cores = tuple(cores)
        self.discarded_weight = discarded_weight
        if not self.cores:
            raise CoreError("a chain needs at least one core, got none")
        for site, core in enumerate(self.cores):
            if core.order != 3:
                raise CoreError(
                    f"site {site}: a chain is made of cores with three legs "
                    f"(left bond, site, right bond), got {core!r}"
                )
            if core.kind != self.cores[0].kind:
                raise CoreError(
                    f"site {site}: core of {core.kind}, site 0 of {self.cores[0].kind}; "
                    "convert with .to(backend=, dtype=, device=)"
                )
        for bond, (left, right) in enumerate(zip(self.cores[:-1], self.cores[1:], strict=True)):
            if left.legs[2] != right.legs[0]:
                raise IrrepsError(
                    f"bond {bond}: left core ends in {left.legs[2]}, "
                    f"right core starts with {right.legs[0]}{_difference(left, right)}"
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
        widest = widest_bond(max_bond, (*ends, *legs))
        bonds = reachable_bonds(legs, *ends, widest)
        return cls(
            [
                Core.random([bonds[site], leg, bonds[site + 1]], seed=rng)
                for site, leg in enumerate(legs)
            ]
        )

    @classmethod
    def from_dense(
        cls,
        dense: Array,
        sites: Sequence[Irreps | str],
        *,
        out: Irreps | str = "0e",
        start: Irreps | str = "0e",
        truncation: Truncation | None = None,
        tolerance: float | None = None,
    ) -> Chain:
        """Chain of a dense equivariant tensor, by one singular value decomposition a bond.

        Parameters
        ----------
        dense : array of shape (start.dim, sites[0].dim, ..., out.dim)
        sites : sequence of Irreps
        out, start : Irreps
        truncation : Truncation, optional
            By default only singular values at the level of rounding are dropped.
        tolerance : float, optional
            How much of the norm may be lost to parts that are not equivariant; 1e4 times the
            rounding unit by default.

        Raises
        ------
        CoreError
            If the shape is not that of the legs, a value is not finite, or the tensor is not
            equivariant; the residual is reported.
        """
        legs = [Irreps(leg) for leg in (start, *sites, out)]
        cores, discarded = train_of_dense(dense, legs, truncation, tolerance)
        return cls(cores, center=len(cores) - 1, discarded_weight=discarded)

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
    def kind(self) -> Kind:
        """Library, precision and device of the blocks."""
        return self.cores[0].kind

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
        return self._with(cores, site if self.center == site else None)

    def _with(self, cores: Sequence[Core], center: int | None) -> Chain:
        return Chain(cores, center=center, discarded_weight=self.discarded_weight)

    def to(
        self, backend: str | None = None, *, dtype: str | None = None, device: str | None = None
    ) -> Chain:
        """The same chain in another library, precision or place; see :meth:`Core.to`."""
        cores = [core.to(backend, dtype=dtype, device=device) for core in self.cores]
        return self._with(cores, self.center)

    def canonicalize(self, center: int) -> Chain:
        """The same tensor in mixed-canonical form around a site.

        Only the cores between the old and the new center are factorised.
        """
        center = self._check_site(center)
        return self._with(canonical(self.cores, self.center, center), center)

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
        """Frobenius norm of the dense tensor, start and out legs included.

        Raises
        ------
        CoreError
            If it is beyond the range of floating point; see :meth:`log_norm`.
        """
        if self.center is not None:
            return self.cores[self.center].norm()
        return self.canonicalize(0).norm()

    def log_norm(self) -> float:
        """Natural logarithm of the norm, also where that is no number; -inf for zero.

        Examples
        --------
        >>> chain = Chain.random(["1x0e+1x1o"] * 3, max_bond=1, seed=0)
        >>> large = Chain([core.scale(1e200) for core in chain])
        >>> round(large.log_norm() - chain.log_norm() - 600 * math.log(10), 10)
        0.0
        """
        core, power = self._center_core()
        norm = core.norm()
        return math.log(norm) + power * math.log(2) if norm else -math.inf

    def normalize(self) -> Chain:
        """The tensor divided by its norm, whatever that is; canonical around :attr:`center` or 0.

        Raises
        ------
        CoreError
            If the tensor is zero.
        """
        center = self.center or 0
        cores, _ = canonical_unscaled(self.cores, self.center, center)
        core, _ = cores[center].unscaled()
        norm = core.norm()
        if not norm:
            raise CoreError("normalize: expected a tensor with a norm, got one that is zero")
        cores[center] = core.scale(1 / norm)
        return Chain(cores, center=center)

    def _center_core(self) -> tuple[Core, int]:
        """The core that carries the norm, without its size, and the power of two of that."""
        center = self.center or 0
        cores, power = canonical_unscaled(self.cores, self.center, center)
        core, more = cores[center].unscaled()
        return core, power + more

    def singular_values(self, bond: int) -> Spectrum:
        """Singular values of the tensor between sites 0..bond and the others.

        Raises
        ------
        CoreError
            If there is no such bond.
        """
        self._check_bond(bond)
        return svd(self.canonicalize(bond).cores[bond], 2).spectrum

    def spectra(self) -> list[Spectrum]:
        """Singular values of every bond."""
        return spectra(self.canonicalize(len(self) - 1).cores)

    def entropy(self, bond: int) -> float:
        """Entanglement entropy of a bond, natural logarithm; see :meth:`Spectrum.entropy`.

        Raises
        ------
        CoreError
            If there is no such bond.
        """
        self._check_bond(bond)
        cores, _ = canonical_unscaled(self.cores, self.center, bond)
        return svd(cores[bond], 2).spectrum.entropy()

    def truncate(self, truncation: Truncation) -> Chain:
        """Nearest chains bond by bond, from the last bond to the first.

        The errors of the bonds are orthogonal to each other, so the Frobenius norm of the whole
        error is :attr:`discarded_weight` of the result (if that of this chain was zero), at most
        sqrt(bonds) times the tolerance of the rule.

        Returns
        -------
        Chain
            With its center where that of this chain is, else at site 0.
        """
        cores, discarded = truncated(self.canonicalize(len(self) - 1).cores, truncation)
        chain = Chain(
            cores, center=0, discarded_weight=math.hypot(self.discarded_weight, discarded)
        )
        return chain.canonicalize(self.center or 0)

    def inner(self, other: Chain) -> Array:
        """Sum over all entries of the product of two tensors, as an array of shape ().

        Raises
        ------
        IrrepsError
            If the chains differ in length or in an open leg.
        """
        self.check_same_legs(other)
        return overlap(self.cores, other.cores)

    def __add__(self, other: Chain) -> Chain:
        self.check_same_legs(other)
        return Chain(direct_sum(self.cores, other.cores))

    def __mul__(self, factor: float) -> Chain:
        scaled = abs(as_number(factor, "a chain times a number")) * self.discarded_weight
        site = self.center or 0
        cores = list(self.cores)
        cores[site] = cores[site].scale(factor)
        return Chain(cores, center=self.center, discarded_weight=scaled)

    def map_site(self, site: int, matrix: Core) -> Chain:
        """Apply an equivariant map to a site leg: x'[n'] = sum_n x[n] a[n, n'].

        Parameters
        ----------
        site : int
        matrix : Core
            Two legs: the leg of the site and the new leg.
        """
        site = self._check_site(site)
        if matrix.order != 2 or matrix.legs[0] != self.sites[site]:
            raise IrrepsError(
                f"site {site}: expected a core from {self.sites[site]} to a new leg, got {matrix!r}"
            )
        bond = {path[1]: block.T for path, block in matrix}
        mapped = absorb(self.cores[site], bond, 1)
        # A leg may keep irreps to which the map sends nothing.
        legs = (mapped.legs[0], matrix.legs[1], mapped.legs[2])
        return self.replace(site, embed(mapped, legs))

    def _open_legs(self) -> list[Irreps]:
        return [self.start, *self.sites, self.out]

    def check_same_legs(self, other: Chain) -> None:
        """Raise unless two chains agree in length, open legs and kind of arrays."""
        if not isinstance(other, Chain):
            raise CoreError(f"expected a chain, got {other!r}")
        if len(self) != len(other):
            raise IrrepsError(f"expected chains of one length, got {len(self)} and {len(other)}")
        names = ["start", *(f"site {site}" for site in range(len(self))), "out"]
        for name, a, b in zip(names, self._open_legs(), other._open_legs(), strict=True):
            if a != b:
                raise IrrepsError(f"{name}: the chains carry {a} and {b}")
        if self.kind != other.kind:
            raise CoreError(f"expected chains of one kind, got {self.kind} and {other.kind}")

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
        core = Core([bond, leg, bond]).to(**vars(self.kind))
        for ir in bond.unique:
            core.blocks[ir, scalar, ir][:, channel, :] = self.kind.eye(bond.count(ir))
        return self._with([*self.cores[:site], core, *self.cores[site:]], None)

    def to_dense(self) -> Array:
        """Dense tensor of shape (start.dim, sites[0].dim, ..., sites[-1].dim, out.dim)."""
        return dense_train(self.cores)

    def wiring(self) -> Wiring:
        """Cores and the names of their legs: start, x0, x1, ..., out and the bonds b1, b2, ..."""
        bonds = ["start", *(f"b{bond}" for bond in range(1, len(self))), "out"]
        names = [(bonds[site], f"x{site}", bonds[site + 1]) for site in range(len(self))]
        return Wiring(self.cores, names)

    def flops(self) -> int:
        """Cost of one value of the chain; see :func:`etn.network.chain_algebra.train_flops`."""
        return train_flops(self.cores)

    def gauge_marks(self) -> tuple[str, ...]:
        """Canonical form, ``>`` left and ``<`` right of the center ``●``; ``○`` without one."""
        return gauge_marks(len(self), self.center)

    def show(self) -> str:
        """Draw the chain with its canonical arrows, legs and bond irreps.

        Returns the drawing as text, which an interactive session or ``print`` shows.
        """
        return chain_diagram(self.sites, (self.start, *self.bonds, self.out), self.center)

    def _check_bond(self, bond: int) -> None:
        if not 0 <= bond < len(self) - 1:
            there = f"a bond 0..{len(self) - 2}" if len(self) > 1 else "a chain with bonds"
            raise CoreError(f"expected {there}, got bond {bond} of {len(self)} sites")

    def _check_site(self, site: int) -> int:
        if not -len(self.cores) <= site < len(self.cores):
            raise CoreError(f"expected a site 0..{len(self.cores) - 1}, got {site}")
        return site % len(self.cores)

    def __repr__(self) -> str:
        bonds = " | ".join(map(str, self.bonds)) or "none"
        center = "not canonical" if self.center is None else f"center {self.center}"
        kind = "" if self.kind == Kind() else f", {self.kind}"
        return (
            f"Chain({len(self)} sites, bonds {bonds}, {self.n_parameters} parameters, "
            f"{center}{kind})"
        )


def _difference(left: Core, right: Core) -> str:
    """In what two bonds that should be equal differ."""
    one, two = left.legs[2], right.legs[0]
    for number, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            what = "multiplicity" if a.ir == b.ir else "parity" if a.ir.l == b.ir.l else "irrep"
            return f" ({what} differs in term {number})"
    return " (one has more terms)"


def dense_parameters(chain: Chain) -> int:
    """Number of entries that the cores have once expanded over m."""
    return sum(math.prod(leg.dim for leg in core.legs) for core in chain)
