r"""Operators on chains: matrix product operators over operator irreps.

A local operator that turns irrep s of a site into s' is a sum of tensor operators of rank k, each
in s' ⊗ s.  The basis is

.. math:: E^k_q = \sum_{m' m} C^{k q}_{s' m', s m} \, |s' m'\rangle \langle s m| ,

orthonormal in the Frobenius product because the Clebsch-Gordan tensor is isometric.  By the
Wigner-Eckart theorem its matrix elements are :math:`\sqrt{(2k + 1) / (2s' + 1)}\, C^{s' m'}_{s m,
k q}`, so a sum of products of local operators is a :class:`~etn.network.Chain` whose site legs
carry the operator irreps s' ⊗ s.  Its norm is the Frobenius norm of the operator, and sums,
multiples and truncation are those of chains.

The components are real.  A spin vector is imaginary in the real basis, S = i K with K real and
antisymmetric, so S · S = -K · K stays real.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from etn.backend import Array, Kind
from etn.errors import CoreError, IrrepsError
from etn.machine import check_memory
from etn.network.chain import Chain
from etn.network.vector_space import VectorSpace
from etn.o3 import Irrep, Irreps, recoupling_4
from etn.tensor import Core, Truncation, tensorize
from etn.tensor.core import Path
from etn.tensor.factor import stacking
from etn.tensor.pair import couplings

SCALAR = Irrep(0, 1)


def operator_leg(site: Irreps | str) -> Irreps:
    """Irreps of the operators on a site: all couplings of the site with itself.

    Examples
    --------
    >>> operator_leg("1x1e")
    1x0e+1x1e+1x2e
    """
    site = Irreps(site)
    return Irreps([(n, ir) for ir, n in couplings(site, site).items()])


def operator_basis(site: Irreps | str) -> Core:
    """The basis E as a core with the legs (bra, ket, operator).

    Examples
    --------
    >>> operator_basis("1x1e")
    Core(1x1e ⊗ 1x1e → 1x0e+1x1e+1x2e, 3 parameters)
    """
    site = Irreps(site)
    kind = Kind()
    eyes = {ir: kind.eye(n) for ir, n in couplings(site, site).items()}
    return tensorize(eyes, (site, site, Irreps()), 2, kind)


def reduced_element(k: Irrep, bra: Irrep) -> float:
    """<s'|| E^k ||s> of a basis operator, the factor of C^{s' m'}_{s m, k q}."""
    return math.sqrt(k.dim / bra.dim)


class Operator(VectorSpace):
    """A sum of products of local operators on a chain of sites.

    Parameters
    ----------
    chain : Chain
        Over the operator legs of the sites; see :func:`operator_leg`.
    sites : sequence of Irreps
        What the sites of a state carry.

    Raises
    ------
    IrrepsError
        If a leg of the chain is not the operator leg of its site.

    Examples
    --------
    >>> from etn.network import heisenberg
    >>> bond = heisenberg(2, spin=1)
    >>> bond
    Operator(2 sites of 1x1e, bonds 2x0e+1x1e)
    >>> import numpy as np
    >>> sorted(set(np.linalg.eigvalsh(bond.to_dense()).round(12).tolist()))
    [-2.0, -1.0, 1.0]
    """

    __slots__ = ("chain", "sites")

    def __init__(self, chain: Chain, sites: Sequence[Irreps | str]) -> None:
        self.chain = chain
        self.sites = tuple(Irreps(site) for site in sites)
        if len(self.sites) != len(chain):
            raise IrrepsError(f"expected {len(chain)} sites as in the chain, got {len(self.sites)}")
        for number, (site, leg) in enumerate(zip(self.sites, chain.sites, strict=True)):
            if leg != operator_leg(site):
                raise IrrepsError(
                    f"site {number}: operators on {site} carry {operator_leg(site)}, "
                    f"the chain has {leg}"
                )

    def __len__(self) -> int:
        return len(self.sites)

    @classmethod
    def identity(cls, sites: Sequence[Irreps | str]) -> Operator:
        """The identity.

        Examples
        --------
        >>> Operator.identity(["1x1e"] * 3)
        Operator(3 sites of 1x1e, bonds 1x0e)
        """
        legs = [Irreps(site) for site in sites]
        return cls(Chain([_identity_core(leg) for leg in legs]), legs)

    def __add__(self, other: Operator) -> Operator:
        if not isinstance(other, Operator):
            raise CoreError(f"expected an operator to add, got {other!r}")
        sites = self._same_sites(other)
        return Operator(self.chain + other.chain, sites)

    def __mul__(self, factor: float) -> Operator:
        return Operator(self.chain * factor, self.sites)

    def _same_sites(self, other: Operator) -> tuple[Irreps, ...]:
        if self.sites != other.sites:
            raise IrrepsError(
                f"expected operators on the same sites, got {_several(self.sites)} and "
                f"{_several(other.sites)}"
            )
        return self.sites

    def transpose(self) -> Operator:
        r"""The operator with bras and kets exchanged.

        .. math:: \left(E^k_q[s', s]\right)^T = (-1)^{s' + s - k}\, E^k_q[s, s']

        Examples
        --------
        >>> from etn.network import heisenberg
        >>> dense = heisenberg(2).transpose().to_dense()
        >>> bool((abs(dense - heisenberg(2).to_dense()) < 1e-14).all())
        True
        """
        cores = [_transposed(w, site) for w, site in zip(self.chain, self.sites, strict=True)]
        return Operator(Chain(cores), self.sites)

    def asymmetry(self) -> float:
        """Norm of (operator - its transpose), relative to that of the operator: zero if symmetric.

        Exact, without any state; costs a canonical form of twice the bonds.

        Examples
        --------
        >>> from etn.network import heisenberg
        >>> heisenberg(6).asymmetry() < 1e-14
        True
        """
        skew, whole = (self - self.transpose()).chain.log_norm(), self.chain.log_norm()
        return math.exp(skew - whole) if skew > -math.inf else 0.0

    def typical_energy(self) -> float:
        """Root of the mean square of all eigenvalues: the size of a symmetric operator.

        Examples
        --------
        >>> from etn.network import heisenberg
        >>> round(heisenberg(2).typical_energy() ** 2, 12)  # (1 * 4 + 3 * 1 + 5 * 1) / 9
        1.333333333333
        """
        log_dim = sum(math.log(site.dim) for site in self.sites)
        log_norm = self.chain.log_norm()
        return math.exp(log_norm - log_dim / 2) if log_norm > -math.inf else 0.0

    def truncate(self, truncation: Truncation) -> Operator:
        """Operator with narrower bonds; see :meth:`Chain.truncate`.

        The norm of what is lost is the Frobenius norm of the matrix between all product states.

        Examples
        --------
        >>> from etn.network import heisenberg
        >>> (heisenberg(4) + heisenberg(4)).truncate(Truncation(rel_tol=1e-12))
        Operator(4 sites of 1x1e, bonds 1x0e+1x1e | 2x0e+1x1e)
        """
        return Operator(self.chain.truncate(truncation), self.sites)

    def to(
        self, backend: str | None = None, *, dtype: str | None = None, device: str | None = None
    ) -> Operator:
        """The same operator in another library, precision or place."""
        return Operator(self.chain.to(backend, dtype=dtype, device=device), self.sites)

    def to_dense(self) -> Array:
        """Matrix between the product states of all sites, rows the bras, for scalar operators.

        Returns
        -------
        array of shape (dim, dim), dim the product of the dimensions of the sites

        Raises
        ------
        CoreError
            If an end of the operator is not a scalar, or there is no memory for the matrix.
        """
        if self.chain.start.dim != 1 or self.chain.out.dim != 1:
            raise CoreError(f"expected an operator whose ends are scalars, got {self.chain!r}")
        kind, n = self.chain.kind, len(self)
        xp = kind.xp
        dim = math.prod(site.dim for site in self.sites)
        check_memory(float(dim) ** 2 * kind.itemsize, f"the matrix of {self!r}")
        dense = self.chain.to_dense()[0, ..., 0]
        for site in self.sites:
            basis = kind.array(operator_basis(site).to_dense())
            # The operator leg in front is replaced by (bra, ket) at the end.
            dense = xp.tensordot(dense, basis, axes=([0], [2]))
        order = (*range(0, 2 * n, 2), *range(1, 2 * n, 2))
        return xp.reshape(xp.permute_dims(dense, order), (dim, dim))

    def apply(self, state: Chain) -> Chain:
        """The operator times a state, exactly; bonds carry (bond of the state) ⊗ (bond here).

        The couplings (l1 s) l2 of the state and (k1 k) k2 of the operator become
        (l1 k1) j1, (s k) s' -> j2, a recoupling of four irreps.

        Raises
        ------
        IrrepsError
            If the state lives on other sites.
        CoreError
            If it is of another library, precision or device.

        Examples
        --------
        >>> from etn.network import heisenberg
        >>> state = Chain.random(["1x1e"] * 4, max_bond="2x0e+1x1e", seed=0)
        >>> heisenberg(4).apply(state).bonds[1]
        3x0e+3x1e+1x2e
        """
        self.check_state(state)
        cores = [
            _apply_core(core, w, site)
            for core, w, site in zip(state, self.chain, self.sites, strict=True)
        ]
        return Chain(cores)

    def check_state(self, state: Chain) -> None:
        """Raise unless the operator acts on the sites and the kind of arrays of a state."""
        if not isinstance(state, Chain):
            raise CoreError(f"expected a state as a chain, got {state!r}; of a report take .chain")
        if state.sites != self.sites:
            raise IrrepsError(
                f"the operator acts on {_several(self.sites)}, the state has "
                f"{_several(state.sites)}"
            )
        if state.kind != self.chain.kind:
            raise CoreError(
                f"the operator is of {self.chain.kind}, the state of {state.kind}; "
                "convert with .to(backend=, dtype=, device=)"
            )

    def expectation(self, state: Chain) -> float:
        """<state| O |state> / <state|state>, summed over the components of open ends.

        Raises
        ------
        CoreError
            If the state is zero.

        Examples
        --------
        >>> from etn.network import heisenberg
        >>> singlet = Chain.random(["1x1e"] * 2, seed=0)
        >>> round(heisenberg(2).expectation(singlet), 12)
        -2.0
        """
        unit = self._unit(state)
        return float(unit.inner(self.apply(unit)))

    def variance(self, state: Chain) -> float:
        """<O^2> - <O>^2 of a symmetric operator, as ||(O - <O>) state||^2 / <state|state>.

        Small variances are resolved down to the square of the rounding unit, relative to <O>^2.

        Examples
        --------
        >>> from etn.network import heisenberg
        >>> singlet = Chain.random(["1x1e"] * 2, seed=0)
        >>> heisenberg(2).variance(singlet) < 1e-24
        True
        """
        unit = self._unit(state)
        moved = self.apply(unit)
        mean = float(unit.inner(moved))
        return (moved - mean * unit).norm() ** 2

    def _unit(self, state: Chain) -> Chain:
        self.check_state(state)
        if state.log_norm() == -math.inf:
            raise CoreError("state: expected one with a norm, got zero")
        return state.normalize()

    def __repr__(self) -> str:
        bonds = " | ".join(dict.fromkeys(map(str, self.chain.bonds))) or "none"
        return f"Operator({_several(self.sites)}, bonds {bonds})"


def _several(sites: Sequence[Irreps]) -> str:
    kinds = ", ".join(dict.fromkeys(map(str, sites)))
    return f"{len(sites)} sites of {kinds}"


def _identity_core(site: Irreps) -> Core:
    """1x0e ⊗ operators -> 1x0e, the identity on a site."""
    core = Core(["1x0e", operator_leg(site), "1x0e"])
    block = core.blocks[SCALAR, SCALAR, SCALAR]
    for row in stacking((site, site, Irreps("1x0e")), 2)[SCALAR]:
        n = site.count(row.path[0])
        # 1 = sum over irreps and copies of sqrt(2 s + 1) E^0.
        block[0, row.start : row.stop : n + 1, 0] = math.sqrt(row.path[0].dim)
    return core


def operator_elements(w: Core, site: Irreps) -> dict[tuple[Path, Irrep, Irrep], Array]:
    """Blocks of an operator core by the irreps that they connect.

    Returns
    -------
    {((k1, k, k2), bra, ket): (w1, copies of bra, copies of ket, w2)}
        The reduced matrix element of E^k is multiplied in; blocks of zeros are left out.
    """
    found = {}
    legs = (site, site, w.legs[1])
    for path, block in w:
        for row in stacking(legs, 2)[path[1]]:
            bra, ket, k = row.path
            part = block[:, row.start : row.stop]
            if bool((part != 0).any()):
                shape = (part.shape[0], site.count(bra), site.count(ket), part.shape[2])
                found[path, bra, ket] = w.kind.xp.reshape(part, shape) * reduced_element(k, bra)
    return found


def _transposed(w: Core, site: Irreps) -> Core:
    xp = w.kind.xp
    blocks = {path: w.kind.zeros(tuple(block.shape)) for path, block in w}
    for path, block in w:
        rows = stacking((site, site, w.legs[1]), 2)[path[1]]
        at = {row.path[:2]: slice(row.start, row.stop) for row in rows}
        for (bra, ket), columns in at.items():
            shape = (block.shape[0], site.count(bra), site.count(ket), block.shape[2])
            part = xp.permute_dims(xp.reshape(block[:, columns], shape), (0, 2, 1, 3))
            part = xp.reshape(part, (shape[0], -1, shape[3]))
            odd = (bra.l + ket.l - path[1].l) % 2
            blocks[path][:, at[ket, bra]] = -part if odd else part
    return Core.trusted(w.legs, blocks, w.kind)


def _coupled_bond(bond: Irreps, ranks: Irreps) -> Irreps:
    # A scalar end of the operator leaves the end of the state as it is.
    if ranks == Irreps("1x0e"):
        return bond
    return Irreps([(n, ir) for ir, n in couplings(bond, ranks).items()])


def _apply_core(core: Core, w: Core, site: Irreps) -> Core:
    kind, xp = core.kind, core.kind.xp
    left, right = (_coupled_bond(core.legs[leg], w.legs[leg]) for leg in (0, 2))
    at = [
        {
            (row.path[0], row.path[1], ir): slice(row.start, row.stop)
            for ir, rows in stacking((core.legs[leg], w.legs[leg], bond), 2).items()
            for row in rows
        }
        for leg, bond in ((0, left), (2, right))
    ]
    new = Core([left, site, right])
    blocks = {path: kind.zeros(tuple(block.shape)) for path, block in new}
    for ((k1, k, k2), bra, ket), part in operator_elements(w, site).items():
        for (l1, s, l2), a in core:
            if s != ket:
                continue
            # (r1, n, r2), (w1, n', n, w2) -> (r1, w1, n', r2, w2)
            both = xp.einsum("anb,cmnd->acmbd", a, part)
            both = xp.reshape(both, (a.shape[0] * part.shape[0], part.shape[1], -1))
            for j1 in l1 * k1:
                for j2 in l2 * k2:
                    if (j1, bra, j2) not in blocks:
                        continue
                    degrees = (l1, s, l2, k1, k, k2, j1, bra, j2)
                    factor = recoupling_4(*(ir.l for ir in degrees))
                    rows, columns = at[0][l1, k1, j1], at[1][l2, k2, j2]
                    if factor:
                        blocks[j1, bra, j2][rows, :, columns] += factor * both
    return Core.trusted(new.legs, blocks, kind)
